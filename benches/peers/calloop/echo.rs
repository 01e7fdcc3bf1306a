//! An echo server on calloop: one level-triggered event source per connection, one buffer for all.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use calloop::generic::{Generic, NoIoDrop};
use calloop::{
    EventLoop, EventSource, Interest, LoopHandle, Mode, Poll, PostAction, Readiness, Token, TokenFactory,
};

use crate::peers::tally::Tally;
use crate::runner::child::{Arguments, say_listening};

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 256 * 1024]);
}

type Data = LoopHandle<'static, ()>;

pub fn serve(_: &Arguments<'_>) {
    let mut event_loop = EventLoop::<()>::try_new().expect("a loop");
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    listener.set_nonblocking(true).expect("nonblocking");
    say_listening(listener.local_addr().expect("its address"));
    let handle: Data = event_loop.handle();
    let accept = move |_, listener: &mut NoIoDrop<TcpListener>, _: &mut ()| {
        while let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let connection = Connection {
                stream: Generic::new(stream, Interest::READ, Mode::Level),
                pending: Vec::new(),
                tally: Tally::default(),
            };
            handle.insert_source(connection, |_, _, _| {}).expect("insert");
        }
        Ok(PostAction::Continue)
    };
    event_loop
        .handle()
        .insert_source(Generic::new(listener, Interest::READ, Mode::Level), accept)
        .expect("insert");
    event_loop.run(None, &mut (), |_| {}).expect("run");
}

struct Connection {
    stream: Generic<TcpStream>,
    /// Data that was read and not written yet. While there is some, the source waits to write and does not read.
    pending: Vec<u8>,
    tally: Tally,
}

impl Connection {
    fn echo(
        pending: &mut Vec<u8>,
        tally: &mut Tally,
        mut stream: &TcpStream,
        buffer: &mut [u8],
    ) -> io::Result<bool> {
        if !pending.is_empty() {
            let sent = or_zero(stream.write(pending))?;
            pending.drain(..sent);
            return Ok(true);
        }
        let count = match stream.read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            other => other?,
        };
        tally.count(&buffer[..count]);
        let sent = or_zero(stream.write(&buffer[..count]))?;
        pending.extend_from_slice(&buffer[sent..count]);
        Ok(count > 0)
    }
}

fn or_zero(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}

impl EventSource for Connection {
    type Event = ();
    type Metadata = ();
    type Ret = ();
    type Error = io::Error;

    fn process_events<F: FnMut((), &mut ())>(
        &mut self,
        readiness: Readiness,
        token: Token,
        _: F,
    ) -> io::Result<PostAction> {
        let (pending, tally) = (&mut self.pending, &mut self.tally);
        let mut lives = false;
        let waited_to_write = !pending.is_empty();
        self.stream.process_events(readiness, token, |_, stream| {
            lives =
                BUFFER.with_borrow_mut(|buffer| Self::echo(pending, tally, stream, buffer)).unwrap_or(false);
            Ok(PostAction::Continue)
        })?;
        let waits_to_write = !self.pending.is_empty();
        self.stream.interest = if waits_to_write { Interest::WRITE } else { Interest::READ };
        Ok(match (lives, waits_to_write == waited_to_write) {
            (false, _) => PostAction::Remove,
            (true, false) => PostAction::Reregister,
            (true, true) => PostAction::Continue,
        })
    }

    fn register(&mut self, poll: &mut Poll, tokens: &mut TokenFactory) -> calloop::Result<()> {
        self.stream.register(poll, tokens)
    }

    fn reregister(&mut self, poll: &mut Poll, tokens: &mut TokenFactory) -> calloop::Result<()> {
        self.stream.reregister(poll, tokens)
    }

    fn unregister(&mut self, poll: &mut Poll) -> calloop::Result<()> {
        self.stream.unregister(poll)
    }
}
