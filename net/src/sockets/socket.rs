//! The socket of a connection, of any kind.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::rc::Rc;
use std::time::Duration;

use mio::event::Source;
use mio::net::TcpStream;
#[cfg(unix)]
use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use twistor_reactor::{EventHandler, Handle, Registration};

use super::calls;
use crate::Address;
use crate::simulation::BoxedSocket;
#[cfg(feature = "tls")]
use crate::tls::TlsStream;

/// A connected stream. A TCP socket keeps the address of its peer, because the operating system forgets it at
/// a reset.
pub(crate) enum Socket {
    Tcp(TcpStream, SocketAddrV4),
    /// Boxed, like the next two, so that its larger address does not enlarge every connection.
    Tcp6(TcpStream, Box<SocketAddrV6>),
    #[cfg(unix)]
    Unix(UnixStream),
    Simulated(BoxedSocket),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream>),
    /// Replaces a socket that was closed.
    Closed,
}

/// Calls a method on the stream of any kind.
macro_rules! each {
    ($self:expr, $stream:ident => $call:expr, closed => $closed:expr) => {
        match $self {
            Socket::Tcp($stream, _) | Socket::Tcp6($stream, _) => $call,
            #[cfg(unix)]
            Socket::Unix($stream) => $call,
            Socket::Simulated($stream) => $call,
            #[cfg(feature = "tls")]
            Socket::Tls($stream) => $call,
            Socket::Closed => $closed,
        }
    };
}

fn closed<T>() -> io::Result<T> {
    Err(io::ErrorKind::NotConnected.into())
}

impl Socket {
    /// Creates a TCP socket. `peer` is the address that it was accepted from or that it connects to.
    pub(crate) fn tcp(stream: TcpStream, peer: SocketAddr) -> Socket {
        match peer {
            SocketAddr::V4(peer) => Socket::Tcp(stream, peer),
            SocketAddr::V6(peer) => Socket::Tcp6(stream, Box::new(peer)),
        }
    }

    /// Registers the handler of the socket, in the network that the socket belongs to.
    pub(crate) fn watch(
        &mut self,
        handle: &Handle,
        handler: Rc<dyn EventHandler>,
    ) -> io::Result<Registration> {
        match self {
            Socket::Simulated(socket) => {
                let registration = handle.attach(handler)?;
                socket.watch(registration.waker());
                Ok(registration)
            }
            #[cfg(feature = "tls")]
            Socket::Tls(stream) => stream.watch(handle, handler),
            socket => {
                #[cfg(target_vendor = "apple")]
                match socket {
                    Socket::Tcp(stream, _) | Socket::Tcp6(stream, _) => calls::no_sigpipe(&*stream)?,
                    Socket::Unix(stream) => calls::no_sigpipe(&*stream)?,
                    _ => {}
                }
                handle.register(socket, Interest::READABLE | Interest::WRITABLE, handler)
            }
        }
    }

