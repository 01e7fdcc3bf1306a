//! An echo server on tokio-rustls: a task for each connection.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::runtime::current_thread;
use crate::peers::certificate;
use crate::peers::tally::Tally;
use crate::runner::child::{Arguments, say_listening};

/// `CERTIFICATE KEY`: files.
pub fn serve(arguments: &Arguments<'_>) {
    let acceptor = TlsAcceptor::from(Arc::new(certificate::server_config(arguments)));
    current_thread().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        say_listening(listener.local_addr().expect("its address"));
        loop {
            let (stream, _) = listener.accept().await.expect("accept");
            tokio::spawn(echo(stream, acceptor.clone()));
        }
    });
}

async fn echo(stream: TcpStream, acceptor: TlsAcceptor) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = acceptor.accept(stream).await?;
    let mut buffer = vec![0; 64 * 1024];
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
