//! Connections on which writing has failed. P1.

#![allow(clippy::unwrap_used, reason = "it is test code, which clippy knows only inside #[test]")]

mod support;
#[cfg(feature = "tls")]
mod tls_support;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use support::*;
use twistor_deferred::Deferred;
use twistor_net::framing::Lines;
use twistor_net::{
    ClientEndpoint, ConnectionLost, Failure, FrameReceiver, Framed, Producer, RateLimit, ServerEndpoint,
    SimulatedNetwork, Transport,
};
use twistor_reactor::{Handle, Reactor};

/// The number of bytes that the peer has sent, more than one turn reads.
const SENT: usize = 700_000;

/// Connects a client to a peer that sends a lot and reads nothing. Resets both ends a second later, lets the
/// client act before it is notified, and waits for the loss.
fn break_off(
    reactor: &Reactor,
    diary: &Diary,
    client: Scripted,
    then: impl FnOnce(&Transport) + 'static,
) -> Deferred<()> {
    let network = SimulatedNetwork::of(reactor).unwrap();
    network.set_window(SENT, SENT);
    let server = scripted(&Diary::new()).on_made(|transport| {
        transport.pause_producing();
        assert!(transport.write(&[b'x'; SENT]));
        Ok(())
    });
    let host = "192.0.2.80";
    ServerEndpoint::tcp(format!("{host}:80").parse().unwrap()).listen(reactor, Once(Some(server))).unwrap();
    let (handle, lost) = (Handle::clone(reactor), diary.when_lost());
    ClientEndpoint::tcp(host, 80).connect(reactor, client).add_callback(move |transport| {
        handle.call_later(Duration::from_secs(1), move || {
            assert_eq!(network.reset_connections(host.parse().unwrap()), 1);
            then(&transport);
        });
        lost
    })
}

/// Discovers the reset by writing.
fn write(transport: &Transport) {
    assert!(!transport.write(b"is anybody there?"));
}

fn write_and_resume(transport: &Transport) {
    write(transport);
    transport.resume_producing();
}

fn pauses(diary: &Diary) -> Scripted {
    scripted(diary).on_made(|transport| {
        transport.pause_producing();
        Ok(())
    })
}

// P1.1
#[test]
fn data_of_a_reset_peer_is_delivered_over_several_turns() {
    with_seeds(|reactor| {
        let diary = Diary::new();
        let client = pauses(&diary).on_end(|_| Ok(()));
        break_off(reactor, &diary, client, write_and_resume).add_callback(move |()| {
            assert_eq!(diary.received().len(), SENT);
            assert_eq!(diary.entries(), ["made", "resumed", "lost connection was lost: connection reset"]);
        })
    });
}

