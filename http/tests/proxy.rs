//! Requests through proxies.

#![cfg(feature = "tls")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "it is test code, which clippy knows only inside #[test]"
)]

#[path = "../../net/tests/support/mod.rs"]
mod support;
#[path = "../../net/tests/tls_support/mod.rs"]
mod tls_support;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use support::{address, listen, on_every_network, run, simulated};
use tls_support::Authority;
use twistor_deferred::{Cancelled, Deferred};
use twistor_http::message::{DecodeError, LimitExceeded, LimitKind};
use twistor_http::{
    Agent, HeaderValue, HttpError, InvalidProxy, Proxy, ProxyFault, ProxyMisbehaved, ProxyRefused,
    ProxyUnreachable, RedirectError, Request, RequestStage, RequestTimedOut, TimeoutKind, Url,
};
use twistor_net::tls::{ClientTls, HandshakeFailed, HandshakeFailure};
use twistor_net::{
    ClientEndpoint, ConnectRefused, ConnectStage, ConnectTimedOut, DnsLookupError, Failure, ListeningPort,
    Protocol, ServerEndpoint, SimulatedNetwork, Transport,
};
use twistor_reactor::Handle;

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHello";

/// How the test proxy treats a request.
enum Deed {
    /// Answers for the server, or with an answer of the proxy.
    Say(String),
    /// Connects to the server and forwards data in both directions.
    Tunnel,
    /// Does the same, with this answer sent one byte per turn.
    Drip(&'static str),
    /// Closes.
    Hang,
}

use Deed::{Drip, Hang, Say, Tunnel};

/// Opens tunnels, and answers all other requests itself.
fn oblige(head: &str) -> Deed {
    if head.starts_with("CONNECT") { Tunnel } else { Say(HELLO.into()) }
}

type Deciding = Rc<dyn Fn(&str) -> Deed>;

/// A proxy whose behaviour a function decides, and that records the heads of its requests.
#[derive(Clone)]
struct TestProxy {
    address: SocketAddr,
    _port: Rc<ListeningPort>,
    seen: Rc<Seen>,
}

#[derive(Default)]
struct Seen {
    heads: RefCell<Vec<String>>,
    opened: Cell<usize>,
    lost: Cell<usize>,
}

impl TestProxy {
    fn new(handle: &Handle, decide: impl Fn(&str) -> Deed + 'static) -> TestProxy {
        TestProxy::at(handle, ServerEndpoint::tcp("127.0.0.1:0".parse().unwrap()), decide)
    }

    fn at(handle: &Handle, endpoint: ServerEndpoint, decide: impl Fn(&str) -> Deed + 'static) -> TestProxy {
        let seen: Rc<Seen> = Rc::default();
        let decide: Deciding = Rc::new(decide);
        let (factory_seen, factory_handle) = (seen.clone(), handle.clone());
        let port = endpoint
            .listen(handle, move |_peer| {
                factory_seen.opened.set(factory_seen.opened.get() + 1);
                ProxySide {
                    handle: factory_handle.clone(),
                    seen: factory_seen.clone(),
                    decide: decide.clone(),
                    received: String::new(),
                    server: Rc::default(),
                }
            })
            .unwrap();
        TestProxy { address: address(&port), _port: Rc::new(port), seen }
    }

    fn proxy(&self) -> Proxy {
        Proxy::new(format!("http://{}", self.address)).unwrap()
    }

    fn heads(&self) -> Vec<String> {
        self.seen.heads.borrow().clone()
    }
}

struct ProxySide {
    handle: Handle,
    seen: Rc<Seen>,
    decide: Deciding,
    received: String,
    server: Rc<RefCell<Option<Transport>>>,
}

impl Protocol for ProxySide {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        if let Some(server) = &*self.server.borrow() {
            server.write(data);
            return Ok(());
        }
        self.received.push_str(std::str::from_utf8(data)?);
        while let Some(end) = self.received.find("\r\n\r\n") {
            let head: String = self.received.drain(..end + 4).collect();
            self.seen.heads.borrow_mut().push(head.clone());
            match (self.decide)(&head) {
                Say(answer) => {
                    transport.write(answer.as_bytes());
                }
                Hang => transport.lose_connection(),
                deed @ (Tunnel | Drip(_)) => {
                    let target: SocketAddr = head.split(' ').nth(1).unwrap().parse()?;
                    let (client, server) = (transport.clone(), self.server.clone());
                    let handle = self.handle.clone();
                    let endpoint = ClientEndpoint::tcp(target.ip().to_string(), target.port());
                    let connected = endpoint.connect(&self.handle, Back(transport.clone()));
                    drop(connected.add_callback(move |transport| {
                        server.replace(Some(transport));
                        match deed {
                            Drip(answer) => drip(handle, client, answer.into(), 0),
                            _ => {
                                client.write(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n");
                            }
                        }
                    }));
                }
            }
        }
        Ok(())
    }

    fn connection_lost(&mut self, _: Failure) {
        self.seen.lost.set(self.seen.lost.get() + 1);
        if let Some(server) = self.server.take() {
            server.lose_connection();
        }
    }
}

/// Accepts connections and never answers.
struct Mute;

impl Protocol for Mute {
    fn data_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
        Ok(())
    }
}

