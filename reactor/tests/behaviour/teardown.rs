//! The end of a run or of a reactor leaves nothing.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::Write;
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};
use std::task::Poll;
use std::time::Duration;

use mio::Interest;
use mio::unix::pipe;
use twistor_deferred::{Abandoned, Deferred};
use twistor_reactor::{
    EventHandler, Handle, LoopingCall, Phase, Progress, Reactor, ReactorGone, Ready, Registration,
    defer_later,
};

use crate::support::{DropToken, Drops, PanicsInDrop, Record, keep_log, logged, reactor, run};

/// A connection as the net crate builds it: its own handler, which owns its source, its registration and a handle.
struct Connection {
    receiver: RefCell<pipe::Receiver>,
    registration: RefCell<Option<Registration>>,
    handle: Handle,
    _token: DropToken,
}

impl EventHandler for Connection {
    fn ready(self: Rc<Self>, _: Ready) -> Progress {
        self.handle.stop();
        Progress::Drained
    }
}

fn connection(reactor: &Reactor, token: DropToken) -> pipe::Sender {
    let (sender, receiver) = pipe::new().unwrap();
    let connection = Rc::new(Connection {
        receiver: RefCell::new(receiver),
        registration: RefCell::default(),
        handle: (*reactor).clone(),
        _token: token,
    });
    let registration = {
        let mut source = connection.receiver.borrow_mut();
        reactor.register(&mut *source, Interest::READABLE, connection.clone()).unwrap()
    };
    connection.registration.replace(Some(registration));
    sender
}

/// Fills a reactor with everything that can hold something. Returns the number of tokens in it.
fn fill(reactor: &Reactor, drops: &Drops) -> (usize, pipe::Sender) {
    let handle: Handle = (*reactor).clone();
    let (a, h) = (drops.token(), handle.clone());
    reactor.call_later(Duration::from_secs(3600), move || drop((a, h)));
    let sender = connection(reactor, drops.token());
    let (c, h) = (drops.token(), handle.clone());
    drop(reactor.defer_to_thread(|| Ok(())).add_both(move |_| {
        drop((c, h));
        Ok(())
    }));
    (3, sender)
}

#[test]
fn dropping_an_unused_reactor_drops_everything_in_it() {
    // R8.1
    let drops = Drops::default();
    let reactor = reactor();
    let (held, _sender) = fill(&reactor, &drops);
    let (token, handle) = (drops.token(), reactor.handle());
    reactor.call_when_running(move || drop((token, handle)));
    let (token, handle) = (drops.token(), reactor.handle());
    reactor.on_shutdown(Phase::Before, move || drop((token, handle)));
    assert_eq!(drops.count(), 0);
    drop(reactor);
    assert_eq!(drops.count(), held + 2);
}

#[test]
fn a_run_leaves_no_source_timer_or_job() {
    // R4.7
    let drops = Drops::default();
    let reactor = reactor();
    let (held, mut sender) = fill(&reactor, &drops);
    sender.write_all(b"x").unwrap();
    run(&reactor);
    assert_eq!(drops.count(), held);
}

#[test]
fn a_reactor_dropped_between_two_turns_drops_everything() {
    // R8.1
    let drops = Drops::default();
    let reactor = reactor();
    let (held, _sender) = fill(&reactor, &drops);
    reactor.turn(Some(Duration::ZERO)).unwrap();
    drop(reactor);
    assert_eq!(drops.count(), held);
}

#[test]
fn calls_scheduled_by_destructors_at_the_end_are_dropped() {
    // R8
    let drops = Drops::default();
    let reactor = reactor();
    let (deferred, trigger) = Deferred::<()>::new();
    reactor.call_later(Duration::from_secs(1), move || trigger.callback(()));
    let (handle, token, record) = (reactor.handle(), drops.token(), Record::new());
    let seen = record.clone();
    drop(deferred.add_errback(move |failure| {
        seen.add(failure.is::<Abandoned>());
        handle.call_later(Duration::from_secs(1), move || drop(token));
        Ok(())
    }));
    drop(reactor);
    assert_eq!(record.take(), [true]);
    assert_eq!(drops.count(), 1);
}

