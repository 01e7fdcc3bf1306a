//! A channel of std, and mio's waker, which is called only if the loop may be asleep.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc;

use mio::{Events, Poll, Token, Waker};

use crate::peers::remote_plan::{self, count, done};
use crate::runner::child::Arguments;
use crate::runner::sample::Stopwatch;

type Call = Box<dyn FnOnce() + Send>;

#[derive(Clone)]
struct Remote {
    calls: mpsc::Sender<Call>,
    woken: Arc<(AtomicBool, Waker)>,
}

impl Remote {
    fn call(&self, call: impl FnOnce() + Send + 'static) {
        self.calls.send(Box::new(call)).expect("the loop lives");
        let (woken, waker) = &*self.woken;
        if !woken.swap(true, SeqCst) {
            waker.wake().expect("wake");
        }
    }
}

struct Loop {
    poll: Poll,
    calls: mpsc::Receiver<Call>,
    remote: Remote,
}

impl Loop {
    fn new() -> Loop {
        let poll = Poll::new().expect("poll");
        let waker = Waker::new(poll.registry(), Token(0)).expect("waker");
        let (sender, calls) = mpsc::channel();
        let remote = Remote { calls: sender, woken: Arc::new((AtomicBool::new(false), waker)) };
        Loop { poll, calls, remote }
    }

    fn run(&mut self, total: u64) {
        let mut events = Events::with_capacity(64);
        while done() < total {
            self.poll.poll(&mut events, None).expect("poll");
            self.remote.woken.0.store(false, SeqCst);
            while let Ok(call) = self.calls.try_recv() {
                call();
            }
        }
    }
}

pub fn flood(arguments: &Arguments<'_>) {
    let calls = arguments.number(0);
    let mut event_loop = Loop::new();
    let remote = event_loop.remote.clone();
    let clock = Stopwatch::start();
    let other = remote_plan::flood(calls, move || remote.call(count));
    event_loop.run(calls);
    other.join().expect("the other thread");
    clock.stop(calls).report();
}

pub fn ping(arguments: &Arguments<'_>) {
    let calls = arguments.number(0);
    let mut event_loop = Loop::new();
    let remote = event_loop.remote.clone();
    let clock = Stopwatch::start();
    let other = remote_plan::ping(calls, move |answer| {
        remote.call(move || {
            count();
            answer.send(()).expect("the other thread waits");
        });
    });
    event_loop.run(calls);
    other.join().expect("the other thread");
    clock.stop(calls).report();
}
