//! R4.6: every type that holds a timer, a task or a registration goes through two runs.

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use mio::Interest;
use mio::unix::pipe;
use twistor_deferred::{Deferred, Trigger};
use twistor_reactor::{
    AddTimeout, Cooperator, EventHandler, Handle, LoopingCall, Phase, Progress, Ready, Registration,
    TimedOut, defer_later,
};

use crate::support::{check_panics, keep_log, logged, reactor};

const LONG: Duration = Duration::from_secs(3600);

type Begin = Box<dyn Fn() -> Deferred<()>>;
type SetUp = fn(&Handle) -> Uses;

/// Two uses of a type, each called in both runs. The first fires during the run, and the second not before its end.
struct Uses {
    fires: Begin,
    pends: Begin,
}

fn uses(fires: impl Fn() -> Deferred<()> + 'static, pends: impl Fn() -> Deferred<()> + 'static) -> Uses {
    Uses { fires: Box::new(fires), pends: Box::new(pends) }
}

/// The name of a type, and a function that sets up an object for both runs.
const TABLE: &[(&str, SetUp)] = &[
    ("call_later", call_later),
    ("defer_later", deferred_later),
    ("add_timeout", timeouts),
    ("sleep", sleeps),
    ("spawn", tasks),
    ("LoopingCall", looping_calls),
    ("Cooperator", cooperators),
    ("readable", readable),
    ("add_source", sources),
    ("register", registrations),
    ("attach", attached),
    ("defer_to_thread", threads),
    ("defer_to_lookup_thread", lookups),
    ("call_from_thread", remote_calls),
    ("Remote::call", answered_calls),
    ("remote_trigger", remote_triggers),
    ("call_when_running", startup_calls),
    #[cfg(feature = "process")]
    ("spawn_process", processes),
    #[cfg(feature = "process")]
    ("process_output", process_outputs),
];

#[test]
fn everything_notices_the_end_of_a_run_and_works_in_the_next() {
    // R4.6
    keep_log();
    for (name, set_up) in TABLE {
        let reactor = reactor();
        let uses = set_up(&reactor);
        for round in ["first", "second"] {
            let ended = Rc::new(Cell::new(false));
            let (seen, handle) = (ended.clone(), reactor.handle());
            let pending = (uses.pends)().add_both(move |result| {
                assert!(!handle.is_running(), "{name}: it ends with the run");
                seen.set(result.is_err());
            });
            // A failure reports whether the run or its time limit ended first.
            let fired = (uses.fires)().add_timeout(Duration::from_secs(30), &*reactor);
            assert!(reactor.run_until(fired).is_ok(), "{name} works in the {round} run");
            assert!(ended.get(), "{name} notices the end of the {round} run");
            drop(pending);
        }
        drop((uses, reactor));
        check_panics();
        assert_eq!(logged(), [""; 0], "{name}");
    }
}

fn call_later(handle: &Handle) -> Uses {
    let (soon, late) = (handle.clone(), handle.clone());
    let after = |handle: &Handle, delay| {
        let (deferred, trigger) = Deferred::new();
        handle.call_later(delay, move || trigger.callback(()));
        deferred
    };
    uses(move || after(&soon, Duration::ZERO), move || after(&late, LONG))
}

fn deferred_later(handle: &Handle) -> Uses {
    let (soon, late) = (handle.clone(), handle.clone());
    uses(move || defer_later(&soon, Duration::ZERO, || ()), move || defer_later(&late, LONG, || ()))
}

fn timeouts(handle: &Handle) -> Uses {
    let never: Rc<RefCell<Vec<Trigger<()>>>> = Rc::default();
    let (soon, late) = (handle.clone(), handle.clone());
    let limited = move |handle: &Handle, limit| {
        let (deferred, trigger) = Deferred::new();
        never.borrow_mut().push(trigger);
        deferred.add_timeout(limit, handle)
    };
    let also_limited = limited.clone();
    uses(
        move || limited(&soon, Duration::ZERO).add_errback(|failure| failure.trap::<TimedOut>().map(|_| ())),
        move || also_limited(&late, LONG),
    )
}

fn sleeps(handle: &Handle) -> Uses {
    let (soon, late) = (handle.clone(), handle.clone());
    uses(move || soon.spawn(soon.sleep(Duration::ZERO)), move || late.spawn(late.sleep(LONG)))
}

fn tasks(handle: &Handle) -> Uses {
    let (soon, late) = (handle.clone(), handle.clone());
    uses(move || soon.spawn(async {}), move || late.spawn(std::future::pending::<()>()))
}