#[test]
fn only_a_reactor_that_never_ran_logs_leftovers_as_errors() {
    // R17.1, R4.8, R4.9
    fn under_way(reactor: &Reactor) {
        let handle = reactor.handle();
        drop(defer_later(reactor, Duration::from_secs(9), || ()));
        drop(LoopingCall::new(reactor, || ()).start_later(Duration::from_secs(9)));
        drop(reactor.spawn(async move { handle.sleep(Duration::from_secs(9)).await }));
    }
    keep_log();
    let reactor = reactor();
    under_way(&reactor);
    let handle = reactor.handle();
    reactor.call_when_running(move || handle.stop());
    run(&reactor);
    assert_eq!(logged(), [""; 0]);

    // By a host that takes one turn and then drops the reactor.
    under_way(&reactor);
    reactor.turn(Some(Duration::ZERO)).unwrap();
    drop(reactor);
    assert_eq!(logged(), [""; 0]);

    let forgotten = Reactor::new().unwrap();
    under_way(&forgotten);
    drop(forgotten);
    let lines = logged();
    assert!(lines.len() == 3 && lines.iter().all(|line| line.contains("abandoned")), "{lines:?}");
}

#[test]
fn failures_caused_by_the_end_are_logged_at_debug_level() {
    // R17.1, R17.2
    keep_log();
    for dropped in [false, true] {
        let reactor = Reactor::builder().threads(1).build().unwrap();
        let (release, blocked) = mpsc::channel::<()>();
        drop(reactor.defer_to_thread(move || Ok(blocked.recv().is_ok())));
        drop(reactor.defer_to_thread(|| Ok(())));
        for _ in 0..3 {
            let handle = reactor.handle();
            drop(reactor.spawn(async move { handle.sleep(Duration::from_secs(3600)).await }));
            let handle = reactor.handle();
            drop(reactor.spawn(async move {
                defer_later(&handle, Duration::from_secs(3600), || Ok(())).await?;
                Ok(())
            }));
            let (deferred, trigger) = Deferred::<u64>::new();
            drop(deferred.add_errback(|failure| Err(failure.context("waiting"))));
            reactor.call_later(Duration::from_secs(3600), move || trigger.callback(1));
        }
        let (deferred, trigger) = Deferred::<()>::new();
        drop(deferred);
        reactor.call_later(Duration::ZERO, move || drop(trigger));
        reactor.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(logged().len(), 1, "the run had continued");
        drop(release);
        if !dropped {
            reactor.stop();
            run(&reactor);
        }
        drop(reactor);
        assert_eq!(logged(), [""; 0]);
        drop(Deferred::<()>::new());
        assert_eq!(logged().len(), 1, "the reactor was gone");
    }
}

#[test]
fn an_endless_retry_does_not_hang_the_end() {
    // R8
    type Begin = fn(&Handle) -> Deferred<()>;
    fn retry(handle: Handle, begin: Begin) {
        drop(begin(&handle).add_both(move |_| retry(handle, begin)));
    }
    let timer: Begin = |handle| defer_later(handle, Duration::from_secs(1), || ());
    let task: Begin = |handle| handle.spawn(std::future::pending::<()>());
    let work: Begin = |handle| handle.defer_to_thread(|| Ok(()));
    for begin in [timer, task, work] {
        keep_log();
        let reactor = reactor();
        retry((*reactor).clone(), begin);
        drop(reactor);
        assert!(logged().iter().any(|line| line.contains("leaked")));
    }
}

#[test]
fn a_panic_in_a_destructor_at_the_end_is_logged() {
    // R8, R13
    keep_log();
    let dropped: [fn(&Reactor); 8] = [
        |reactor| _ = reactor.on_startup(Phase::During, holding()),
        |reactor| _ = reactor.on_shutdown(Phase::During, holding()),
        |reactor| _ = reactor.call_later(Duration::from_secs(1), holding()),
        |reactor| {
            let call = holding();
            reactor.remote().call_from_thread(move |_| call()).unwrap();
        },
        |reactor| std::mem::forget(reactor.attach(Rc::new(Holding { _panics: PanicsInDrop })).unwrap()),
        |reactor| {
            let held = PanicsInDrop;
            let task = reactor.spawn(poll_fn(move |_| {
                let _held = &held;
                Poll::<()>::Pending
            }));
            drop(task.add_both(|_| ()));
        },
        |reactor| {
            // Work that is done, but whose result was not fetched.
            let (begin, begun) = mpsc::channel();
            let done = reactor.defer_to_thread(|| Ok(PanicsInDrop));
            // It runs on the same thread, so the first work is done.
            let next = reactor.defer_to_thread(move || Ok(begin.send(())?));
            begun.recv().unwrap();
            drop((done.add_both(|_| ()), next.add_both(|_| ())));
        },
        |reactor| {
            // Work that has not begun: the only thread is blocked until the reactor is dropped.
            let (begin, begun) = mpsc::channel();
            let (go, may_end) = mpsc::channel::<()>();
            let held_up = reactor.defer_to_thread(move || {
                begin.send(())?;
                Ok(may_end.recv().is_err())
            });
            begun.recv().unwrap();
            let work = holding();
            let given_up = reactor.defer_to_thread(move || {
                work();
                Ok(())
            });
            drop((held_up.add_both(|_| ()), given_up.add_both(|_| ())));
            reactor.on_shutdown(Phase::After, move || drop(go));
        },
    ];
    for (case, hold) in dropped.into_iter().enumerate() {
        let reactor = Reactor::builder().threads(1).build().unwrap();
        hold(&reactor);
        drop(reactor);
        assert_eq!(logged().len(), 1, "case {case}");
    }
}

