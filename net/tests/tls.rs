//! TLS for the same protocols. P10 to P12.

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "it is test code, which clippy knows only inside #[test]")]

mod support;
mod tls_support;

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use support::child::{Running, watch};
use support::folder::Folder;
use support::peers::start;
use support::*;
use tls_support::*;
use twistor_deferred::{Cancelled, Deferred, succeed};
use twistor_net::tls::rustls::pki_types::ServerName;
use twistor_net::tls::rustls::{self, AlertDescription, ClientConfig, ClientConnection};
use twistor_net::tls::{ClientTls, HandshakeFailed, HandshakeFailure, ServerTls, TlsTruncated};
use twistor_net::{
    ClientEndpoint, ConnectStage, ConnectTimedOut, ConnectionAborted, ConnectionDone, Factory, Failure,
    ListeningPort, ServerEndpoint, Transport,
};
use twistor_reactor::{Handle, defer_later};

fn listen_tls<F: Factory>(handle: &Handle, tls: ServerTls, factory: F) -> ListeningPort {
    ServerEndpoint::tls("127.0.0.1:0".parse().unwrap(), tls).listen(handle, factory).unwrap()
}

fn endpoint(port: &ListeningPort, tls: ClientTls) -> ClientEndpoint {
    ClientEndpoint::tls("localhost", address(port).port(), tls)
}

/// A blocking client in a thread, which uses rustls directly.
fn blocking<T: Send + 'static>(
    handle: &Handle,
    port: &ListeningPort,
    authority: &Authority,
    f: impl FnOnce(rustls::StreamOwned<ClientConnection, TcpStream>) -> std::io::Result<T> + Send + 'static,
) -> Deferred<T> {
    let config = config_of(authority);
    peer(handle, address(port), move |stream| {
        let name = ServerName::try_from("localhost").unwrap();
        let session = ClientConnection::new(config, name).unwrap();
        let mut stream = rustls::StreamOwned::new(session, stream);
        stream.flush()?; // the handshake
        f(stream)
    })
}

/// Runs the handshake up to the client's last message (Finished), which is left unsent and followed by
/// `data`.
fn last_flight(
    config: Arc<ClientConfig>,
    stream: &mut TcpStream,
    data: &[u8],
) -> std::io::Result<(ClientConnection, Vec<u8>)> {
    let mut session = ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
    while session.is_handshaking() {
        while session.wants_write() && session.is_handshaking() {
            session.write_tls(stream)?;
        }
        if session.is_handshaking() {
            session.read_tls(stream)?;
            session.process_new_packets().unwrap();
        }
    }
    session.writer().write_all(data)?;
    let mut flight = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut flight)?;
    }
    Ok((session, flight))
}

/// A record that was not made with the keys.
const BAD_RECORD: &[u8] = b"\x17\x03\x03\x00\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Returns the failure of a connect.
fn failure_of<T: 'static>(deferred: Deferred<T>) -> Deferred<HandshakeFailed> {
    deferred.add_both(|result| match result {
        Ok(_) => panic!("the handshake did not fail"),
        Err(failure) => failure.trap::<HandshakeFailed>(),
    })
}

/// Returns the first failed handshake of the server.
fn observed(tls: ServerTls) -> (ServerTls, Deferred<(HandshakeFailure, String)>) {
    let (deferred, trigger) = Deferred::new();
    let trigger = Cell::new(Some(trigger));
    let tls = tls.on_failed_handshake(move |failure| {
        if let Some(trigger) = trigger.take() {
            trigger.callback((failure.kind(), failure.to_string()));
        }
    });
    (tls, deferred)
}

// P10.2
#[test]
fn a_protocol_runs_on_tls_as_on_tcp() {
    let authority = Authority::new();
    let diary = Diary::new();
    run(|reactor| {
        let port = listen_tls(reactor, authority.signs("localhost").server(), |_| Echo);
        let client = scripted(&diary)
            .on_made(|transport| {
                assert!(transport.write(b"hello"));
                Ok(())
            })
            .on_data(|transport, _| {
                transport.lose_connection();
                Ok(())
            });
        let lost = diary.when_lost();
        endpoint(&port, authority.client()).connect(reactor, client).add_callback(move |_| lost)
    });
    assert_eq!(diary.entries(), ["made", "data hello", "lost connection was closed cleanly"]);
    assert!(diary.reason().is::<ConnectionDone>());
}

