//! Connected and listening sockets as values.

mod inherited;
mod listener;

use std::fmt;
use std::io;
#[cfg(unix)]
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::Address;
use crate::sockets::Socket;
use crate::sockets::WatchedSocket;

pub(crate) use inherited::{Inherited, Unread};
pub(crate) use listener::Security;

pub use listener::Listener;

/// A connection on which no protocol runs. It is adopted from the standard library or from the parent
/// process, made by a [`Connect`](crate::connect::Connect), or [released](crate::Transport::release) by an earlier
/// protocol. It may use TLS.
///
/// # Examples
///
/// ```
/// use twistor::net::Stream;
/// use twistor::prelude::*;
///
/// struct Greeter;
///
/// impl Protocol for Greeter {
///     fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
///         transport.write(b"hello");
///         transport.lose_connection();
///         Ok(())
///     }
///
///     fn data_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
///         Ok(())
///     }
/// }
///
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let _client = std::net::TcpStream::connect(listener.local_addr()?)?;
/// let (accepted, _) = listener.accept()?;
///
/// let reactor = Reactor::new()?;
/// Stream::try_from(accepted)?.run(&reactor, Greeter)?;
/// # Ok::<(), Failure>(())
/// ```
///
/// # Dropping
///
/// Dropping a stream closes the connection. Unsent bytes of an earlier protocol are lost.
pub struct Stream {
    pub(crate) watched: WatchedSocket,
    /// The state left by an earlier protocol.
    pub(crate) inherited: Option<Box<Inherited>>,
}

impl Stream {
    /// Puts back received bytes that were not used. The next protocol receives them first.
    pub fn put_back(&mut self, data: &[u8]) {
        self.inherited.get_or_insert_default().unread.borrow_mut().splice(..0, data.iter().copied());
    }

    /// Returns the address of the peer.
    ///
    /// # Errors
    ///
    /// The error of the operating system.
    pub fn peer(&self) -> io::Result<Address> {
        self.watched.socket.peer()
    }

    /// Returns the address of this end.
    ///
    /// # Errors
    ///
    /// The error of the operating system.
    pub fn local_addr(&self) -> io::Result<Address> {
        self.watched.socket.local_addr()
    }

    /// Returns the negotiated parameters of a connection secured by TLS; `None` without TLS.
    #[cfg(feature = "tls")]
    pub fn tls(&self) -> Option<crate::tls::TlsInfo> {
        self.watched.socket.tls()
    }

    /// Borrows the descriptor of the socket, also under TLS; `None` on a simulated reactor.
    #[cfg(unix)]
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.watched.socket.fd()
    }
}

impl From<WatchedSocket> for Stream {
    fn from(mut watched: WatchedSocket) -> Stream {
        watched.park();
        Stream { watched, inherited: None }
    }
}

impl From<Socket> for Stream {
    fn from(socket: Socket) -> Stream {
        WatchedSocket::from(socket).into()
    }
}

impl From<Stream> for WatchedSocket {
    fn from(stream: Stream) -> WatchedSocket {
        stream.watched
    }
}

/// Adopts a connected socket, and makes it non-blocking.
///
/// # Errors
///
/// The error of the operating system, such as `NotConnected`. The socket is then closed.
impl TryFrom<std::net::TcpStream> for Stream {
    type Error = io::Error;

    fn try_from(stream: std::net::TcpStream) -> io::Result<Stream> {
        let peer = stream.peer_addr()?;
        stream.set_nonblocking(true)?;
        Ok(Socket::tcp(mio::net::TcpStream::from_std(stream), peer).into())
    }
}

/// Adopts a connected socket, and makes it non-blocking.
///
/// # Errors
///
/// The error of the operating system, such as `NotConnected`. The socket is then closed.
#[cfg(unix)]
impl TryFrom<std::os::unix::net::UnixStream> for Stream {
    type Error = io::Error;

    fn try_from(stream: std::os::unix::net::UnixStream) -> io::Result<Stream> {
        stream.peer_addr()?;
        stream.set_nonblocking(true)?;
        Ok(Socket::Unix(mio::net::UnixStream::from_std(stream)).into())
    }
}

/// Adopts a connected TCP or UNIX socket, such as the standard input of a program started by inetd.
///
/// # Errors
///
/// `InvalidInput` for any other descriptor, which is then closed, or the error of the operating system.
#[cfg(unix)]
impl TryFrom<OwnedFd> for Stream {
    type Error = io::Error;

    fn try_from(fd: OwnedFd) -> io::Result<Stream> {
        let socket = socket2::Socket::from(fd);
        match kind(&socket) {
            Some(Kind { is_unix: false, listens: false }) => std::net::TcpStream::from(socket).try_into(),
            Some(Kind { is_unix: true, listens: false }) => {
                std::os::unix::net::UnixStream::from(OwnedFd::from(socket)).try_into()
            }
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a connected TCP or UNIX socket")),
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.peer() {
            Ok(peer) => write!(f, "Stream(to {peer})"),
            Err(error) => write!(f, "Stream({error})"),
        }
    }
}

#[cfg(unix)]
struct Kind {
    is_unix: bool,
    listens: bool,
}

/// Returns the kind of a stream socket; `None` for any other descriptor.
#[cfg(unix)]
fn kind(socket: &socket2::Socket) -> Option<Kind> {
    if socket.r#type().ok()? != socket2::Type::STREAM {
        return None;
    }
    let address = socket.local_addr().ok()?;
    let is_unix = address.domain() == socket2::Domain::UNIX;
    if !is_unix && address.as_socket().is_none() {
        return None;
    }
    // A socket without a peer counts as listening where the operating system, or socket2, has no SO_ACCEPTCONN.
    #[cfg(any(target_os = "android", target_os = "freebsd", target_os = "linux"))]
    let listens = socket.is_listener().unwrap_or_else(|_| socket.peer_addr().is_err());
    #[cfg(not(any(target_os = "android", target_os = "freebsd", target_os = "linux")))]
    let listens = socket.peer_addr().is_err();
    Some(Kind { is_unix, listens })
}