/// The calls that a producer received.
#[derive(Clone, Default)]
struct Told(Rc<RefCell<Vec<&'static str>>>);

impl Producer for Told {
    fn pause_producing(&self) {
        self.0.borrow_mut().push("pause");
    }

    fn resume_producing(&self) {
        self.0.borrow_mut().push("resume");
    }

    fn stop_producing(&self) {
        self.0.borrow_mut().push("stop");
    }
}

// P1, P5: also while the rest is read. The queue discovers the reset in the next turn
#[test]
fn unsent_data_is_not_reported_as_sent() {
    with_seeds(|reactor| {
        let (diary, told) = (Diary::new(), Told::default());
        let (producer, drained) = (told.clone(), Rc::new(RefCell::new(None)));
        let draining = drained.clone();
        let client = pauses(&diary).on_made(move |transport| {
            transport.pause_producing();
            transport.write(&[b'x'; SENT + 100_000]);
            transport.register_producer(producer.clone())?;
            draining.replace(Some(transport.drained()));
            Ok(())
        });
        break_off(reactor, &diary, client, Transport::resume_producing).add_callback(move |()| {
            assert_eq!(diary.received().len(), SENT);
            assert_eq!(*told.0.borrow(), ["pause", "stop"]);
            drained.take().unwrap().add_both(|result| {
                assert!(result.unwrap_err().is::<ConnectionLost>());
            })
        })
    });
}

// P1, P14: a rate limit delays the data and loses none
#[test]
fn data_of_a_reset_peer_is_delivered_at_the_read_limit() {
    with_seeds(|reactor| {
        let (diary, limit) = (Diary::new(), RateLimit::new(reactor, 100_000));
        let client = scripted(&diary).on_made(move |transport| {
            transport.limit_reading(&limit);
            Ok(())
        });
        let (handle, start) = (Handle::clone(reactor), reactor.now());
        break_off(reactor, &diary, client, write).add_callback(move |()| {
            assert_eq!(diary.received().len(), SENT);
            let taken = handle.now() - start;
            assert!(taken > Duration::from_secs(6) && taken < Duration::from_secs(8), "{taken:?}");
        })
    });
}

// P2.3
#[test]
fn lose_connection_discards_the_data_of_a_reset_peer() {
    with_seeds(|reactor| {
        let diary = Diary::new();
        let client = pauses(&diary).on_data(|transport, _| {
            transport.lose_connection();
            Ok(())
        });
        let seen = diary.clone();
        break_off(reactor, &diary, client, write_and_resume).add_callback(move |()| {
            assert!((1..SENT).contains(&seen.received().len()), "{} bytes arrived", seen.received().len());
            assert!(seen.reason().is::<ConnectionLost>());
        })
    });
}

// P1.1: the reader resumes long after the reset, which only the event reports
#[test]
fn a_paused_reader_gets_the_data_before_the_loss() {
    with_seeds(|reactor| {
        let (diary, handle) = (Diary::new(), Handle::clone(reactor));
        let then = move |transport: &Transport| {
            let transport = transport.clone();
            handle.call_later(Duration::from_secs(60), move || transport.resume_producing());
        };
        break_off(reactor, &diary, pauses(&diary), then).add_callback(move |()| {
            assert_eq!(diary.received().len(), SENT);
            assert_eq!(diary.entries(), ["made", "resumed", "lost connection was lost: connection reset"]);
        })
    });
}

// P1.2
#[test]
fn a_paused_reader_with_nothing_to_read_is_lost_at_once() {
    with_seeds(|reactor| {
        let network = SimulatedNetwork::of(reactor).unwrap();
        let diary = Diary::new();
        let host = "192.0.2.80";
        let server = scripted(&Diary::new());
        ServerEndpoint::tcp(format!("{host}:80").parse().unwrap())
            .listen(reactor, Once(Some(server)))
            .unwrap();
        let (handle, lost) = (Handle::clone(reactor), diary.when_lost());
        let connecting = ClientEndpoint::tcp(host, 80).connect(reactor, pauses(&diary));
        connecting.add_callback(move |_| {
            handle.call_later(Duration::from_secs(1), move || {
                assert_eq!(network.reset_connections(host.parse().unwrap()), 1);
            });
            lost.add_callback(move |()| {
                assert_eq!(diary.entries(), ["made", "lost connection was lost: connection reset"]);
            })
        })
    });
}

// P1.2
#[test]
fn a_reset_breaks_writing_at_once() {
    with_seeds(|reactor| {
        let (diary, told) = (Diary::new(), Told::default());
        let (producer, seen) = (told.clone(), told.clone());
        let client = pauses(&diary).on_made(move |transport| {
            transport.pause_producing();
            transport.write(&[b'x'; SENT + 100_000]);
            transport.register_producer(producer.clone())?;
            let told = producer.clone();
            drop(transport.drained().add_both(move |result| {
                assert!(result.unwrap_err().is::<ConnectionLost>());
                told.0.borrow_mut().push("not drained");
            }));
            Ok(())
        });
        let client = client.on_write_lost(move |transport| {
            assert_eq!(*seen.0.borrow(), ["pause", "stop", "not drained"]);
            assert!(!transport.write(b"x") && transport.is_closing() && transport.is_paused());
            transport.resume_producing();
            Ok(())
        });
        break_off(reactor, &diary, client, |_| ()).add_callback(move |()| {
            assert_eq!(diary.received().len(), SENT);
        })
    });
}

// P1.1, P8: also frames in a buffer
#[test]
fn frames_of_a_reset_peer_are_delivered_one_by_one() {
    struct OneByOne(usize, Handle, Option<twistor_deferred::Trigger<usize>>);

    impl FrameReceiver for OneByOne {
        fn frame_received(&mut self, transport: &Transport, _: &[u8]) -> Result<(), Failure> {
            self.0 += 1;
            transport.pause_producing();
            let transport = transport.clone();
            self.1.call_later(Duration::from_millis(50), move || transport.resume_producing());
            Ok(())
        }

        fn connection_lost(&mut self, reason: Failure) {
            assert!(reason.is::<ConnectionLost>());
            self.2.take().unwrap().callback(self.0);
        }
    }

    with_seeds(|reactor| {
        let network = SimulatedNetwork::of(reactor).unwrap();
        let host = "192.0.2.80";
        let lines = scripted(&Diary::new()).on_made(|transport| {
            assert!(transport.write("line\r\n".repeat(100).as_bytes()));
            Ok(())
        });
        ServerEndpoint::tcp(format!("{host}:80").parse().unwrap())
            .listen(reactor, Once(Some(lines)))
            .unwrap();
        let (count, trigger) = Deferred::new();
        let reader = Framed::new(Lines::new(), OneByOne(0, Handle::clone(reactor), Some(trigger)));
        drop(ClientEndpoint::tcp(host, 80).connect(reactor, reader));
        reactor.call_later(Duration::from_secs(2), move || {
            assert_eq!(network.reset_connections(host.parse().unwrap()), 1);
        });
        count.add_callback(|count| assert_eq!(count, 100))
    });
}

// P1.3
#[test]
fn an_end_before_the_reset_is_the_end() {
    with_seeds(|reactor| {
        let network = SimulatedNetwork::of(reactor).unwrap();
        network.set_window(SENT, SENT);
        let diary = Diary::new();
        let host = "192.0.2.80";
        let server = scripted(&Diary::new()).on_made(|transport| {
            assert!(transport.write(&[b'x'; SENT]));
            transport.lose_write_connection();
            Ok(())
        });
        ServerEndpoint::tcp(format!("{host}:80").parse().unwrap())
            .listen(reactor, Once(Some(server)))
            .unwrap();
        let (handle, lost) = (Handle::clone(reactor), diary.when_lost());
        let connecting = ClientEndpoint::tcp(host, 80).connect(reactor, pauses(&diary));
        connecting.add_callback(move |transport| {
            handle.clone().call_later(Duration::from_secs(1), move || {
                assert_eq!(network.reset_connections(host.parse().unwrap()), 1);
                handle.call_later(Duration::from_secs(1), move || transport.resume_producing());
            });
            lost.add_callback(move |()| {
                assert_eq!(diary.received().len(), SENT);
                let story = ["made", "resumed", "end", "lost connection was closed cleanly"];
                assert_eq!(diary.entries(), story);
            })
        })
    });
}

// P5.2: the operating system has no memory for every second message
#[test]
fn a_message_without_memory_is_sent_later_and_once() {
    on_every_kind(|reactor, connect| {
        let network = SimulatedNetwork::of(reactor).unwrap();
        let diary = Diary::new();
        let writer = scripted(&Diary::new()).on_made(move |transport| {
            // From here on, so that the connection can be made.
            network.set_send_failures(0.5);
            for piece in noise(SENT).chunks(10_000) {
                assert!(transport.write(piece));
            }
            transport.lose_connection();
            Ok(())
        });
        connect(reactor, scripted(&diary), writer);
        let (turns, handle) = (reactor.stats().turns, Handle::clone(reactor));
        diary.when_lost().add_callback(move |()| {
            assert!(diary.received() == noise(SENT), "{} bytes arrived", diary.received().len());
            assert!(diary.reason().is::<twistor_net::ConnectionDone>());
            // Each retry takes a while.
            assert!(handle.stats().turns - turns < 5_000, "{} turns", handle.stats().turns - turns);
        })
    });
}

type Connect = fn(&Reactor, Scripted, Scripted);

/// Runs the test over TCP and over TLS.
fn on_every_kind(test: impl Fn(&Reactor, Connect) -> Deferred<()>) {
    with_seeds(|reactor| {
        test(reactor, |reactor, near, far| {
            let here = "192.0.2.80";
            ServerEndpoint::tcp(format!("{here}:80").parse().unwrap())
                .listen(reactor, Once(Some(far)))
                .unwrap();
            drop(ClientEndpoint::tcp(here, 80).connect(reactor, near));
        })
    });
    #[cfg(feature = "tls")]
    with_seeds(|reactor| {
        test(reactor, |reactor, near, far| {
            let here = "192.0.2.80";
            let authority = tls_support::Authority::new();
            let tls = authority.signs(here).server();
            ServerEndpoint::tls(format!("{here}:80").parse().unwrap(), tls)
                .listen(reactor, Once(Some(far)))
                .unwrap();
            drop(ClientEndpoint::tls(here, 80, authority.client()).connect(reactor, near));
        })
    });
}
