//! TLS configurations: the settings that they keep, and the errors of files. P10 and P12.

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "it is test code, which clippy knows only inside #[test]")]

mod support;
mod tls_support;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use support::folder::Folder;
use support::*;
use tls_support::*;
use twistor_deferred::Deferred;
use twistor_net::tls::rustls;
use twistor_net::tls::{ClientTls, HandshakeFailed, HandshakeFailure, ServerTls};
use twistor_net::{ClientEndpoint, EndpointError, Failure, ServerEndpoint};

const TLS12: &SupportedProtocolVersion = &rustls::version::TLS12;
const TLS13: &SupportedProtocolVersion = &rustls::version::TLS13;

fn ring() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

fn server_config(identity: &Identity, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    ServerConfig::builder_with_provider(ring())
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![der(&identity.certificate)], key)
        .unwrap()
}

/// A client of one version that trusts this authority.
fn client_of(authority: &Authority, version: &'static SupportedProtocolVersion) -> ClientTls {
    let mut roots = RootCertStore::empty();
    roots.add(der(&authority.pem)).unwrap();
    let config = ClientConfig::builder_with_provider(ring())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    ClientTls::from_config(config)
}

fn showing(client: ClientTls, identity: &Identity) -> ClientTls {
    client.certificate_pem(identity.certificate.as_bytes(), identity.key.as_bytes()).unwrap()
}

/// Sends a byte from a client to servers, one after another, and waits until it comes back. Returns the error
/// of the first that failed.
fn echoes(servers: impl IntoIterator<Item = ServerTls>, client: &ClientTls) -> Vec<Result<(), Failure>> {
    let (servers, client): (Vec<_>, _) = (servers.into_iter().collect(), client.clone());
    run(move |reactor| {
        let handle = (**reactor).clone();
        reactor.spawn(async move {
            let mut outcomes = Vec::new();
            for server in servers {
                let place = "127.0.0.1:0".parse().unwrap();
                let port = ServerEndpoint::tls(place, server).listen(&handle, |_| Echo).unwrap();
                let endpoint = ClientEndpoint::tls("localhost", address(&port).port(), client.clone());
                outcomes.push(
                    async {
                        let peer = endpoint.converse(&handle).await?;
                        peer.write(b"x");
                        peer.read_exact(1).await?;
                        Ok(())
                    }
                    .await,
                );
            }
            Ok::<_, Failure>(outcomes)
        })
    })
}

fn echo(server: ServerTls, client: &ClientTls) -> Result<(), Failure> {
    echoes([server], client).remove(0)
}

// P12.1
#[test]
fn requiring_client_certificates_keeps_the_versions() {
    let authority = Authority::new();
    let (server, client) = (authority.signs("localhost"), authority.signs("client.test"));
    for offered in [&[TLS12][..], &[TLS13], &[TLS12, TLS13]] {
        let tls = ServerTls::from_config(server_config(&server, offered));
        let tls = tls.require_client_certificates(authority.pem.as_bytes()).unwrap();
        for version in [TLS12, TLS13] {
            let outcome = echo(tls.clone(), &showing(client_of(&authority, version), &client));
            let expected = offered.contains(&version);
            assert_eq!(outcome.is_ok(), expected, "{version:?} of {offered:?}: {outcome:?}");
        }
    }
}

#[derive(Debug, Default)]
struct CountKeys(AtomicUsize);