/// Forwards the server's bytes to the client.
struct Back(Transport);

impl Protocol for Back {
    fn data_received(&mut self, _: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.0.write(data);
        Ok(())
    }

    fn connection_lost(&mut self, _: Failure) {
        self.0.lose_connection();
    }
}

fn drip(handle: Handle, transport: Transport, bytes: Vec<u8>, at: usize) {
    if at < bytes.len() && transport.write(&bytes[at..=at]) {
        let next = handle.clone();
        handle.call_later(Duration::ZERO, move || drip(next, transport, bytes, at + 1));
    }
}

/// A server that answers every request with the same bytes, and records the requests.
#[derive(Clone, Default)]
struct Answer(Rc<str>, Rc<RefCell<Vec<String>>>, String);

impl Protocol for Answer {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.2.push_str(std::str::from_utf8(data)?);
        let length =
            self.2.split_once("Content-Length: ").and_then(|(_, rest)| rest.lines().next()?.parse().ok());
        let end = self.2.find("\r\n\r\n").map(|end| end + 4 + length.unwrap_or(0));
        if end == Some(self.2.len()) {
            self.1.borrow_mut().push(std::mem::take(&mut self.2));
            transport.write(self.0.as_bytes());
        }
        Ok(())
    }
}

struct Secure {
    url: String,
    host: SocketAddr,
    heads: Rc<RefCell<Vec<String>>>,
    trust: ClientTls,
    _port: ListeningPort,
}

/// A server over TLS.
fn secure(handle: &Handle, answer: &str) -> Secure {
    let authority = Authority::new();
    let endpoint = ServerEndpoint::tls("127.0.0.1:0".parse().unwrap(), authority.signs("127.0.0.1").server());
    let answer = Answer(answer.into(), Rc::default(), String::new());
    let heads = answer.1.clone();
    let port = endpoint.listen(handle, move |_peer| answer.clone()).unwrap();
    let host = address(&port);
    Secure { url: format!("https://{host}/page"), host, heads, trust: authority.client(), _port: port }
}

/// Fires with the failure, which must be of type `E`.
fn fails<E: std::error::Error + 'static, T: std::fmt::Debug + 'static>(deferred: Deferred<T>) -> Deferred<E> {
    deferred.add_both(|result| result.expect_err("it succeeded").trap::<E>())
}

fn without_credentials(text: impl std::fmt::Display + std::fmt::Debug) {
    let told = format!("{text} {text:?}");
    for secret in ["secret", "c2VjcmV0", "bWU6c2VjcmV0", "cHJveHk6aGlkZGVu", "hidden"] {
        assert!(!told.contains(secret), "{secret} is in {told}");
    }
}

#[test]
fn an_http_url_is_sent_to_the_proxy_in_absolute_form() {
    // H11.2
    on_every_network(|world| {
        world.run(|reactor| {
            let proxy = TestProxy::new(reactor, |_| Say(HELLO.into()));
            let through = Proxy::new(format!("http://proxy:hid%64en@{}", proxy.address)).unwrap();
            without_credentials(format!("{through:?}"));
            let request = Request::get("http://me:secret@nowhere.example:8080/a?b#c")
                .header("Accept-Encoding", "identity")
                .proxy(through);
            without_credentials(format!("{request:?}"));
            request.get_page(reactor).add_callback(move |page| {
                assert_eq!(page.text(), "Hello");
                assert_eq!(page.url().to_string(), "http://nowhere.example:8080/a?b#c");
                assert_eq!(
                    proxy.heads(),
                    ["GET http://nowhere.example:8080/a?b HTTP/1.1\r\nHost: nowhere.example:8080\r\n\
                      User-Agent: twistor/0.1.0\r\nAccept: */*\r\nAuthorization: Basic bWU6c2VjcmV0\r\n\
                      Proxy-Authorization: Basic cHJveHk6aGlkZGVu\r\nConnection: close\r\n\
                      accept-encoding: identity\r\n\r\n"]
                );
            })
        });
    });
}

#[test]
fn an_https_url_uses_a_tunnel_that_keeps_secrets_apart() {
    // H11.2, H11.3
    on_every_network(|world| {
        world.run(|reactor| {
            let server = secure(reactor, HELLO);
            let proxy = TestProxy::new(reactor, |_| Tunnel);
            let through = Proxy::new(format!("proxy:hidden@{}", proxy.address)).unwrap();
            let request = Request::get(server.url.replace("//", "//me:secret@"))
                .header("Proxy-Authorization", "Bearer misplaced")
                .header("Cookie", "a=b")
                .tls(server.trust.clone())
                .proxy(through);
            without_credentials(format!("{request:?}"));
            request.get_page(reactor).add_callback(move |page| {
                assert_eq!(page.text(), "Hello");
                let host = server.host;
                assert_eq!(
                    proxy.heads(),
                    [format!(
                        "CONNECT {host} HTTP/1.1\r\nHost: {host}\r\nProxy-Authorization: Basic \
                         cHJveHk6aGlkZGVu\r\nUser-Agent: twistor/0.1.0\r\n\r\n"
                    )]
                );
                let heads = server.heads.borrow().concat();
                assert!(heads.starts_with("GET /page HTTP/1.1\r\n"), "{heads}");
                assert!(heads.contains("Authorization: Basic bWU6c2VjcmV0\r\n"), "{heads}");
                assert!(!heads.to_lowercase().contains("proxy-"), "{heads}");
            })
        });
    });
}

