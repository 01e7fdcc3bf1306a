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

/// A listening socket, of the operating system or of a simulated network.
pub(crate) enum Acceptor {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener, #[expect(dead_code, reason = "removes the file when dropped")] Option<SocketFile>),
    Simulated(SimulatedListener),
}

impl Acceptor {
    pub(crate) fn accept(&self) -> io::Result<(Socket, Address)> {
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
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Acceptor::Tcp(listener) => Some(listener.as_fd()),
            Acceptor::Unix(listener, _) => Some(listener.as_fd()),
            Acceptor::Simulated(_) => None,
        }
    }

    pub(crate) fn watch(
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