// P10.3, P10.4
#[test]
fn both_sides_have_the_negotiated_parameters() {
    let authority = Authority::new();
    let (client, server) = (authority.signs("client.test"), authority.signs("localhost"));
    let seen = Rc::new(RefCell::new(None));
    let (served, info) = (Diary::new(), Diary::new());
    let ours = run(|reactor| {
        let tls = server
            .server()
            .alpn(["second", "first"])
            .require_client_certificates(authority.pem.as_bytes())
            .unwrap();
        let see = seen.clone();
        let protocol = scripted(&served).on_made(move |transport| {
            see.replace(transport.tls());
            transport.write(b"x");
            Ok(())
        });
        let port = listen_tls(reactor, tls, Once(Some(protocol)));
        let tls = authority
            .client()
            .alpn(["first", "second"])
            .certificate_pem(client.certificate.as_bytes(), client.key.as_bytes())
            .unwrap();
        let received = info.when_received(1);
        endpoint(&port, tls).connect(reactor, scripted(&info)).add_callback(move |transport| {
            let info = transport.tls().unwrap();
            received.add_callback(move |()| Ok(info))
        })
    });
    let theirs = seen.take().unwrap();
    assert_eq!(ours.alpn.as_deref(), Some(&b"second"[..]));
    assert_eq!(theirs.alpn.as_deref(), Some(&b"second"[..]));
    assert_eq!((ours.server_name, theirs.server_name.as_deref()), (None, Some("localhost")));
    assert_eq!(ours.version, Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!((ours.peer_certificates.len(), theirs.peer_certificates.len()), (1, 1));
    assert_ne!(ours.peer_certificates, theirs.peer_certificates);
    assert!(ours.cipher_suite.is_some());
}

// P10
#[test]
fn a_plain_connection_has_no_tls_info() {
    let diary = Diary::new();
    run(|reactor| {
        let port = listen(reactor, |_| Echo);
        ClientEndpoint::tcp("127.0.0.1", address(&port).port())
            .connect(reactor, scripted(&diary))
            .add_callback(|transport| assert!(transport.tls().is_none()))
    });
}

// P10.2, P2.1: whichever way it was written, at any pace of the reader
#[test]
fn bytes_arrive_once_and_in_order_in_both_directions() {
    let authority = Authority::new();
    let text = noise(3 << 20);
    let diary = Diary::new();
    run(|reactor| {
        let port = listen_tls(reactor, authority.signs("localhost").server(), |_| Echo);
        let sent = text.clone();
        let client = scripted(&diary).on_made(move |transport| {
            let mut rest = &sent[..];
            let mut length = 1;
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(length.min(rest.len()));
                rest = after;
                match length % 3 {
                    0 => transport.write(piece),
                    1 => transport.write_vec(piece.to_vec()),
                    _ => {
                        let slices: Vec<&[u8]> = piece.chunks(piece.len() / 40 + 1).collect();
                        transport.write_slices(&slices)
                    }
                };
                length = (length * 7 + 3) % 70_001 + 1;
            }
            Ok(())
        });
        let received = diary.when_received(text.len());
        endpoint(&port, authority.client()).connect(reactor, client).add_callback(move |_| received)
    });
    assert!(diary.received() == text, "the bytes differ");
}

// P10.2, P8: the data buffered in rustls is not lost when reading pauses
#[test]
fn pausing_after_every_piece_loses_nothing() {
    let authority = Authority::new();
    let text = noise(1 << 20);
    let sent = text.clone();
    let diary = Diary::new();
    run(|reactor| {
        let handle = (**reactor).clone();
        let server = scripted(&diary).on_data(move |transport, _| {
            transport.pause_producing();
            let transport = transport.clone();
            handle.call_later(Duration::ZERO, move || transport.resume_producing());
            Ok(())
        });
        let port = listen_tls(reactor, authority.signs("localhost").server(), Once(Some(server)));
        let peer = blocking(reactor, &port, &authority, move |mut stream| {
            stream.write_all(&sent)?;
            stream.conn.send_close_notify();
            stream.flush()?;
            // Closing with unread session tickets would be a reset.
            stream.read_to_end(&mut Vec::new())
        });
        let lost = diary.when_lost();
        peer.add_callback(move |_| lost)
    });
    assert!(diary.received() == text, "the bytes differ");
    assert!(diary.reason().is::<ConnectionDone>());
}

// P10: data that arrives together with the end of the handshake
#[test]
fn data_after_the_handshake_needs_no_further_event() {
    let authority = Authority::new();
    let diary = Diary::new();
    run(|reactor| {
        let port = listen_tls(reactor, authority.signs("localhost").server(), Once(Some(scripted(&diary))));
        let config = config_of(&authority);
        let peer = peer(reactor, address(&port), move |mut stream| {
            let (_, flight) = last_flight(config, &mut stream, b"early bird")?;
            stream.write_all(&flight)?;
            Ok(stream)
        });
        let received = diary.when_received(10);
        peer.add_callback(move |stream| received.add_callback(move |()| drop(stream)))
    });
    assert_eq!(diary.received(), b"early bird");
}

// P10: a client's key update is answered with one of this side
#[test]
fn a_connection_survives_a_key_update() {
    let authority = Authority::new();
    let got = run(|reactor| {
        let port = listen_tls(reactor, authority.signs("localhost").server(), |_| Echo);
        blocking(reactor, &port, &authority, |mut stream| {
            let mut got = Vec::new();
            for _ in 0..3 {
                stream.write_all(b"old keys, ")?;
                stream.conn.refresh_traffic_keys().unwrap();
                stream.write_all(b"new keys; ")?;
                let mut piece = [0; 20];
                stream.read_exact(&mut piece)?;
                got.extend_from_slice(&piece);
            }
            Ok(got)
        })
    });
    assert_eq!(got, b"old keys, new keys; ".repeat(3));
}

// P11.1
#[test]
fn lose_connection_sends_everything_and_close_notify() {
    let authority = Authority::new();
    let diary = Diary::new();
    let text = noise(4 << 20);
    let sent = text.clone();
    let got = run(|reactor| {
        let server = scripted(&diary).on_made(move |transport| {
            transport.write(&sent);
            transport.lose_connection();
            Ok(())
        });
        let port = listen_tls(reactor, authority.signs("localhost").server(), Once(Some(server)));
        let lost = diary.when_lost();
        let got = blocking(reactor, &port, &authority, |mut stream| {
            let mut got = Vec::new();
            let mut piece = vec![0; 3000];
            loop {
                // An end without close_notify would be an error here.
                match stream.read(&mut piece)? {
                    0 => return Ok(got),
                    count => got.extend_from_slice(&piece[..count]),
                }
            }
        });
        got.add_callback(move |got| lost.add_callback(move |()| Ok(got)))
    });
    assert!(got == text, "{} of {} bytes arrived", got.len(), text.len());
    assert!(diary.reason().is::<ConnectionDone>());
}

