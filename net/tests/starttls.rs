//! Securing a live connection by TLS, in place: P23.

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod support;
mod tls_support;

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

use support::child::Running;
use support::*;
use tls_support::{Authority, openssl};
use twistor_deferred::{Cancelled, Deferred};
use twistor_net::connect::{Connecting, Tls};
use twistor_net::framing::Lines;
use twistor_net::tls::{ClientTls, HandshakeFailed, HandshakeFailure, ServerTls};
use twistor_net::{
    ClientEndpoint, ConnectStage, ConnectTimedOut, ConnectionAborted, ConnectionLost, ConnectionReleased,
    Conversation, Failure, FrameReceiver, Framed, IdleTimeout, Limited, Protocol, Transport, conversations,
    part_of,
};
use twistor_reactor::{Handle, Reactor, defer_later};

const SECOND: Duration = Duration::from_secs(1);

/// The side of a server, a little like SMTP's. It notes each line it serves, and whether that was secured.
struct Mail {
    tls: ServerTls,
    handle: Handle,
    secured: bool,
    served: Rc<RefCell<Vec<String>>>,
}

impl FrameReceiver for Mail {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        transport.write(b"220 ready\r\n");
        Ok(())
    }

    fn frame_received(&mut self, transport: &Transport, line: &[u8]) -> Result<(), Failure> {
        let line = String::from_utf8_lossy(line).into_owned();
        match &*line {
            "STARTTLS" => {
                transport.write(b"220 go ahead\r\n");
                self.begin(transport);
            }
            // The same, but not at once: what follows is kept back meanwhile.
            "LATER" => {
                transport.pause_producing();
                let later = defer_later(&self.handle, SECOND / 10, || Ok(()));
                transport.deliver(later, |mail: &mut Mail, transport, _| {
                    transport.write(b"220 go ahead\r\n");
                    mail.begin(transport);
                    transport.resume_producing();
                    Ok(())
                });
            }
            "QUIT" => {
                transport.write(b"221 bye\r\n");
                transport.lose_connection();
            }
            line if line.starts_with("EHLO") => {
                transport.write(b"250-here\r\n250 STARTTLS\r\n");
            }
            line => {
                let tls = transport.tls().is_some();
                assert_eq!(tls, self.secured, "{line}");
                self.served.borrow_mut().push(format!("{line} {tls}"));
                transport.write(format!("250 {line} {tls}\r\n").as_bytes());
            }
        }
        Ok(())
    }

    fn connection_lost(&mut self, reason: Failure) {
        self.served.borrow_mut().push(format!("lost: {reason}"));
    }
}

impl Mail {
    fn begin(&self, transport: &Transport) {
        let peer = transport.peer();
        transport.deliver(transport.accept_tls(&self.tls), move |mail: &mut Mail, transport, secured| {
            mail.secured = secured.is_ok();
            assert!(secured.is_err() || transport.peer() == peer);
            secured
        });
    }
}

/// Listens with all wrappers of this crate; returns the port, and the lines that its connections serve.
fn serve(reactor: &Reactor, tls: ServerTls) -> (u16, Rc<RefCell<Vec<String>>>) {
    let (served, handle) = (Rc::default(), reactor.handle());
    let noted = Rc::clone(&served);
    let factory = Limited::new(move |_| {
        let (tls, handle, served) = (tls.clone(), handle.clone(), Rc::clone(&noted));
        let framed = Framed::new(Lines::new(), Mail { tls, handle: handle.clone(), secured: false, served });
        IdleTimeout::new(&handle, 1000 * SECOND, Box::new(framed) as Box<dyn Protocol>)
    });
    (address(&listen(reactor, factory)).port(), served)
}

fn converse(reactor: &Reactor, port: u16) -> Deferred<Conversation> {
    ClientEndpoint::tcp("127.0.0.1", port).converse(reactor)
}

async fn line(peer: &Conversation) -> Result<String, Failure> {
    Ok(String::from_utf8(peer.read_line(200).await?)?)
}

async fn ask(peer: &Conversation, question: &str) -> Result<String, Failure> {
    peer.write(format!("{question}\r\n").as_bytes());
    line(peer).await
}

fn handshake_failure(failure: &Failure) -> HandshakeFailure {
    failure.check::<HandshakeFailed>().unwrap_or_else(|| panic!("{failure:?}")).kind()
}

