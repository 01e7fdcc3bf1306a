//! calloop's channel of boxed closures.

use calloop::EventLoop;
use calloop::channel::{Event, Sender, channel};

use crate::peers::remote_plan::{self, count, done};
use crate::runner::child::Arguments;
use crate::runner::sample::Stopwatch;

type Call = Box<dyn FnOnce() + Send>;

fn event_loop() -> (EventLoop<'static, ()>, Sender<Call>) {
    let event_loop = EventLoop::try_new().expect("a loop");
    let (sender, receiver) = channel::<Call>();
    let run = |event: Event<Call>, _: &mut (), _: &mut ()| {
        if let Event::Msg(call) = event {
            call();
        }
    };
    event_loop.handle().insert_source(receiver, run).expect("insert");
    (event_loop, sender)
}

pub fn flood(arguments: &Arguments<'_>) {
    let calls = arguments.number(0);
    let (mut event_loop, sender) = event_loop();
    let clock = Stopwatch::start();
    let other = remote_plan::flood(calls, move || sender.send(Box::new(count)).expect("the loop lives"));
    while done() < calls {
        event_loop.dispatch(None, &mut ()).expect("dispatch");
    }
    other.join().expect("the other thread");
    clock.stop(calls).report();
}

pub fn ping(arguments: &Arguments<'_>) {
    let calls = arguments.number(0);
    let (mut event_loop, sender) = event_loop();
    let clock = Stopwatch::start();
    let other = remote_plan::ping(calls, move |answer| {
        let call = move || {
            count();
            answer.send(()).expect("the other thread waits");
        };
        sender.send(Box::new(call)).expect("the loop lives");
    });
    while done() < calls {
        event_loop.dispatch(None, &mut ()).expect("dispatch");
    }
    other.join().expect("the other thread");
    clock.stop(calls).report();
}
