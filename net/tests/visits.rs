//! `Transport::enter` and `deliver`: access to a protocol from outside. P22.1 to P22.6.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use support::*;
use twistor_deferred::{Cancelled, Deferred, Trigger, succeed};
use twistor_net::framing::Lines;
use twistor_net::{
    ClientEndpoint, FrameReceiver, Framed, HandlerPanicked, IdleTimeout, Limited, Protocol, Transport,
};
use twistor_net::{Failure, SimulatedNetwork};
use twistor_reactor::{Handle, Reactor, defer_later};

type Story = Rc<RefCell<Vec<String>>>;

/// Keeps its state in plain fields.
struct Member {
    story: Story,
    visits: usize,
    on_data: fn(&mut Member, &Transport),
}

impl Member {
    fn new(story: &Story, on_data: fn(&mut Member, &Transport)) -> Member {
        Member { story: story.clone(), visits: 0, on_data }
    }

    fn says(&self, what: impl Into<String>) {
        self.story.borrow_mut().push(what.into());
    }

    fn visited(&mut self, what: &str) -> Result<(), Failure> {
        self.visits += 1;
        self.says(format!("{what} is visit {}", self.visits));
        Ok(())
    }
}

impl Protocol for Member {
    fn data_received(&mut self, transport: &Transport, _: &[u8]) -> Result<(), Failure> {
        self.says("begins");
        (self.on_data)(self, transport);
        self.says("ends");
        Ok(())
    }

    fn connection_lost(&mut self, reason: Failure) {
        self.says(format!("lost: {reason}"));
    }
}

/// Connects `member` to a peer that sends a byte. Fires with its transport.
fn meet(reactor: &Reactor, member: impl Protocol) -> Deferred<Transport> {
    let sends = scripted(&Diary::new()).on_made(|transport| {
        transport.write(b"x");
        Ok(())
    });
    let port = listen_once(reactor, sends);
    let endpoint = ClientEndpoint::tcp("127.0.0.1", address(&port).port());
    endpoint.connect(reactor, member).add_callback(move |transport| {
        drop(port);
        Ok(transport)
    })
}

/// Fires a little later, when the peer's byte has arrived.
fn later(handle: &Handle) -> Deferred<()> {
    defer_later(handle, Duration::from_millis(50), || Ok(()))
}

// P22.1
#[test]
fn a_visit_runs_at_once_if_the_protocol_is_free() {
    on_every_network(|world| {
        let story = Story::default();
        world.run(|reactor| {
            let (told, handle) = (story.clone(), Handle::clone(reactor));
            meet(reactor, Member::new(&story, |_, _| ())).add_callback(move |transport| {
                later(&handle).add_callback(move |()| {
                    assert!(transport.enter(|member: &mut Member, _| member.visited("the first")));
                    told.borrow_mut().push("after it".to_owned());
                    assert!(transport.enter(|member: &mut Member, _| member.visited("the second")));
                })
            })
        });
        let expected = ["begins", "ends", "the first is visit 1", "after it", "the second is visit 2"];
        assert_eq!(story.borrow()[..5], expected);
    });
}

// P22.1
#[test]
fn a_visit_from_inside_runs_when_the_method_returns() {
    on_every_network(|world| {
        let story = Story::default();
        world.run(|reactor| {
            let member = Member::new(&story, |_, transport| {
                let inner = transport.clone();
                transport.enter(move |member: &mut Member, _| {
                    inner.enter(|member: &mut Member, _| member.visited("the inner one"));
                    member.visited("the first")
                });
                transport.enter(|member: &mut Member, _| member.visited("the second"));
            });
            let handle = Handle::clone(reactor);
            meet(reactor, member).add_callback(move |_| later(&handle))
        });
        let expected =
            ["begins", "ends", "the first is visit 1", "the second is visit 2", "the inner one is visit 3"];
        assert_eq!(story.borrow()[..5], expected);
    });
}

