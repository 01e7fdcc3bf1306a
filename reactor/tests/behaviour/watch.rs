//! R14: sources with closures, and readiness as Deferreds.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use mio::Interest;
use mio::unix::pipe;
use twistor_deferred::{Abandoned, Cancelled};
use twistor_reactor::{Progress, Reactor, Ready, Watch};

use crate::support::{Drops, Record, check_panics, keep_log, logged, reactor, run_until};

fn turn(reactor: &Reactor) {
    reactor.turn(Some(Duration::ZERO)).unwrap();
    check_panics();
}

#[test]
fn an_undrained_source_is_called_again_in_the_next_turn() {
    // R6, R14.4: the selector is edge-triggered, but the callback need not know that.
    let reactor = reactor();
    let record = Record::new();
    let seen = record.clone();
    let (mut sender, receiver) = pipe::new().unwrap();
    sender.write_all(b"abc").unwrap();
    reactor
        .add_source(receiver, Interest::READABLE, move |receiver, ready| {
            assert!(ready.readable());
            let mut byte = [0];
            receiver.read_exact(&mut byte)?;
            seen.add(byte[0]);
            Ok(Progress::More)
        })
        .unwrap();
    for _ in 0..6 {
        turn(&reactor);
    }
    assert_eq!(record.take(), b"abc");
    assert_eq!(reactor.stats().events, 4, "the fourth call found nothing, and was the last");
    sender.write_all(b"d").unwrap();
    turn(&reactor);
    assert_eq!(record.take(), b"d");
}

#[test]
fn waking_a_watch_calls_it_next_turn_with_that_readiness() {
    // R14
    let reactor = reactor();
    let record = Record::new();
    let seen = record.clone();
    let (_sender, receiver) = pipe::new().unwrap();
    let watch = reactor
        .add_source(receiver, Interest::READABLE, move |_, ready| {
            seen.add(ready);
            Ok(Progress::Drained)
        })
        .unwrap();
    watch.wake(Ready::PRIORITY);
    turn(&reactor);
    assert_eq!(record.take(), [Ready::PRIORITY]);
    watch.remove();
    watch.wake(Ready::PRIORITY);
    turn(&reactor);
    assert_eq!(record.len(), 0);
}

#[test]
fn a_source_that_fails_is_logged_and_closed() {
    // R14.4
    keep_log();
    let reactor = reactor();
    let drops = Drops::default();
    let token = drops.token();
    let (mut sender, receiver) = pipe::new().unwrap();
    sender.write_all(b"x").unwrap();
    reactor
        .add_source(receiver, Interest::READABLE, move |_, _| {
            let _alive = &token;
            Err(io::Error::other("out of cheese"))
        })
        .unwrap();
    turn(&reactor);
    assert_eq!(drops.count(), 1);
    assert!(sender.write_all(b"x").is_err(), "the other end is closed");
    let lines = logged();
    assert!(
        lines.len() == 1 && lines[0].contains("watch.rs") && lines[0].contains("out of cheese"),
        "{lines:?}"
    );
}

#[test]
fn a_watch_can_be_removed_inside_its_callback_or_outside() {
    // R5
    let reactor = reactor();
    let drops = Drops::default();
    let own: Rc<RefCell<Option<Watch>>> = Rc::default();
    let (slot, token) = (own.clone(), drops.token());
    let (mut sender, receiver) = pipe::new().unwrap();
    sender.write_all(b"x").unwrap();
    let watch = reactor
        .add_source(receiver, Interest::READABLE, move |_, _| {
            let _alive = &token;
            slot.borrow().as_ref().unwrap().remove();
            Ok(Progress::More)
        })
        .unwrap();
    own.replace(Some(watch.clone()));
    turn(&reactor);
    assert_eq!(drops.count(), 1);
    watch.remove();
    watch.wake(Ready::READABLE);
    turn(&reactor);
    assert_eq!(reactor.stats().events, 1);

    let (mut sender, receiver) = pipe::new().unwrap();
    let watch = reactor.add_source(receiver, Interest::READABLE, |_, _| panic!("it was removed")).unwrap();
    sender.write_all(b"x").unwrap();
    watch.remove();
    turn(&reactor);
    assert_eq!(reactor.stats().events, 1);
}

#[test]
fn readable_and_writable_fire_once_with_the_descriptor() {
    // R14.5
    let reactor = reactor();
    let (here, mut there) = UnixStream::pair().unwrap();
    let here = run_until(&reactor, reactor.writable(here)).unwrap();
    let waiting = reactor.readable(here);
    turn(&reactor);
    assert!(!waiting.is_fired());
    there.write_all(b"hello").unwrap();
    let mut here = run_until(&reactor, waiting).unwrap();
    let mut text = [0; 5];
    here.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"hello");
}