// P11.2: otherwise the server's session tickets would meet a closed socket, and data in flight would be lost
#[test]
fn a_client_that_writes_and_closes_at_once_is_read_fully() {
    let authority = Authority::new();
    let (diary, client_diary) = (Diary::new(), Diary::new());
    let text = noise(4 << 20);
    let sent = text.clone();
    run(|reactor| {
        let port = listen_tls(reactor, authority.signs("localhost").server(), Once(Some(scripted(&diary))));
        let client = scripted(&client_diary).on_made(move |transport| {
            transport.pause_producing();
            transport.write(&sent);
            transport.lose_connection();
            Ok(())
        });
        let (lost, both) = (diary.when_lost(), client_diary.when_lost());
        endpoint(&port, authority.client())
            .connect(reactor, client)
            .add_callback(move |_| lost)
            .add_callback(move |()| both)
    });
    assert!(diary.received() == text, "{} of {} bytes arrived", diary.received().len(), text.len());
    assert!(diary.reason().is::<ConnectionDone>() && client_diary.reason().is::<ConnectionDone>());
}

// P11.3
#[test]
fn an_end_without_close_notify_is_tls_truncated() {
    let authority = Authority::new();
    let diary = Diary::new();
    run(|reactor| {
        let port = listen_tls(reactor, authority.signs("localhost").server(), Once(Some(scripted(&diary))));
        let peer = blocking(reactor, &port, &authority, |mut stream| {
            stream.write_all(b"half of wh")?;
            stream.sock.shutdown(Shutdown::Write)?;
            stream.sock.read_to_end(&mut Vec::new())
        });
        let lost = diary.when_lost();
        peer.add_callback(move |_| lost)
    });
    assert_eq!(diary.received(), b"half of wh");
    assert_eq!(diary.losses(), 1);
    assert!(diary.reason().is::<TlsTruncated>());
}

// P11.3
#[test]
fn a_closing_side_accepts_an_end_without_close_notify() {
    let authority = Authority::new();
    let diary = Diary::new();
    run(|reactor| {
        let server = scripted(&diary).on_data(|transport, _| {
            transport.write(&vec![b'x'; 8 << 20]);
            transport.lose_connection();
            Ok(())
        });
        let port = listen_tls(reactor, authority.signs("localhost").server(), Once(Some(server)));
        let peer = blocking(reactor, &port, &authority, |mut stream| {
            stream.write_all(b"x")?;
            stream.sock.shutdown(Shutdown::Write)?;
            stream.read_exact(&mut vec![0; 8 << 20])
        });
        let lost = diary.when_lost();
        peer.add_callback(move |()| lost)
    });
    assert!(diary.reason().is::<ConnectionDone>());
}

// P11: everything is sent, so the outcome of the wait for the peer's close_notify does not matter
#[test]
fn a_closed_side_ignores_a_reset_and_the_end_of_the_run() {
    let authority = Authority::new();
    for resets in [true, false] {
        let diary = Diary::new();
        let kept = run(|reactor| {
            let server = scripted(&diary).on_made(|transport| {
                transport.write(b"that is all");
                transport.lose_connection();
                Ok(())
            });
            let port = listen_tls(reactor, authority.signs("localhost").server(), Once(Some(server)));
            let lost = diary.when_lost();
            let peer = blocking(reactor, &port, &authority, move |mut stream| {
                stream.read_to_end(&mut Vec::new())?;
                if !resets {
                    return Ok(Some(stream.sock));
                }
                reset(stream.sock);
                Ok(None)
            });
            peer.add_callback(move |stream| match stream {
                None => lost.add_callback(|()| Ok(None)),
                kept => twistor_deferred::succeed(kept),
            })
        });
        assert_eq!(diary.entries(), ["made", "lost connection was closed cleanly"]);
        drop(kept);
    }
}

// P11.4
#[test]
fn abort_connection_sends_no_close_notify() {
    let authority = Authority::new();
    let diary = Diary::new();
    let clean = run(|reactor| {
        let server = scripted(&diary).on_data(|transport, _| {
            transport.abort_connection();
            Ok(())
        });
        let port = listen_tls(reactor, authority.signs("localhost").server(), Once(Some(server)));
        blocking(reactor, &port, &authority, |mut stream| {
            stream.write_all(b"x")?;
            Ok(stream.read(&mut [0]).is_ok())
        })
    });
    assert!(!clean);
    assert!(diary.reason().is::<ConnectionAborted>());
}

// P11.1, P3
#[test]
fn a_half_close_is_reported_and_answered() {
    let authority = Authority::new();
    let (asking, answering) = (Diary::new(), Diary::new());
    run(|reactor| {
        let server = scripted(&answering).on_end(|transport| {
            assert!(transport.write(b"answer"));
            transport.lose_connection();
            Ok(())
        });
        let port = listen_tls(reactor, authority.signs("localhost").server(), Once(Some(server)));
        let client = scripted(&asking).on_made(|transport| {
            transport.write(b"question");
            transport.lose_write_connection();
            assert!(!transport.write(b"ignored"));
            Ok(())
        });
        let lost = asking.when_lost();
        endpoint(&port, authority.client()).connect(reactor, client).add_callback(move |_| lost)
    });
    assert_eq!(answering.entries(), ["made", "data question", "end", "lost connection was closed cleanly"]);
    assert_eq!(asking.entries(), ["made", "data answer", "end", "lost connection was closed cleanly"]);
}