/// Runs a client's conversation with the server, on every network.
fn talks<F>(talk: F)
where
    F: AsyncFn(Conversation, ClientTls, Rc<RefCell<Vec<String>>>, Handle) -> Result<(), Failure> + 'static,
{
    let (authority, talk) = (Authority::new(), Rc::new(talk));
    on_every_network(|world| {
        world.run(|reactor| {
            let (port, served) = serve(reactor, authority.signs("mail.test").server());
            let (peer, tls, talk) = (converse(reactor, port), authority.client(), talk.clone());
            let handle = reactor.handle();
            reactor.spawn(async move { talk(peer.await?, tls, served, handle).await })
        });
    });
}

// P23.1
#[test]
fn a_live_connection_is_secured_on_both_sides() {
    talks(async |peer, tls, served, _| {
        assert_eq!(line(&peer).await?, "220 ready");
        assert_eq!(ask(&peer, "one").await?, "250 one false");
        assert_eq!(ask(&peer, "STARTTLS").await?, "220 go ahead");
        let (before, transport) = (peer.transport().peer(), peer.transport().clone());
        let securing = transport.start_tls("mail.test", &tls);
        assert!(transport.tls().is_none() && !securing.is_fired());
        assert_eq!(transport.release().unwrap_err().kind(), std::io::ErrorKind::ResourceBusy);
        securing.await?;
        assert!(transport.tls().is_some());
        assert_eq!(transport.peer(), before);
        assert_eq!(ask(&peer, "two").await?, "250 two true");
        assert_eq!(ask(&peer, "QUIT").await?, "221 bye");
        assert_eq!(peer.read_to_end(9).await?, b"");
        assert_eq!(served.borrow()[..2], ["one false", "two true"]);
        Ok(())
    });
}

// P23.2: CVE-2011-0411 and its like
#[test]
fn injected_commands_are_never_served() {
    for injected in ["STARTTLS\r\nMAIL injected\r\n", "STARTTLS\r\nMAIL inj", "LATER\r\nMAIL injected\r\n"] {
        talks(async move |peer, tls, served, _| {
            assert_eq!(line(&peer).await?, "220 ready");
            peer.write(injected.as_bytes());
            assert_eq!(line(&peer).await?, "220 go ahead");
            // An attacker passes on the client's bytes from here on.
            let outcome = peer.transport().start_tls("mail.test", &tls).await;
            assert!(outcome.is_err());
            peer.write(b"MAIL from the client\r\n");
            peer.write(b"\r\n");
            assert_eq!(peer.read_to_end(100).await.unwrap_or_default(), b"");
            let served = served.borrow();
            assert!(served.iter().all(|entry| entry.starts_with("lost: TLS handshake with")), "{served:?}");
            Ok(())
        });
    }
}

/// Sends an answer, and more in the same breath.
fn says_too_much(transport: &Transport, _: &[u8]) -> Result<(), Failure> {
    transport.write(b"220 go ahead\r\n250 injected\r\n");
    Ok(())
}

// P23.2
#[test]
fn injected_answers_are_never_read() {
    let authority = Authority::new();
    on_every_network(|world| {
        world.run(|reactor| {
            let server = scripted(&Diary::new()).on_data(says_too_much);
            let port = address(&listen_once(reactor, server)).port();
            let (peer, tls, handle) = (converse(reactor, port), authority.client(), reactor.handle());
            reactor.spawn(async move {
                let peer = peer.await?;
                assert_eq!(ask(&peer, "STARTTLS").await?, "220 go ahead");
                // In a simulation, the rest may come later: then it is read by the session.
                handle.sleep(SECOND / 10).await?;
                let failure = peer.transport().start_tls("mail.test", &tls).await.unwrap_err();
                assert_eq!(handshake_failure(&failure), HandshakeFailure::Plaintext);
                assert!(failure.to_string().contains(" bytes arrived in the clear"), "{failure}");
                let failure = peer.read_line(100).await.unwrap_err();
                assert_eq!(handshake_failure(&failure), HandshakeFailure::Plaintext);
                Ok::<(), Failure>(())
            })
        });
    });
}