#[test]
fn authorization_replaces_the_credentials_of_the_proxy_url() {
    // H11.3
    run(|reactor| {
        let server = secure(reactor, HELLO);
        let proxy = TestProxy::new(reactor, oblige);
        let through = Proxy::new(format!("http://proxy:hidden@{}", proxy.address))
            .unwrap()
            .authorization(HeaderValue::from_static("Bearer hidden"));
        without_credentials(format!("{through:?}"));
        let agent = Agent::new(reactor).proxy(through).tls(server.trust.clone());
        let plain = agent.get_page(Request::get("http://nowhere.example/"));
        let url = server.url.clone();
        plain.add_callback(move |_| agent.get_page(Request::get(url))).add_callback(move |_| {
            let heads = proxy.heads();
            assert_eq!(heads.len(), 2);
            for head in heads {
                assert!(head.to_lowercase().contains("proxy-authorization: bearer hidden\r\n"), "{head}");
                assert!(!head.contains("Basic"), "{head}");
            }
            assert!(!server.heads.borrow().concat().contains("hidden"));
        })
    });
}

#[test]
fn a_refused_tunnel_reports_the_status() {
    // H11.4
    for (answer, status, reason) in [
        (
            "HTTP/1.1 407 Who are you\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n",
            407,
            "Who are you",
        ),
        ("HTTP/1.0 502 Bad Gateway\r\n\r\n<html>", 502, "Bad Gateway"),
        ("HTTP/1.1 302 Found\r\nLocation: http://elsewhere.example/\r\n\r\n", 302, "Found"),
    ] {
        run(move |reactor| {
            let server = secure(reactor, HELLO);
            let proxy = TestProxy::new(reactor, move |_| Say(answer.into()));
            let through = Proxy::new(format!("http://proxy:hidden@{}", proxy.address)).unwrap();
            let request = Request::get(&server.url).proxy(through).tls(server.trust.clone());
            fails::<ProxyRefused, _>(request.get_page(reactor)).add_callback(move |refused| {
                without_credentials(&refused);
                assert_eq!((refused.status.as_u16(), refused.reason.as_str()), (status, reason));
                assert_eq!(refused.headers.get("proxy-authenticate").is_some(), status == 407);
                assert_eq!(
                    refused.to_string(),
                    format!(
                        "the proxy http://{} refuses a tunnel to {}: {status} {reason}",
                        proxy.address, server.host
                    )
                );
            })
        });
    }
    // For an http URL, it is a normal response.
    run(|reactor| {
        let proxy = TestProxy::new(reactor, |_| {
            Say("HTTP/1.1 407 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into())
        });
        let request = Request::get("http://nowhere.example/").proxy(proxy.proxy());
        fails::<HttpError, _>(request.get_page(reactor)).add_callback(move |error| {
            assert_eq!(error.status.as_u16(), 407);
            drop(proxy);
        })
    });
}

#[test]
fn an_invalid_answer_of_a_proxy_is_reported_with_its_fault() {
    // H11.4
    let malformed: fn(&ProxyFault) -> bool =
        |fault| matches!(fault, ProxyFault::Answer(DecodeError::Malformed(_)));
    type Case = (Deed, fn(&ProxyFault) -> bool);
    let cases: Vec<Case> = vec![
        (Hang, |fault| *fault == ProxyFault::Closed),
        (Say("HTTP/1.1 200 OK\r\n\r\nand more".into()), |fault| *fault == ProxyFault::UnaskedBytes),
        (Say("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc".into()), |fault| {
            *fault == ProxyFault::UnaskedBytes
        }),
        (Say("SSH-2.0-OpenSSH_9.2\r\n".into()), malformed),
        (Say("HTTP/1.1 200 OK\r\nbad header : x\r\n\r\n".into()), malformed),
        (Say("HTTP/1.1 101 Switching\r\n\r\n".into()), malformed),
        (Say("HTTP/1.1 100 Continue\r\n\r\n".repeat(20)), malformed),
        (Say(format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(100_000))), |fault| {
            matches!(
                fault,
                ProxyFault::Answer(DecodeError::LimitExceeded(LimitExceeded {
                    kind: LimitKind::HeadSize,
                    ..
                }))
            )
        }),
        (Say(format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(101))), |fault| {
            matches!(
                fault,
                ProxyFault::Answer(DecodeError::LimitExceeded(LimitExceeded {
                    kind: LimitKind::HeaderCount,
                    ..
                }))
            )
        }),
    ];
    for (deed, expected) in cases {
        let deed = Cell::new(Some(deed));
        run(move |reactor| {
            let server = secure(reactor, HELLO);
            let proxy = TestProxy::new(reactor, move |_| deed.take().unwrap());
            let request = Request::get(&server.url).proxy(proxy.proxy()).tls(server.trust.clone());
            let (handle, seen) = (Handle::clone(reactor), proxy.seen.clone());
            fails::<ProxyMisbehaved, _>(request.get_page(reactor)).add_callback(move |error| {
                assert!(expected(&error.fault), "{error:?}");
                assert!(error.to_string().starts_with(&format!("no tunnel to {} through", server.host)));
                drop(proxy);
                when(handle, move || seen.lost.get() == 1)
            })
        });
    }
}