// P11.5, P2: encrypted but unsent data counts
#[test]
fn drained_waits_for_data_held_by_tls() {
    let authority = Authority::new();
    let diary = Diary::new();
    let drained = Rc::new(Cell::new(false));
    run(|reactor| {
        let drain = drained.clone();
        let server = scripted(&diary).on_made(move |transport| {
            // Fills the socket until it accepts no more, but leaves the queue empty.
            while transport.buffered() == 0 {
                transport.write(&[b'x'; 10_000]);
            }
            let drain = drain.clone();
            drop(transport.drained().add_callback(move |()| drain.set(true)));
            Ok(())
        });
        let port = listen_tls(reactor, authority.signs("localhost").server(), Once(Some(server)));
        let (is_drained, lost) = (drained.clone(), diary.when_lost());
        let peer = blocking(reactor, &port, &authority, Ok);
        peer.add_callback(move |stream| assert!(!is_drained.get() && stream.conn.alpn_protocol().is_none()))
            .add_callback(move |()| lost)
    });
    assert!(!drained.get());
}

/// On a simulated network, sends pieces to a client that does not read for a while, until one is queued or
/// `most` are sent. Returns the number of pieces accepted before, and the number of bytes received.
fn send_to_a_late_reader(authority: &Authority, identity: &Identity, most: usize) -> (usize, usize) {
    let (sent, diary) = (Rc::new(Cell::new(0)), Diary::new());
    simulated(|reactor| {
        let counter = sent.clone();
        let server = scripted(&Diary::new()).on_made(move |transport| {
            while counter.get() < most {
                transport.write(&[b'x'; PIECE]);
                if transport.buffered() > 0 {
                    break;
                }
                counter.set(counter.get() + 1);
            }
            Ok(())
        });
        let place = "192.0.2.1:443".parse().unwrap();
        ServerEndpoint::tls(place, identity.server()).listen(reactor, Once(Some(server))).unwrap();
        let handle = reactor.handle();
        let client = scripted(&diary).on_made(move |transport| {
            transport.pause_producing();
            let transport = transport.clone();
            handle.call_later(Duration::from_secs(60), move || transport.resume_producing());
            Ok(())
        });
        let tls = authority.client().server_name("localhost").unwrap();
        drop(ClientEndpoint::tls("192.0.2.1", 443, tls).connect(reactor, client));
        defer_later(reactor, Duration::from_secs(200), || ())
    });
    (sent.get(), diary.received().len())
}

const PIECE: usize = 1000;

// P10, P2: also if the session accepted all of it, so that the queue is empty
#[test]
fn data_held_by_the_session_is_sent_when_there_is_room() {
    let authority = Authority::new();
    let identity = authority.signs("localhost");
    let (taken, _) = send_to_a_late_reader(&authority, &identity, usize::MAX);
    assert!(taken > 10);
    // The session holds a part of the last piece.
    let (_, came) = send_to_a_late_reader(&authority, &identity, taken);
    assert_eq!(came, taken * PIECE);
}

// P12.6, P12.9
#[test]
fn a_certificate_for_another_name_is_refused() {
    let authority = Authority::new();
    let (diary, server) = (Diary::new(), Diary::new());
    let (failure, told) = run(|reactor| {
        let (tls, failed) = observed(authority.signs("elsewhere.test").server());
        let port = listen_tls(reactor, tls, Once(Some(scripted(&server))));
        let connected = endpoint(&port, authority.client()).connect(reactor, scripted(&diary));
        failure_of(connected)
            .add_callback(move |failure| failed.add_callback(move |told| Ok((failure, told))))
    });
    assert_eq!(failure.kind(), HandshakeFailure::BadCertificate);
    assert!(failure.to_string().contains("elsewhere.test"), "{failure}");
    assert_eq!(told.0, HandshakeFailure::Refused);
    assert_eq!((diary.entries(), server.entries()), (vec![], vec![]));
}

// P12, P6: the zone has a meaning on this side only, and is in no certificate
#[test]
fn an_address_with_a_zone_is_verified_without_it() {
    let authority = Authority::new();
    let tls = authority.signs("::1").server();
    let connected = run(|reactor| {
        let Ok(port) = ServerEndpoint::tls("[::1]:0".parse().unwrap(), tls).listen(reactor, |_| Echo) else {
            println!("skipped: no IPv6 here");
            return succeed(true);
        };
        let client = ClientEndpoint::tls("::1%1", address(&port).port(), authority.client());
        client.connect(reactor, Echo).add_callback(|transport| Ok(transport.tls().is_some()))
    });
    assert!(connected);
}

// P12.6, P12.9
#[test]
fn expired_and_unknown_certificates_are_refused() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    for identity in [authority.signs_expired("localhost"), stranger.signs("localhost")] {
        let failure = run(|reactor| {
            let port = listen_tls(reactor, identity.server(), |_| Echo);
            failure_of(endpoint(&port, authority.client()).connect(reactor, Echo))
        });
        assert_eq!(failure.kind(), HandshakeFailure::BadCertificate, "{failure}");
        // The stranger's name is the authority's, so the fault is the signature.
        assert!(!failure.is_untrusted(), "{failure}");
    }
}

