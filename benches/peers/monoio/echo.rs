//! An echo server on monoio, with io_uring: a task for each connection, and buffers that the kernel owns meanwhile.

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, RuntimeBuilder};

use crate::peers::tally::Tally;
use crate::runner::child::{Arguments, say_listening};

/// `BUFFER`: the size of each task's buffer.
pub fn serve(arguments: &Arguments<'_>) {
    let size = arguments.number(0) as usize;
    let mut runtime = RuntimeBuilder::<IoUringDriver>::new().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        say_listening(listener.local_addr().expect("its address"));
        loop {
            let (stream, _) = listener.accept().await.expect("accept");
            monoio::spawn(echo(stream, size));
        }
    });
}

async fn echo(mut stream: TcpStream, size: usize) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(size);
    let mut tally = Tally::default();
    loop {
        let (count, read) = stream.read(buffer).await;
        if count? == 0 {
            return Ok(());
        }
        tally.count(&read);
        let (sent, written) = stream.write_all(read).await;
        sent?;
        buffer = written;
        buffer.clear();
    }
}
