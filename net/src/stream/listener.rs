//! Listening sockets.

use std::fmt;
use std::io;
#[cfg(unix)]
use std::os::fd::{BorrowedFd, OwnedFd};

use mio::net::TcpListener;
#[cfg(unix)]
use mio::net::UnixListener;

use crate::Address;
use crate::sockets::Acceptor;
#[cfg(unix)]
use crate::sockets::UnixAcceptor;
#[cfg(feature = "tls")]
use crate::tls::ServerTls;

/// A listening socket whose connections are not served yet. It is bound by
/// [`ServerEndpoint::bind`](crate::ServerEndpoint::bind), or adopted from the standard library or from the
/// parent process.
///
/// Connections wait in the operating system's queue until [`serve`](Listener::serve).
///
/// # Examples
///
/// ```
/// use twistor::net::Listener;
/// use twistor::prelude::*;
///
/// struct Echo;
///
/// impl Protocol for Echo {
///     fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
///         transport.write(data);
///         Ok(())
///     }
/// }
///
/// let reactor = Reactor::new()?;
/// let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let port = Listener::try_from(socket)?.serve(&reactor, |_peer| Echo)?;
/// println!("listening on {}", port.address());
/// # Ok::<(), Failure>(())
/// ```
///
/// # Dropping
///
/// Dropping a listener closes the socket, and removes the UNIX socket file that it created. The file of an
/// adopted socket stays.
pub struct Listener {
    pub(crate) acceptor: Box<dyn Acceptor>,
    pub(crate) address: Address,
    pub(crate) security: Security,
}

impl Listener {
    pub(crate) fn new(acceptor: Box<dyn Acceptor>, address: Address, security: Security) -> Listener {
        Listener { acceptor, address, security }
    }

    /// Returns the address of the socket. Its port is the one that was selected for port 0.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Secures each connection by TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: ServerTls) -> Listener {
        self.security = Security::Tls(tls);
        self
    }

    /// Borrows the descriptor; `None` on a simulated reactor.
    #[cfg(unix)]
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.acceptor.fd()
    }
}

/// Adopts a listening socket, and makes it non-blocking.
impl TryFrom<std::net::TcpListener> for Listener {
    type Error = io::Error;

    fn try_from(listener: std::net::TcpListener) -> io::Result<Listener> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?.into();
        Ok(Listener::new(Box::new(TcpListener::from_std(listener)), address, Security::None))
    }
}

/// Adopts a listening socket, and makes it non-blocking. Its file stays when it is closed.
#[cfg(unix)]
impl TryFrom<std::os::unix::net::UnixListener> for Listener {
    type Error = io::Error;

    fn try_from(listener: std::os::unix::net::UnixListener) -> io::Result<Listener> {
        listener.set_nonblocking(true)?;
        let address = crate::sockets::unix::address_of(listener.local_addr()?);
        let listener = UnixAcceptor::new(UnixListener::from_std(listener), None);
        Ok(Listener::new(Box::new(listener), address, Security::None))
    }
}

/// Adopts a listening TCP or UNIX socket, such as one that systemd or inetd has opened.
///
/// # Errors
///
/// `InvalidInput` for any other descriptor, which is then closed.
#[cfg(unix)]
impl TryFrom<OwnedFd> for Listener {
    type Error = io::Error;

    fn try_from(fd: OwnedFd) -> io::Result<Listener> {
        let socket = socket2::Socket::from(fd);
        match super::kind(&socket) {
            Some(super::Kind { is_unix: false, listens: true }) => {
                std::net::TcpListener::from(socket).try_into()
            }
            Some(super::Kind { is_unix: true, listens: true }) => {
                std::os::unix::net::UnixListener::from(OwnedFd::from(socket)).try_into()
            }
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a listening TCP or UNIX socket")),
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener({})", self.address)
    }
}

/// How a connection is secured before its protocol starts.
#[derive(Clone, Debug, Default)]
pub(crate) enum Security {
    #[default]
    None,
    #[cfg(feature = "tls")]
    Tls(crate::tls::ServerTls),
}
