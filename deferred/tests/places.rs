//! Log lines name the user's line, not the library's: D11.1, D11.2. A table of all functions that take a closure or
//! create a failure.

mod support;

use std::panic::Location;

use support::logged;
use twistor_deferred::{
    Abandoned, Cancelled, Deferred, DeferredEvent, DeferredList, DeferredLock, DeferredPool, DeferredQueue,
    DeferredSemaphore, Failure, Trigger, fail, gather_results, guarded, join, maybe_deferred, race, succeed,
};

/// An entry of the table: a name, its line in this file, and code that logs.
struct Entry {
    name: &'static str,
    line: u32,
    run: fn(),
}

#[track_caller]
fn entry(name: &'static str, run: fn()) -> Entry {
    Entry { name, line: Location::caller().line(), run }
}

/// Checks that each entry logs a line with a place inside the entry, and no place outside.
fn check(entries: &[Entry]) {
    let mut faults = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let end = entries.get(index + 1).map_or(u32::MAX, |next| next.line);
        let lines = logged(entry.run);
        let mut named = false;
        for line in &lines {
            for place in places(line) {
                match place.strip_prefix(file!()).and_then(|rest| rest.split(':').nth(1)?.parse().ok()) {
                    Some(number) if (entry.line..end).contains(&number) => named = true,
                    _ => faults.push(format!("{}: {place} in: {line}", entry.name)),
                }
            }
        }
        if !named {
            faults.push(format!("{}: no place in {lines:?}", entry.name));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// The places in a log line: `file.rs:line:column`.
fn places(line: &str) -> impl Iterator<Item = &str> {
    line.split([' ', '(', ')', ',']).filter(|word| word.contains(".rs:"))
}

fn panics<T>() -> T {
    panic!("out of cheese")
}

fn broken<T: 'static>() -> Deferred<T> {
    fail(Cancelled)
}

#[test]
fn log_lines_name_the_users_line() {
    check(&[
        entry("add_callback", || drop(succeed(()).add_callback(|()| panics::<()>()))),
        entry("add_callback, pending", || {
            let (deferred, trigger) = Deferred::<()>::new();
            drop(deferred.add_callback(|()| panics::<()>()));
            trigger.callback(());
        }),
        entry("add_callback, failing", || {
            drop(succeed(()).add_callback(|()| Err::<(), _>(Cancelled.into())))
        }),
        entry("add_errback", || drop(fail::<()>(Abandoned).add_errback(|_| panics::<()>()))),
        entry("add_callbacks", || drop(succeed(()).add_callbacks(|()| panics::<()>(), |_| ()))),
        entry("add_both", || drop(succeed(()).add_both(|_| panics::<()>()))),
        entry("with_canceller", || {
            let (deferred, _trigger) = Deferred::<()>::with_canceller(|_| panics());
            deferred.cancel();
            drop(deferred);
        }),
        entry("Trigger, dropped", || {
            let (deferred, trigger) = Deferred::<()>::new();
            drop(trigger);
            drop(deferred);
        }),
        entry("Trigger, dropped in a panic", || {
            let (deferred, trigger) = Deferred::<()>::new();
            drop(deferred);
            let dropped = guarded(move || {
                let _trigger: Trigger<()> = trigger;
                panics::<()>();
            });
            assert!(dropped.is_err());
        }),
        entry("cancel", || {
            let (deferred, _trigger) = Deferred::<()>::new();
            deferred.cancel();
        }),
        entry("a Deferred that waits for itself", || {
            let (inner, trigger) = Deferred::<()>::new();
            let slot = std::rc::Rc::new(std::cell::Cell::new(None));
            let own = slot.clone();
            slot.set(Some(inner.add_callback(move |()| own.take().unwrap_or_else(|| succeed(())))));
            trigger.callback(());
        }),
        entry("maybe_deferred", || drop(maybe_deferred(panics::<()>))),
        entry("maybe_deferred, failing", || drop(maybe_deferred(|| fail::<()>(Cancelled)))),
        entry("fail", || drop(fail::<()>(Cancelled))),
        entry("DeferredLock::run", || drop(DeferredLock::new().run(panics::<()>))),
        entry("DeferredLock::run, waiting", || {
            let lock = DeferredLock::new();
            drop(lock.acquire().add_callback(drop));
            drop(lock.run(|| fail::<()>(Cancelled)));
        }),
        entry("DeferredLock::run, waiting, panicking", || {
            let lock = DeferredLock::new();
            let held = lock.acquire();
            drop(lock.run(panics::<()>));
            drop(held.add_callback(drop));
        }),
        entry("DeferredSemaphore::run", || {
            let semaphore = DeferredSemaphore::new(1).unwrap();
            drop(semaphore.run(panics::<()>));
        }),
        entry("DeferredSemaphore::run, failing", || {
            let semaphore = DeferredSemaphore::new(1).unwrap();
            drop(semaphore.run(|| Err::<(), Failure>(Cancelled.into())));
        }),
        entry("DeferredSemaphore::acquire, cancelled", || {
            let lock = DeferredLock::new();
            let _held = lock.acquire();
            lock.acquire().cancel();
        }),
        entry("DeferredPool::defer_until", || {
            let pool = DeferredPool::new();
            let (member, trigger) = Deferred::<()>::new();
            drop(pool.add(member));
            drop(pool.defer_until(|_| panics()));
            trigger.callback(());
        }),
        entry("DeferredPool::defer_until, at once", || drop(DeferredPool::new().defer_until(|_| panics()))),
        entry("DeferredQueue::get, no place", || {
            drop(DeferredQueue::<()>::new().backlog(0).get());
        }),
        entry("DeferredQueue::get, abandoned", || {
            let queue = DeferredQueue::<()>::new();
            let waits = queue.get();
            drop(queue);
            drop(waits);
        }),
        entry("DeferredEvent::wait, abandoned", || {
            let event = DeferredEvent::<()>::new();
            let waits = event.wait();
            drop(event);
            drop(waits);
        }),
        entry("DeferredEvent::fail", || {
            let event = DeferredEvent::<()>::new();
            let waits = event.wait();
            event.fail(Cancelled);
            drop(waits);
            drop(event.wait());
        }),
        entry("DeferredList::add_callback", || {
            drop(DeferredList::new([succeed(())]).add_callback(|_| panics::<()>()));
        }),
        entry("DeferredList::add_callbacks", || {
            drop(DeferredList::new([succeed(())]).add_callbacks(|_| panics::<()>(), |_| ()));
        }),
        entry("DeferredList::add_both", || {
            drop(DeferredList::new([succeed(())]).add_both(|_| panics::<()>()));
        }),
        entry("DeferredList::fire_on_one_errback", || {
            drop(DeferredList::new([succeed(()), broken()]).fire_on_one_errback().add_callback(|_| Ok(1)));
        }),
        entry("gather_results", || drop(gather_results([succeed(()), broken()]).add_callback(|_| Ok(1)))),
        entry("gather_results, later", || {
            let (member, trigger) = Deferred::<()>::new();
            drop(gather_results([succeed(()), member]));
            trigger.errback(Abandoned);
        }),
        entry("race", || drop(race([broken::<()>(), broken()]).add_callback(|_| Ok(1)))),
        entry("race, empty", || drop(race(Vec::<Deferred<()>>::new()))),
        entry("join", || drop(join((succeed(1), broken::<()>())).add_callback(|_| Ok(1)))),
    ]);
}

#[test]
fn a_deferred_can_be_attributed_to_the_callers_line() {
    // D11.2
    #[track_caller]
    fn attributed(deferred: Deferred<()>) -> (Deferred<()>, String) {
        let place = Location::caller();
        (deferred.attributed_to(place), format!("(in the Deferred made at {place})"))
    }
    let (failed, named) = attributed(fail(Cancelled));
    let lines = logged(|| drop(failed));
    assert!(lines[0].contains(&named), "{lines:?}");

    let (had, trigger) = Deferred::<()>::new();
    trigger.errback(Cancelled);
    let (had, named) = attributed(had);
    let lines = logged(|| drop(had));
    assert!(lines[0].contains(&named), "{lines:?}");

    let (waiting, _trigger) = Deferred::<()>::new();
    let (waiting, named) = attributed(waiting.add_callback(|()| Ok(())));
    let lines = logged(|| {
        waiting.cancel();
        drop(waiting);
    });
    assert!(lines[0].contains(&named), "{lines:?}");
}