// P22.4
#[test]
fn visits_reach_the_protocol_inside_wrappers() {
    struct Counts(usize);

    impl FrameReceiver for Counts {
        fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
            transport.require_part::<Self>();
            Ok(())
        }

        fn frame_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
            Ok(())
        }
    }

    type Wrapped = Framed<Lines, Counts>;

    simulated(|reactor| {
        let seen: Rc<RefCell<Vec<Transport>>> = Rc::default();
        let handle = Handle::clone(reactor);
        let factory = Limited::new(move |_| -> Box<dyn Protocol> {
            let framed = Framed::new(Lines::new(), Counts(0));
            Box::new(IdleTimeout::new(&handle, Duration::from_secs(60), framed))
        });
        let port = listen(reactor, factory);
        let endpoint = ClientEndpoint::tcp("127.0.0.1", address(&port).port());
        let handle = Handle::clone(reactor);
        let count = seen.clone();
        let server = meet(reactor, {
            let framed = Framed::new(Lines::new(), Counts(0));
            IdleTimeout::new(&handle, Duration::from_secs(60), framed)
        });
        drop(endpoint.connect(reactor, scripted(&Diary::new())));
        server.add_callback(move |transport| {
            assert!(transport.enter(|counts: &mut Counts, transport| {
                counts.0 += 1;
                transport.write(b"hello");
                Ok(())
            }));
            assert!(transport.enter(|_: &mut IdleTimeout<Wrapped>, _| Ok(())));
            assert!(transport.enter(|_: &mut Wrapped, _| Ok(())));
            drop(count);
            later(&handle).add_callback(move |()| {
                assert!(!transport.is_closing(), "all were reached");
                drop(port);
            })
        })
    });
}

// P22.4
#[test]
fn a_wrapper_without_parts_fails_at_the_first_connection() {
    struct Opaque(Member);

    impl Protocol for Opaque {
        fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
            transport.require_part::<Member>();
            self.0.connection_made(transport)
        }

        fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
            self.0.data_received(transport, data)
        }

        fn connection_lost(&mut self, reason: Failure) {
            self.0.connection_lost(reason);
        }
    }

    let story = Story::default();
    simulated(|reactor| {
        let handle = Handle::clone(reactor);
        meet(reactor, Opaque(Member::new(&story, |_, _| ()))).add_callback(move |_| later(&handle))
    });
    let told = story.borrow().concat();
    assert!(told.contains("`visits::Member` cannot be reached"), "{told}");
}

// P22.4
#[test]
fn each_of_two_nested_methods_requires_its_own_part() {
    struct Plain;

    impl Protocol for Plain {
        fn data_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
            Ok(())
        }
    }

    fn require(transport: &Transport, missing: bool) {
        if missing { transport.require_part::<Member>() } else { transport.require_part::<Plain>() }
    }

    for outer_lacks_it in [true, false] {
        simulated(|reactor| {
            let handle = Handle::clone(reactor);
            let inner = meet(reactor, Plain);
            meet(reactor, Plain).add_callback(move |outer| {
                inner.add_callback(move |inner| {
                    let nested = inner.clone();
                    outer.enter(move |_: &mut Plain, outer| {
                        require(outer, outer_lacks_it);
                        nested.enter(move |_: &mut Plain, inner| {
                            require(inner, !outer_lacks_it);
                            Ok(())
                        });
                        assert_eq!(nested.is_closing(), !outer_lacks_it);
                        assert!(!outer.is_closing());
                        Ok(())
                    });
                    assert_eq!(outer.is_closing(), outer_lacks_it);
                    outer.abort_connection();
                    inner.abort_connection();
                    later(&handle)
                })
            })
        });
    }
}

