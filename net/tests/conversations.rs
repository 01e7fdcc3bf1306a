//! Conversations: reads answered in order, from the data that has arrived. P13.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod support;

use std::cell::RefCell;
use std::io::{Read, Write};
use std::rc::Rc;

use support::*;
use twistor_deferred::{Cancelled, Deferred, Failure};
use twistor_net::framing::FrameError;
use twistor_net::{ClientEndpoint, ConnectionLost, Conversation, EndOfData, conversations};
use twistor_reactor::{Handle, Reactor};

/// Runs a conversation with a peer that sends `text` in pieces of `piece` bytes and closes.
fn converse<T: 'static>(
    text: &'static [u8],
    piece: usize,
    talk: impl FnOnce(Conversation) -> Deferred<T> + 'static,
) -> Result<T, Failure> {
    run(|reactor| {
        let (deferred, trigger) = Deferred::new();
        let once = RefCell::new(Some((talk, trigger)));
        let port = listen(
            reactor,
            conversations(move |conversation| {
                if let Some((talk, trigger)) = once.borrow_mut().take() {
                    drop(talk(conversation).add_both(move |result| trigger.callback(result)));
                }
            }),
        );
        let peer = peer(reactor, address(&port), move |mut stream| {
            stream.set_nodelay(true)?;
            for piece in text.chunks(piece) {
                stream.write_all(piece)?;
            }
            Ok(stream)
        });
        peer.add_callback(move |stream| {
            drop(stream);
            deferred
        })
    })
}

fn all(reads: Vec<Deferred<Vec<u8>>>) -> Deferred<Vec<Vec<u8>>> {
    let mut sum = twistor_deferred::succeed(Vec::new());
    for read in reads {
        sum = sum.add_callback(move |mut got: Vec<Vec<u8>>| {
            read.add_callback(move |next| {
                got.push(next);
                Ok(got)
            })
        });
    }
    sum
}

// P13.2
#[test]
fn reads_are_answered_in_order_however_the_data_is_split() {
    for piece in [1, 2, 3, 100] {
        let got = converse(b"one\r\ntwo\n123456rest", piece, |peer| {
            all(vec![peer.read_line(10), peer.read_line(10), peer.read_exact(6), peer.read_to_end(10)])
        });
        assert_eq!(got.unwrap(), [&b"one"[..], b"two", b"123456", b"rest"]);
    }
}

/// Awaits `read` until its result has arrived, and drops it unread.
fn unread<T: 'static>(read: Deferred<T>) {
    let mut read = std::pin::pin!(read);
    let waiting = std::future::Future::poll(
        read.as_mut(),
        &mut std::task::Context::from_waker(std::task::Waker::noop()),
    );
    assert!(waiting.is_pending());
}

// P13.1, D10.1
#[test]
fn a_read_whose_await_was_dropped_takes_no_line() {
    for piece in [1, 100] {
        let got = converse(b"one\r\ntwo\n", piece, |peer| {
            unread(peer.read_line(10));
            unread(peer.read_exact(3));
            all(vec![peer.read_line(10), peer.read_line(10)])
        });
        assert_eq!(got.unwrap(), [&b"one"[..], b"two"]);
    }
}

// P13.1, D10.4
#[test]
fn an_unread_result_goes_back() {
    let got = converse(b"one\r\ntwo\n", 100, |peer| {
        peer.read_exact(1).add_callback(move |first| {
            assert_eq!(first, b"o");
            let line = peer.read_line(10);
            assert!(line.is_fired());
            drop(line);
            let (rest, next) = (peer.read_some(), peer.read_line(10));
            assert!(rest.is_fired() && !next.is_fired());
            drop(rest);
            assert!(next.is_fired());
            all(vec![next, peer.read_line(10)])
        })
    });
    assert_eq!(got.unwrap(), [&b"ne"[..], b"two"]);
}

// P13
#[test]
fn read_array_reads_as_read_exact_does() {
    let got = converse(b"abcde", 1, |peer| {
        let head = peer.read_array();
        head.add_callback(move |[a, b]: [u8; 2]| {
            assert_eq!([a, b], *b"ab");
            peer.read_array::<4>().add_both(|short| match short {
                Ok(array) => panic!("{array:?}"),
                Err(failure) => Ok(failure.trap::<EndOfData>()?.left),
            })
        })
    });
    assert_eq!(got.unwrap(), b"cde");
}