// P12
#[test]
fn a_given_self_signed_certificate_is_trusted_while_valid() {
    let good = Authority::self_signed("localhost", |_| ());
    let trusting = |identity: &Identity| ClientTls::trusting_pem(identity.certificate.as_bytes()).unwrap();
    run(|reactor| {
        let port = listen_tls(reactor, good.server(), |_| Echo);
        endpoint(&port, trusting(&good)).connect(reactor, Echo).add_callback(|_| ())
    });
    let elsewhere = Authority::self_signed("elsewhere.test", |_| ());
    let expired =
        Authority::self_signed("localhost", |params| params.not_after = rcgen::date_time_ymd(2001, 1, 1));
    let refusals = [
        (&elsewhere, trusting(&elsewhere), "elsewhere.test"),
        (&expired, trusting(&expired), "expired"),
        (&good, trusting(&elsewhere), "UnknownIssuer"),
    ];
    for (identity, client, because) in refusals {
        let failure = run(|reactor| {
            let port = listen_tls(reactor, identity.server(), |_| Echo);
            failure_of(endpoint(&port, client).connect(reactor, Echo))
        });
        assert_eq!(failure.kind(), HandshakeFailure::BadCertificate, "{failure}");
        assert!(failure.to_string().contains(because), "{failure}");
        assert_eq!(failure.is_untrusted(), because == "UnknownIssuer", "{failure}");
    }
}

// P12.9, P12.10: most tools mark a self-signed certificate as an authority, which webpki reports in another way
#[test]
fn an_untrusted_certificate_says_how_to_trust_it() {
    let plain = Authority::self_signed("localhost", |params| params.is_ca = rcgen::IsCa::NoCa);
    let identities =
        [Authority::new().signs("localhost"), Authority::self_signed("localhost", |_| ()), plain];
    for identity in identities {
        let client = match ClientTls::platform() {
            Ok(client) => client,
            Err(error) => return println!("skipped: {error}"),
        };
        let failure = run(|reactor| {
            let port = listen_tls(reactor, identity.server(), |_| Echo);
            failure_of(endpoint(&port, client).connect(reactor, Echo))
        });
        assert_eq!(failure.kind(), HandshakeFailure::BadCertificate, "{failure}");
        assert!(failure.is_untrusted(), "{failure}");
        let told = "the server's certificate is not trusted (a self-signed one is trusted with ClientTls::trusting_file)";
        assert!(failure.to_string().contains(told), "{failure}");
    }
}

// P12.10
#[test]
fn an_untrusted_client_is_reported_to_the_server() {
    let (authority, diary) = (Authority::new(), Diary::new());
    let told = run(|reactor| {
        let tls = authority.signs("localhost").server();
        let (tls, failed) = observed(tls.require_client_certificates(authority.pem.as_bytes()).unwrap());
        let port = listen_tls(reactor, tls, |_| Echo);
        let stranger = Authority::self_signed("me", |_| ());
        let client = authority.client();
        let client =
            client.certificate_pem(stranger.certificate.as_bytes(), stranger.key.as_bytes()).unwrap();
        let lost = diary.when_lost();
        let connected = endpoint(&port, client).connect(reactor, scripted(&diary));
        connected.add_callback(move |_| lost).add_callback(move |()| failed)
    });
    assert_eq!(told.0, HandshakeFailure::BadCertificate);
    assert!(told.1.contains("the client's certificate is not trusted: "), "{}", told.1);
}

// P12
#[test]
fn another_name_can_be_requested() {
    let authority = Authority::new();
    run(|reactor| {
        let port = listen_tls(reactor, authority.signs("elsewhere.test").server(), |_| Echo);
        let tls = authority.client().server_name("elsewhere.test").unwrap();
        endpoint(&port, tls).connect(reactor, Echo).add_callback(|_| ())
    });
    assert!(authority.client().server_name("not a name").is_err());
}

// P12
#[test]
fn a_client_without_a_required_certificate_is_refused() {
    let authority = Authority::new();
    let diary = Diary::new();
    let told = run(|reactor| {
        let tls = authority.signs("localhost").server();
        let (tls, failed) = observed(tls.require_client_certificates(authority.pem.as_bytes()).unwrap());
        let port = listen_tls(reactor, tls, |_| Echo);
        // With TLS 1.3, a client learns of it only after its own side of the handshake.
        let lost = diary.when_lost();
        let connected = endpoint(&port, authority.client()).connect(reactor, scripted(&diary));
        connected.add_callback(move |_| lost).add_callback(move |()| failed)
    });
    assert_eq!(told.0, HandshakeFailure::BadCertificate);
    assert!(diary.reason().to_string().contains("CertificateRequired"));
}

// P12
#[test]
fn no_common_protocol_is_refused() {
    let authority = Authority::new();
    let failure = run(|reactor| {
        let port = listen_tls(reactor, authority.signs("localhost").server().alpn(["a"]), |_| Echo);
        failure_of(endpoint(&port, authority.client().alpn(["b"])).connect(reactor, Echo))
    });
    assert_eq!(failure.alert(), Some(AlertDescription::NoApplicationProtocol));
}

// P12.5, P12.6
#[test]
fn a_server_without_tls_is_recognized() {
    let authority = Authority::new();
    let failure = run(|reactor| {
        let diary = Diary::new();
        let server = scripted(&diary).on_made(|transport| {
            transport.write(b"220 mail.test ESMTP\r\n");
            Ok(())
        });
        let port = listen_once(reactor, server);
        failure_of(endpoint(&port, authority.client()).connect(reactor, Echo))
    });
    assert_eq!(failure.kind(), HandshakeFailure::NotTls);
    let told = r#"the peer does not speak TLS: it began with "220 mail.test ES""#;
    assert!(failure.to_string().ends_with(told), "{failure}");
}

