//! A timer that is inserted when the previous one has run.

use std::time::Instant;

use calloop::EventLoop;
use calloop::timer::{TimeoutAction, Timer};

use crate::peers::late::Late;
use crate::runner::child::Arguments;

pub fn run(arguments: &Arguments<'_>) {
    let mut late = Late::new(arguments);
    let mut event_loop = EventLoop::<bool>::try_new().expect("a loop");
    while !late.is_complete() {
        let asked = Instant::now();
        let fire = |_, _: &mut (), fired: &mut bool| {
            *fired = true;
            TimeoutAction::Drop
        };
        event_loop.handle().insert_source(Timer::from_duration(late.delay), fire).expect("insert");
        let mut fired = false;
        while !fired {
            event_loop.dispatch(None, &mut fired).expect("dispatch");
        }
        late.ran(asked);
    }
    late.report();
}
