//! `sleep`, one after another.

use std::time::Instant;

use super::runtime::current_thread;
use crate::peers::late::Late;
use crate::runner::child::Arguments;

pub fn run(arguments: &Arguments<'_>) {
    let mut late = Late::new(arguments);
    current_thread().block_on(async {
        while !late.is_complete() {
            let asked = Instant::now();
            tokio::time::sleep(late.delay).await;
            late.ran(asked);
        }
    });
    late.report();
}