#[test]
fn cancelling_a_wait_for_readiness_ends_the_watch() {
    // R14
    let reactor = reactor();
    let (here, mut there) = UnixStream::pair().unwrap();
    let here = Rc::new(here);
    let waiting = reactor.readable(here.clone());
    assert!(reactor.readable(here.clone()).add_errback(Err).is_fired());
    waiting.cancel();
    assert_eq!(Rc::strong_count(&here), 1);
    drop(waiting.add_errback(|failure| {
        assert!(failure.is::<Cancelled>());
        Err(failure)
    }));
    there.write_all(b"x").unwrap();
    turn(&reactor);
    assert_eq!(reactor.stats().events, 0);
}

#[test]
fn plain_files_and_dev_null_are_always_ready() {
    // R14.1
    let reactor = reactor();
    let plain = || File::open(std::env::current_exe().unwrap()).unwrap();
    run_until(&reactor, reactor.readable(plain())).unwrap();
    let null = || File::options().read(true).write(true).open("/dev/null").unwrap();
    run_until(&reactor, reactor.readable(null())).unwrap();
    run_until(&reactor, reactor.writable(null())).unwrap();
    let shared = Rc::new(plain());
    let cancelled = reactor.readable(shared.clone());
    cancelled.cancel();
    drop(cancelled.add_both(|_| ()));
    assert_eq!(Rc::strong_count(&shared), 1);
}

#[test]
fn a_descriptor_is_watched_for_both_directions_at_once() {
    // R14.2
    let reactor = reactor();
    let (here, mut there) = UnixStream::pair().unwrap();
    here.set_nonblocking(true).unwrap();
    let record = Record::new();
    let seen = record.clone();
    let watch = reactor
        .add_descriptor(Rc::new(here), Interest::READABLE | Interest::WRITABLE, move |here, ready| {
            seen.add((ready.readable(), ready.writable()));
            (&**here).read_exact(&mut [0])?;
            Ok(Progress::More)
        })
        .unwrap();
    turn(&reactor);
    assert_eq!(record.take(), [(false, true)]);
    there.write_all(b"x").unwrap();
    turn(&reactor);
    assert!(record.take()[0].0);
    watch.remove();
    drop(watch);
    assert_eq!(there.read(&mut [0]).unwrap(), 0, "it is closed");
}

#[test]
fn a_plain_file_is_read_to_its_end_in_pieces() {
    // R14.1
    let reactor = reactor();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/lib.rs");
    let record = Record::new();
    let seen = record.clone();
    reactor
        .add_descriptor(File::open(path).unwrap(), Interest::READABLE, move |file, ready| {
            assert!(ready.readable() && !ready.writable());
            let length = file.read(&mut [0; 1000])?;
            seen.add(length);
            Ok(if length == 0 { Progress::Drained } else { Progress::More })
        })
        .unwrap();
    let mut read = 0;
    loop {
        turn(&reactor);
        match record.take()[..] {
            [0] => break,
            [length] => read += length,
            ref lengths => panic!("{lengths:?}"),
        }
    }
    assert_eq!(read as u64, std::fs::metadata(path).unwrap().len());
    turn(&reactor);
    assert_eq!(record.len(), 0);
    assert_eq!(reactor.next_deadline(), None);
}

#[test]
fn waits_left_at_the_end_free_their_descriptors() {
    // R4, R14.5
    let reactor = reactor();
    let (here, _there) = UnixStream::pair().unwrap();
    let here = Rc::new(here);
    for _ in 0..3 {
        let record = Record::new();
        let seen = record.clone();
        drop(reactor.readable(here.clone()).add_both(move |result| {
            seen.add(result.unwrap_err().is::<Abandoned>());
            Ok(())
        }));
        let handle = reactor.handle();
        reactor.call_when_running(move || handle.stop());
        reactor.run().unwrap();
        assert_eq!(record.take(), [true]);
    }
    assert_eq!(Rc::strong_count(&here), 1);
}

#[test]
fn a_callback_that_a_signal_interrupted_is_called_again() {
    // R14
    let reactor = reactor();
    let (mut sender, receiver) = pipe::new().unwrap();
    sender.write_all(b"x").unwrap();
    let record = Record::new();
    let seen = record.clone();
    let mut interrupted = false;
    reactor
        .add_source(receiver, Interest::READABLE, move |receiver, _| {
            if !std::mem::replace(&mut interrupted, true) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            receiver.read_exact(&mut [0])?;
            seen.add(());
            Ok(Progress::Drained)
        })
        .unwrap();
    turn(&reactor);
    assert_eq!(record.len(), 0);
    turn(&reactor);
    assert_eq!(record.len(), 1);
}
