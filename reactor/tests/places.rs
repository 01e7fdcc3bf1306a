//! R13.1: log lines name the user's line. The table lists everything in the reactor that takes a closure or creates
//! a failure.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::io::{self, Write};
use std::panic::Location;
use std::rc::Rc;
use std::sync::Once;
use std::time::Duration;

use mio::Interest;
use twistor_deferred::{Cancelled, Deferred, Failure, fail};
use twistor_reactor::{
    AddTimeout, Clock, Cooperator, EventHandler, LoopingCall, Phase, Progress, Reactor, Ready, ScheduledCall,
    defer_later,
};

const TICK: Duration = Duration::from_millis(1);

/// One entry of the table: its place, and its use of a reactor, which then runs for a while.
struct Entry {
    name: &'static str,
    line: u32,
    real: bool,
    run: fn(&Reactor),
}

#[track_caller]
fn entry(name: &'static str, run: fn(&Reactor)) -> Entry {
    Entry { name, line: Location::caller().line(), real: false, run }
}

/// Creates an entry with a reactor of the operating system.
#[track_caller]
fn real(name: &'static str, run: fn(&Reactor)) -> Entry {
    Entry { real: true, ..entry(name, run) }
}

impl Entry {
    /// The log lines of this thread, including debug level.
    fn logs(&self) -> Vec<String> {
        keep_log();
        let reactor = if self.real { Reactor::new().unwrap() } else { Reactor::simulated(0) };
        (self.run)(&reactor);
        let handle = reactor.handle();
        let time = if self.real { 50 * TICK } else { 1000 * TICK };
        reactor.call_later(time, move || handle.stop());
        reactor.run().unwrap();
        drop(reactor);
        LOGGED.take()
    }
}

thread_local! {
    static LOGGED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LOGGED.with_borrow_mut(|lines| lines.push(record.args().to_string()));
    }

    fn flush(&self) {}
}

fn keep_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Logger).unwrap();
        log::set_max_level(log::LevelFilter::Debug);
    });
    LOGGED.take();
}