// P22.2
#[test]
fn a_failed_visit_ends_that_connection_only() {
    type Fails = fn(&mut Scripted, &Transport) -> Result<(), Failure>;
    let ways: [(Fails, &str); 2] = [
        (
            |_, transport| {
                transport.write(b"good bye");
                Err(Failure::new("a whim"))
            },
            "a whim",
        ),
        (|_, _| panic!("on purpose"), "a visit panicked: on purpose"),
    ];
    for (fails, reason) in ways {
        on_every_network(|world| {
            let (near, far, other) = (Diary::new(), Diary::new(), Diary::new());
            world.run(|reactor| {
                let port = listen_once(reactor, scripted(&far));
                let endpoint = ClientEndpoint::tcp("127.0.0.1", address(&port).port());
                let lost = [near.when_lost(), far.when_lost()];
                let near = scripted(&near);
                let other = meet(reactor, scripted(&other));
                endpoint.connect(reactor, near).add_callback(move |transport| {
                    other.add_callback(move |other| {
                        // Inside a visit of the other connection, which does not notice.
                        other.enter(move |_: &mut Scripted, _| {
                            transport.enter(fails);
                            Ok(())
                        });
                        twistor_deferred::gather_results(lost).add_callback(move |_| {
                            assert!(!other.is_closing());
                            drop(port);
                        })
                    })
                })
            });
            let failure = near.reason();
            assert_eq!(failure.to_string(), reason);
            assert_eq!(failure.is::<HandlerPanicked>(), reason.contains("panicked"));
            if !failure.is::<HandlerPanicked>() {
                assert_eq!(far.received(), b"good bye");
            }
        });
    }
}

// P22.5
#[test]
fn a_delivery_is_cancelled_when_the_connection_is_lost() {
    on_every_network(|world| {
        let (story, cancelled) = (Story::default(), Rc::new(Cell::new(0)));
        let count = cancelled.clone();
        world.run(|reactor| {
            let handle = Handle::clone(reactor);
            meet(reactor, Member::new(&story, |_, _| ())).add_callback(move |transport| {
                let deliver = move |transport: &Transport| {
                    let count = count.clone();
                    let (deferred, trigger) = Deferred::with_canceller(move |_| count.set(count.get() + 1));
                    transport.deliver(deferred, |_: &mut Member, _, _: Result<(), Failure>| {
                        panic!("delivered after the loss")
                    });
                    trigger
                };
                let first: Trigger<()> = deliver(&transport);
                transport.abort_connection();
                // Too late: the connection is lost.
                drop(deliver(&transport));
                later(&handle).add_callback(move |()| {
                    drop((first, deliver(&transport)));
                    assert!(!transport.enter(|_: &mut Member, _| panic!("entered after the loss")));
                })
            })
        });
        assert_eq!(cancelled.get(), 3);
        assert_eq!(story.borrow().len(), 1, "{:?}", story.borrow());
    });
}

// P22.5
#[test]
fn results_are_delivered_in_the_order_of_arrival() {
    on_every_network(|world| {
        let story = Story::default();
        world.run(|reactor| {
            let handle = Handle::clone(reactor);
            let member = Member::new(&story, |_, transport| {
                let heard = |member: &mut Member, _: &Transport, result: Result<&'static str, Failure>| {
                    match result {
                        Ok(what) => member.visited(what),
                        Err(failure) => {
                            assert!(failure.is::<Cancelled>());
                            member.visited("the cancelled one")
                        }
                    }
                };
                let (deferred, trigger) = Deferred::new();
                transport.deliver(deferred, heard);
                transport.deliver(succeed("the early one"), heard);
                let (gone, _trigger) = Deferred::<&'static str>::new();
                let canceller = gone.canceller();
                transport.deliver(gone, heard);
                canceller.cancel();
                trigger.callback("the late one");
            });
            meet(reactor, member).add_callback(move |_| later(&handle))
        });
        let expected = [
            "begins",
            "ends",
            "the early one is visit 1",
            "the cancelled one is visit 2",
            "the late one is visit 3",
        ];
        assert_eq!(story.borrow()[..5], expected);
    });
}

/// All connections of a chain.
type Chain = Rc<RefCell<Vec<Transport>>>;

/// Visits the next connection of the chain, inside its own visit.
struct Link(Chain, Rc<Cell<usize>>);

