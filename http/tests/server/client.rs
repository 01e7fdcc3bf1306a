//! A site in a reactor with a deadline, and a blocking client with just enough HTTP to separate responses.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use twistor_http::server::{Resource, Settings, Site};
use twistor_net::{ListeningPort, ServerEndpoint};
use twistor_reactor::Handle;

use crate::support::{DEADLINE, address, run};

/// Runs a site until `client` returns. The client runs on another thread.
#[track_caller]
pub(crate) fn serve<T: Send + 'static>(
    root: impl Resource,
    client: impl FnOnce(SocketAddr) -> io::Result<T> + Send + 'static,
) -> T {
    serve_with(Settings::default(), root, client)
}

#[track_caller]
pub(crate) fn serve_with<T: Send + 'static>(
    settings: Settings,
    root: impl Resource,
    client: impl FnOnce(SocketAddr) -> io::Result<T> + Send + 'static,
) -> T {
    run(|reactor| {
        let address = address(&listen(&Site::with_settings(reactor, root, settings)));
        visit(reactor, address, client)
    })
}

/// Runs `client` on another thread.
pub(crate) fn visit<T: Send + 'static>(
    handle: &Handle,
    address: SocketAddr,
    client: impl FnOnce(SocketAddr) -> io::Result<T> + Send + 'static,
) -> twistor_deferred::Deferred<T> {
    handle.defer_to_thread(move || Ok(client(address)?))
}

pub(crate) fn listen(site: &Site) -> ListeningPort {
    site.listen(ServerEndpoint::tcp("127.0.0.1:0".parse().unwrap())).unwrap()
}

pub(crate) struct Client(BufReader<TcpStream>);

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn closes(&self) -> bool {
        self.header("connection") == Some("close")
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Client(BufReader::new(stream)))
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.0.get_ref()
    }

    pub(crate) fn into_stream(self) -> TcpStream {
        self.0.into_inner()
    }

    pub(crate) fn send(&mut self, text: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream().write_all(text.as_ref())
    }

    pub(crate) fn get(&mut self, path: &str) -> io::Result<Reply> {
        self.send(get(path))?;
        self.reply()
    }

    pub(crate) fn half_close(&self) -> io::Result<()> {
        self.stream().shutdown(Shutdown::Write)
    }

    /// Reads a head.
    pub(crate) fn head(&mut self) -> io::Result<Reply> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head)? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("after {head:?}")));
            }
        }
        let status = head.get(9..12).and_then(|digits| digits.parse().ok());
        Ok(Reply { status: status.ok_or(io::ErrorKind::InvalidData)?, head, body: Vec::new() })
    }

    /// Reads a response to any method except HEAD.
    pub(crate) fn reply(&mut self) -> io::Result<Reply> {
        let mut reply = self.head()?;
        if let Some(length) = reply.header("content-length") {
            reply.body = vec![0; length.parse().unwrap()];
            self.0.read_exact(&mut reply.body)?;
        } else if reply.header("transfer-encoding").is_some() {
            while let Some(chunk) = self.chunk()? {
                reply.body.extend(chunk);
            }
        } else if ![100, 204, 304].contains(&reply.status) {
            self.0.read_to_end(&mut reply.body)?;
        }
        Ok(reply)
    }

    /// Reads a chunk. Returns `None` for the last one.
    pub(crate) fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut size = String::new();
        self.0.read_line(&mut size)?;
        let size = usize::from_str_radix(size.trim_end(), 16).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let mut chunk = vec![0; size + 2];
        self.0.read_exact(&mut chunk)?;
        chunk.truncate(size);
        Ok((size > 0).then_some(chunk))
    }

    /// Reads `count` bytes.
    pub(crate) fn exactly(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads until the server closes the connection.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest)?;
        Ok(rest)
    }

    /// Asserts that the server closes the connection without sending more.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        let rest = self.rest();
        assert!(rest.as_ref().is_ok_and(Vec::is_empty), "expected end of stream, got {rest:?}");
    }
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n")
}

pub(crate) fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: here\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