// P12.7
#[test]
fn a_client_without_tls_closes_that_connection_only() {
    let authority = Authority::new();
    let (told, _) = run(|reactor| {
        let (tls, failed) = observed(authority.signs("localhost").server());
        let port = listen_tls(reactor, tls, |_| Echo);
        let plain = peer(reactor, address(&port), |mut stream| {
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n")?;
            stream.read_to_end(&mut Vec::new())
        });
        let next = endpoint(&port, authority.client());
        let handle = (**reactor).clone();
        drop(plain.add_errback(|_| Ok(0)));
        failed.add_callback(move |told| next.connect(&handle, Echo).add_callback(move |_| Ok((told, ()))))
    });
    assert_eq!(told.0, HandshakeFailure::NotTls);
}

// P12.6
#[test]
fn a_server_times_out_a_stalled_handshake() {
    let authority = Authority::new();
    let (told, ended) = run(|reactor| {
        let (tls, failed) = observed(authority.signs("localhost").server());
        let port = listen_tls(reactor, tls.handshake_timeout(Duration::from_millis(20)), |_| Echo);
        let peer = peer(reactor, address(&port), |mut stream| stream.read(&mut [0]));
        failed.add_callback(move |told| peer.add_callback(move |ended| Ok((told, ended))))
    });
    assert_eq!((told.0, ended), (HandshakeFailure::TimedOut, 0));
}

// P12
#[test]
fn a_client_times_out_a_stalled_handshake() {
    let authority = Authority::new();
    let failure = run(|reactor| {
        let diary = Diary::new();
        let port = listen_once(reactor, scripted(&diary));
        let endpoint = endpoint(&port, authority.client()).timeout(Duration::from_millis(50));
        let lost = diary.when_lost();
        endpoint.connect(reactor, Echo).add_both(move |outcome| {
            let failure = outcome.map(drop).unwrap_err();
            // The server sees the closed socket.
            lost.add_callback(move |()| Ok(failure))
        })
    });
    let late = failure.trap::<ConnectTimedOut>().unwrap();
    assert_eq!(late.stage, ConnectStage::Handshake);
    assert!(
        late.to_string().ends_with(" timed out after 50ms while waiting for the TLS handshake"),
        "{late}"
    );
}

// P12, P6
#[test]
fn cancelling_during_a_handshake_closes_the_socket() {
    let authority = Authority::new();
    let failure = run(|reactor| {
        let diary = Diary::new();
        let port = listen_once(reactor, scripted(&diary));
        let connecting = endpoint(&port, authority.client()).connect(reactor, Echo);
        let canceller = connecting.canceller();
        let (hello, lost) = (diary.when_received(1), diary.when_lost());
        drop(hello.add_callback(move |()| canceller.cancel()));
        connecting.add_both(move |outcome| {
            let failure = outcome.map(drop).unwrap_err();
            lost.add_callback(move |()| Ok(failure))
        })
    });
    assert!(failure.is::<Cancelled>(), "{failure}");
}

// P12.6
#[test]
fn a_server_that_closes_during_the_handshake_is_reported() {
    let authority = Authority::new();
    let failure = run(|reactor| {
        let diary = Diary::new();
        let server = scripted(&diary).on_data(|transport, _| {
            transport.lose_connection();
            Ok(())
        });
        let port = listen_once(reactor, server);
        failure_of(endpoint(&port, authority.client()).connect(reactor, Echo))
    });
    assert_eq!(failure.kind(), HandshakeFailure::Closed, "{failure}");
}

// P12
#[test]
fn garbage_in_a_connection_ends_it_with_its_reason() {
    let authority = Authority::new();
    let diary = Diary::new();
    run(|reactor| {
        let port = listen_tls(reactor, authority.signs("localhost").server(), Once(Some(scripted(&diary))));
        let peer = blocking(reactor, &port, &authority, |mut stream| {
            stream.write_all(b"good")?;
            stream.sock.write_all(BAD_RECORD)?;
            let _ = stream.sock.read_to_end(&mut Vec::new());
            Ok(())
        });
        let lost = diary.when_lost();
        peer.add_callback(move |()| lost)
    });
    assert_eq!(diary.received(), b"good");
    let reason = diary.reason();
    let lost = reason.downcast_ref::<twistor_net::ConnectionLost>().unwrap();
    assert_eq!(lost.kind(), std::io::ErrorKind::InvalidData, "{reason}");
}

// P10, P11: both arrive together
#[test]
fn data_before_a_bad_record_is_delivered_and_answered() {
    let authority = Authority::new();
    let diary = Diary::new();
    let told = run(|reactor| {
        let server = scripted(&diary).on_made(|transport| {
            transport.write(b"x");
            Ok(())
        });
        let port = listen_tls(reactor, authority.signs("localhost").server(), Once(Some(server)));
        let peer = blocking(reactor, &port, &authority, |mut stream| {
            stream.read_exact(&mut [0])?; // else the handshake might not be done there
            stream.conn.writer().write_all(b"good")?;
            let mut flight = Vec::new();
            stream.conn.write_tls(&mut flight)?;
            flight.extend_from_slice(BAD_RECORD);
            stream.sock.write_all(&flight)?;
            Ok(stream.read_to_end(&mut Vec::new()).unwrap_err().to_string())
        });
        let lost = diary.when_lost();
        peer.add_callback(move |told| lost.add_callback(move |()| Ok(told)))
    });
    assert_eq!(diary.received(), b"good");
    assert!(told.contains("BadRecordMac"), "{told}");
}