// P13
#[test]
fn an_early_end_returns_the_data_received_so_far() {
    let error = converse(b"half a line", 100, |peer| peer.read_line(100)).unwrap_err();
    assert_eq!(error.trap::<EndOfData>().unwrap().left, b"half a line");
    let error = converse(b"123", 100, |peer| peer.read_exact(4)).unwrap_err();
    assert_eq!(error.trap::<EndOfData>().unwrap().left, b"123");
    assert_eq!(converse(b"", 1, |peer| peer.read_some()).unwrap(), b"");
}

// P13
#[test]
fn a_line_above_the_limit_is_an_error_and_stays_unread() {
    let got = converse(b"far too long\n", 100, |peer| {
        peer.read_line(5).add_both(move |result| {
            assert!(result.unwrap_err().is::<FrameError>());
            peer.read_line(100)
        })
    });
    assert_eq!(got.unwrap(), b"far too long");
}

// P13
#[test]
fn the_end_of_a_line_does_not_count_towards_its_limit() {
    let got = converse(b"abc\r\nabc\n", 1, |peer| all(vec![peer.read_line(3), peer.read_line(3)]));
    assert_eq!(got.unwrap(), [b"abc", b"abc"]);
}

// P13.3: paused while no read is pending, and resumed by the next read
#[test]
fn a_peer_is_paused_until_the_next_read() {
    const TOTAL: usize = 1 << 20;
    on_every_network(|world| {
        let got = world.run(|reactor| {
            let port = listen(
                reactor,
                conversations(|peer: Conversation| {
                    let sent = peer.write_all(&vec![b'x'; TOTAL]);
                    sent.add_callback(move |()| drop(peer))
                }),
            );
            fn when_paused(handle: Handle, peer: Conversation) -> Deferred<Conversation> {
                if peer.transport().is_paused() {
                    return twistor_deferred::succeed(peer);
                }
                let (waited, trigger) = Deferred::new();
                handle.call_later(std::time::Duration::from_millis(1), move || trigger.callback(()));
                waited.add_callback(move |()| when_paused(handle, peer))
            }
            let handle = Handle::clone(reactor);
            ClientEndpoint::tcp("127.0.0.1", address(&port).port())
                .converse(reactor)
                .add_callback(move |peer| when_paused(handle, peer))
                .add_callback(|peer| {
                    peer.read_to_end(TOTAL).add_callback(move |all| Ok((all.len(), drop(peer))))
                })
        });
        assert_eq!(got.0, TOTAL);
    });
}

// P13.1
#[test]
fn a_cancelled_read_takes_nothing() {
    let got = converse(b"one\ntwo\n", 1, |peer| {
        let (first, second) = (peer.read_line(10), peer.read_line(10));
        first.cancel();
        first.add_both(move |result| {
            assert!(result.unwrap_err().is::<Cancelled>());
            second
        })
    });
    assert_eq!(got.unwrap(), b"one");
}

// P1
#[test]
fn a_reset_fails_pending_reads() {
    let error = run(|reactor| {
        let (deferred, trigger) = Deferred::new();
        let trigger = RefCell::new(Some(trigger));
        let port = listen(
            reactor,
            conversations(move |peer: Conversation| {
                let trigger = trigger.borrow_mut().take().unwrap();
                drop(peer.read_exact(10).add_both(move |result| trigger.callback(result.unwrap_err())));
            }),
        );
        peer(reactor, address(&port), |mut stream| {
            stream.write_all(b"x")?;
            reset(stream);
            Ok(())
        })
        .add_callback(move |()| deferred)
    });
    let lost = error.downcast_ref::<ConnectionLost>();
    assert_eq!(lost.map(ConnectionLost::kind), Some(std::io::ErrorKind::ConnectionReset), "{error:?}");
}

