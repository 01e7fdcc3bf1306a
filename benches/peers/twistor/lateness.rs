//! `call_later`, one after another.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use twistor::reactor::Reactor;

use crate::peers::late::Late;
use crate::runner::child::Arguments;

pub fn run(arguments: &Arguments<'_>) {
    let mut late = Late::new(arguments);
    let reactor = Reactor::new().expect("a reactor");
    while !late.is_complete() {
        let asked = Instant::now();
        let fired = Rc::new(Cell::new(false));
        let fire = fired.clone();
        reactor.call_later(late.delay, move || fire.set(true));
        while !fired.get() {
            reactor.turn(None).expect("a turn");
        }
        late.ran(asked);
    }
    late.report();
}