fn looping_calls(handle: &Handle) -> Uses {
    let soon = Rc::new(RefCell::new(None));
    let calls = soon.clone();
    let looping = LoopingCall::new(handle, move || {
        if let Some(fire) = calls.take() {
            Trigger::callback(fire, ());
        }
    });
    let endless = LoopingCall::new(handle, || ());
    uses(
        move || {
            let (deferred, trigger) = Deferred::new();
            soon.replace(Some(trigger));
            drop(looping.start_later(Duration::from_millis(1)).add_both(|_| ()));
            deferred
        },
        move || endless.start(LONG).add_callback(|_| ()),
    )
}

fn cooperators(handle: &Handle) -> Uses {
    let cooperator = Cooperator::new(handle);
    let other = cooperator.clone();
    uses(move || cooperator.coiterate([(), ()]), move || other.coiterate(std::iter::repeat(())))
}

fn readable(handle: &Handle) -> Uses {
    let (soon, late) = (handle.clone(), handle.clone());
    let (here, there) = UnixStream::pair().unwrap();
    let (silent, other) = UnixStream::pair().unwrap();
    // The same descriptors in both runs.
    let (here, silent) = (Rc::new(here), Rc::new(silent));
    uses(
        move || {
            (&there).write_all(b"x").unwrap();
            soon.readable(here.clone()).add_callback(|here| {
                (&*here).read_exact(&mut [0]).unwrap();
                Ok(())
            })
        },
        move || {
            let _ = &other;
            late.readable(silent.clone()).add_callback(|_| Ok(()))
        },
    )
}

fn sources(handle: &Handle) -> Uses {
    let (soon, late) = (handle.clone(), handle.clone());
    let watch = |handle: &Handle, bytes: &[u8]| {
        let (mut sender, receiver) = pipe::new().unwrap();
        sender.write_all(bytes).unwrap();
        let (deferred, trigger) = Deferred::new();
        let mut held = Some((trigger, sender));
        let fire = move |_: &mut pipe::Receiver, _| {
            if let Some((trigger, _)) = held.take() {
                trigger.callback(());
            }
            Ok(Progress::Drained)
        };
        handle.add_source(receiver, Interest::READABLE, fire).unwrap();
        deferred
    };
    uses(move || watch(&soon, b"x"), move || watch(&late, b""))
}

/// A handler that fires a trigger when it is called.
struct Fires {
    trigger: Cell<Option<Trigger<()>>>,
    receiver: RefCell<Option<pipe::Receiver>>,
    registration: RefCell<Option<Registration>>,
}

impl Fires {
    fn new(receiver: Option<pipe::Receiver>) -> (Rc<Fires>, Deferred<()>) {
        let (deferred, trigger) = Deferred::new();
        let fires = Fires {
            trigger: Cell::new(Some(trigger)),
            receiver: RefCell::new(receiver),
            registration: RefCell::default(),
        };
        (Rc::new(fires), deferred)
    }
}

impl EventHandler for Fires {
    fn ready(self: Rc<Self>, _: Ready) -> Progress {
        if let Some(trigger) = self.trigger.take() {
            trigger.callback(());
        }
        Progress::Drained
    }
}

fn registrations(handle: &Handle) -> Uses {
    let (soon, late) = (handle.clone(), handle.clone());
    let senders = Rc::new(RefCell::new(Vec::new()));
    let register = move |handle: &Handle, bytes: &[u8]| {
        let (mut sender, receiver) = pipe::new().unwrap();
        sender.write_all(bytes).unwrap();
        senders.borrow_mut().push(sender);
        let (fires, deferred) = Fires::new(Some(receiver));
        if let Some(receiver) = &mut *fires.receiver.borrow_mut() {
            let registration = handle.register(receiver, Interest::READABLE, fires.clone()).unwrap();
            fires.registration.replace(Some(registration));
        }
        deferred
    };
    let also_register = register.clone();
    uses(move || register(&soon, b"x"), move || also_register(&late, b""))
}

fn attached(handle: &Handle) -> Uses {
    let (soon, late) = (handle.clone(), handle.clone());
    let attach = |handle: &Handle, ready| {
        let (fires, deferred) = Fires::new(None);
        let registration = handle.attach(fires.clone()).unwrap();
        registration.wake(ready);
        fires.registration.replace(Some(registration));
        deferred
    };
    uses(
        move || attach(&soon, Ready::READABLE),
        move || {
            let (fires, deferred) = Fires::new(None);
            fires.registration.replace(Some(late.attach(fires.clone()).unwrap()));
            deferred
        },
    )
}