// P11, P12.8: the handshake is complete, so the error belongs to the connection
#[test]
fn a_bad_record_right_after_the_handshake_ends_the_connection() {
    for data in [&b"good"[..], b""] {
        let (authority, diary) = (Authority::new(), Diary::new());
        let told = run(|reactor| {
            let tls = authority.signs("localhost").server();
            let tls = tls.on_failed_handshake(|failure| panic!("{failure}"));
            let port = listen_tls(reactor, tls, Once(Some(scripted(&diary))));
            let config = config_of(&authority);
            let peer = peer(reactor, address(&port), move |mut stream| {
                let (session, mut flight) = last_flight(config, &mut stream, data)?;
                flight.extend_from_slice(BAD_RECORD);
                stream.write_all(&flight)?;
                let mut stream = rustls::StreamOwned::new(session, stream);
                Ok(stream.read_to_end(&mut Vec::new()).unwrap_err().to_string())
            });
            let lost = diary.when_lost();
            peer.add_callback(move |told| lost.add_callback(move |()| Ok(told)))
        });
        assert_eq!(diary.entries()[0], "made");
        assert_eq!(diary.received(), data);
        let reason = diary.reason();
        let lost = reason.downcast_ref::<twistor_net::ConnectionLost>().unwrap();
        assert_eq!(lost.kind(), std::io::ErrorKind::InvalidData, "{reason}");
        assert!(told.contains("BadRecordMac"), "{told}");
    }
}

// P12.4: texts that are not certificates
#[test]
fn an_invalid_certificate_or_key_is_refused_with_its_file() {
    let authority = Authority::new();
    let (one, other) = (authority.signs("one.test"), authority.signs("other.test"));
    assert!(ClientTls::trusting_pem(b"nothing").is_err());
    assert!(ServerTls::from_pem(one.certificate.as_bytes(), other.key.as_bytes()).is_err());
    assert!(ServerTls::from_pem(one.certificate.as_bytes(), b"").is_err());
    let error = ClientTls::trusting_file("/nonexistent/roots.pem").unwrap_err();
    assert!(error.to_string().contains("/nonexistent/roots.pem"), "{error}");
}

