//! R14.3: lines from terminals, pipes and files.

use std::fs::File;
use std::future::{Future, poll_fn};
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use twistor_deferred::{Deferred, Failure};
use twistor_reactor::{LineReader, Reactor};

use crate::support::{reactor, run_until};

fn all(reactor: &Reactor, mut lines: LineReader) -> Deferred<Vec<String>> {
    reactor.spawn(async move {
        let mut all = Vec::new();
        while let Some(line) = lines.next_line().await? {
            all.push(line);
        }
        Ok(all)
    })
}

#[test]
fn lines_of_a_plain_file_are_read() {
    // R14.3
    let reactor = reactor();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/BEHAVIOUR.md");
    let lines = reactor.lines(File::open(path).unwrap()).unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    assert_eq!(run_until(&reactor, all(&reactor, lines)).unwrap(), text.lines().collect::<Vec<_>>());
}

#[test]
fn lines_of_a_blocking_pipe_are_read_as_they_arrive() {
    // R14.3
    let reactor = reactor();
    let (here, mut there) = UnixStream::pair().unwrap();
    let mut lines = reactor.lines(&here).unwrap();
    drop(here);
    there.write_all(b"one\r\ntw").unwrap();
    let read = reactor.spawn(async move {
        let first = lines.next_line().await?;
        there.write_all(b"o\n\nlast").unwrap();
        let second = lines.next_line().await?;
        drop(there);
        let third = lines.next_line().await?;
        Ok([first, second, third, lines.next_line().await?, lines.next_line().await?])
    });
    let expected = [Some("one"), Some("two"), Some(""), Some("last"), None];
    assert_eq!(run_until(&reactor, read).unwrap(), expected.map(|line| line.map(str::to_owned)));
}

#[test]
fn lines_of_a_terminal_are_read_as_they_are_entered() {
    // R14.3
    let reactor = reactor();
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let terminal = open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    let mut keyboard = File::from(master);
    let mut lines = reactor.lines(terminal).unwrap();
    keyboard.write_all(b"hel").unwrap();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    let read = reactor.spawn(async move {
        // The terminal passes whole lines on. Ctrl-D at the start of a line ends the input.
        keyboard.write_all(b"lo\nworld\n\x04").unwrap();
        let lines = [lines.next_line().await?, lines.next_line().await?, lines.next_line().await?];
        drop(keyboard);
        Ok(lines)
    });
    let expected = [Some("hello".to_owned()), Some("world".to_owned()), None];
    assert_eq!(run_until(&reactor, read).unwrap(), expected);
}

#[test]
fn a_line_that_is_not_text_or_is_too_long_is_an_error() {
    // R14.3
    let reactor = reactor();
    let (here, mut there) = UnixStream::pair().unwrap();
    let mut lines = reactor.lines(here).unwrap();
    there.write_all(b"\xff\nfine\n").unwrap();
    let read = reactor.spawn(async move {
        let kind = |failure: Failure| failure.downcast_ref::<io::Error>().unwrap().kind();
        assert_eq!(lines.next_line().await.map_err(kind), Err(io::ErrorKind::InvalidData));
        assert_eq!(lines.next_line().await.map_err(kind), Ok(Some("fine".to_owned())));
        Ok(lines)
    });
    let mut lines = run_until(&reactor, read).unwrap();
    let read = reactor.spawn(async move { lines.next_line().await });
    let long = reactor.defer_to_thread(move || Ok(_ = there.write_all(&vec![b'x'; 2 << 20])));
    assert!(run_until(&reactor, read).unwrap_err().is::<io::Error>());
    drop(long.add_both(|_| ()));
}

#[test]
fn a_cancelled_wait_for_a_line_loses_no_data() {
    // R14.3
    let reactor = reactor();
    let (here, mut there) = UnixStream::pair().unwrap();
    let mut lines = reactor.lines(here).unwrap();
    there.write_all(b"hel").unwrap();
    let read = reactor.spawn(async move {
        {
            let mut cancelled = pin!(lines.next_line());
            let mut polls = 0;
            poll_fn(|context| {
                polls += 1;
                context.waker().wake_by_ref();
                assert!(cancelled.as_mut().poll(context).is_pending());
                if polls == 4 { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
        there.write_all(b"lo\n").unwrap();
        lines.next_line().await
    });
    assert_eq!(run_until(&reactor, read).unwrap().as_deref(), Some("hello"));
}
