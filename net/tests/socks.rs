//! Connections through a SOCKS5 proxy. P25.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod support;

use std::process::Command;
use std::time::Duration;

use support::peers::{free_port, start_listening};
use support::*;
use twistor_deferred::{Deferred, Failure};
use twistor_net::connect::{Socks5, SocksError};
use twistor_net::{
    ClientEndpoint, ConnectRefused, ConnectTimedOut, Conversation, SimulatedNetwork, conversations,
};
use twistor_reactor::{Handle, Reactor};

const SECOND: Duration = Duration::from_secs(1);

/// The request that a proxy expects after the greeting, and its answer. The rest is an echo.
type Step = (&'static [u8], &'static [u8]);

const GRANTED: &[u8] = &[5, 0, 0, 1, 127, 0, 0, 1, 0, 80];
const ASKS_FOR_A_NAME: &[u8] = b"\x05\x01\x00\x03\x0amail.inner\x00\x19";

/// A proxy that has one conversation after another in mind. The last answer and the first data come together.
fn proxy_port(reactor: &Reactor, steps: &'static [Step]) -> u16 {
    let handle = reactor.handle();
    let factory = conversations(move |client: Conversation| {
        let inner = handle.clone();
        handle.spawn(async move {
            for (expected, answer) in steps {
                assert_eq!(client.read_exact(expected.len()).await?, *expected);
                client.write(answer);
            }
            client.write(b"hello");
            client.release()?.run(&inner, Echo)?;
            Ok::<(), Failure>(())
        })
    });
    address(&listen(reactor, factory)).port()
}

fn proxy(reactor: &Reactor, steps: &'static [Step]) -> Socks5 {
    Socks5::new("127.0.0.1", proxy_port(reactor, steps))
}

/// Talks to a server through a proxy.
async fn greets(endpoint: ClientEndpoint, handle: Handle) -> Result<(), Failure> {
    let peer = endpoint.converse(&handle).await?;
    peer.write(b", hello");
    assert_eq!(peer.read_exact(12).await?, b"hello, hello");
    Ok(())
}

fn reaches(steps: &'static [Step], endpoint: impl Fn(Socks5) -> ClientEndpoint) {
    on_every_network(|world| {
        world.run(|reactor| {
            let endpoint = endpoint(proxy(reactor, steps));
            reactor.spawn(greets(endpoint, reactor.handle()))
        });
    });
}

// P25.1
#[test]
fn a_name_is_sent_to_the_proxy() {
    reaches(&[(&[5, 1, 0], &[5, 0]), (ASKS_FOR_A_NAME, GRANTED)], |proxy| {
        ClientEndpoint::by(proxy.to("mail.inner", 25))
    });
}

// P25.1
#[test]
fn addresses_are_sent_as_such() {
    let (four, six): (&[Step], &[Step]) = (
        &[(&[5, 1, 0], &[5, 0]), (&[5, 1, 0, 1, 192, 0, 2, 1, 0, 25], GRANTED)],
        &[
            (&[5, 1, 0], &[5, 0]),
            (
                &[5, 1, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 25],
                b"\x05\x00\x00\x03\x04here\x00\x19",
            ),
        ],
    );
    reaches(four, |proxy| ClientEndpoint::by(proxy.to("192.0.2.1", 25)));
    reaches(six, |proxy| ClientEndpoint::by(proxy.to("::1", 25)));
}

// P25.1
#[test]
fn names_are_looked_up_here_where_that_is_wanted() {
    let steps: &[Step] = &[(&[5, 1, 0], &[5, 0]), (&[5, 1, 0, 1, 192, 0, 2, 7, 0, 25], GRANTED)];
    with_seeds(|reactor| {
        let network = SimulatedNetwork::of(reactor).unwrap();
        network.add_name("mail.inner", ["192.0.2.7".parse().unwrap()]);
        let proxy = proxy(reactor, steps).look_up_names();
        reactor.spawn(greets(ClientEndpoint::by(proxy.to("mail.inner", 25)), reactor.handle()))
    });
}

// P25.2
#[test]
fn a_password_is_sent_where_the_proxy_asks_for_it() {
    let with_password: &[Step] =
        &[(&[5, 2, 0, 2], &[5, 2]), (b"\x01\x02me\x06secret", &[1, 0]), (ASKS_FOR_A_NAME, GRANTED)];
    let without: &[Step] = &[(&[5, 2, 0, 2], &[5, 0]), (ASKS_FOR_A_NAME, GRANTED)];
    for steps in [with_password, without] {
        reaches(steps, |proxy| {
            let proxy = proxy.credentials("me", "secret");
            assert!(!format!("{proxy:?}").contains("secret"));
            ClientEndpoint::by(proxy.to("mail.inner", 25))
        });
    }
}