// P23.2, P19.5
#[test]
fn bytes_that_an_earlier_owner_has_left_are_refused() {
    simulated(|reactor| {
        let authority = Authority::new();
        let server = scripted(&Diary::new()).on_data(says_too_much);
        let port = address(&listen_once(reactor, server)).port();
        let (peer, tls, handle) = (converse(reactor, port), authority.client(), reactor.handle());
        reactor.spawn(async move {
            let peer = peer.await?;
            assert_eq!(ask(&peer, "STARTTLS").await?, "220 go ahead");
            let diary = Diary::new();
            let transport = peer.release()?.run(&handle, scripted(&diary))?;
            let failure = transport.start_tls("mail.test", &tls).await.unwrap_err();
            assert_eq!(handshake_failure(&failure), HandshakeFailure::Plaintext);
            diary.when_lost().await?;
            assert_eq!(diary.entries().len(), 2, "made and lost");
            Ok::<(), Failure>(())
        })
    });
}

/// Passes on less than it should.
struct Forgetful<P>(P);

impl<P: Protocol> Protocol for Forgetful<P> {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.0.connection_made(transport)
    }
    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.0.data_received(transport, data)
    }
    fn part(&mut self, part: TypeId) -> Option<&mut dyn Any> {
        part_of(&mut self.0, part)
    }
    fn connection_lost(&mut self, reason: Failure) {
        self.0.connection_lost(reason);
    }
}

// P23.2
#[test]
fn a_wrapper_that_hides_kept_bytes_cannot_be_secured() {
    let authority = Authority::new();
    simulated(|reactor| {
        let (tls, handle) = (authority.signs("mail.test").server(), reactor.handle());
        let served: Rc<RefCell<Vec<String>>> = Rc::default();
        let noted = served.clone();
        let port = listen(reactor, move |_| {
            let mail =
                Mail { tls: tls.clone(), handle: handle.clone(), secured: false, served: noted.clone() };
            Forgetful(Framed::new(Lines::new(), mail))
        });
        let (peer, tls) = (converse(reactor, address(&port).port()), authority.client());
        reactor.spawn(async move {
            let peer = peer.await?;
            line(&peer).await?;
            assert_eq!(ask(&peer, "STARTTLS").await?, "220 go ahead");
            assert!(peer.transport().start_tls("mail.test", &tls).await.is_err());
            let served = served.borrow();
            assert!(served[0].contains("does not pass `Protocol::unread` on"), "{served:?}");
            Ok::<(), Failure>(())
        })
    });
}

// P23.3
#[test]
fn bytes_written_before_go_out_in_the_clear() {
    let authority = Authority::new();
    on_every_network(|world| {
        world.run(|reactor| {
            let (much, tls) = (noise(world.much()), authority.signs("mail.test").server());
            let (sent, waited) = (much.clone(), Rc::new(Cell::new(false)));
            let told = waited.clone();
            let made = move |transport: &Transport| {
                transport.write(&sent);
                assert!(transport.buffered() > 0);
                drop(transport.accept_tls(&tls));
                transport.write(b"in confidence");
                let told = told.clone();
                drop(transport.drained().add_callback(move |()| told.set(true)));
                Ok(())
            };
            let port = address(&listen_once(reactor, scripted(&Diary::new()).on_made(made))).port();
            let (peer, tls) = (converse(reactor, port), authority.client());
            reactor.spawn(async move {
                let peer = peer.await?;
                assert!(peer.read_exact(much.len()).await? == much);
                assert!(!waited.get());
                peer.transport().start_tls("mail.test", &tls).await?;
                assert_eq!(peer.read_exact(13).await?, b"in confidence");
                assert!(waited.get());
                Ok::<(), Failure>(())
            })
        });
    });
}

// P23.3
#[test]
fn bytes_written_meanwhile_are_secured() {
    talks(async |peer, tls, served, _| {
        line(&peer).await?;
        ask(&peer, "STARTTLS").await?;
        let securing = peer.transport().start_tls("mail.test", &tls);
        peer.write(b"early\r\nQUIT\r\n");
        peer.transport().lose_write_connection();
        securing.await?;
        assert_eq!(peer.read_to_end(100).await?, b"250 early true\r\n221 bye\r\n");
        assert_eq!(served.borrow()[0], "early true");
        Ok(())
    });
}

// P23.3
#[test]
fn closing_waits_for_the_handshake() {
    talks(async |peer, tls, served, _| {
        line(&peer).await?;
        ask(&peer, "STARTTLS").await?;
        let securing = peer.transport().start_tls("mail.test", &tls);
        peer.write(b"last words\r\n");
        peer.transport().lose_connection();
        securing.await?;
        assert!(peer.read_to_end(100).await.is_ok());
        assert_eq!(served.borrow()[0], "last words true");
        Ok(())
    });
}