impl Link {
    fn go_on(&mut self, place: usize) -> Result<(), Failure> {
        self.1.set(self.1.get() + 1);
        if let Some(next) = self.0.borrow().get(place + 1) {
            next.enter(move |link: &mut Link, _| link.go_on(place + 1));
        }
        Ok(())
    }
}

impl Protocol for Link {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.0.borrow_mut().push(transport.clone());
        Ok(())
    }

    fn data_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
        Ok(())
    }
}

// P22.3
#[test]
fn a_chain_of_ten_thousand_visits_needs_little_stack() {
    const LENGTH: usize = 10_000;
    let visited = Rc::new(Cell::new(0));
    simulated(|reactor| {
        let chain = Chain::default();
        let (links, count) = (chain.clone(), visited.clone());
        let port = listen(reactor, move |_| Link(links.clone(), count.clone()));
        for _ in 0..LENGTH {
            let endpoint = ClientEndpoint::tcp("127.0.0.1", address(&port).port());
            drop(endpoint.connect(reactor, scripted(&Diary::new())));
        }
        let handle = Handle::clone(reactor);
        defer_later(reactor, Duration::from_secs(300), move || Ok(())).add_callback(move |()| {
            assert_eq!(chain.borrow().len(), LENGTH);
            let turns = handle.stats().turns;
            let first = chain.borrow()[0].clone();
            first.enter(|link: &mut Link, _| link.go_on(0));
            defer_later(&handle.clone(), Duration::from_secs(1), move || {
                drop((port, chain));
                assert!(handle.stats().turns - turns > LENGTH as u64 / 20, "they were nested");
                Ok(())
            })
        })
    });
    assert_eq!(visited.get(), LENGTH);
}

// P22.3
#[test]
fn endless_visits_do_not_block_the_loop() {
    struct Endless(usize);

    impl Endless {
        fn again(&mut self, transport: &Transport) -> Result<(), Failure> {
            self.0 += 1;
            transport.enter(Endless::again);
            Ok(())
        }
    }

    impl Protocol for Endless {
        fn data_received(&mut self, transport: &Transport, _: &[u8]) -> Result<(), Failure> {
            self.again(transport)
        }
    }

    run(|reactor| {
        let handle = Handle::clone(reactor);
        meet(reactor, Endless(0)).add_callback(move |transport| {
            later(&handle).add_callback(move |()| {
                transport.enter(|endless: &mut Endless, _| {
                    assert!(endless.0 > 1024);
                    Ok(())
                });
                transport.abort_connection();
            })
        })
    });
}

/// A chat room is a list of transports. A slow member is skipped, and learns how many lines it has missed.
struct Guest {
    room: Chain,
    name: Option<String>,
    missed: usize,
}

impl Guest {
    fn hear(&mut self, transport: &Transport, line: &str) -> Result<(), Failure> {
        if transport.is_full() {
            self.missed += 1;
            return Ok(());
        }
        if self.missed > 0 {
            let note = format!("(you missed {} lines)", std::mem::take(&mut self.missed));
            transport.write_frame(&Lines::new(), note.as_bytes())?;
        }
        transport.write_frame(&Lines::new(), line.as_bytes())?;
        Ok(())
    }

    fn say(&self, line: String) {
        let line: Rc<str> = line.into();
        for other in self.room.borrow().iter() {
            let line = line.clone();
            other.enter(move |guest: &mut Guest, transport| guest.hear(transport, &line));
        }
    }
}

impl FrameReceiver for Guest {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        transport.require_part::<Self>();
        self.room.borrow_mut().push(transport.clone());
        transport.write_frame(&Lines::new(), b"your name?")?;
        Ok(())
    }

    fn frame_received(&mut self, _: &Transport, line: &[u8]) -> Result<(), Failure> {
        let line = String::from_utf8_lossy(line).into_owned();
        match &self.name {
            None => {
                self.say(format!("{line} is here"));
                self.name = Some(line);
            }
            Some(name) => self.say(format!("{name}: {line}")),
        }
        Ok(())
    }

    fn connection_lost(&mut self, _: Failure) {
        self.room.borrow_mut().retain(|other| !other.is_lost());
        if let Some(name) = &self.name {
            self.say(format!("{name} has left"));
        }
    }
}

