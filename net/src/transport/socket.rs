//! The one place that knows which kind of socket a connection has.

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

/// A connected stream. A TCP socket keeps the address of its peer, which the operating system forgets at a reset.
pub(crate) enum Socket {
    Tcp(TcpStream, SocketAddrV4),
    /// Boxed, as the next two, so that the address costs the others no memory.
    Tcp6(TcpStream, Box<SocketAddrV6>),
    #[cfg(unix)]
    Unix(UnixStream),
    Simulated(BoxedSocket),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream>),
    /// Closed already: what is left in the place of a socket that was dropped.
    Closed,
}

/// Calls the same method on whichever stream there is.
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
    /// A stream, and the address that it was accepted from or is to connect to.
    pub(crate) fn tcp(stream: TcpStream, peer: SocketAddr) -> Socket {
        match peer {
            SocketAddr::V4(peer) => Socket::Tcp(stream, peer),
            SocketAddr::V6(peer) => Socket::Tcp6(stream, Box::new(peer)),
        }
    }

    /// Has the handler called when the socket is ready, in whichever network it is.
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

    /// Apart from the usual kinds, which are found without a jump table.
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

    /// Sends what the socket took and keeps itself; whether all of it is sent.
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

    /// Whether a flush was given up for want of the operating system's memory, since this was last asked.
    #[inline]
    pub(crate) fn is_starved(&mut self) -> bool {
        match self {
            #[cfg(feature = "tls")]
            Socket::Tls(stream) => stream.is_starved(),
            _ => false,
        }
    }

    /// Says that nothing more will be written, where there is a way to say so other than ending; whether that, and
    /// all before it, is sent.
    pub(crate) fn finish(&mut self) -> io::Result<bool> {
        match self {
            #[cfg(feature = "tls")]
            Socket::Tls(stream) => stream.finish(),
            _ => Ok(true),
        }
    }

    /// Whether it keeps bytes itself, both ways: it may hold something to read that nothing will announce, give less
    /// than there is room for although it has more, and take what it has not sent. Its peer sends what nobody asked
    /// for: a TLS server's session tickets cross with the goodbye of a client that has no more to say.
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

    /// Whether there is data to read, which stays unread. After a reset, an error that is still to be fetched is
    /// returned once.
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

    /// Makes the coming close a reset. UNIX sockets have no such thing.
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

    /// The descriptor; a simulated socket has none.
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

    /// Whether the socket is connected: an error where it is not, or not yet. A socket that is connected to itself, as
    /// the operating system allows where nobody listens on a port of its own choosing, counts as refused.
    pub(crate) fn check_connected(&self) -> io::Result<()> {
        match self {
            Socket::Tcp(stream, _) | Socket::Tcp6(stream, _) => {
                let peer = stream.peer_addr()?;
                // Systems choose no local port below 1024, so most connections save the second call.
                if peer.port() >= 1024 && peer == stream.local_addr()? {
                    // Without this, the port could not be listened on for a minute.
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
            Socket::Unix(stream) => stream.peer_addr().map(crate::stream::unix::address_of),
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
            Socket::Unix(stream) => stream.local_addr().map(crate::stream::unix::address_of),
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