// P23.4: the client's last record of the handshake comes in one piece with its first data
#[test]
fn no_data_comes_before_the_handshake_is_reported() {
    let authority = Authority::new();
    // A pause does not hold the handshake up.
    for paused in [false, true] {
        on_every_network(|world| {
            let diary = Diary::new();
            let story = diary.clone();
            world.run(|reactor| {
                let (tls, fired) = (authority.signs("mail.test").server(), Rc::new(Cell::new(false)));
                let seen = fired.clone();
                let begin = move |transport: &Transport| {
                    let fired = fired.clone();
                    let securing = transport.accept_tls(&tls);
                    if paused {
                        transport.pause_producing();
                    }
                    transport.deliver(securing, move |_: &mut Scripted, transport, secured| {
                        fired.set(true);
                        transport.resume_producing();
                        secured
                    });
                    Ok(())
                };
                let data = move |_: &Transport, _: &[u8]| {
                    assert!(seen.get());
                    Ok(())
                };
                let protocol = scripted(&diary).on_made(begin).on_data(data);
                let port = address(&listen_once(reactor, protocol)).port();
                let (peer, tls, received) =
                    (converse(reactor, port), authority.client(), diary.when_received(100_000));
                reactor.spawn(async move {
                    let peer = peer.await?;
                    drop(peer.transport().start_tls("mail.test", &tls));
                    peer.write(&noise(100_000));
                    received.await
                })
            });
            assert!(story.received() == noise(100_000));
        });
    }
}

// P23.5
#[test]
fn a_refused_certificate_ends_the_connection_on_both_sides() {
    talks(async |peer, tls, served, handle| {
        line(&peer).await?;
        ask(&peer, "STARTTLS").await?;
        let transport = peer.transport().clone();
        let securing = transport.start_tls("other.test", &tls);
        let failure = securing
            .add_errback(move |failure| {
                transport.write(b"MAIL in the clear\r\n");
                Err(failure)
            })
            .await
            .unwrap_err();
        assert_eq!(handshake_failure(&failure), HandshakeFailure::BadCertificate);
        let failure = peer.read_line(9).await.unwrap_err();
        assert_eq!(handshake_failure(&failure), HandshakeFailure::BadCertificate, "the reason of the loss");
        while served.borrow().is_empty() {
            handle.sleep(SECOND / 100).await?;
        }
        assert!(served.borrow()[0].starts_with("lost: TLS handshake with"), "{served:?}");
        Ok(())
    });
}

// P23.5
#[test]
fn a_handshake_that_is_cancelled_ends_the_connection() {
    talks(async |peer, tls, _, _| {
        line(&peer).await?;
        ask(&peer, "STARTTLS").await?;
        let securing = peer.transport().start_tls("mail.test", &tls);
        securing.cancel();
        assert!(securing.await.unwrap_err().is::<Cancelled>());
        assert!(peer.read_line(9).await.unwrap_err().is::<ConnectionAborted>());
        Ok(())
    });
}

// P23.5
#[test]
fn a_peer_that_leaves_or_is_silent_fails_the_handshake() {
    for silent in [false, true] {
        on_every_network(|world| {
            let told = Rc::new(Cell::new(0));
            let count = told.clone();
            let failure = world.run(|reactor| {
                let server = Authority::new().signs("mail.test").server();
                let server = server
                    .handshake_timeout(SECOND / 10)
                    .on_failed_handshake(move |_| count.set(count.get() + 1));
                let failed: Rc<Cell<Option<Failure>>> = Rc::default();
                let kept = failed.clone();
                let begin = move |transport: &Transport| {
                    let kept = kept.clone();
                    drop(transport.accept_tls(&server).add_errback(move |failure| kept.set(Some(failure))));
                    Ok(())
                };
                let diary = Diary::new();
                let port = address(&listen_once(reactor, scripted(&diary).on_made(begin))).port();
                let (peer, lost) = (converse(reactor, port), diary.when_lost());
                reactor.spawn(async move {
                    let peer = peer.await?;
                    if silent {
                        lost.await?;
                    } else {
                        drop(peer);
                        lost.await?;
                    }
                    let reason = handshake_failure(&diary.reason());
                    assert_eq!(reason, handshake_failure(&failed.take().unwrap()));
                    Ok::<HandshakeFailure, Failure>(reason)
                })
            });
            let expected = if silent { HandshakeFailure::TimedOut } else { HandshakeFailure::Closed };
            assert_eq!(failure, expected);
            assert_eq!(told.get(), 1);
        });
    }
}

