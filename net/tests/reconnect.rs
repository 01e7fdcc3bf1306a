//! A client that reconnects, in each of its states. P14.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use support::logged::keep_log;
use support::*;
use twistor_deferred::{Deferred, Trigger, succeed};
use twistor_net::simulation::explore;
use twistor_net::{
    Backoff, ClientEndpoint, ConnectAttemptsFailed, ConnectRefused, ConnectionAborted, Failure,
    NetworkEventKind, Protocol, Reconnecting, ServerEndpoint, SimulatedNetwork, Transport,
};
use twistor_reactor::{Handle, Reactor};

const SERVER: &str = "192.0.2.80:80";

fn endpoint() -> ClientEndpoint {
    ClientEndpoint::tcp("192.0.2.80", 80)
}

fn serve<F: twistor_net::Factory>(handle: &Handle, factory: F) -> twistor_net::ListeningPort {
    ServerEndpoint::tcp(SERVER.parse().unwrap()).listen(handle, factory).unwrap()
}

/// Waits without jitter: 1, 2, 4, … seconds.
fn steady() -> Backoff {
    Backoff { factor: 2.0, jitter: 0.0, ..Backoff::default() }
}

fn after(handle: &Handle, delay: Duration) -> Deferred<()> {
    let (deferred, trigger) = Deferred::new();
    handle.call_later(delay, move || trigger.callback(()));
    deferred
}

const SECOND: Duration = Duration::from_secs(1);

fn is_aborted(result: Result<Transport, Failure>) -> bool {
    result.is_err_and(|failure| failure.is::<ConnectionAborted>())
}

// P14.1
#[test]
fn a_builder_that_panics_once_is_called_again() {
    let told = Rc::new(RefCell::new(Vec::new()));
    simulated(|reactor| {
        serve(reactor, |_| Echo);
        let (built, seen) = (Cell::new(0), told.clone());
        let service = Reconnecting::new(reactor, endpoint(), move || {
            built.set(built.get() + 1);
            assert!(built.get() > 1, "on purpose");
            Echo
        })
        .backoff(steady())
        .on_failure(move |failure, wait| seen.borrow_mut().push((failure.to_string(), wait)));
        service.start();
        service.when_connected().add_callback(move |_| service.stop())
    });
    let (what, wait) = told.take().remove(0);
    assert!(what.starts_with("build panicked: on purpose (given at "), "{what}");
    assert_eq!((wait, told.borrow().len()), (SECOND, 0));
}

struct PanicsAtTheEnd;

impl Protocol for PanicsAtTheEnd {
    fn data_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
        Ok(())
    }

    fn connection_lost(&mut self, _: Failure) {
        panic!("on purpose");
    }
}

// P14.1
#[test]
fn a_protocol_that_panics_when_lost_is_built_again() {
    keep_log();
    simulated(|reactor| {
        serve(reactor, |_| Echo);
        let service = Reconnecting::new(reactor, endpoint(), || PanicsAtTheEnd).backoff(steady());
        service.start();
        let handle = Handle::clone(reactor);
        service.when_connected().add_callback(move |transport| {
            transport.abort_connection();
            after(&handle, SECOND / 2)
                .add_callback(move |()| service.when_connected().add_callback(move |_| service.stop()))
        })
    });
}

// P14.2
#[test]
fn when_connected_fails_at_once_during_and_after_a_stop() {
    simulated(|reactor| {
        serve(reactor, |_| Echo);
        let service = Reconnecting::new(reactor, endpoint(), || Echo);
        // It waits before the first start.
        let first = service.when_connected();
        assert!(!first.is_fired());
        service.start();
        first.add_callback(move |_| {
            let stopped = service.stop();
            assert!(!stopped.is_fired());
            let during = service.when_connected();
            assert!(during.is_fired());
            let during = during.add_both(|result| assert!(is_aborted(result)));
            stopped.add_callback(move |()| {
                let after = service.when_connected();
                assert!(after.is_fired());
                let after = after.add_both(|result| assert!(is_aborted(result)));
                service.start();
                let again = service.when_connected().add_callback(move |_| service.stop());
                during.add_callback(move |()| after).add_callback(move |()| again)
            })
        })
    });
}