fn threads(handle: &Handle) -> Uses {
    let (soon, late) = (handle.clone(), handle.clone());
    uses(
        move || soon.defer_to_thread(|| Ok(())),
        move || {
            let (go, may_end) = mpsc::channel::<()>();
            late.call_later(LONG, move || drop(go));
            late.defer_to_thread(move || Ok(_ = may_end.recv()))
        },
    )
}

fn lookups(handle: &Handle) -> Uses {
    let (soon, late) = (handle.clone(), handle.clone());
    let held_up = RefCell::new(Vec::new());
    uses(
        move || soon.defer_to_lookup_thread(|| Ok(())),
        move || {
            let (go, may_end) = mpsc::channel::<()>();
            held_up.borrow_mut().push(go);
            late.defer_to_lookup_thread(move || Ok(_ = may_end.recv()))
        },
    )
}

fn remote_calls(handle: &Handle) -> Uses {
    let (soon, late) = (handle.clone(), handle.clone());
    let remote = handle.remote();
    uses(
        move || {
            let remote = remote.clone();
            soon.defer_to_thread(move || {
                let (answer, answered) = mpsc::channel();
                remote.call_from_thread(move |_| answer.send(()).unwrap())?;
                Ok(answered.recv()?)
            })
        },
        move || {
            // Created too late.
            let (deferred, trigger) = Deferred::new();
            let handle = late.clone();
            late.on_shutdown(Phase::After, move || {
                let refused = Rc::new(Cell::new(Some(trigger)));
                handle.call_later(LONG, move || drop(refused));
            });
            deferred
        },
    )
}

fn answered_calls(handle: &Handle) -> Uses {
    let (soon, late) = (handle.clone(), handle.clone());
    let remote = handle.remote();
    let other = remote.clone();
    uses(
        move || {
            let remote = remote.clone();
            soon.defer_to_thread(move || remote.call(|_| ()).wait())
        },
        move || {
            let call = other.call(|_| {
                let (deferred, trigger) = Deferred::<()>::new();
                std::mem::forget(trigger);
                deferred
            });
            // Awaited by a task of the same reactor, which ends with it.
            late.spawn(call)
        },
    )
}

fn remote_triggers(handle: &Handle) -> Uses {
    let (soon, late) = (handle.clone(), handle.clone());
    let held = RefCell::new(Vec::new());
    uses(
        move || {
            let (deferred, trigger) = soon.remote_trigger();
            let fire = move || {
                trigger.callback(());
                Ok(())
            };
            drop(soon.defer_to_thread(fire).add_both(|_| ()));
            deferred
        },
        move || {
            let (deferred, trigger) = late.remote_trigger();
            held.borrow_mut().push(trigger);
            deferred
        },
    )
}

fn startup_calls(handle: &Handle) -> Uses {
    let (soon, late) = (handle.clone(), handle.clone());
    uses(
        move || {
            let (deferred, trigger) = Deferred::new();
            soon.call_when_running(move || trigger.callback(()));
            deferred
        },
        move || {
            let (deferred, trigger) = Deferred::<()>::new();
            late.on_shutdown(Phase::After, move || drop(trigger));
            deferred.add_both(|_| Err::<(), _>(twistor_deferred::Abandoned.into()))
        },
    )
}

#[cfg(feature = "process")]
fn processes(handle: &Handle) -> Uses {
    use twistor_reactor::ProcessBuilder;
    let (soon, late) = (handle.clone(), handle.clone());
    uses(
        move || {
            let process = soon.spawn_process(ProcessBuilder::new("true")).unwrap();
            process.ended().add_callback(|_| Ok(()))
        },
        move || {
            let process = late.spawn_process(ProcessBuilder::new("cat").piped_stdin()).unwrap();
            process.ended().add_callback(|_| Ok(()))
        },
    )
}

#[cfg(feature = "process")]
fn process_outputs(handle: &Handle) -> Uses {
    use twistor_reactor::ProcessBuilder;
    let (soon, late) = (handle.clone(), handle.clone());
    uses(
        move || soon.process_output(ProcessBuilder::new("true")).add_callback(|_| Ok(())),
        move || late.process_output(ProcessBuilder::new("sleep").arg("600")).add_callback(|_| Ok(())),
    )
}
