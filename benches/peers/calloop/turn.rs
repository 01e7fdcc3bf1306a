//! One source that reads the byte and writes the next one.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use calloop::generic::Generic;
use calloop::{EventLoop, Interest, Mode, PostAction};

use crate::runner::child::Arguments;
use crate::runner::sample::Stopwatch;

pub fn run(arguments: &Arguments<'_>) {
    let turns = arguments.number(0);
    let mut event_loop = EventLoop::<u64>::try_new().expect("a loop");
    let (near, far) = UnixStream::pair().expect("pair");
    near.set_nonblocking(true).expect("nonblocking");
    (&far).write_all(b"x").expect("write");
    let source = Generic::new(near, Interest::READ, Mode::Level);
    let mut buffer = [0; 64];
    let ready = move |_, near: &mut calloop::generic::NoIoDrop<UnixStream>, left: &mut u64| {
        let mut near: &UnixStream = near;
        assert_eq!(near.read(&mut buffer)?, 1);
        (&far).write_all(b"x")?;
        *left -= 1;
        Ok(PostAction::Continue)
    };
    event_loop.handle().insert_source(source, ready).expect("insert");
    let mut left = turns;
    let clock = Stopwatch::start();
    while left > 0 {
        event_loop.dispatch(None, &mut left).expect("dispatch");
    }
    clock.stop(turns).report();
}