struct Holding {
    _panics: PanicsInDrop,
}

impl EventHandler for Holding {
    fn ready(self: Rc<Self>, _: Ready) -> Progress {
        Progress::Drained
    }
}

fn holding() -> impl FnOnce() + Send {
    let held = PanicsInDrop;
    move || drop(held)
}

#[test]
fn a_handle_to_a_reactor_that_is_gone_reports_it() {
    // R8
    let reactor = reactor();
    let handle: Handle = (*reactor).clone();
    drop(reactor);
    let drops = Drops::default();
    let token = drops.token();
    assert!(!handle.call_later(Duration::ZERO, move || drop(token)).active());
    assert_eq!(drops.count(), 1);
    assert!(handle.try_stop().is_err() && !handle.is_running() && handle.next_deadline().is_none());
    handle.call_when_running(|| panic!("it does not run"));
    assert!(!handle.on_shutdown(Phase::During, || ()).remove());
    let _ = handle.now();
}

#[test]
fn a_job_fed_by_the_loop_ends_before_it_is_joined() {
    // R4.2
    keep_log();
    let hold: [fn(&Reactor, mpsc::Sender<()>); 4] = [
        |reactor, jobs| _ = reactor.call_later(Duration::from_secs(3600), move || drop(jobs)),
        |reactor, jobs| {
            drop(reactor.spawn(async move {
                std::future::pending::<()>().await;
                drop(jobs);
            }));
        },
        |reactor, jobs| {
            let looping = LoopingCall::new(reactor, move || _ = jobs.send(()));
            drop(looping.start(Duration::from_secs(3600)));
        },
        |reactor, jobs| {
            let (sender, receiver) = pipe::new().unwrap();
            let hold = move |_: &mut pipe::Receiver, _| {
                let _ = (&jobs, &sender);
                Ok(Progress::Drained)
            };
            reactor.add_source(receiver, Interest::READABLE, hold).unwrap();
        },
    ];
    for hold in hold {
        let reactor = Reactor::builder().thread_grace(Duration::MAX).build().unwrap();
        let (jobs, work) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let (begin, begun) = mpsc::channel();
        drop(reactor.defer_to_thread(move || {
            begin.send(())?;
            work.iter().for_each(drop);
            Ok(end.send(())?)
        }));
        begun.recv().unwrap();
        hold(&reactor, jobs);
        let handle = reactor.handle();
        reactor.call_when_running(move || handle.stop());
        run(&reactor);
        assert_eq!(ended.try_recv(), Ok(()));
    }
    assert_eq!(logged(), [""; 0]);
}

#[test]
fn a_job_that_waits_for_its_call_notices_the_end() {
    // R1.1
    let reactor = Reactor::builder().thread_grace(Duration::MAX).build().unwrap();
    let remote = reactor.remote();
    let (go, told) = mpsc::channel();
    let (report, reported) = mpsc::channel();
    let (begin, begun) = mpsc::channel();
    drop(reactor.defer_to_thread(move || {
        begin.send(())?;
        told.recv()?;
        // Until a call is refused. Calls that are not refused are dropped.
        loop {
            let (ask, answer) = mpsc::channel();
            let sent = remote.call_from_thread(move |_| _ = ask.send(()));
            let answered = answer.recv().is_ok();
            if !answered {
                return Ok(report.send(sent.is_ok())?);
            }
        }
    }));
    begun.recv().unwrap();
    reactor.on_shutdown(Phase::After, move || go.send(()).unwrap());
    let handle = reactor.handle();
    reactor.call_when_running(move || handle.stop());
    run(&reactor);
    assert!(reported.try_recv().is_ok());
}