// P12, P6: endpoint strings
#[test]
fn tls_endpoints_are_parsed_and_connect() {
    let folder = Folder::new("tls-strings");
    let (authority, identity) = {
        let authority = Authority::new();
        let identity = authority.signs("localhost");
        (authority, identity)
    };
    let roots = folder.write("roots.pem", &authority.pem);
    let (key, certificate) =
        (folder.write("key", &identity.key), folder.write("certificate", &identity.certificate));
    let info = run(|reactor| {
        let server: ServerEndpoint = format!(
            "ssl:0:interface=127.0.0.1:privateKey={}:certKey={}:alpn=a,b",
            key.display(),
            certificate.display()
        )
        .parse()
        .unwrap();
        let port = server.listen(reactor, |_| Echo).unwrap();
        let number = address(&port).port();
        let client: ClientEndpoint = format!(
            "tls:127.0.0.1:{number}:trustRoots={}:hostname=localhost:alpn=b:timeout=5",
            roots.display()
        )
        .parse()
        .unwrap();
        assert_eq!(client.to_string(), format!("tls:127.0.0.1:{number}:timeout=5"));
        client.connect(reactor, Echo).add_callback(|transport: Transport| Ok(transport.tls().unwrap()))
    });
    assert_eq!(info.alpn.as_deref(), Some(&b"b"[..]));
    let trusted: ClientEndpoint =
        format!("ssl:localhost:1:caCertsDir={}", folder.path().display()).parse().unwrap();
    assert_eq!(trusted.to_string(), "tls:localhost:1");
    for (wrong, why) in [
        ("ssl:0", "missing privateKey"),
        ("ssl:0:privateKey=/nonexistent", "cannot read /nonexistent"),
        ("ssl:0:privateKey=/nonexistent:nonsense=1", "/nonexistent"),
    ] {
        let error = wrong.parse::<ServerEndpoint>().unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    let error = "tls:localhost:1:trustRoots=/nonexistent".parse::<ClientEndpoint>().unwrap_err();
    assert!(error.to_string().contains("/nonexistent") && error.offset() > 0, "{error}");
}

// P10, P11: a client other than rustls
#[test]
fn openssl_s_client_talks_to_our_server() {
    let Some(mut openssl) = openssl() else { return };
    let folder = Folder::new("s-client");
    let authority = Authority::new();
    let roots = folder.write("roots.pem", &authority.pem);
    for version in ["-tls1_2", "-tls1_3"] {
        let diary = Diary::new();
        let output = run(|reactor| {
            let server = scripted(&diary).on_data(|transport, data| {
                let mut answer = b"you said ".to_vec();
                answer.extend_from_slice(data);
                transport.write(&answer);
                transport.lose_connection();
                Ok(())
            });
            let port = listen_tls(reactor, authority.signs("localhost").server(), Once(Some(server)));
            openssl = std::process::Command::new("openssl");
            openssl.args(["s_client", "-quiet", "-verify_return_error", "-servername", "localhost", version]);
            openssl.args(["-verify_hostname", "localhost", "-CAfile"]).arg(&roots);
            openssl.arg("-connect").arg(address(&port).to_string());
            let mut command = std::mem::replace(&mut openssl, std::process::Command::new("openssl"));
            let lost = diary.when_lost();
            let output = reactor.defer_to_thread(move || {
                use std::process::Stdio;
                let mut child =
                    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
                let _watchdog = watch(&child, &command);
                let mut input = child.stdin.take().unwrap();
                input.write_all(b"hello\n")?;
                let output = child.wait_with_output()?;
                drop(input);
                Ok(output)
            });
            output.add_callback(move |output| lost.add_callback(move |()| Ok(output)))
        });
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(text, "you said hello\n", "{version}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(diary.reason().is::<ConnectionDone>());
    }
}

// P10: replies of TLS are sent although the program has nothing to send
#[test]
fn a_renegotiation_is_declined_at_once() {
    use std::process::Stdio;
    let Some(mut openssl) = openssl() else { return };
    let authority = Authority::new();
    let told = run(|reactor| {
        let port = listen_tls(reactor, authority.signs("localhost").server(), |_| Echo);
        openssl.args(["s_client", "-tls1_2", "-connect"]).arg(address(&port).to_string());
        openssl.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut running = Running::spawn(&mut openssl).unwrap();
        let (mut input, mut output) =
            (running.child.stdin.take().unwrap(), running.child.stderr.take().unwrap());
        // The process ends with the reactor, or by its own timeout.
        reactor.call_later(DEADLINE / 2, move || drop(running));
        reactor.defer_to_thread(move || {
            input.write_all(b"R\n")?; // its command for that
            let mut told = String::new();
            output.read_to_string(&mut told)?;
            Ok(told)
        })
    });
    assert!(told.contains("no renegotiation"), "{told}");
}

// P10, P11: a server other than rustls
#[test]
fn our_client_talks_to_openssl_s_server() {
    let Some(mut openssl) = openssl() else { return };
    let folder = Folder::new("s-server");
    let authority = Authority::new();
    let identity = authority.signs("localhost");
    let key = folder.write("key", &identity.key);
    let certificate = folder.write("certificate", &identity.certificate);
    // s_server prints its port. With -rev, it sends each line back reversed.
    openssl.args(["s_server", "-accept", "127.0.0.1:0", "-rev", "-alpn", "backwards", "-key"]);
    openssl.arg(&key).arg("-cert").arg(&certificate);
    let mut server = start(&mut openssl).unwrap();
    let mut lines = std::io::BufRead::lines(server.stdout());
    let port: u16 = lines
        .by_ref()
        .find_map(|line| line.unwrap().strip_prefix("ACCEPT 127.0.0.1:").map(|port| port.parse().unwrap()))
        .unwrap();
    let drain = std::thread::spawn(move || lines.count());
    let diary = Diary::new();
    let transport = run(|reactor| {
        let client = scripted(&diary).on_made(|transport| {
            transport.write(b"hello\n");
            Ok(())
        });
        let client = client.on_data(|transport, _| {
            transport.lose_connection();
            Ok(())
        });
        let tls = authority.client().alpn(["backwards"]);
        let lost = diary.when_lost();
        ClientEndpoint::tls("localhost", port, tls).connect(reactor, client).add_callback(move |transport| {
            let info = transport.tls().unwrap();
            lost.add_callback(move |()| Ok(info))
        })
    });
    drop(server);
    drain.join().unwrap();
    assert_eq!(diary.received(), b"olleh\n");
    assert_eq!(transport.alpn.as_deref(), Some(&b"backwards"[..]));
    assert!(diary.reason().is::<ConnectionDone>());
}

// P10.2, P5: a flooding connection gets its share only, and TLS keeps the high-water mark
#[test]
fn a_producer_is_paused_and_resumed_on_tls() {
    let authority = Authority::new();
    let diary = Diary::new();
    let text = noise(2 << 20);
    let expected = text.clone();
    let got = run(|reactor| {
        struct Pieces {
            transport: Transport,
            rest: RefCell<Vec<u8>>,
        }
        impl twistor_net::Producer for Pieces {
            fn pause_producing(&self) {}
            fn resume_producing(&self) {
                let mut rest = self.rest.take();
                let piece = rest.split_off(rest.len().saturating_sub(50_000));
                self.rest.replace(rest);
                if piece.is_empty() {
                    self.transport.unregister_producer();
                } else {
                    self.transport.write_vec(piece);
                }
            }
            fn stop_producing(&self) {}
        }
        let server = scripted(&diary).on_made(move |transport| {
            let pieces = Pieces { transport: transport.clone(), rest: RefCell::new(text.clone()) };
            transport.register_pull_producer(Rc::new(pieces))?;
            transport.lose_connection();
            Ok(())
        });
        let port = listen_tls(reactor, authority.signs("localhost").server(), Once(Some(server)));
        let lost = diary.when_lost();
        let got = blocking(reactor, &port, &authority, |mut stream| {
            let mut got = Vec::new();
            stream.read_to_end(&mut got)?;
            Ok(got)
        });
        got.add_callback(move |got| lost.add_callback(move |()| Ok(got)))
    });
    assert_eq!(got.len(), expected.len());
    assert!(diary.reason().is::<ConnectionDone>());
}

// P12.6
#[test]
fn a_reset_during_a_handshake_is_reported() {
    let authority = Authority::new();
    let told: Failure = run(|reactor| {
        let (tls, failed) = observed(authority.signs("localhost").server());
        let port = listen_tls(reactor, tls, |_| Echo);
        let peer = peer(reactor, address(&port), |mut stream| {
            stream.write_all(b"\x16\x03\x01\x02\x00")?;
            reset(stream);
            Ok(())
        });
        peer.add_callback(move |()| failed).add_callback(|(kind, text)| {
            assert_eq!(kind, HandshakeFailure::Io, "{text}");
            Ok(ConnectionDone.into())
        })
    });
    assert!(told.is::<ConnectionDone>());
}
