//! The one place that knows which kind of socket a connection has.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use mio::event::Source;
use mio::net::TcpStream;
#[cfg(unix)]
use mio::net::UnixStream;
use mio::{Interest, Registry, Token};

use crate::Address;

/// A connected stream.
pub(crate) enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    /// Closed already: what is left in the place of a socket that was dropped.
    Closed,
}

/// Calls the same method on whichever stream there is.
macro_rules! each {
    ($self:expr, $stream:ident => $call:expr, closed => $closed:expr) => {
        match $self {
            Socket::Tcp($stream) => $call,
            #[cfg(unix)]
            Socket::Unix($stream) => $call,
            Socket::Closed => $closed,
        }
    };
}

fn closed<T>() -> io::Result<T> {
    Err(io::ErrorKind::NotConnected.into())
}

impl Socket {
    #[inline]
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        each!(self, stream => stream.read(buffer), closed => closed())
    }

    #[inline]
    pub(crate) fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        each!(self, stream => stream.write(data), closed => closed())
    }

    pub(crate) fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        each!(self, stream => stream.write_vectored(slices), closed => closed())
    }

    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        each!(self, stream => stream.shutdown(Shutdown::Write), closed => closed())
    }

    pub(crate) fn take_error(&self) -> Option<io::Error> {
        each!(self, stream => stream.take_error(), closed => closed()).ok().flatten()
    }

    /// Makes the coming close a reset. UNIX sockets have no such thing.
    pub(crate) fn reset_on_close(&self) {
        if let Socket::Tcp(stream) = self {
            let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }

    pub(crate) fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Socket::Tcp(stream) => Some(stream),
            _ => None,
        }
    }

    pub(crate) fn peer(&self) -> io::Result<Address> {
        match self {
            Socket::Tcp(stream) => stream.peer_addr().map(Address::Ip),
            #[cfg(unix)]
            Socket::Unix(stream) => stream.peer_addr().map(unix_address),
            Socket::Closed => closed(),
        }
    }

    pub(crate) fn host(&self) -> io::Result<Address> {
        match self {
            Socket::Tcp(stream) => stream.local_addr().map(Address::Ip),
            #[cfg(unix)]
            Socket::Unix(stream) => stream.local_addr().map(unix_address),
            Socket::Closed => closed(),
        }
    }
}

#[cfg(unix)]
pub(crate) fn unix_address(address: std::os::unix::net::SocketAddr) -> Address {
    Address::Unix(address.as_pathname().map(|path| path.to_owned()))
}

impl Source for Socket {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        each!(self, stream => stream.register(registry, token, interests), closed => closed())
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        each!(self, stream => stream.reregister(registry, token, interests), closed => closed())
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        each!(self, stream => stream.deregister(registry), closed => closed())
    }
}
