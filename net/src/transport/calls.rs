//! The system calls that every message takes: receiving from a connected socket, and sending to it.
//!
//! On Linux they go straight to the kernel. The calls through mio, std and the C library in between cost a small message
//! about as much as the loop, the connection and the protocol together.

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

    /// Without a signal as `send`, where std's way would raise SIGPIPE in a host that has not ignored it.
    #[inline]
    pub(crate) fn send_slices(stream: &mut impl AsFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(sendmsg(stream, slices, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)?)
    }
}

#[cfg(not(all(feature = "direct-syscalls", target_os = "linux")))]
mod plain {
    use std::io::{self, IoSlice, Read};

    use socket2::SockRef;

    /// A host that has not ignored SIGPIPE is not to die of a peer that has gone. Apple's systems know no such flag; the
    /// socket has an option there, see [`no_sigpipe`](super::no_sigpipe).
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

/// Has the socket never raise SIGPIPE, where that is not said with each message.
#[cfg(target_vendor = "apple")]
pub(crate) fn no_sigpipe<'s, S>(stream: &'s S) -> std::io::Result<()>
where
    socket2::SockRef<'s>: From<&'s S>,
{
    socket2::SockRef::from(stream).set_nosigpipe(true)
}

/// Whether the operating system had no memory for a message. It may have some a little later, and will not say when.
#[cold]
pub(crate) fn has_no_buffers(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(NO_BUFFERS)
}

#[cfg(unix)]
pub(crate) const NO_BUFFERS: i32 = libc::ENOBUFS;
#[cfg(not(unix))]
pub(crate) const NO_BUFFERS: i32 = 10055; // WSAENOBUFS
