//! An echo server on smol: a task for each connection, on an executor of one thread.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::rc::Rc;

use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Async, LocalExecutor};

use crate::peers::tally::Tally;
use crate::runner::child::{Arguments, say_listening};

/// `BUFFER`: the size of each task's buffer.
pub fn serve(arguments: &Arguments<'_>) {
    let size = (arguments.number(0) as usize).max(1024);
    let executor = Rc::new(LocalExecutor::new());
    smol::block_on(executor.clone().run(async {
        let listener = Async::<TcpListener>::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        say_listening(listener.get_ref().local_addr().expect("its address"));
        loop {
            let (stream, _) = listener.accept().await.expect("accept");
            executor.spawn(echo(stream, size)).detach();
        }
    }));
}

async fn echo(mut stream: Async<TcpStream>, size: usize) -> io::Result<()> {
    stream.get_ref().set_nodelay(true)?;
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
