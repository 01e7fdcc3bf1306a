//! mio has no timers, only the timeout of its poll.

use std::time::Instant;

use mio::{Events, Poll};

use crate::peers::late::Late;
use crate::runner::child::Arguments;

pub fn run(arguments: &Arguments<'_>) {
    let mut late = Late::new(arguments);
    let mut poll = Poll::new().expect("poll");
    let mut events = Events::with_capacity(8);
    while !late.is_complete() {
        let asked = Instant::now();
        let deadline = asked + late.delay;
        while let Some(rest) = deadline.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero())
        {
            poll.poll(&mut events, Some(rest)).expect("poll");
        }
        late.ran(asked);
    }
    late.report();
}