/// Fires once `holds` returns true.
fn when(handle: Handle, holds: impl Fn() -> bool + 'static) -> Deferred<()> {
    let looking = handle.clone();
    handle.spawn(async move {
        while !holds() {
            looking.sleep(Duration::from_millis(1)).await?;
        }
        Ok::<(), Failure>(())
    })
}

#[test]
fn a_proxys_answer_may_drip_and_follow_interim_ones() {
    // H11.4
    for answer in [
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.0 200\r\nVia: x\r\n\r\n",
        // A tunnel has no body, whatever its head says (RFC 9110, section 9.3.6).
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Tunnel\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 Tunnel\r\nContent-Length: 10\r\n\r\n",
    ] {
        run(move |reactor| {
            let server = secure(reactor, HELLO);
            let proxy = TestProxy::new(reactor, move |_| Drip(answer));
            let request = Request::get(&server.url).proxy(proxy.proxy()).tls(server.trust.clone());
            request.get_page(reactor).add_callback(move |page| {
                assert_eq!(page.text(), "Hello");
                drop((server, proxy));
            })
        });
    }
}

#[test]
fn an_unreachable_proxy_is_reported_with_the_reason() {
    // H11.4
    simulated(|reactor| {
        let port = listen(reactor, |_peer| Answer::default());
        let closed = address(&port);
        drop(port.stop_listening());
        let get = |url: &str, proxy: &str| {
            let proxy = Proxy::new(proxy).unwrap();
            fails::<ProxyUnreachable, _>(Request::get(url).proxy(proxy).get_page(reactor))
        };
        let proxy = format!("http://proxy:hidden@{closed}");
        let refused = ["http://nowhere.example/", "https://nowhere.example/"].map(|url| {
            get(url, &proxy).add_callback(move |error| {
                without_credentials(&error);
                assert_eq!(error.proxy, format!("http://{closed}"));
                assert_eq!(error.source.downcast_ref(), Some(&ConnectRefused::new(closed)));
            })
        });
        let unknown = get("https://nowhere.example/", "proxy.example:3128").add_callback(|error| {
            assert_eq!(error.proxy, "http://proxy.example:3128");
            assert!(error.source.is::<DnsLookupError>(), "{error}");
        });
        let all = refused.into_iter().chain([unknown]);
        twistor_deferred::gather_results(all).add_callback(|_| ())
    });
}

#[test]
fn timeouts_and_cancelling_apply_to_opening_a_tunnel() {
    // H11.5, H4.7, H9.1
    simulated(|reactor| {
        let url = "https://192.0.2.1/";
        let silent = TestProxy::new(reactor, |_| Say("HTTP/1.1 200".into()));
        let request = || Request::get(url).proxy(silent.proxy());
        let handle = Handle::clone(reactor);
        let connecting = request().connect_timeout(Duration::from_secs(5)).get_page(reactor);
        let whole = request().timeout(Duration::from_secs(3)).get_page(reactor);
        let cancelled = request().get_page(reactor);
        let canceller = cancelled.canceller();
        let seen = silent.seen.clone();
        when(handle.clone(), move || seen.heads.borrow().len() == 3)
            .add_callback(move |()| {
                canceller.cancel();
                fails::<Cancelled, _>(cancelled)
            })
            .add_callback(move |_| fails::<RequestTimedOut, _>(whole))
            .add_callback(move |_| fails::<ConnectTimedOut, _>(connecting))
            .add_callback(move |_| when(handle, move || silent.seen.lost.get() == 3))
    });
}

/// Never reads.
struct Deaf;

impl Protocol for Deaf {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        transport.pause_producing();
        Ok(())
    }

    fn data_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
        Ok(())
    }
}

