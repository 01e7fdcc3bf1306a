//! One task that reads the byte and writes the next one.

use std::os::unix::net::UnixStream;

use smol::Async;
use smol::io::{AsyncReadExt, AsyncWriteExt};

use crate::runner::child::Arguments;
use crate::runner::sample::Stopwatch;

pub fn run(arguments: &Arguments<'_>) {
    let turns = arguments.number(0);
    smol::block_on(async {
        let (mut near, mut far) = Async::<UnixStream>::pair().expect("pair");
        let mut buffer = [0; 64];
        let clock = Stopwatch::start();
        for _ in 0..turns {
            far.write_all(b"x").await.expect("write");
            // Without it, the read succeeds at once, and the loop never waits.
            near.readable().await.expect("readable");
            assert_eq!(near.read(&mut buffer).await.expect("read"), 1);
        }
        clock.stop(turns).report();
    });
}
