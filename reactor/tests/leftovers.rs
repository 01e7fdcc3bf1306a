//! R4, seen from outside: what the operating system says is left of a reactor. A test program of its own, since it
//! counts the descriptors and threads of the whole process.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use mio::Interest;
use twistor_reactor::{Progress, Reactor};

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn no_descriptor_and_no_thread_is_left() {
    let at_first = (descriptors(), threads());
    let reactor = Reactor::new().unwrap();
    let with_reactor = (descriptors(), threads());
    for _ in 0..3 {
        let (mut sender, receiver) = mio::unix::pipe::new().unwrap();
        sender.write_all(b"x").unwrap();
        reactor.add_source(receiver, Interest::READABLE, |_, _| Ok(Progress::Drained)).unwrap();
        let (here, there) = UnixStream::pair().unwrap();
        drop(reactor.readable(here).add_errback(|_| Ok(UnixStream::pair()?.0)));
        for n in 0..20 {
            reactor.call_later(Duration::from_secs(3600 + n), move || ());
        }
        let handle = reactor.clone();
        let work = reactor.defer_to_thread(|| Ok(()));
        drop(work.add_callback(move |()| handle.stop()));
        reactor.run().unwrap();
        drop((sender, there));
        assert_eq!((descriptors(), threads()), with_reactor);
    }
    let remote = reactor.remote();
    drop(reactor);
    assert_eq!((descriptors(), threads()), at_first);
    drop(remote);
}
