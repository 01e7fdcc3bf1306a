//! An echo server on tokio: a task for each connection.

use std::cell::RefCell;
use std::io::{self, ErrorKind};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::runtime::current_thread;
use crate::peers::tally::Tally;
use crate::runner::child::{Arguments, say_listening};

/// `BUFFER`: the size of each task's buffer.
pub fn serve(arguments: &Arguments<'_>) {
    let size = arguments.number(0) as usize;
    current_thread().block_on(async {
        let listener = listen().await;
        loop {
            let (stream, _) = listener.accept().await.expect("accept");
            tokio::spawn(echo(stream, size));
        }
    });
}

async fn listen() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    say_listening(listener.local_addr().expect("its address"));
    listener
}

async fn echo(mut stream: TcpStream, size: usize) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; size];
    let mut tally = Tally::default();
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        tally.count(&buffer[..count]);
        stream.write_all(&buffer[..count]).await?;
    }
}

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 256 * 1024]);
}

/// The same with one buffer for all tasks, which saves memory when most connections are idle.
pub fn serve_shared(_: &Arguments<'_>) {
    current_thread().block_on(async {
        let listener = listen().await;
        loop {
            let (stream, _) = listener.accept().await.expect("accept");
            tokio::spawn(echo_shared(stream));
        }
    });
}

async fn echo_shared(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut tally = Tally::default();
    loop {
        stream.readable().await?;
        let Some(pending) = BUFFER.with_borrow_mut(|buffer| step(&stream, buffer, &mut tally))? else {
            return Ok(());
        };
        if !pending.is_empty() {
            stream.write_all(&pending).await?;
        }
    }
}

/// Reads once and writes as much as the socket accepts. Returns the rest, or `None` at the end of the stream.
fn step(stream: &TcpStream, buffer: &mut [u8], tally: &mut Tally) -> io::Result<Option<Vec<u8>>> {
    let count = match stream.try_read(buffer) {
        Ok(0) => return Ok(None),
        Ok(count) => count,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Some(Vec::new())),
        Err(error) => return Err(error),
    };
    tally.count(&buffer[..count]);
    let sent = match stream.try_write(&buffer[..count]) {
        Ok(sent) => sent,
        Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
        Err(error) => return Err(error),
    };
    Ok(Some(buffer[sent..count].to_vec()))
}
