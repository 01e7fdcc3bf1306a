//! A minimal echo server on calloop. A write that would block ends the connection.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use calloop::generic::{Generic, NoIoDrop};
use calloop::{EventLoop, Interest, LoopHandle, Mode, PostAction};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut event_loop: EventLoop<()> = EventLoop::try_new()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    println!("listening on {}", listener.local_addr()?);
    let handle = event_loop.handle();
    let accept = move |_, listener: &mut NoIoDrop<TcpListener>, _: &mut ()| {
        while let Ok((stream, _)) = listener.accept() {
            serve(&handle, stream)?;
        }
        Ok(PostAction::Continue)
    };
    let source = Generic::new(listener, Interest::READ, Mode::Level);
    event_loop.handle().insert_source(source, accept).map_err(|error| error.error)?;
    Ok(event_loop.run(None, &mut (), |_| ())?)
}

fn serve(handle: &LoopHandle<'static, ()>, stream: TcpStream) -> std::io::Result<()> {
    stream.set_nonblocking(true)?;
    let echo = |_, stream: &mut NoIoDrop<TcpStream>, _: &mut ()| {
        let mut stream: &TcpStream = stream;
        let mut buffer = [0; 4096];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return Ok(PostAction::Remove),
                Ok(count) if stream.write_all(&buffer[..count]).is_ok() => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(PostAction::Continue),
                _ => return Ok(PostAction::Remove),
            }
        }
    };
    let inserted = handle.insert_source(Generic::new(stream, Interest::READ, Mode::Level), echo);
    inserted.map(drop).map_err(|error| std::io::Error::other(error.error))
}