fn fails(steps: &'static [Step], change: impl Fn(Socks5) -> Socks5) -> Failure {
    simulated(|reactor| {
        let endpoint = ClientEndpoint::by(change(proxy(reactor, steps)).to("mail.inner", 25));
        endpoint.connect(reactor, scripted(&Diary::new())).add_both(|result| Ok(result.unwrap_err()))
    })
}

// P25.4
#[test]
fn a_proxy_is_read_from_its_url() {
    let with_password: &[Step] =
        &[(&[5, 2, 0, 2], &[5, 2]), (b"\x01\x03m@e\x07s:%cret", &[1, 0]), (ASKS_FOR_A_NAME, GRANTED)];
    for user in ["m%40e:s:%cret", "m@e:s%3a%cret"] {
        simulated(|reactor| {
            let port = proxy_port(reactor, with_password);
            let proxy: Socks5 = format!("SOCKS5H://{user}@127.0.0.1:{port}/x").parse().unwrap();
            reactor.spawn(greets(ClientEndpoint::by(proxy.to("mail.inner", 25)), reactor.handle()))
        });
    }
    for url in ["socks5://[::1]", "socks5://[::1]:9", "socks5://a", "socks5h://me@a:9?x"] {
        assert!(url.parse::<Socks5>().is_ok(), "{url}");
    }
    for url in ["a:9", "http://a", "socks4://a", "socks5://", "socks5://:9", "socks5://a:b", "socks5://[::1"]
    {
        assert!(matches!(url.parse::<Socks5>(), Err(SocksError::InvalidUrl(_))), "{url}");
    }
}

// P25.3
#[test]
fn a_refusal_tells_its_reason() {
    let error = |steps, change: fn(Socks5) -> Socks5| fails(steps, change).trap::<SocksError>().unwrap();
    let refused: &[Step] = &[(&[5, 1, 0], &[5, 0]), (ASKS_FOR_A_NAME, &[5, 5, 0, 1, 0, 0, 0, 0, 0, 0])];
    let refused = error(refused, |proxy| proxy);
    assert_eq!(refused, SocksError::Refused { target: "mail.inner:25".to_owned(), reply: 5 });
    assert_eq!(refused.to_string(), "SOCKS proxy cannot connect to mail.inner:25: connection refused");
    assert_eq!(error(&[(&[5, 1, 0], &[5, 0xff])], |proxy| proxy), SocksError::Unauthorized);
    let wrong: &[Step] = &[(&[5, 2, 0, 2], &[5, 2]), (b"\x01\x02me\x05wrong", &[1, 1])];
    assert_eq!(error(wrong, |proxy| proxy.credentials("me", "wrong")), SocksError::Unauthorized);
    assert_eq!(error(&[(&[5], b"HTTP/1.1 400 Bad Request")], |proxy| proxy), SocksError::NotSocks5(b'H'));
    // A method that was not offered, and an unknown kind of address.
    assert_eq!(error(&[(&[5, 1, 0], &[5, 1])], |proxy| proxy), SocksError::InvalidAnswer);
    let kind: &[Step] = &[(&[5, 1, 0], &[5, 0]), (ASKS_FOR_A_NAME, &[5, 0, 0, 9, 0, 0, 0, 0, 0, 0])];
    assert_eq!(error(kind, |proxy| proxy), SocksError::InvalidAnswer);
    let asks: &[Step] = &[(&[5, 2, 0, 2], &[5, 2])];
    assert_eq!(error(asks, |proxy| proxy.credentials("x".repeat(256), "")), SocksError::TooLong);
}

// P25.3, P21.2
#[test]
fn a_proxy_that_is_silent_or_gone_fails_the_connect() {
    simulated(|reactor| {
        let silent = listen(reactor, |_| scripted(&Diary::new()));
        let silent = Socks5::new("127.0.0.1", address(&silent).port());
        let gone = Socks5::new("127.0.0.1", 1);
        let failure = |proxy: Socks5| -> Deferred<Failure> {
            let endpoint = ClientEndpoint::by(proxy.to("mail.inner", 25)).timeout(SECOND);
            endpoint.connect(reactor, Echo).add_both(|result| Ok(result.unwrap_err()))
        };
        twistor_deferred::join((failure(silent), failure(gone))).add_callback(|(silent, gone)| {
            assert!(silent.is::<ConnectTimedOut>());
            assert!(silent.to_string().ends_with("waiting for the answer of the SOCKS proxy"), "{silent}");
            assert!(gone.is::<ConnectRefused>());
        })
    });
}