/// Returns how long a stop takes if the peer does not read.
fn stop_without_a_reader(grace: Option<Duration>) -> Option<Duration> {
    simulated(|reactor| {
        serve(reactor, |_| {
            scripted(&Diary::new()).on_made(|transport| {
                transport.pause_producing();
                Ok(())
            })
        });
        let service = Reconnecting::new(reactor, endpoint(), || {
            scripted(&Diary::new()).on_made(|transport| {
                transport.write(&vec![0; 1 << 20]);
                Ok(())
            })
        });
        let service = match grace {
            Some(grace) => service.stop_grace(grace),
            None => service,
        };
        service.start();
        let handle = Handle::clone(reactor);
        service.when_connected().add_callback(move |_| {
            let start = handle.now();
            let ended = Rc::new(Cell::new(None));
            let (end, clock) = (ended.clone(), handle.clone());
            let stopped = service.stop().add_callback(move |()| end.set(Some(clock.now() - start)));
            // A second stop does not restart the grace period.
            let second = service.stop();
            after(&handle, 3600 * SECOND).add_callback(move |()| {
                drop((stopped, second, service));
                Ok(ended.get())
            })
        })
    })
}

// P14.3
#[test]
fn a_stop_aborts_after_the_grace_period() {
    let about = |elapsed: Option<Duration>| elapsed.unwrap().as_millis();
    assert_eq!(about(stop_without_a_reader(None)), 5000);
    assert_eq!(about(stop_without_a_reader(Some(SECOND))), 1000);
    assert_eq!(stop_without_a_reader(Some(Duration::MAX)), None);
}

// P14.4
#[test]
fn a_service_ends_with_the_run_and_can_start_again() {
    // The states that the service can have when the run ends.
    for stage in ["waiting", "connecting", "connected"] {
        on_every_network(|world| world.with_reactor(|reactor| run_twice(reactor, stage)));
    }
}

fn run_twice(reactor: &Reactor, stage: &'static str) {
    let port = ServerEndpoint::tcp("127.0.0.1:0".parse().unwrap()).listen(reactor, |_| Echo).unwrap();
    let place = address(&port);
    let service = Reconnecting::new(reactor, ClientEndpoint::tcp("127.0.0.1", place.port()), || Echo);
    service.start();
    if stage == "waiting" {
        drop(port.stop_listening());
    }
    let (handle, seen) = (Handle::clone(reactor), service.clone());
    let poll = twistor_reactor::LoopingCall::new(reactor, move || {
        if format!("{seen:?}").contains(stage) {
            handle.stop();
        }
    });
    drop(poll.start(Duration::from_millis(1)));
    let waiting = if stage == "connected" { None } else { Some(service.when_connected()) };
    reactor.run().unwrap();
    if let Some(waiting) = waiting {
        // It may have connected in the last turn.
        let outcome = waiting.try_result().unwrap();
        assert!(outcome.is_ok() && stage == "connecting" || is_aborted(outcome), "{stage}");
    }
    assert!(is_aborted(service.when_connected().try_result().unwrap()), "{stage}, {service:?}");
    assert!(service.stop().is_fired());

    let _port = ServerEndpoint::tcp(place).listen(reactor, |_| Echo).unwrap();
    service.start();
    let handle = Handle::clone(reactor);
    reactor.call_later(DEADLINE, move || handle.stop());
    reactor.run_until(service.when_connected()).unwrap();
}

