//! Listening sockets.

use std::fmt;
use std::io;
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::Location;
use std::rc::Rc;

use mio::event::Source;
use mio::net::TcpListener;
#[cfg(unix)]
use mio::net::UnixListener;
use mio::{Interest, Registry, Token};
use twistor_reactor::{EventHandler, Handle, Registration};

use super::port;
#[cfg(unix)]
use super::unix::SocketFile;
use crate::simulation::SimulatedListener;
#[cfg(feature = "tls")]
use crate::tls::ServerTls;
use crate::transport::socket::Socket;
use crate::{Address, Factory, ListeningPort};

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
    acceptor: Acceptor,
    address: Address,
    security: Security,
}

impl Listener {
    pub(crate) fn new(acceptor: Acceptor, address: Address, security: Security) -> Listener {
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

    /// Serves each connection with a protocol from `factory`. The reactor accepts connections while it runs.
    ///
    /// # Errors
    ///
    /// The error of the operating system, or `NotConnected` if the reactor is gone. The socket is then
    /// closed.
    #[track_caller]
    pub fn serve<F: Factory>(self, handle: &Handle, factory: F) -> io::Result<ListeningPort> {
        port::serve(handle, self.acceptor, self.address, self.security, factory, Location::caller())
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
        Ok(Listener::new(Acceptor::Tcp(TcpListener::from_std(listener)), address, Security::None))
    }
}

/// Adopts a listening socket, and makes it non-blocking. Its file stays when it is closed.
#[cfg(unix)]
impl TryFrom<std::os::unix::net::UnixListener> for Listener {
    type Error = io::Error;

    fn try_from(listener: std::os::unix::net::UnixListener) -> io::Result<Listener> {
        listener.set_nonblocking(true)?;
        let address = super::unix::address_of(listener.local_addr()?);
        Ok(Listener::new(Acceptor::Unix(UnixListener::from_std(listener), None), address, Security::None))
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

/// A listening socket, of the operating system or of a simulated network.
pub(crate) enum Acceptor {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener, #[expect(dead_code, reason = "removes the file when dropped")] Option<SocketFile>),
    Simulated(SimulatedListener),
}

impl Acceptor {
    pub(super) fn accept(&self) -> io::Result<(Socket, Address)> {
        match self {
            Acceptor::Tcp(listener) => {
                listener.accept().map(|(stream, peer)| (Socket::tcp(stream, peer), Address::Ip(peer)))
            }
            #[cfg(unix)]
            Acceptor::Unix(listener, _) => {
                listener.accept().map(|(stream, peer)| (Socket::Unix(stream), super::unix::address_of(peer)))
            }
            Acceptor::Simulated(listener) => {
                listener.accept().map(|(socket, peer)| (Socket::Simulated(socket), peer))
            }
        }
    }

    /// Returns the descriptor; `None` for a simulated listener.
    #[cfg(unix)]
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Acceptor::Tcp(listener) => Some(listener.as_fd()),
            Acceptor::Unix(listener, _) => Some(listener.as_fd()),
            Acceptor::Simulated(_) => None,
        }
    }

    pub(super) fn watch(
        &mut self,
        handle: &Handle,
        handler: Rc<dyn EventHandler>,
    ) -> io::Result<Registration> {
        match self {
            Acceptor::Simulated(listener) => {
                let registration = handle.attach(handler)?;
                listener.watch(registration.waker());
                Ok(registration)
            }
            acceptor => handle.register(acceptor, Interest::READABLE, handler),
        }
    }
}

impl Source for Acceptor {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Acceptor::Tcp(listener) => listener.register(registry, token, interests),
            #[cfg(unix)]
            Acceptor::Unix(listener, _) => listener.register(registry, token, interests),
            Acceptor::Simulated(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Acceptor::Tcp(listener) => listener.reregister(registry, token, interests),
            #[cfg(unix)]
            Acceptor::Unix(listener, _) => listener.reregister(registry, token, interests),
            Acceptor::Simulated(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Acceptor::Tcp(listener) => listener.deregister(registry),
            #[cfg(unix)]
            Acceptor::Unix(listener, _) => listener.deregister(registry),
            Acceptor::Simulated(_) => Ok(()),
        }
    }
}