// P13.3: a peer is held up while no read is pending
#[test]
fn a_conversation_reads_a_bounded_amount_ahead() {
    let total = 32 << 20;
    let got = run(|reactor: &Reactor| {
        let port = listen_once(reactor, {
            struct Pour;
            impl twistor_net::Protocol for Pour {
                fn connection_made(&mut self, transport: &twistor_net::Transport) -> Result<(), Failure> {
                    transport.write(&vec![b'x'; 32 << 20]);
                    transport.lose_connection();
                    Ok(())
                }
                fn data_received(&mut self, _: &twistor_net::Transport, _: &[u8]) -> Result<(), Failure> {
                    Ok(())
                }
            }
            Pour
        });
        fn rest(peer: Rc<Conversation>, sum: usize) -> Deferred<usize> {
            peer.clone().read_some().add_callback(move |some| {
                // The bytes read ahead, and one more read.
                assert!(some.len() <= (64 + 256) * 1024);
                if some.is_empty() { twistor_deferred::succeed(sum) } else { rest(peer, sum + some.len()) }
            })
        }
        ClientEndpoint::tcp("127.0.0.1", address(&port).port())
            .converse(reactor)
            .add_callback(|peer| rest(Rc::new(peer), 0))
    });
    assert_eq!(got, total);
}

// P13.4
#[test]
fn dropping_a_conversation_sends_the_rest_and_closes() {
    let got = run(|reactor| {
        let port = listen(
            reactor,
            conversations(|peer: Conversation| {
                peer.write(&vec![b'x'; 8 << 20]);
            }),
        );
        peer(reactor, address(&port), |mut stream| {
            let mut got = Vec::new();
            stream.read_to_end(&mut got)
        })
    });
    assert_eq!(got, 8 << 20);
}

// P13
#[test]
fn a_dropped_conversation_still_answers_pending_reads() {
    on_every_network(|world| {
        let got = world.run(|reactor| {
            let (deferred, trigger) = Deferred::new();
            let trigger = RefCell::new(Some(trigger));
            let port = listen(
                reactor,
                conversations(move |peer: Conversation| {
                    let reads = all(vec![peer.read_line(10), peer.read_exact(3)]);
                    peer.write(b"go on");
                    drop(peer);
                    let trigger = trigger.borrow_mut().take().unwrap();
                    reads.add_callback(move |got| trigger.callback(got))
                }),
            );
            let peer = Peer::connect(reactor, address(&port), async |mut stream| {
                stream.read_exact(&mut [0; 5]).await?;
                stream.write_all(b"one\ntwo").await?;
                stream.read_to_end(&mut Vec::new()).await
            });
            peer.add_callback(move |rest| {
                assert_eq!(rest, 0);
                deferred
            })
        });
        assert_eq!(got, [b"one", b"two"]);
    });
}

// P13.4: the last read is cancelled, so no data is needed any more
#[test]
fn a_dropped_conversation_closes_after_its_last_read() {
    let got = run(|reactor| {
        let handle = (**reactor).clone();
        let port = listen(
            reactor,
            conversations(move |peer: Conversation| {
                let read = peer.read_line(100);
                drop(peer);
                let canceller = read.canceller();
                handle.call_later(std::time::Duration::ZERO, move || canceller.cancel());
                read.add_both(|result| assert!(result.unwrap_err().is::<Cancelled>()))
            }),
        );
        peer(reactor, address(&port), |mut stream| stream.read(&mut [0]))
    });
    assert_eq!(got, 0);
}

// P13, P9: with async and await instead of callbacks
#[test]
fn both_sides_can_be_written_with_async_and_await() {
    on_every_network(|world| {
        let (sums, rest) = world.run(|reactor| {
            let handle = Handle::clone(reactor);
            let served = handle.clone();
            // Each line is a number. The answer is the sum so far, in four bytes.
            let serve = move |peer: Conversation| {
                served.spawn(async move {
                    let mut sum = 0;
                    loop {
                        let line = peer.read_line(20).await?;
                        if line == b"bye" {
                            return peer.write_all(b"see you").await;
                        }
                        sum += String::from_utf8(line)?.parse::<u32>()?;
                        peer.write_all(&sum.to_be_bytes()).await?;
                    }
                })
            };
            let port = listen(reactor, conversations(serve));
            let endpoint = ClientEndpoint::tcp("127.0.0.1", address(&port).port());
            reactor.spawn(async move {
                let peer = endpoint.converse(&handle).await?;
                let mut sums = Vec::new();
                for number in [1, 20, 300] {
                    peer.write_all(format!("{number}\n").as_bytes()).await?;
                    sums.push(peer.read_exact(4).await?);
                }
                peer.write(b"bye\n");
                Ok::<_, Failure>((sums, peer.read_to_end(100).await?))
            })
        });
        assert_eq!(sums, [1_u32, 21, 321].map(|sum| sum.to_be_bytes().to_vec()));
        assert_eq!(rest, b"see you");
    });
}