impl rustls::KeyLog for CountKeys {
    fn log(&self, _: &str, _: &[u8], _: &[u8]) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

// P12.1
#[test]
fn requiring_client_certificates_keeps_the_key_log_and_tickets() {
    let authority = Authority::new();
    let (keys, mut config) =
        (Arc::new(CountKeys::default()), server_config(&authority.signs("localhost"), &[TLS13]));
    config.key_log = keys.clone();
    config.send_tls13_tickets = 0;
    let tls = ServerTls::from_config(config);
    let tls = tls.require_client_certificates(authority.pem.as_bytes()).unwrap();
    let client = showing(client_of(&authority, TLS13), &authority.signs("client.test"));
    for outcome in echoes([tls.clone(), tls], &client) {
        outcome.unwrap();
    }
    // Four for a full handshake, and one more if a session is resumed.
    assert_eq!(keys.0.load(Ordering::Relaxed) % 5, 0, "{keys:?}");
    assert_eq!(keys.0.load(Ordering::Relaxed), 10);
}

// P12.2
#[test]
fn a_session_without_a_certificate_is_not_resumed() {
    let authority = Authority::new();
    for version in [TLS12, TLS13] {
        for tickets in [false, true] {
            let mut config = server_config(&authority.signs("localhost"), &[TLS12, TLS13]);
            if tickets {
                config.ticketer = rustls::crypto::ring::Ticketer::new().unwrap();
            }
            let open = ServerTls::from_config(config);
            let closed = open.clone().require_client_certificates(authority.pem.as_bytes()).unwrap();
            let client = client_of(&authority, version);
            let outcomes = echoes([open.clone(), open, closed], &client);
            let allowed: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
            assert_eq!(allowed, [true, true, false], "{version:?}, tickets: {tickets}");
        }
    }
}

// P12.3
#[test]
fn a_given_self_signed_client_certificate_is_accepted() {
    let authority = Authority::new();
    let good = Authority::self_signed("client.test", |_| ());
    let other = Authority::self_signed("client.test", |_| ());
    let expired =
        Authority::self_signed("client.test", |params| params.not_after = rcgen::date_time_ymd(2001, 1, 1));
    let given = format!("{}{}", good.certificate, expired.certificate);
    let server = authority.signs("localhost").server().require_client_certificates(given.as_bytes()).unwrap();
    for version in [TLS12, TLS13] {
        let outcome = |identity| echo(server.clone(), &showing(client_of(&authority, version), identity));
        assert!(outcome(&good).is_ok());
        assert!(outcome(&other).is_err());
        assert!(outcome(&expired).is_err());
    }
}

/// An RSA key of 1,024 bits.
const WEAK: &str = "\
-----BEGIN PRIVATE KEY-----
MIICdwIBADANBgkqhkiG9w0BAQEFAASCAmEwggJdAgEAAoGBANnNKo7CP0JygQh6
26E5e2UnN1etdbe5ywd25L7XKlPhGkFSy6xkOgHMukM+aSpVsgm1MSQLyPXYTzoB
Auu+4/H3FtyeR13lU7PdXcmXwFSkvy2bqjpaF3a94f2T/xz8gploJt+8oZQVvEbO
jYvpaxq9XuJUHlostpN+/D5f0/kfAgMBAAECgYB4WsZ0ouSAHHQvMmzhd7k3WWdc
nO7a+uE1m76lspKiTVbL2CvSdIQVcINRG1DT4w0CDk08ZQLEz6ZgICT0DsU4cAFZ
r5CULTl07yOtQ7cq+w3sjs9ZKnxztgI747iN/sgjF4ohtnk1Bkm4o3yc8LoHD14A
8evve+qMkCNdnlWMcQJBAPkasM/6FHYhiAb4dwKvZurAUK4ivyesWlOy2aNcbHNh
S0ovm1ofEZLlJZ6SW2kxEwA/PfTgrvMpzfSfRbF3zhkCQQDf1KTgG0iH6yKCZ+vM
PFyvdq0qS0oush+rl89q445HBVdsCH4DYl8AI2dNZKIU24N4SxelH/SWOtxpGsJA
svf3AkEAiyZWuIbI4UhP1Rz8VfqnMeEl8HAmecH0XybcHj4lsroZtaIsVMZgKb9p
KVA2UeeA5rVtJZpRADJNAyXpZ342GQJBAMUp6eYjAlv/ytE2O2YXkclZ76V+1qSV
cQJU4neUZSK4WM6oGGBgybA0f22UBJX82y0ecICaynd+9+J5mL0nKPcCQDyqrkwT
7hMDFOncOPkTKg/5blg/MsuJf8VSzvnhROsDjR96xHJnvjCi/zNCtfeteaG+9iLn
Kp9b+qk/iO1tp6A=
-----END PRIVATE KEY-----
";

// P12.4
#[test]
fn an_unusable_key_is_reported_with_the_problem() {
    let authority = Authority::new();
    let (one, other) = (authority.signs("one.test"), authority.signs("other.test"));
    let folder = Folder::new("tls-files");
    let certificate = folder.write("certificate.pem", &one.certificate);
    let pkcs8 = one.key.replace("PRIVATE", "ENCRYPTED PRIVATE");
    let legacy =
        one.key.replacen("-----\n", "-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0A\n\n", 1);
    let der = PrivateKeyDer::from_pem_slice(one.key.as_bytes()).unwrap();
    let mut long_der = vec![0x30, 0x82, 0, 0];
    long_der.extend(der.secret_der());
    let keys: [(&[u8], &str); 8] = [
        (pkcs8.as_bytes(), "the private key is encrypted"),
        (legacy.as_bytes(), "the private key is encrypted"),
        (WEAK.as_bytes(), "unsupported private key: RSA with 1024 bits (supported: 2048 to 4096)"),
        (
            one.certificate.as_bytes(),
            "found a certificate instead of a private key; are the two files swapped?",
        ),
        (other.key.as_bytes(), "the private key does not belong to the certificate"),
        (&long_der, "expected PEM, found DER"),
        (b"", "the PEM text contains no private key"),
        (b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n", "unsupported private key"),
    ];
    for (key, problem) in keys {
        let key = folder.write("key.pem", key);
        let blamed = |told: String| {
            assert!(told.contains(problem), "{told}");
            assert!(told.contains(&format!("in {}", key.display())), "{told}");
        };
        blamed(ServerTls::from_files(&certificate, &key).unwrap_err().to_string());
        blamed(authority.client().certificate_files(&certificate, &key).unwrap_err().to_string());
        let text = format!("ssl:0:certKey={}:privateKey={}", certificate.display(), key.display());
        let error: EndpointError = text.parse::<ServerEndpoint>().unwrap_err();
        assert_eq!(error.offset(), text.find(&key.display().to_string()).unwrap(), "{error}");
        blamed(error.to_string());
        let roots = folder.write("roots.pem", &authority.pem);
        let (certificate, key) = (certificate.display(), key.display());
        let text =
            format!("tls:h:1:trustRoots={}:certificate={certificate}:privateKey={key}", roots.display());
        let error: EndpointError = text.parse::<ClientEndpoint>().unwrap_err();
        assert_eq!(error.offset(), text.find(&key.to_string()).unwrap(), "{error}");
        blamed(error.to_string());
    }
    let error = ServerTls::from_files(folder.write("key.pem", &one.key), &certificate).unwrap_err();
    let swapped = "found a private key instead of a certificate; are the two files swapped?";
    assert!(error.to_string().starts_with(swapped), "{error}");
    let chain = format!("{}{}", authority.pem, one.certificate);
    let error = ServerTls::from_pem(chain.as_bytes(), one.key.as_bytes()).unwrap_err();
    let order = "the private key belongs to a later certificate; the certificate of the key must come first";
    assert_eq!(error.to_string(), order);
}

/// Returns the error of a TLS port for a client that begins with these bytes.
fn told_of(first: &'static [u8]) -> String {
    let server = Authority::new().signs("localhost").server();
    run(move |reactor| {
        let (told, trigger) = Deferred::new();
        let trigger = std::cell::Cell::new(Some(trigger));
        let server = server.on_failed_handshake(move |failed| {
            assert_eq!(failed.kind(), HandshakeFailure::NotTls);
            trigger.take().unwrap().callback(failed.to_string());
        });
        let place = "127.0.0.1:0".parse().unwrap();
        let port = ServerEndpoint::tls(place, server).listen(reactor, |_| Echo).unwrap();
        let peer = peer(reactor, address(&port), |mut stream| stream.write_all(first).map(|()| stream));
        // The peer stays connected until the server has reported the error.
        peer.add_callback(move |stream| {
            told.add_callback(move |told| {
                drop(stream);
                Ok(told)
            })
        })
    })
}

// P12.5
#[test]
fn a_tls_port_recognizes_plain_http() {
    for request in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], b"OPTIONS * HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    {
        let told = told_of(request);
        assert!(
            told.ends_with("the peer does not speak TLS: it sent a plain HTTP request to a TLS port"),
            "{told}"
        );
    }
    let told = told_of(b"SSH-2.0-x\r\n");
    assert!(told.ends_with(r#"the peer does not speak TLS: it began with "SSH-2.0-x\r\n""#), "{told}");
}

// P12.5
#[test]
fn a_tls_client_recognizes_plain_http() {
    let client = Authority::new().client();
    let told = run(|reactor| {
        let server = scripted(&Diary::new()).on_data(|transport, _| {
            transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            Ok(())
        });
        let port = listen_once(reactor, server);
        let endpoint = ClientEndpoint::tls("localhost", address(&port).port(), client);
        endpoint.timeout(Duration::from_secs(10)).connect(reactor, Echo).add_both(|outcome| match outcome {
            Ok(_) => panic!("connected"),
            Err(failure) => failure.trap::<HandshakeFailed>(),
        })
    });
    assert!(told.to_string().ends_with("the peer does not speak TLS: it answered in plain HTTP"), "{told}");
}