// P14.5
#[test]
fn a_connection_counts_after_it_is_prepared() {
    simulated(|reactor| {
        serve(reactor, |_| Echo);
        let place: Rc<RefCell<Vec<Trigger<()>>>> = Rc::default();
        let kept = place.clone();
        let service = Reconnecting::new(reactor, endpoint(), || Echo).prepare(move |transport| {
            assert!(!transport.is_lost());
            let (prepared, trigger) = Deferred::new();
            kept.borrow_mut().push(trigger);
            prepared
        });
        service.start();
        let connected = service.when_connected();
        let handle = Handle::clone(reactor);
        after(&handle, SECOND).add_callback(move |()| {
            assert!(!connected.is_fired());
            assert!(!service.when_connected().is_fired());
            for trigger in place.take() {
                trigger.callback(());
            }
            assert!(connected.is_fired() && service.when_connected().is_fired());
            service.stop()
        })
    });
}

// P14.5
#[test]
fn a_failed_preparation_is_a_failure_to_connect() {
    let told = Rc::new(RefCell::new(Vec::new()));
    let accepted = Rc::new(Cell::new(0));
    simulated(|reactor| {
        let count = accepted.clone();
        serve(reactor, move |_| {
            count.set(count.get() + 1);
            Echo
        });
        let (seen, tries) = (told.clone(), Cell::new(0));
        let service = Reconnecting::new(reactor, endpoint(), || Echo)
            .backoff(steady())
            .prepare(move |transport| -> Deferred<()> {
                tries.set(tries.get() + 1);
                match tries.get() {
                    1 => twistor_deferred::fail(std::io::Error::other("on strike")),
                    2 => panic!("on purpose"),
                    3 => {
                        transport.abort_connection();
                        let (never, trigger) = Deferred::new();
                        std::mem::forget(trigger);
                        never
                    }
                    _ => succeed(()),
                }
            })
            .on_failure(move |failure, wait| {
                seen.borrow_mut().push(format!("{failure} {wait:?}"));
            });
        service.start();
        service.when_connected().add_callback(move |_| service.stop())
    });
    let told = told.take();
    let lost = "connection was lost: lost while it was being prepared 4s";
    assert_eq!((told[0].as_str(), told[2].as_str(), told.len()), ("on strike 1s", lost, 3));
    assert!(told[1].starts_with("prepare panicked: on purpose (given at "), "{told:?}");
    assert!(told[1].ends_with(") 2s"), "{told:?}");
    assert_eq!(accepted.get(), 4);
}

// P14.5
#[test]
fn a_stop_while_preparing_cancels_and_closes() {
    let diary = Diary::new();
    let cancelled = Rc::new(Cell::new(false));
    simulated(|reactor| {
        serve(reactor, |_| Echo);
        let (client, told) = (diary.clone(), cancelled.clone());
        let service = Reconnecting::new(reactor, endpoint(), move || scripted(&client)).prepare(move |_| {
            let told = told.clone();
            let (never, trigger) = Deferred::<()>::with_canceller(move |_| told.set(true));
            std::mem::forget(trigger);
            never
        });
        service.start();
        let waiting = service.when_connected();
        let handle = Handle::clone(reactor);
        after(&handle, SECOND).add_callback(move |()| {
            let stopped = service.stop();
            waiting.add_both(move |result| {
                assert!(is_aborted(result));
                stopped
            })
        })
    });
    assert!(cancelled.get());
    assert_eq!(diary.losses(), 1);
}

// P14.6
#[test]
fn a_caller_may_limit_the_failures_to_wait_for() {
    simulated(|reactor| {
        let service = Reconnecting::new(reactor, endpoint(), || Echo).backoff(steady());
        service.start();
        let (any, one, three) =
            (service.when_connected(), service.when_connected_within(0), service.when_connected_within(3));
        // A cancelled waiter does not affect the others.
        let left = service.when_connected_within(1);
        left.cancel();
        drop(left.add_both(|result| assert!(result.unwrap_err().is::<twistor_deferred::Cancelled>())));
        let (handle, clock) = (Handle::clone(reactor), Handle::clone(reactor));
        let start = handle.now();
        one.add_both(move |result| {
            let error = result.unwrap_err().trap::<ConnectAttemptsFailed>().unwrap();
            let refused = std::error::Error::source(&error).unwrap().is::<ConnectRefused>();
            assert!(refused && error.failures == 1, "{error}");
            assert_eq!(
                error.to_string(),
                "no connection after 1 failed attempt: connection to 192.0.2.80:80 refused"
            );
            assert!(clock.now() - start < SECOND);
            three
        })
        .add_both(move |result| {
            assert_eq!(result.unwrap_err().trap::<ConnectAttemptsFailed>().unwrap().failures, 3);
            assert!((3..4).contains(&(handle.now() - start).as_secs()));
            serve(&handle, |_| Echo);
            any.add_callback(move |_| service.stop())
        })
    });
}