#[test]
fn a_request_that_times_out_reports_the_stage() {
    // H4.7
    simulated(|reactor| {
        let network = SimulatedNetwork::of(reactor).unwrap();
        network.isolate([192, 0, 2, 9].into());
        let (mute, deaf) = (listen(reactor, |_peer| Mute), listen(reactor, |_peer| Deaf));
        let half =
            TestProxy::new(reactor, |_| Say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHello".into()));
        let silent = TestProxy::new(reactor, |_| Say(String::new()));
        let origin = |port: &ListeningPort| format!("http://{}", address(port));
        let (to_mute, to_deaf) = (origin(&mute), origin(&deaf));
        let (to_half, to_silent) = (format!("http://{}", half.address), format!("http://{}", silent.address));
        let agent = Agent::new(reactor).max_connections(1);
        let busy = agent.get_page(&to_mute);
        let through = Request::get(&to_mute).proxy(silent.proxy());
        let tunnel = Request::get("https://192.0.2.1/").proxy(silent.proxy());
        let sending = Request::post(&to_deaf).body(vec![b'x'; 300_000]);
        let from_secrets = format!("http://user:hidden@192.0.2.9/?{}", "hidden");
        let cases = [
            (Request::get(&to_mute), true, &to_mute, RequestStage::Queue, "a connection to be free"),
            (
                Request::get(&from_secrets),
                true,
                &"http://192.0.2.9:80".to_owned(),
                RequestStage::Connect(ConnectStage::Answer),
                "a connection: an answer",
            ),
            (
                tunnel,
                false,
                &format!("https://192.0.2.1:443 through the proxy {to_silent}"),
                RequestStage::Connect(ConnectStage::Tunnel),
                "a connection: the proxy to answer CONNECT",
            ),
            (sending, false, &to_deaf, RequestStage::Send, "the request to be taken in"),
            (Request::get(&to_mute), false, &to_mute, RequestStage::Head, "the response head"),
            (
                through,
                true,
                &format!("{to_mute} through the proxy {to_silent}"),
                RequestStage::Head,
                "the response head",
            ),
            (Request::get(&to_half), true, &to_half, RequestStage::Body, "the rest of the response"),
        ];
        let after = Duration::from_secs(5);
        let all = cases.map(|(request, pooled, target, stage, what)| {
            let request = request.timeout(after);
            let page = if pooled { agent.get_page(request) } else { request.get_page(reactor) };
            let target = target.clone();
            fails::<RequestTimedOut, _>(page).add_callback(move |late| {
                let told = format!("request to {target} timed out after 5s while waiting for {what}");
                assert_eq!(late.to_string(), told);
                assert_eq!(
                    (late.kind, late.target, late.stage, late.after),
                    (TimeoutKind::Total, target, stage, after)
                );
            })
        });
        let idle = Request::get(&to_half).idle_timeout(after).get_page(reactor);
        let idle = fails::<RequestTimedOut, _>(idle).add_callback(move |late| {
            let told = format!("no data from {to_half} for 5s while waiting for the rest of the response");
            assert_eq!(late.to_string(), told);
        });
        let all = all.into_iter().chain([idle]);
        twistor_deferred::gather_results(all).add_callback(move |_| {
            drop(busy);
            drop((mute, deaf, half, silent, agent));
        })
    });
}

#[test]
fn a_connect_that_times_out_reports_the_stage() {
    // H11.5, H4.7
    simulated(|reactor| {
        let network = SimulatedNetwork::of(reactor).unwrap();
        network.isolate([192, 0, 2, 9].into());
        let port = listen(reactor, |_peer| Mute);
        let mute = address(&port);
        let silent = TestProxy::new(reactor, |_| Say(String::new()));
        let obliging = TestProxy::new(reactor, oblige);
        let plain = |address: SocketAddr| format!("http://{address}");
        let behind = |proxy: &TestProxy| format!("https://{mute} through the proxy {}", plain(proxy.address));
        let (http, https) = (format!("http://{mute}/"), format!("https://{mute}/"));
        let (unreached, secured) = ("http://192.0.2.9:3128", format!("https://{mute}"));
        let cases = [
            (&http, unreached, format!("the proxy {unreached}"), ConnectStage::Answer, "an answer"),
            (&https, unreached, format!("the proxy {unreached}"), ConnectStage::Answer, "an answer"),
            (&http, &*secured, format!("the proxy {secured}"), ConnectStage::Handshake, "the TLS handshake"),
            (
                &https,
                &*plain(silent.address),
                behind(&silent),
                ConnectStage::Tunnel,
                "the proxy to answer CONNECT",
            ),
            (
                &https,
                &*plain(obliging.address),
                behind(&obliging),
                ConnectStage::Handshake,
                "the TLS handshake",
            ),
        ];
        let stranger = Authority::new().client();
        let all = cases.map(|(url, proxy, target, stage, what)| {
            let through = Proxy::new(proxy).unwrap().tls(stranger.clone());
            let request = Request::get(url).proxy(through).tls(stranger.clone());
            let page = request.connect_timeout(Duration::from_secs(5)).get_page(reactor);
            fails::<ConnectTimedOut, _>(page).add_callback(move |late| {
                let told = format!("connecting to {target} timed out after 5s while waiting for {what}");
                assert_eq!(late.to_string(), told);
                assert_eq!(late, ConnectTimedOut::new(target, stage, Some(Duration::from_secs(5))));
            })
        });
        twistor_deferred::gather_results(all).add_callback(move |_| drop((port, silent, obliging)))
    });
}

#[test]
fn a_silent_server_behind_a_tunnel_ends_the_handshake() {
    // P23.8, H11.5
    let limit = Duration::from_secs(3);
    simulated(|reactor| {
        let port = listen(reactor, |_peer| Mute);
        let (mute, proxy) = (address(&port), TestProxy::new(reactor, oblige));
        let client = Authority::new().client().handshake_timeout(limit);
        let (handle, by_proxy) = (reactor.handle(), proxy.proxy());
        reactor.spawn(async move {
            let check = |failure: Failure, begin: std::time::Instant, expected: &str| {
                assert_eq!(failure.to_string(), expected);
                let failed = failure.trap::<HandshakeFailed>().unwrap();
                assert_eq!(failed.kind(), HandshakeFailure::TimedOut);
                assert_eq!((handle.now() - begin).as_secs(), limit.as_secs());
            };
            // A tunnel that the program makes, secured in place.
            let endpoint = ClientEndpoint::tcp("127.0.0.1", proxy.address.port());
            let peer = endpoint.converse(&handle).await?;
            peer.write(format!("CONNECT {mute} HTTP/1.1\r\nHost: {mute}\r\n\r\n").as_bytes());
            while peer.read_line(100).await? != b"" {}
            let begin = handle.now();
            let failure = peer.transport().start_tls("mail.test", &client).await.unwrap_err();
            let late = format!("TLS handshake with {} failed: timed out after 3s", proxy.address);
            check(failure, begin, &late);
            // The agent's tunnel, if no connect timeout takes the place of the handshake's.
            let request = Request::get(format!("https://{mute}/")).proxy(by_proxy).tls(client);
            let begin = handle.now();
            let page = request.connect_timeout(Duration::MAX).get_page(&handle).await;
            let route = format!("https://{mute} through the proxy http://{}", proxy.address);
            check(page.unwrap_err(), begin, &format!("{route}: {late}"));
            drop(port);
            Ok::<(), Failure>(())
        })
    });
}

#[test]
fn an_untrusted_server_is_refused_through_a_tunnel_too() {
    // H11.2
    run(|reactor| {
        let (server, stranger) = (secure(reactor, HELLO), Authority::new());
        let proxy = TestProxy::new(reactor, |_| Tunnel);
        let request = Request::get(&server.url).proxy(proxy.proxy()).tls(stranger.client());
        request.get_page(reactor).add_both(move |result| {
            let failure = result.unwrap_err();
            let (host, proxy) = (server.host, proxy.address);
            let told = failure.to_string();
            assert!(
                told.starts_with(&format!("https://{host} through the proxy http://{proxy}: ")),
                "{told}"
            );
            let failed = failure.trap::<HandshakeFailed>()?;
            assert_eq!(failed.kind(), HandshakeFailure::BadCertificate);
            assert_eq!(server.heads.borrow().len(), 0);
            Ok(())
        })
    });
}

#[test]
fn an_agent_keeps_connections_by_their_route() {
    // H11.5, H5.7
    run(|reactor| {
        let server = secure(reactor, HELLO);
        let proxy = TestProxy::new(reactor, oblige);
        let other = Proxy::new(format!("http://other:user@{}", proxy.address)).unwrap();
        let agent = Agent::new(reactor).proxy(proxy.proxy()).tls(server.trust.clone());
        let handle = Handle::clone(reactor);
        handle.spawn(async move {
            let get = |url: &str| agent.get_page(Request::get(url));
            // One connection for all origins, because the proxy receives whole requests.
            get("http://one.example/").await?;
            get("http://two.example/").await?;
            assert_eq!((proxy.seen.opened.get(), agent.connections()), (1, (1, 1)));
            get(&server.url).await?;
            get(&server.url).await?;
            assert_eq!((proxy.seen.opened.get(), agent.connections()), (2, (2, 2)));
            assert_eq!((proxy.heads().len(), server.heads.borrow().len()), (3, 2));
            // Other credentials for the proxy share no connection, and neither do direct requests.
            agent.get_page(Request::get("http://one.example/").proxy(other.clone())).await?;
            agent.get_page(Request::get("http://one.example/").proxy(other)).await?;
            assert_eq!((proxy.seen.opened.get(), agent.connections()), (3, (3, 3)));
            agent.get_page(Request::get(&server.url).proxy(Proxy::none())).await?;
            assert_eq!((proxy.seen.opened.get(), agent.connections()), (3, (4, 4)));
            let third = proxy.proxy().authorization(HeaderValue::from_static("Bearer third"));
            agent.get_page(Request::get("http://one.example/").proxy(third)).await?;
            assert_eq!((proxy.seen.opened.get(), agent.connections()), (4, (5, 5)));
            Ok::<(), Failure>(())
        })
    });
}

#[test]
fn the_connection_limit_applies_to_a_proxy_and_failed_tunnels() {
    // H11.5, H5.8
    run(|reactor| {
        let proxy = TestProxy::new(reactor, |_| Say("HTTP/1.1 503 Busy\r\n\r\n".into()));
        let agent = Agent::new(reactor).proxy(proxy.proxy()).max_connections(2);
        let pages =
            (0..20).map(|_| fails::<ProxyRefused, _>(agent.get_page(Request::get("https://192.0.2.1/"))));
        let pages: Vec<_> = pages.collect();
        twistor_deferred::gather_results(pages).add_callback(move |refusals| {
            assert_eq!((refusals.len(), proxy.seen.opened.get(), agent.connections()), (20, 20, (0, 0)));
        })
    });
}

#[test]
fn each_redirect_takes_the_route_of_its_own_url() {
    // H11.2, H3.6
    run(|reactor| {
        let server = secure(reactor, HELLO);
        let there = server.url.clone();
        let proxy = TestProxy::new(reactor, move |head| {
            if head.starts_with("CONNECT") {
                return Tunnel;
            }
            Say(format!("HTTP/1.1 302 Found\r\nLocation: {there}\r\nContent-Length: 0\r\n\r\n"))
        });
        let through = Proxy::new(format!("http://proxy:hidden@{}", proxy.address)).unwrap();
        let agent = Agent::new(reactor).proxy(through.clone()).tls(server.trust.clone());
        let page = agent.get_page(Request::get("http://me:secret@nowhere.example/").max_redirects(1));
        page.add_callback(move |page| {
            assert_eq!(page.text(), "Hello");
            assert_eq!(proxy.heads().len(), 2);
            let heads = server.heads.borrow().concat();
            assert!(!heads.contains("Authorization"), "{heads}");
            // The host of an exception is contacted directly.
            let except = through.except("127.0.0.1");
            let request = Request::get("http://nowhere.example/").proxy(except);
            agent.get_page(request).add_callback(move |_| {
                assert_eq!((proxy.heads().len(), server.heads.borrow().len()), (3, 2));
            })
        })
    });
    run(|reactor| {
        let proxy = TestProxy::new(reactor, |_| {
            Say("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n".into())
        });
        let request = Request::get("http://nowhere.example/").max_redirects(0).proxy(proxy.proxy());
        fails::<RedirectError, _>(request.get_page(reactor)).add_callback(move |_| drop(proxy))
    });
}

#[test]
fn the_connection_to_a_proxy_can_use_tls() {
    // H11.2
    on_every_network(|world| {
        world.run(|reactor| {
            let server = secure(
                reactor,
                &format!("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n{}", "x".repeat(300_000)),
            );
            let authority = Authority::new();
            let endpoint =
                ServerEndpoint::tls("127.0.0.1:0".parse().unwrap(), authority.signs("127.0.0.1").server());
            let proxy = TestProxy::at(reactor, endpoint, oblige);
            let url = format!("https://{}", proxy.address);
            let trusted = Proxy::new(&url).unwrap().tls(authority.client());
            let agent = Agent::new(reactor).proxy(trusted).tls(server.trust.clone());
            let handle = Handle::clone(reactor);
            handle.spawn(async move {
                assert_eq!(agent.get_page(Request::get("http://nowhere.example/")).await?.text(), "Hello");
                // More than the buffers can hold, in both directions.
                let large = Request::post(&server.url).body("y".repeat(300_000));
                assert_eq!(agent.get_page(large).await?.body().len(), 300_000);
                assert_eq!(agent.get_page(Request::get(&server.url)).await?.body().len(), 300_000);
                let heads = proxy.heads();
                assert_eq!(heads.len(), 2, "{heads:?}");
                assert!(heads[0].starts_with("GET http://nowhere.example/ HTTP/1.1\r\n"), "{heads:?}");
                assert!(heads[1].starts_with(&format!("CONNECT {} HTTP/1.1\r\n", server.host)), "{heads:?}");
                // An untrusted proxy is refused.
                let stranger = Proxy::new(&url).unwrap().tls(Authority::new().client());
                let request = Request::get(&server.url).proxy(stranger);
                let error = fails::<ProxyUnreachable, _>(agent.get_page(request)).await?;
                assert!(error.source.is::<HandshakeFailed>(), "{error}");
                Ok::<(), Failure>(())
            })
        });
    });
}

#[test]
fn the_environment_is_read_as_curl_reads_it() {
    // H11.6
    let through = |vars: &[(&str, &str)], url: &str| {
        let proxy = Proxy::from_vars(|name| {
            vars.iter().find(|(var, _)| *var == name).map(|(_, value)| (*value).to_owned())
        });
        proxy.of(&Url::parse(url).unwrap()).unwrap().map(str::to_owned)
    };
    let (a, b) = (Some("http://a:1".to_owned()), Some("http://b:2".to_owned()));
    let (plain, secure) = ("http://www.example.org/", "https://www.example.org/");
    type Case<'a> = (&'a [(&'a str, &'a str)], Option<&'a str>, Option<&'a str>);
    let cases: &[Case<'_>] = &[
        (&[], None, None),
        (&[("http_proxy", "a:1")], Some("a"), None),
        (&[("http_proxy", "http://a:1/ignored?x#y")], Some("a"), None),
        // For a CGI program, HTTP_PROXY is a header that a stranger may have sent.
        (&[("HTTP_PROXY", "a:1")], None, None),
        (&[("https_proxy", "a:1")], None, Some("a")),
        (&[("HTTPS_PROXY", "a:1")], None, Some("a")),
        (&[("HTTPS_PROXY", "a:1"), ("https_proxy", "b:2")], None, Some("b")),
        (&[("HTTPS_PROXY", "a:1"), ("https_proxy", "")], None, Some("a")),
        (&[("all_proxy", "a:1")], Some("a"), Some("a")),
        (&[("ALL_PROXY", "a:1"), ("https_proxy", "b:2")], Some("a"), Some("b")),
        (&[("ALL_PROXY", "a:1"), ("all_proxy", "b:2")], Some("b"), Some("b")),
        (&[("all_proxy", "a:1"), ("no_proxy", "example.org")], None, None),
        (&[("all_proxy", "a:1"), ("NO_PROXY", "example.org")], None, None),
        (
            &[("all_proxy", "a:1"), ("NO_PROXY", "example.org"), ("no_proxy", "example.com")],
            Some("a"),
            Some("a"),
        ),
    ];
    for (vars, http, https) in cases {
        let named = |name: &Option<&str>| match *name {
            Some("a") => a.clone(),
            Some(_) => b.clone(),
            None => None,
        };
        assert_eq!(through(vars, plain), named(http), "{vars:?}");
        assert_eq!(through(vars, secure), named(https), "{vars:?}");
    }
}

