//! R19: the list of everything that a reactor waits for.

use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::{Cancelled, Deferred, Trigger};
use twistor_reactor::{EventHandler, Progress, Reactor, Ready, WatchedKind};

use crate::support::{Record, keep_log, logged};

const S: Duration = Duration::from_secs(1);

struct Handler;

impl EventHandler for Handler {
    fn ready(self: Rc<Self>, _: Ready) -> Progress {
        Progress::Drained
    }
}

#[test]
fn watched_lists_what_the_reactor_waits_for() {
    // R19.1
    let reactor = Reactor::simulated(0);
    assert_eq!(reactor.watched(), []);
    let line = line!();
    let late = reactor.call_later(2 * S, || ());
    let early = reactor.call_later(S, || ());
    let task = reactor.spawn(pending::<()>());
    let job = reactor.defer_to_thread(|| Ok(()));
    let source = reactor.attach(Rc::new(Handler)).unwrap();

    let watched = reactor.watched();
    let kinds: Vec<WatchedKind> = watched.iter().map(|watched| watched.kind).collect();
    // In a simulation, work for threads also has a timer.
    let (source_kind, timer, task_kind, job_kind) =
        (WatchedKind::Source, WatchedKind::Timer, WatchedKind::Task, WatchedKind::Job);
    assert_eq!(kinds, [source_kind, timer, timer, timer, task_kind, job_kind]);
    let place = |lines: u32| format!("the callback added at {}:{}:", file!(), line + lines);
    let texts: Vec<String> = watched.iter().map(ToString::to_string).collect();
    assert!(texts[0].starts_with("source: the handler ") && texts[0].ends_with("::Handler"), "{texts:?}");
    for (text, lines) in texts[1..].iter().zip([4, 2, 1, 3, 4]) {
        assert!(text.contains(&place(lines)), "{text} is not of line {}", line + lines);
    }
    assert_eq!((watched[2].due, watched[3].due, watched[4].due), (early.time(), late.time(), None));

    late.cancel().unwrap();
    early.cancel().unwrap();
    task.cancel();
    drop((task.add_both(|_| ()), source));
    let handle = reactor.handle();
    reactor.run_until(job).unwrap();
    assert_eq!(reactor.watched(), []);
    drop(reactor);
    assert_eq!(handle.watched(), []);
}

#[cfg(all(unix, feature = "signals"))]
#[test]
fn watched_lists_callbacks_for_signals_only() {
    // R19.1
    let reactor = Reactor::new().unwrap();
    let line = line!() + 1;
    let callback = reactor.on_signal(twistor_reactor::signal::SIGWINCH, || ()).unwrap();
    let texts: Vec<String> = reactor.watched().iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].starts_with(&format!("source: the callback added at {}:{line}:", file!())), "{texts:?}");
    // The reactor keeps its source for signals, which is not the program's.
    assert!(callback.remove() && format!("{reactor:?}").contains("sources: 1"), "{reactor:?}");
    assert_eq!(reactor.watched(), []);
}

#[cfg(all(unix, feature = "process"))]
#[test]
fn watched_names_the_line_that_started_a_process() {
    // R19.1
    let reactor = Reactor::new().unwrap();
    let program = twistor_reactor::ProcessBuilder::new("cat").piped_stdin().on_stdout(|_| ()).kill_at_end();
    let line = line!() + 1;
    let process = reactor.spawn_process(program).unwrap();
    process.write(&vec![0; 1_000_000]);
    let texts: Vec<String> = reactor.watched().iter().map(ToString::to_string).collect();
    assert!(texts.len() >= 3, "{texts:?}");
    for text in &texts {
        assert!(text.contains(&format!("{}:{line}:", file!())), "{texts:?}");
    }
}

#[test]
fn a_delayed_calls_canceller_cancels_the_call() {
    // T3.1
    keep_log();
    let (reactor, record) = (Reactor::simulated(0), Record::new());
    let slot = Rc::new(Cell::new(None::<Trigger<u32>>));
    let own = slot.clone();
    let call = reactor.call_later(S, move || _ = own.take().map(|trigger| trigger.callback(1)));
    let (deferred, trigger) = Deferred::with_canceller(call.canceller());
    slot.set(Some(trigger));
    let seen = record.clone();
    let deferred = deferred.add_errback(move |failure| {
        seen.add(failure.is::<Cancelled>());
        Ok(0)
    });
    deferred.cancel();
    assert!(!call.active() && matches!(deferred.try_result(), Ok(Ok(0))));
    assert_eq!(record.take(), [true]);

    // The call has already run, so cancelling affects only the Deferred.
    let call = reactor.call_later(S, || ());
    let (deferred, trigger) = Deferred::<u32>::with_canceller(call.canceller());
    reactor.turn(None).unwrap();
    deferred.cancel();
    assert!(!trigger.is_live());
    drop(deferred.add_both(|_| ()));
    assert_eq!(logged().len(), 0);
}