/// Returns when connections are requested from a server that keeps each one for `kept`.
fn gaps(kept: Duration) -> Vec<u64> {
    let times = Rc::new(RefCell::new(Vec::new()));
    simulated(|reactor| {
        let network = SimulatedNetwork::of(reactor).unwrap();
        network.set_latency(Duration::from_micros(1), Duration::from_micros(1));
        let seen = times.clone();
        network.set_observer(move |event| {
            if event.kind == NetworkEventKind::Connecting {
                seen.borrow_mut().push(event.time);
            }
        });
        let handle = Handle::clone(reactor);
        serve(reactor, move |_| {
            let handle = handle.clone();
            scripted(&Diary::new()).on_made(move |transport| {
                let transport = transport.clone();
                handle.call_later(kept, move || transport.lose_connection());
                Ok(())
            })
        });
        let service = Reconnecting::new(reactor, endpoint(), || Echo).backoff(steady());
        service.start();
        after(reactor, 200 * SECOND).add_callback(move |()| service.stop())
    });
    let times = times.take();
    times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect()
}

// P14.7
#[test]
fn the_wait_also_grows_when_a_server_closes_at_once() {
    assert_eq!(gaps(Duration::ZERO)[..6], [1, 2, 4, 8, 16, 32]);
    // A connection that lasts as long as the next wait resets the wait.
    assert_eq!(gaps(3 * SECOND)[..5], [4, 4, 4, 4, 4]);
    assert_eq!(gaps(Duration::from_millis(1500))[..4], [2, 3, 5, 9]);
    assert_eq!(gaps(SECOND / 2)[..4], [1, 2, 4, 8]);
}

// P14: whatever happened before, a started service with a server gets its connection
#[test]
fn a_started_service_always_connects() {
    explore(0..200, |reactor| {
        let simulation = reactor.simulation().unwrap();
        let network = SimulatedNetwork::of(reactor).unwrap();
        let host = "192.0.2.80".parse().unwrap();
        let _port = serve(reactor, |_| Echo);
        let service = Reconnecting::new(reactor, endpoint(), || Echo);
        let draw = simulation.clone();
        let service = service.prepare(move |transport| {
            match draw.random() % 4 {
                0 => transport.abort_connection(),
                1 => return Err(std::io::Error::other("on strike").into()),
                _ => {}
            }
            Ok::<(), Failure>(())
        });
        for _run in 0..3 {
            for _ in 0..simulation.random() % 10 {
                let (service, network, handle) = (service.clone(), network.clone(), Handle::clone(reactor));
                let what = simulation.random() % 7;
                let when = Duration::from_millis(simulation.random() % 5000);
                reactor.call_later(when, move || match what {
                    0 | 1 => service.start(),
                    2 => drop(service.stop()),
                    3 => network.isolate(host),
                    4 => network.rejoin(host),
                    5 => drop(network.reset_connections(host)),
                    _ => {
                        drop(service.when_connected().add_both(move |_| {
                            drop(service.stop());
                            service.start();
                            drop(handle);
                        }));
                    }
                });
            }
            let handle = Handle::clone(reactor);
            reactor.call_later(Duration::from_millis(simulation.random() % 6000), move || handle.stop());
            reactor.run().unwrap();
            drop(_port.stop_listening());
        }
        network.rejoin(host);
        let _port = serve(reactor, |_| Echo);
        service.start();
        let connected = reactor.run_until(service.when_connected());
        assert!(connected.is_ok(), "{service:?}, {connected:?}");
    });
}