#[test]
fn a_proxy_of_another_kind_fails_only_the_requests_using_it() {
    // H11.1
    let proxy = Proxy::from_vars(|name| match name {
        "http_proxy" => Some("a:1".to_owned()),
        "all_proxy" => Some("socks4://me:secret@b:1".to_owned()),
        "no_proxy" => Some("near.test".to_owned()),
        _ => None,
    });
    let of = |url: &str| proxy.of(&Url::parse(url).unwrap()).map(|proxy| proxy.map(str::to_owned));
    assert_eq!(of("http://far.test/"), Ok(Some("http://a:1".to_owned())));
    assert_eq!(of("https://near.test/"), Ok(None));
    let error = of("https://far.test/").unwrap_err();
    assert_eq!(error.variable(), Some("all_proxy"));
    assert_eq!(
        error.to_string(),
        "invalid proxy in all_proxy: it begins with socks4:, not with http, https, socks5 or socks5h"
    );
    assert!(!format!("{proxy:?}").contains("secret"), "{proxy:?}");
    run(|reactor| {
        let page = Request::get("https://far.test/").proxy(proxy).get_page(reactor);
        page.add_both(|result| assert!(result.unwrap_err().is::<InvalidProxy>()))
    });
}

#[test]
fn the_url_of_a_proxy_is_read_as_curl_reads_it() {
    // H11.6
    let url: Url = "http://example.org/".parse().unwrap();
    for (text, origin) in [
        ("proxy", "http://proxy:1080"),
        ("proxy:80", "http://proxy:80"),
        ("http://proxy", "http://proxy:1080"),
        ("http://proxy/", "http://proxy:1080"),
        ("http://me:a%40b@proxy", "http://proxy:1080"),
        ("HTTP://Proxy:80", "http://proxy:80"),
        ("https://proxy", "https://proxy:443"),
        ("https://proxy:8443", "https://proxy:8443"),
        ("http://[::1]", "http://[::1]:1080"),
        ("[::1]:8080", "http://[::1]:8080"),
    ] {
        let proxy = Proxy::new(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let through = proxy.of(&url).unwrap().map(str::to_owned);
        assert_eq!(through.as_deref(), Some(origin), "{text}");
    }
    for text in [
        "",
        "socks4://a:1",
        "http://me:secret@",
        "me:sec@ret@proxy:x",
        "a:99999",
        "a b",
        "http://me:secret@a:0",
    ] {
        let error = Proxy::new(text).expect_err(text);
        assert!(error.to_string().starts_with("invalid proxy in the text: "), "{error}");
        assert!(!format!("{error} {error:?}").contains("sec"), "{error:?}");
    }
}

#[test]
fn exceptions_are_read_as_curl_reads_them() {
    // H11.6
    for (list, host, direct) in [
        ("*", "example.org", true),
        ("example.org", "example.org", true),
        ("example.org", "www.example.org", true),
        (".example.org", "example.org", true),
        ("EXAMPLE.org.", "www.example.org", true),
        ("example.org", "example.org.", true),
        ("example.org", "notexample.org", false),
        ("www.example.org", "example.org", false),
        ("a, b example.org", "example.org", true),
        (",,example.org,", "example.org", true),
        ("", "example.org", false),
        (".", "example.org", false),
        ("127.0.0.1", "127.0.0.1", true),
        ("127.0.0.1", "127.0.0.2", false),
        ("127.0.0.0/8", "127.9.9.9", true),
        ("127.0.0.0/8", "128.0.0.1", false),
        ("0.0.0.0/0", "9.9.9.9", true),
        ("127.0.0.0/33", "127.0.0.1", false),
        ("127.0.0.0/x", "127.0.0.1", false),
        ("::1", "[::1]", true),
        ("[::1]", "[::1]", true),
        ("fe80::/10", "[febf::1]", true),
        ("fe80::/10", "[fec0::1]", false),
        ("::/0", "127.0.0.1", false),
        ("0.0.1", "127.0.0.1", false),
    ] {
        let proxy = Proxy::new("proxy").unwrap().except(list);
        let url = Url::parse(&format!("http://{host}/")).unwrap();
        assert_eq!(proxy.of(&url).unwrap().is_none(), direct, "{host} with {list:?}");
    }
}