// P25.5
#[test]
fn a_proxy_that_closes_in_the_middle_fails_the_connect() {
    for begun in [b"\x05".as_slice(), b"\x05\x00\x05\x00\x00\x03\x10half"] {
        let failure = simulated(|reactor| {
            let port = listen(reactor, move |_| {
                scripted(&Diary::new()).on_data(move |transport, _| {
                    transport.write(begun);
                    transport.lose_connection();
                    Ok(())
                })
            });
            let proxy = Socks5::new("127.0.0.1", address(&port).port());
            let endpoint = ClientEndpoint::by(proxy.to("mail.inner", 25));
            endpoint.connect(reactor, Echo).add_both(|result| Ok(result.unwrap_err()))
        });
        // The first answer, of two bytes, is used.
        let left = begun.len() - if begun.len() > 1 { 2 } else { 0 };
        let expected = format!("talking to the SOCKS proxy: unexpected end of data after {left} bytes");
        assert_eq!(failure.to_string(), expected);
    }
}

// P25.5: without a connection to the proxy
#[test]
fn a_host_name_that_is_too_long_fails_at_once() {
    simulated(|reactor| {
        let endpoint = ClientEndpoint::by(Socks5::new("127.0.0.1", 1).to(&"x".repeat(256), 25));
        let connecting = endpoint.connect(reactor, Echo);
        assert!(connecting.is_fired());
        connecting
            .add_both(|result| assert!(matches!(result.unwrap_err().check(), Some(SocksError::TooLong))))
    });
}

/// Greets an echo through the proxy, and tries a port on which no one listens.
fn talks_through(proxy: &Socks5) {
    run(|reactor| {
        let port = address(&listen(reactor, |_| {
            scripted(&Diary::new()).on_data(|transport, data| {
                transport.write(b"hello");
                transport.write(data);
                Ok(())
            })
        }))
        .port();
        let (proxy, handle) = (proxy.clone(), reactor.handle());
        reactor.spawn(async move {
            for host in ["127.0.0.1", "localhost"] {
                greets(ClientEndpoint::by(proxy.to(host, port)), handle.clone()).await?;
            }
            let gone = ClientEndpoint::by(proxy.to("127.0.0.1", closed_port())).converse(&handle).await;
            let refused = gone.unwrap_err().trap::<SocksError>()?;
            assert!(matches!(refused, SocksError::Refused { .. }), "{refused}");
            Ok::<(), Failure>(())
        })
    });
}

// P25.1, P25.2, against a peer that is not ours
#[test]
fn microsocks_is_understood() {
    let port = free_port();
    let mut command = Command::new("microsocks");
    command.args(["-i", "127.0.0.2", "-p", &port.to_string()]);
    let Some(running) = start_listening(&mut command, port) else { return };
    talks_through(&Socks5::new("127.0.0.2", port));
    drop(running);
    let port = free_port();
    let mut command = Command::new("microsocks");
    command.args(["-i", "127.0.0.2", "-u", "me", "-P", "secret", "-p", &port.to_string()]);
    let Some(_running) = start_listening(&mut command, port) else { return };
    talks_through(&Socks5::new("127.0.0.2", port).credentials("me", "secret"));
    for proxy in [Socks5::new("127.0.0.2", port), Socks5::new("127.0.0.2", port).credentials("me", "wrong")] {
        let failure = run(|reactor| {
            let endpoint = ClientEndpoint::by(proxy.to("127.0.0.1", port));
            endpoint.connect(reactor, Echo).add_both(|result| Ok(result.unwrap_err()))
        });
        assert_eq!(failure.trap::<SocksError>().unwrap(), SocksError::Unauthorized);
    }
}

/// The configuration of a dante that serves the loopback.
const DANTE: &str = "
errorlog: /dev/null
internal: 127.0.0.2 port = PORT
external: lo
socksmethod: none
clientmethod: none
user.unprivileged: nobody
client pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }
socks pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }
";

// P25.1, against a peer that is not ours
#[test]
fn dante_is_understood() {
    let (port, folder) = (free_port(), support::folder::Folder::new("dante"));
    let configuration = folder.join("danted.conf");
    std::fs::write(&configuration, DANTE.replace("PORT", &port.to_string())).unwrap();
    let mut command = Command::new("danted");
    command.arg("-f").arg(&configuration).arg("-p").arg(folder.join("pid"));
    let Some(_running) = start_listening(&mut command, port) else { return };
    talks_through(&Socks5::new("127.0.0.2", port));
}
