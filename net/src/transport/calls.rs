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

    /// As `send`, too, where std's way would raise SIGPIPE in a host that has not ignored it.
    #[inline]
    pub(crate) fn send_slices(stream: &mut impl AsFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(sendmsg(stream, slices, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)?)
    }
}

#[cfg(not(all(feature = "direct-syscalls", target_os = "linux")))]
mod plain {
    use std::io::{self, IoSlice, Read, Write};

    #[inline]
    pub(crate) fn receive(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
        stream.read(buffer)
    }

    #[inline]
    pub(crate) fn send(stream: &mut impl Write, data: &[u8]) -> io::Result<usize> {
        stream.write(data)
    }

    #[inline]
    pub(crate) fn send_slices(stream: &mut impl Write, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        stream.write_vectored(slices)
    }
}