    #[inline]
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream, _) | Socket::Tcp6(stream, _) => calls::receive(stream, buffer),
            #[cfg(unix)]
            Socket::Unix(stream) => calls::receive(stream, buffer),
            other => other.read_other(buffer),
        }
    }

    /// Separate from the common kinds, so that those need no jump table.
    #[inline(never)]
    fn read_other(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        each!(self, stream => stream.read(buffer), closed => closed())
    }

    #[inline]
    pub(crate) fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream, _) | Socket::Tcp6(stream, _) => calls::send(stream, data),
            #[cfg(unix)]
            Socket::Unix(stream) => calls::send(stream, data),
            other => other.write_other(data),
        }
    }

    #[inline(never)]
    fn write_other(&mut self, data: &[u8]) -> io::Result<usize> {
        each!(self, stream => stream.write(data), closed => closed())
    }

    pub(crate) fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream, _) | Socket::Tcp6(stream, _) => calls::send_slices(stream, slices),
            #[cfg(unix)]
            Socket::Unix(stream) => calls::send_slices(stream, slices),
            other => each!(other, stream => stream.write_vectored(slices), closed => closed()),
        }
    }

    /// Sends the bytes that the socket has accepted and keeps. Returns whether all of them are sent.
    #[inline]
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        match self {
            #[cfg(feature = "tls")]
            Socket::Tls(stream) => stream.flush(),
            _ => Ok(true),
        }
    }

    #[inline]
    pub(crate) fn is_flushed(&self) -> bool {
        match self {
            #[cfg(feature = "tls")]
            Socket::Tls(stream) => stream.is_flushed(),
            _ => true,
        }
    }

    /// Returns whether a flush failed for lack of memory in the operating system since the last call.
    #[inline]
    pub(crate) fn is_starved(&mut self) -> bool {
        match self {
            #[cfg(feature = "tls")]
            Socket::Tls(stream) => stream.is_starved(),
            _ => false,
        }
    }

    /// Announces the end of the data, for sockets that can do so before the end itself (close_notify of TLS).
    /// Returns whether the announcement, and all data before it, is sent.
    pub(crate) fn finish(&mut self) -> io::Result<bool> {
        match self {
            #[cfg(feature = "tls")]
            Socket::Tls(stream) => stream.finish(),
            _ => Ok(true),
        }
    }

    /// Returns whether the socket itself buffers bytes, as TLS does. It may then hold readable bytes that no
    /// event announces, return less than there is room for although it has more, and accept bytes that are
    /// not sent yet. Its peer may also send bytes without being asked: session tickets of a TLS server cross
    /// with the close_notify of a client.
    pub(crate) fn keeps_bytes(&self) -> bool {
        match self {
            #[cfg(feature = "tls")]
            Socket::Tls(_) => true,
            _ => false,
        }
    }

    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        each!(self, stream => stream.shutdown(Shutdown::Write), closed => closed())
    }

    pub(crate) fn take_error(&self) -> Option<io::Error> {
        each!(self, stream => stream.take_error(), closed => closed()).ok().flatten()
    }

    /// Returns whether there is data to read, and leaves it unread. Returns an error that a reset has left,
    /// once.
    #[cold]
    pub(crate) fn has_data(&mut self) -> io::Result<bool> {
        match self {
            Socket::Tcp(stream, _) | Socket::Tcp6(stream, _) => has_data(&socket2::SockRef::from(&*stream)),
            #[cfg(unix)]
            Socket::Unix(stream) => has_data(&socket2::SockRef::from(&*stream)),
            Socket::Simulated(socket) => Ok(socket.has_data()),
            #[cfg(feature = "tls")]
            Socket::Tls(stream) => stream.has_data(),
            Socket::Closed => Ok(false),
        }
    }

    /// Makes the coming close a reset. Has no effect on UNIX sockets, which have no resets.
    pub(crate) fn reset_on_close(&self) {
        match self {
            Socket::Simulated(socket) => socket.reset_on_close(),
            #[cfg(feature = "tls")]
            Socket::Tls(stream) => stream.socket().reset_on_close(),
            Socket::Tcp(stream, _) | Socket::Tcp6(stream, _) => {
                let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
            }
            _ => {}
        }
    }

    /// Returns the descriptor; `None` for a simulated socket.
    #[cfg(unix)]
    pub(crate) fn fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        use std::os::fd::AsFd;
        match self {
            Socket::Tcp(stream, _) | Socket::Tcp6(stream, _) => Some(stream.as_fd()),
            Socket::Unix(stream) => Some(stream.as_fd()),
            Socket::Simulated(_) => None,
            #[cfg(feature = "tls")]
            Socket::Tls(stream) => stream.socket().fd(),
            Socket::Closed => None,
        }
    }

    pub(crate) fn as_tcp(&self) -> Option<&TcpStream> {
        match self {
            Socket::Tcp(stream, _) | Socket::Tcp6(stream, _) => Some(stream),
            #[cfg(feature = "tls")]
            Socket::Tls(stream) => stream.socket().as_tcp(),
            _ => None,
        }
    }

    #[cfg(feature = "tls")]
    pub(crate) fn tls(&self) -> Option<crate::tls::TlsInfo> {
        match self {
            Socket::Tls(stream) => Some(stream.info()),
            _ => None,
        }
    }

    /// Fails unless the socket is connected. A socket that is connected to itself counts as refused. The
    /// operating system can connect it so if it chooses the target's port as the local one, and no process
    /// listens there.
    pub(crate) fn check_connected(&self) -> io::Result<()> {
        match self {
            Socket::Tcp(stream, _) | Socket::Tcp6(stream, _) => {
                let peer = stream.peer_addr()?;
                // Systems choose no local port below 1024, so most connections save the second system call.
                if peer.port() >= 1024 && peer == stream.local_addr()? {
                    // Without a reset, the port would stay in TIME_WAIT, and no process could listen on it.
                    self.reset_on_close();
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                Ok(())
            }
            #[cfg(unix)]
            Socket::Unix(stream) => stream.peer_addr().map(drop),
            Socket::Simulated(socket) => socket.check_connected(),
            #[cfg(feature = "tls")]
            Socket::Tls(stream) => stream.socket().check_connected(),
            Socket::Closed => closed(),
        }
    }

    pub(crate) fn peer(&self) -> io::Result<Address> {
        match self {
            Socket::Tcp(_, peer) => Ok(SocketAddr::V4(*peer).into()),
            Socket::Tcp6(_, peer) => Ok(SocketAddr::V6(**peer).into()),
            #[cfg(unix)]
            Socket::Unix(stream) => stream.peer_addr().map(crate::sockets::unix::address_of),
            Socket::Simulated(socket) => Ok(socket.peer()),
            #[cfg(feature = "tls")]
            Socket::Tls(stream) => stream.socket().peer(),
            Socket::Closed => closed(),
        }
    }

    pub(crate) fn local_addr(&self) -> io::Result<Address> {
        match self {
            Socket::Tcp(stream, _) | Socket::Tcp6(stream, _) => stream.local_addr().map(Address::Ip),
            #[cfg(unix)]
            Socket::Unix(stream) => stream.local_addr().map(crate::sockets::unix::address_of),
            Socket::Simulated(socket) => socket.local_addr(),
            #[cfg(feature = "tls")]
            Socket::Tls(stream) => stream.socket().local_addr(),
            Socket::Closed => closed(),
        }
    }
}

fn has_data(socket: &socket2::Socket) -> io::Result<bool> {
    loop {
        match socket.peek(&mut [std::mem::MaybeUninit::uninit()]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            looked => return Ok(looked? > 0),
        }
    }
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
