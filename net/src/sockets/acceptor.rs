//! A listening socket, of the operating system or of a simulated network.

use std::io;
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use mio::event::Source;
use mio::net::TcpListener;
#[cfg(unix)]
use mio::net::UnixListener;
use mio::{Interest, Registry, Token};
use twistor_reactor::{EventHandler, Handle, Registration};

use super::Socket;
#[cfg(unix)]
use super::unix::SocketFile;
use crate::Address;
use crate::simulation::SimulatedListener;

/// A listening socket. A trait object, so that a program contains only the code for the kinds that it uses.
pub(crate) trait Acceptor {
    fn accept(&self) -> io::Result<(Socket, Address)>;

    /// Returns the descriptor; `None` for a simulated listener.
    #[cfg(unix)]
    fn fd(&self) -> Option<BorrowedFd<'_>>;

    fn watch(&mut self, handle: &Handle, handler: Rc<dyn EventHandler>) -> io::Result<Registration>;

    /// Ends the watch.
    fn deregister(&mut self, registration: &Registration) -> io::Result<()>;
}

impl Acceptor for TcpListener {
    fn accept(&self) -> io::Result<(Socket, Address)> {
        let (stream, peer) = TcpListener::accept(self)?;
        Ok((Socket::tcp(stream, peer), Address::Ip(peer)))
    }

    #[cfg(unix)]
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }

    fn watch(&mut self, handle: &Handle, handler: Rc<dyn EventHandler>) -> io::Result<Registration> {
        handle.register(self, Interest::READABLE, handler)
    }

    fn deregister(&mut self, registration: &Registration) -> io::Result<()> {
        registration.deregister(self)
    }
}

/// A UNIX socket, and the file to remove when it is closed.
#[cfg(unix)]
pub(crate) struct UnixAcceptor {
    listener: UnixListener,
    _file: Option<SocketFile>,
}

#[cfg(unix)]
impl UnixAcceptor {
    pub(crate) fn new(listener: UnixListener, file: Option<SocketFile>) -> UnixAcceptor {
        UnixAcceptor { listener, _file: file }
    }
}

#[cfg(unix)]
impl Acceptor for UnixAcceptor {
    fn accept(&self) -> io::Result<(Socket, Address)> {
        let (stream, peer) = self.listener.accept()?;
        Ok((Socket::Unix(stream), super::unix::address_of(peer)))
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.listener.as_fd())
    }

    fn watch(&mut self, handle: &Handle, handler: Rc<dyn EventHandler>) -> io::Result<Registration> {
        handle.register(&mut self.listener, Interest::READABLE, handler)
    }

    fn deregister(&mut self, registration: &Registration) -> io::Result<()> {
        registration.deregister(&mut self.listener)
    }
}

impl Acceptor for SimulatedListener {
    fn accept(&self) -> io::Result<(Socket, Address)> {
        let (socket, peer) = SimulatedListener::accept(self)?;
        Ok((Socket::Simulated(socket), peer))
    }

    #[cfg(unix)]
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn watch(&mut self, handle: &Handle, handler: Rc<dyn EventHandler>) -> io::Result<Registration> {
        let registration = handle.attach(handler)?;
        SimulatedListener::watch(self, registration.waker());
        Ok(registration)
    }

    fn deregister(&mut self, registration: &Registration) -> io::Result<()> {
        registration.deregister(self)
    }
}

/// Nothing for the operating system to watch.
impl Source for SimulatedListener {
    fn register(&mut self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn reregister(&mut self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn deregister(&mut self, _: &Registry) -> io::Result<()> {
        Ok(())
    }
}