#[test]
fn calls_are_refused_while_a_run_ends_and_kept_after() {
    // R1.1
    let reactor = reactor();
    let (record, remote) = (Record::new(), reactor.remote());
    let last = remote.clone();
    reactor.on_shutdown(Phase::After, move || last.call_from_thread(|_| panic!("it is dropped")).unwrap());
    let (deferred, trigger) = Deferred::<()>::new();
    reactor.call_later(Duration::from_secs(3600), move || trigger.callback(()));
    let (seen, ending) = (record.clone(), remote.clone());
    drop(deferred.add_both(move |_| seen.add(ending.call_from_thread(|_| panic!("it is refused")))));
    let handle = reactor.handle();
    reactor.call_when_running(move || handle.stop());
    run(&reactor);
    assert_eq!(record.take(), [Err(ReactorGone)]);
    remote.call_from_thread(Handle::stop).unwrap();
    run(&reactor);
}

#[test]
fn a_job_longer_than_the_grace_is_left_and_logged() {
    // R4.3
    keep_log();
    let reactor = Reactor::builder().threads(1).thread_grace(Duration::ZERO).build().unwrap();
    let mut held_up = Vec::new();
    for _ in 0..2 {
        let (begin, begun) = mpsc::channel();
        let (go, may_end) = mpsc::channel::<()>();
        let line = line!() + 1;
        let job = reactor.defer_to_thread(move || {
            begin.send(())?;
            Ok(may_end.recv().is_ok())
        });
        drop(job.add_both(|_| ()));
        let handle = reactor.handle();
        // The second run starts another thread, although its limit is one.
        reactor.call_when_running(move || {
            begun.recv().unwrap();
            handle.stop();
        });
        run(&reactor);
        let lines = logged();
        assert!(lines.len() == 1 && lines[0].contains(&format!("teardown.rs:{line}")), "{lines:?}");
        held_up.push(go);
    }
    drop(reactor);
    assert_eq!(logged(), [""; 0]);
}

#[test]
fn lookups_delay_neither_other_work_nor_the_end() {
    // R4.4
    keep_log();
    let reactor = Reactor::builder().threads(1).build().unwrap();
    let (begin, begun) = mpsc::channel();
    let (go, may_end) = mpsc::channel::<()>();
    let may_end = Arc::new(Mutex::new(may_end));
    for _ in 0..2 {
        for _ in 0..50 {
            let (begin, may_end) = (begin.clone(), may_end.clone());
            let lookup = reactor.defer_to_lookup_thread(move || {
                begin.send(())?;
                Ok(may_end.lock().is_ok_and(|may_end| may_end.recv().is_ok()))
            });
            drop(lookup.add_both(|_| ()));
        }
        begun.recv().unwrap();
        let answer = reactor.defer_to_thread(|| Ok(42));
        assert_eq!(reactor.run_until(answer).unwrap(), 42);
    }
    let lookup = reactor.defer_to_lookup_thread(move || Ok(may_end.lock().is_ok()));
    drop(lookup.add_both(|_| ()));
    drop(reactor);
    drop(go);
    assert_eq!(logged(), [""; 0]);
}

#[test]
fn work_submitted_at_the_end_leaves_no_thread() {
    // R4
    let reactor = reactor();
    let (done, finished) = mpsc::channel();
    let (deferred, trigger) = Deferred::<()>::new();
    reactor.call_later(Duration::from_secs(1), move || trigger.callback(()));
    let handle = reactor.handle();
    drop(deferred.add_both(move |_| {
        let work = handle.defer_to_thread(move || {
            ON_THE_THREAD.with_borrow_mut(|held| *held = Some(done));
            Ok(())
        });
        drop(work.add_both(|_| ()));
    }));
    drop(reactor);
    // Closed by the thread when it ends, or when the work was dropped.
    assert_eq!(finished.try_recv(), Err(mpsc::TryRecvError::Disconnected));
}

thread_local! {
    static ON_THE_THREAD: RefCell<Option<mpsc::Sender<()>>> = const { RefCell::new(None) };
}
