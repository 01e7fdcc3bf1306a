//! `Timer`, one after the other.

use std::time::Instant;

use smol::Timer;

use crate::peers::late::Late;
use crate::runner::child::Arguments;

pub fn run(arguments: &Arguments<'_>) {
    let mut late = Late::new(arguments);
    smol::block_on(async {
        while !late.is_complete() {
            let asked = Instant::now();
            Timer::after(late.delay).await;
            late.ran(asked);
        }
    });
    late.report();
}
