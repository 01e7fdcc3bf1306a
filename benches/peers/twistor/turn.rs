//! One source that reads the byte and writes the next one.

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::rc::Rc;

use mio::Interest;
use mio::net::UnixStream;
use twistor::reactor::{EventHandler, Handle, Progress, Reactor, Ready};

use crate::runner::child::Arguments;
use crate::runner::sample::Stopwatch;

struct Pair {
    near: RefCell<UnixStream>,
    far: UnixStream,
    left: Cell<u64>,
    reactor: Handle,
}

impl EventHandler for Pair {
    fn ready(self: Rc<Self>, _: Ready) -> Progress {
        let mut buffer = [0; 64];
        assert_eq!(self.near.borrow_mut().read(&mut buffer).expect("read"), 1);
        (&self.far).write_all(b"x").expect("write");
        self.left.set(self.left.get() - 1);
        if self.left.get() == 0 {
            self.reactor.stop();
        }
        Progress::Drained // the read did not fill the buffer
    }
}

pub fn run(arguments: &Arguments<'_>) {
    let turns = arguments.number(0);
    let reactor = Reactor::new().expect("a reactor");
    let (near, mut far) = UnixStream::pair().expect("pair");
    far.write_all(b"x").expect("write");
    let pair =
        Rc::new(Pair { near: RefCell::new(near), far, left: Cell::new(turns), reactor: reactor.handle() });
    let registration = {
        let source = &mut *pair.near.borrow_mut();
        reactor.register(source, Interest::READABLE, pair.clone()).expect("register")
    };
    let clock = Stopwatch::start();
    reactor.run().expect("run");
    clock.stop(turns).report();
    drop(registration);
}