/// Checks that each entry logs, that some line names a place in the entry, and that no line names another file.
fn check(entries: &[Entry]) {
    let mut faults = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let end = entries.get(index + 1).map_or(u32::MAX, |next| next.line);
        let lines = entry.logs();
        let mut named = false;
        for line in &lines {
            for place in line.split([' ', '(', ')', ',']).filter(|word| word.contains(".rs:")) {
                let number =
                    place.strip_prefix(file!()).and_then(|rest| rest.split(':').nth(1)?.parse().ok());
                match number {
                    Some(number) => named |= (entry.line..end).contains(&number),
                    None => faults.push(format!("{}: {place} in: {line}", entry.name)),
                }
            }
        }
        if !named {
            faults.push(format!("{}: no place in {lines:#?}", entry.name));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

fn panics<T>() -> T {
    panic!("out of cheese")
}

fn broken<T: 'static>() -> Deferred<T> {
    fail(Cancelled)
}

#[test]
fn log_lines_of_a_simulated_reactor_name_the_users_line() {
    check(&[
        entry("call_later", |reactor| drop(reactor.call_later(TICK, panics))),
        entry("Clock::call_later", |reactor| drop(Clock::call_later(reactor, TICK, panics))),
        entry("Clock::schedule", |reactor| drop(Clock::schedule(reactor, TICK, ScheduledCall::new(panics)))),
        entry("call_when_running", |reactor| reactor.call_when_running(panics)),
        entry("call_when_running, running", |reactor| {
            let handle = reactor.handle();
            reactor.call_when_running(move || handle.call_when_running(panics));
        }),
        entry("on_startup", |reactor| drop(reactor.on_startup(Phase::Before, panics::<()>))),
        entry("on_startup, failing", |reactor| drop(reactor.on_startup(Phase::During, broken::<()>))),
        entry("on_shutdown", |reactor| drop(reactor.on_shutdown(Phase::Before, panics::<()>))),
        entry("on_shutdown, failing at once", |reactor| {
            drop(reactor.on_shutdown(Phase::After, || Err::<(), Failure>(Cancelled.into())));
        }),
        entry("on_shutdown, failing later", |reactor| {
            let handle = reactor.handle();
            drop(reactor.on_shutdown(Phase::Before, move || defer_later(&handle, TICK, broken::<()>)));
        }),
        entry("spawn", |reactor| drop(reactor.spawn(async { panics::<()>() }))),
        entry("spawn, failing", |reactor| drop(reactor.spawn(async { broken::<()>().await }))),
        entry("spawn, dropped at the end", |reactor| drop(reactor.spawn(std::future::pending::<()>()))),
        entry("sleep", |reactor| {
            let sleep = reactor.sleep(3000 * TICK);
            drop(reactor.spawn(sleep));
        }),
        entry("defer_to_thread", |reactor| drop(reactor.defer_to_thread(panics::<Result<(), Failure>>))),
        entry("defer_to_thread, failing", |reactor| {
            drop(reactor.defer_to_thread(|| Err::<(), Failure>(Cancelled.into())));
        }),
        entry("defer_to_lookup_thread", |reactor| {
            drop(reactor.defer_to_lookup_thread(panics::<Result<(), Failure>>));
        }),
        entry("call_from_thread", |reactor| reactor.remote().call_from_thread(|_| panics()).unwrap()),
        entry("LoopingCall::new", |reactor| drop(LoopingCall::new(reactor, panics::<()>).start(TICK))),
        entry("LoopingCall::new, failing", |reactor| {
            drop(LoopingCall::new(reactor, broken::<()>).start_later(TICK));
        }),
        entry("LoopingCall::with_count", |reactor| {
            drop(LoopingCall::with_count(reactor, |_| panics::<()>()).start_later(TICK));
        }),
        entry("LoopingCall::start, twice", |reactor| {
            let looping = LoopingCall::new(reactor, || ());
            drop(looping.start(TICK));
            drop(looping.start(TICK));
        }),
        entry("Cooperator::coiterate", |reactor| {
            let steps = std::iter::repeat_with(panics::<()>);
            drop(Cooperator::new(reactor).coiterate(steps));
        }),
        entry("Cooperator::coiterate, failing", |reactor| {
            drop(Cooperator::new(reactor).coiterate([broken::<()>()]));
        }),
        entry("Cooperator::cooperate", |reactor| {
            drop(Cooperator::new(reactor).cooperate(std::iter::repeat_with(panics::<()>)));
        }),
        entry("Cooperator::cooperate, failing", |reactor| {
            let task = Cooperator::new(reactor).cooperate([broken::<()>()]);
            drop(task.when_done());
        }),
        entry("defer_later", |reactor| drop(defer_later(reactor, TICK, panics::<()>))),
        entry("defer_later, dropped at the end", |reactor| drop(defer_later(reactor, 3000 * TICK, || ()))),
        entry("add_timeout", |reactor| {
            let (waits, trigger) = Deferred::<()>::new();
            drop(waits.add_timeout(TICK, reactor));
            std::mem::forget(trigger);
        }),
        entry("a reactor that is gone", |_| {
            let gone = Reactor::simulated(0).handle();
            drop(gone.spawn(async {}));
            drop(gone.defer_to_thread(|| Ok(())));
            drop(gone.defer_to_lookup_thread(|| Ok(())));
        }),
    ]);
}

#[test]
fn a_handler_that_panics_is_named_by_its_type() {
    // R13.1
    struct Clumsy;
    impl EventHandler for Clumsy {
        fn ready(self: Rc<Self>, _: Ready) -> Progress {
            panics()
        }
    }
    let lines = entry("attach", |reactor| {
        let registration = reactor.attach(Rc::new(Clumsy)).unwrap();
        registration.wake(Ready::READABLE);
        reactor.call_later(TICK, move || drop(registration));
    })
    .logs();
    assert!(lines.len() == 1 && lines[0].contains("::Clumsy panicked: out of cheese"), "{lines:?}");
}

/// A descriptor that the operating system refuses to watch: the selector itself.
fn own_selector(reactor: &Reactor) -> std::os::fd::OwnedFd {
    std::os::fd::AsFd::as_fd(reactor).try_clone_to_owned().unwrap()
}

fn readable_pipe() -> mio::unix::pipe::Receiver {
    let (mut sender, receiver) = mio::unix::pipe::new().unwrap();
    sender.write_all(b"x").unwrap();
    std::mem::forget(sender);
    receiver
}

#[test]
fn log_lines_of_a_real_reactor_name_the_users_line() {
    check(&[
        real("defer_to_thread", |reactor| drop(reactor.defer_to_thread(panics::<Result<(), Failure>>))),
        real("defer_to_thread, failing", |reactor| {
            drop(reactor.defer_to_thread(|| Err::<(), _>(Cancelled.into())))
        }),
        real("readable, refused", |reactor| drop(reactor.readable(own_selector(reactor)))),
        real("writable, refused", |reactor| drop(reactor.writable(own_selector(reactor)))),
        real("readable, left at the end", |reactor| {
            let (sender, receiver) = std::os::unix::net::UnixStream::pair().unwrap();
            std::mem::forget(sender);
            drop(reactor.readable(receiver));
        }),
        real("add_source", |reactor| {
            drop(reactor.add_source(readable_pipe(), Interest::READABLE, |_, _| panics()));
        }),
        real("add_source, failing", |reactor| {
            let broken = |_: &mut _, _| Err(io::ErrorKind::BrokenPipe.into());
            drop(reactor.add_source(readable_pipe(), Interest::READABLE, broken));
        }),
        #[cfg(feature = "signals")]
        real("on_signal", |reactor| {
            drop(reactor.on_signal(twistor_reactor::signal::SIGWINCH, panics));
            let me = rustix::process::getpid();
            reactor.call_later(TICK, move || {
                rustix::process::kill_process(me, rustix::process::Signal::WINCH).unwrap()
            });
        }),
        #[cfg(feature = "process")]
        real("on_stdout", |reactor| {
            let echo = twistor_reactor::ProcessBuilder::new("echo").arg("x").on_stdout(|_| panics());
            drop(reactor.spawn_process(echo));
        }),
        #[cfg(feature = "process")]
        real("process_output, no program", |reactor| {
            drop(reactor.process_output(twistor_reactor::ProcessBuilder::new("/nowhere")));
        }),
        #[cfg(feature = "process")]
        real("Process, left at the end", |reactor| {
            let sleep = twistor_reactor::ProcessBuilder::new("sleep").arg("1000").kill_at_end();
            let process = reactor.spawn_process(sleep).unwrap();
            drop(process.exited());
            drop(process.ended());
            drop(process.written());
        }),
    ]);
}

#[test]
fn a_slow_callback_is_named_by_the_users_line() {
    // R13.1
    keep_log();
    let reactor = Reactor::builder().slow_callback(Duration::ZERO).build().unwrap();
    let handle = reactor.handle();
    let line = line!() + 1;
    reactor.call_later(TICK, move || handle.stop());
    reactor.run().unwrap();
    let lines = LOGGED.take();
    assert!(lines.iter().any(|told| told.contains(&format!("{}:{line}:", file!()))), "{lines:?}");
    assert!(!lines.iter().any(|told| told.contains("/src/")), "{lines:?}");
}