/// Returns the failure of an operation on a connection whose peer is silent, and when it failed.
fn against_a_silent_peer<T: 'static>(
    begin: impl Fn(&Handle, ClientEndpoint) -> Deferred<T> + 'static,
) -> (Failure, Duration) {
    simulated(|reactor| {
        let diary = Diary::new();
        let port = address(&listen_once(reactor, scripted(&diary))).port();
        let (started, handle) = (reactor.now(), reactor.handle());
        begin(&handle, ClientEndpoint::tcp("127.0.0.1", port))
            .add_both(move |result| Ok((result.err().unwrap(), handle.now() - started)))
    })
}

// P23.8
#[test]
fn a_silent_peer_ends_every_handshake_in_time() {
    let identity = Rc::new(Authority::new().signs("mail.test"));
    for (by_server, limit, expected) in
        [(false, None, 30), (true, None, 10), (false, Some(3), 3), (true, Some(3), 3)]
    {
        for live in [false, true] {
            let identity = identity.clone();
            let (failure, after) = against_a_silent_peer(move |handle, endpoint| {
                let (mut client, mut server) = (Authority::new().client(), identity.server());
                if let Some(limit) = limit {
                    client = client.handshake_timeout(limit * SECOND);
                    server = server.handshake_timeout(limit * SECOND);
                }
                let on = handle.clone();
                endpoint.converse(handle).add_callback(move |peer| match (live, by_server) {
                    (true, false) => peer.transport().start_tls("mail.test", &client),
                    (true, true) => peer.transport().accept_tls(&server),
                    (false, false) => {
                        client.secure(&on, "mail.test", peer.release().unwrap()).add_callback(|_| ())
                    }
                    (false, true) => server.secure(&on, peer.release().unwrap()).add_callback(|_| ()),
                })
            });
            assert_eq!(handshake_failure(&failure), HandshakeFailure::TimedOut);
            assert_eq!(after.as_secs(), expected, "by_server: {by_server}, live: {live}");
        }
    }
}

// P23.8, P6.8
#[test]
fn a_connectors_deadline_takes_the_place_of_the_limit() {
    for timeout in [2, 100] {
        let (failure, after) = against_a_silent_peer(move |handle, endpoint| {
            let client = Authority::new().client();
            let plain = endpoint;
            let connector = move |on: &Connecting| {
                let on = on.clone();
                plain.converse(on.handle()).add_callback(|peer| Ok(peer.release()?))
            };
            let secured = ClientEndpoint::by(Tls::new(connector, "mail.test", client));
            secured.timeout(timeout * SECOND).converse(handle)
        });
        let late = failure.check::<ConnectTimedOut>().unwrap_or_else(|| panic!("{failure:?}"));
        assert_eq!((late.stage, after), (ConnectStage::Handshake, timeout * SECOND));
    }
}

// P23.5
#[test]
fn what_cannot_be_secured_fails_at_once() {
    simulated(|reactor| {
        let authority = Authority::new();
        let (port, _) = serve(reactor, authority.signs("mail.test").server());
        let (peer, tls) = (converse(reactor, port), authority.client());
        reactor.spawn(async move {
            let peer = peer.await?;
            line(&peer).await?;
            ask(&peer, "STARTTLS").await?;
            let transport = peer.transport();
            let securing = transport.start_tls("mail.test", &tls);
            let again = transport.start_tls("mail.test", &tls).await.unwrap_err();
            assert_eq!(handshake_failure(&again), HandshakeFailure::Unsupported);
            securing.await?;
            let again = transport.start_tls("mail.test", &tls).await.unwrap_err();
            assert_eq!(handshake_failure(&again), HandshakeFailure::Unsupported);
            assert_eq!(ask(&peer, "still there").await?, "250 still there true");
            let transport = transport.clone();
            transport.lose_connection();
            assert!(transport.start_tls("mail.test", &tls).await.is_err());
            peer.read_to_end(100).await?;
            assert!(transport.start_tls("mail.test", &tls).await.unwrap_err().is::<ConnectionLost>());
            Ok::<(), Failure>(())
        })
    });
}

// P23.6, P19.5
#[test]
fn a_secured_connection_may_be_released() {
    talks(async |peer, tls, _, _| {
        line(&peer).await?;
        ask(&peer, "STARTTLS").await?;
        peer.transport().start_tls("mail.test", &tls).await?;
        let waiting = peer.read_line(99);
        let stream = peer.release()?;
        assert!(stream.tls().is_some());
        drop(stream);
        assert!(waiting.await.unwrap_err().is::<ConnectionReleased>());
        Ok(())
    });
}

