//! `call_from_thread`.

use twistor::reactor::Reactor;

use crate::peers::remote_plan::{self, count, done};
use crate::runner::child::Arguments;
use crate::runner::sample::Stopwatch;

pub fn flood(arguments: &Arguments<'_>) {
    let calls = arguments.number(0);
    let reactor = Reactor::new().expect("a reactor");
    let remote = reactor.remote();
    let clock = Stopwatch::start();
    let other =
        remote_plan::flood(calls, move || remote.call_from_thread(|_| count()).expect("the reactor lives"));
    run(&reactor, calls);
    other.join().expect("the other thread");
    clock.stop(calls).report();
}

pub fn ping(arguments: &Arguments<'_>) {
    let calls = arguments.number(0);
    let reactor = Reactor::new().expect("a reactor");
    let remote = reactor.remote();
    let clock = Stopwatch::start();
    let other = remote_plan::ping(calls, move |answer| {
        let call = move |_: &_| {
            count();
            answer.send(()).expect("the other thread waits");
        };
        remote.call_from_thread(call).expect("the reactor lives");
    });
    run(&reactor, calls);
    other.join().expect("the other thread");
    clock.stop(calls).report();
}

fn run(reactor: &Reactor, calls: u64) {
    while done() < calls {
        reactor.turn(None).expect("a turn");
    }
}
