//! The system calls for every message: receiving from a connected socket, and sending to it.
//!
//! On Linux they bypass mio, std and the C library, whose layers cost a small message about as much as the
//! loop, the connection and the protocol together.

#[cfg(all(feature = "direct-syscalls", target_os = "linux"))]
pub(crate) use direct::{receive, send, send_slices};

#[cfg(not(all(feature = "direct-syscalls", target_os = "linux")))]
pub(crate) use plain::{receive, send, send_slices};

#[cfg(all(feature = "direct-syscalls", target_os = "linux"))]
mod direct {
    use std::io::{self, IoSlice};
    use std::os::fd::AsFd;

    use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, sendmsg};

    #[inline]
    pub(crate) fn receive(stream: &mut impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
        let (count, _) = rustix::net::recv(stream, buffer, RecvFlags::empty())?;
        Ok(count)
    }

    #[inline]
    pub(crate) fn send(stream: &mut impl AsFd, data: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(stream, data, SendFlags::NOSIGNAL)?)
    }

    /// Passes MSG_NOSIGNAL like `send`. std's method would raise SIGPIPE in a host program that does not
    /// ignore it.
    #[inline]
    pub(crate) fn send_slices(stream: &mut impl AsFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(sendmsg(stream, slices, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)?)
    }
}

#[cfg(not(all(feature = "direct-syscalls", target_os = "linux")))]
mod plain {
    use std::io::{self, IoSlice, Read};

    use socket2::SockRef;

    /// Prevents SIGPIPE, which a closed peer would raise in a host program that does not ignore it. Apple's
    /// systems lack this flag and have a socket option instead: see [`no_sigpipe`](super::no_sigpipe).
    #[cfg(all(unix, not(target_vendor = "apple")))]
    const FLAGS: libc::c_int = libc::MSG_NOSIGNAL;
    #[cfg(not(all(unix, not(target_vendor = "apple"))))]
    const FLAGS: std::ffi::c_int = 0;

    #[inline]
    pub(crate) fn receive(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
        stream.read(buffer)
    }

    #[inline]
    pub(crate) fn send<'s, S>(stream: &'s mut S, data: &[u8]) -> io::Result<usize>
    where
        SockRef<'s>: From<&'s S>,
    {
        SockRef::from(&*stream).send_with_flags(data, FLAGS)
    }

    #[inline]
    pub(crate) fn send_slices<'s, S>(stream: &'s mut S, slices: &[IoSlice<'_>]) -> io::Result<usize>
    where
        SockRef<'s>: From<&'s S>,
    {
        SockRef::from(&*stream).send_vectored_with_flags(slices, FLAGS)
    }
}

/// Disables SIGPIPE for the socket, on systems where a message cannot do so.
#[cfg(target_vendor = "apple")]
pub(crate) fn no_sigpipe<'s, S>(stream: &'s S) -> std::io::Result<()>
where
    socket2::SockRef<'s>: From<&'s S>,
{
    socket2::SockRef::from(stream).set_nosigpipe(true)
}