// P23.1, against a peer that is not ours
#[test]
fn openssl_starts_tls_with_this_server() {
    let Some(mut openssl) = openssl() else { return };
    let authority = Authority::new();
    run(|reactor| {
        let (port, served) = serve(reactor, authority.signs("mail.test").server());
        let output = reactor.defer_to_thread(move || {
            openssl
                .args(["s_client", "-starttls", "smtp", "-crlf", "-quiet", "-connect"])
                .arg(format!("127.0.0.1:{port}"))
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::null());
            let mut running = Running::spawn(&mut openssl)?;
            running.child.stdin.as_mut().unwrap().write_all(b"FROM openssl\nQUIT\n")?;
            Ok(std::io::read_to_string(running.stdout())?)
        });
        output.add_callback(move |said| {
            assert!(said.contains("250 FROM openssl true"), "{said}");
            assert_eq!(served.borrow()[0], "FROM openssl true");
        })
    });
}

/// A server in Python that speaks STARTTLS, and then echoes a line.
const PYTHON: &str = r#"
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
clear, _ = listener.accept()
clear.sendall(b"220 ready\r\n")
assert clear.recv(100) == b"STARTTLS\r\n"
clear.sendall(b"220 go ahead\r\n")
secured = context.wrap_socket(clear, server_side=True)
line = secured.recv(100)
secured.sendall(b"250 " + line)
assert secured.recv(100) == b""
secured.unwrap()
"#;

// P23.1, against a peer that is not ours
#[test]
fn this_client_starts_tls_with_python() {
    use std::process::{Command, Stdio};

    let authority = Authority::new();
    let identity = authority.signs("mail.test");
    let folder = support::folder::Folder::new("starttls-python");
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, &identity.certificate).unwrap();
    std::fs::write(&key, &identity.key).unwrap();
    let mut python = Command::new("python3");
    python.args(["-c", PYTHON]).arg(&certificate).arg(&key).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut python = match Running::spawn(&mut python) {
        Ok(python) => python,
        Err(error) => return println!("skipped: no python3 here ({error})"),
    };
    let mut port = String::new();
    std::io::BufRead::read_line(&mut python.stdout(), &mut port).unwrap();
    run(|reactor| {
        let (peer, tls) = (converse(reactor, port.trim().parse().unwrap()), authority.client());
        reactor.spawn(async move {
            let peer = peer.await?;
            assert_eq!(line(&peer).await?, "220 ready");
            assert_eq!(ask(&peer, "STARTTLS").await?, "220 go ahead");
            peer.transport().start_tls("mail.test", &tls).await?;
            assert_eq!(ask(&peer, "hello").await?, "250 hello");
            peer.transport().lose_write_connection();
            assert_eq!(peer.read_to_end(9).await?, b"");
            Ok::<(), Failure>(())
        })
    });
    assert!(python.child.wait().unwrap().success());
}

// P23.7: the beginning of the handshake may have come together with that line
#[test]
fn a_stream_is_secured_after_a_line_in_the_clear() {
    let authority = Authority::new();
    on_every_network(|world| {
        world.run(|reactor| {
            let (tls, handle) = (authority.signs("mail.test").server(), reactor.handle());
            let factory = conversations(move |client: Conversation| {
                let (tls, handle) = (tls.clone(), handle.clone());
                handle.clone().spawn(async move {
                    assert_eq!(line(&client).await?, "PROXY TCP4 192.0.2.1 192.0.2.2 1 2");
                    // In a simulation, the rest has come by then or has not.
                    handle.sleep(SECOND / 100).await?;
                    let stream = tls.secure(&handle, client.release()?).await?;
                    stream.run(&handle, Echo)?;
                    Ok::<(), Failure>(())
                })
            });
            let port = address(&listen(reactor, factory)).port();
            let (peer, tls, handle) = (converse(reactor, port), authority.client(), reactor.handle());
            reactor.spawn(async move {
                let peer = peer.await?;
                peer.write(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n");
                let stream = tls.secure(&handle, "mail.test", peer.release()?).await?;
                let diary = Diary::new();
                let received = diary.when_received(5);
                stream.run(&handle, scripted(&diary))?.write(b"hello");
                received.await
            })
        });
    });
}