// P22.1, P22.4
#[test]
fn guests_of_a_chat_hear_each_other_and_themselves() {
    on_every_network(|world| {
        let heard = world.run(|reactor| {
            if let Some(network) = SimulatedNetwork::of(reactor) {
                network.set_latency(Duration::from_millis(1), Duration::from_millis(1));
            }
            let room = Chain::default();
            let port = listen(reactor, move |_| {
                let guest = Guest { room: room.clone(), name: None, missed: 0 };
                Framed::new(Lines::new(), guest)
            });
            let endpoint = ClientEndpoint::tcp("127.0.0.1", address(&port).port());
            let handle = Handle::clone(reactor);
            reactor.spawn(async move {
                let (ann, bob) = (endpoint.converse(&handle).await?, endpoint.converse(&handle).await?);
                let mut heard = vec![ann.read_line(100).await?, bob.read_line(100).await?];
                ann.write(b"ann\r\n");
                heard.extend([ann.read_line(100).await?, bob.read_line(100).await?]);
                bob.write(b"bob\r\nhi\r\n");
                heard.extend([ann.read_line(100).await?, ann.read_line(100).await?]);
                heard.extend([bob.read_line(100).await?, bob.read_line(100).await?]);
                drop(ann);
                heard.push(bob.read_line(100).await?);
                drop(port);
                Ok(heard)
            })
        });
        let heard: Vec<_> = heard.into_iter().map(|line| String::from_utf8(line).unwrap()).collect();
        let expected = [
            "your name?",
            "your name?",
            "ann is here",
            "ann is here",
            "bob is here",
            "bob: hi",
            "bob is here",
            "bob: hi",
            "ann has left",
        ];
        assert_eq!(heard, expected);
    });
}

/// A protocol that answers requests in order, after a lookup that returns a Deferred, without a cell.
struct Finger {
    handle: Handle,
    answered: usize,
}

impl Finger {
    fn look_up(&self, user: String) -> Deferred<String> {
        match &*user {
            "now" => succeed("at once".to_owned()),
            _ => defer_later(&self.handle, Duration::from_millis(5), move || Ok(format!("{user} is fine"))),
        }
    }

    fn found(&mut self, transport: &Transport, status: Result<String, Failure>) -> Result<(), Failure> {
        self.answered += 1;
        let line = format!("{}: {}", self.answered, status?);
        transport.write_frame(&Lines::new(), line.as_bytes())?;
        transport.resume_producing();
        Ok(())
    }
}

impl FrameReceiver for Finger {
    fn frame_received(&mut self, transport: &Transport, user: &[u8]) -> Result<(), Failure> {
        transport.pause_producing();
        transport.deliver(self.look_up(String::from_utf8_lossy(user).into_owned()), Finger::found);
        Ok(())
    }
}

// P22.5
#[test]
fn requests_are_answered_in_order_however_slow_the_lookup() {
    on_every_network(|world| {
        let answers = world.run(|reactor| {
            let handle = Handle::clone(reactor);
            let port = listen(reactor, move |_| {
                Framed::new(Lines::new(), Finger { handle: handle.clone(), answered: 0 })
            });
            let endpoint = ClientEndpoint::tcp("127.0.0.1", address(&port).port());
            let handle = Handle::clone(reactor);
            reactor.spawn(async move {
                let peer = endpoint.converse(&handle).await?;
                peer.write(b"now\r\nann\r\nnow\r\nbob\r\n");
                let mut answers = Vec::new();
                for _ in 0..4 {
                    answers.push(String::from_utf8(peer.read_line(100).await?)?);
                }
                drop(port);
                Ok(answers)
            })
        });
        assert_eq!(answers, ["1: at once", "2: ann is fine", "3: at once", "4: bob is fine"]);
    });
}
