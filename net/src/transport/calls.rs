//! The system calls that every message takes: receiving from a connected socket, and sending to it.
//!
//! On Linux they go straight to the kernel. The frames of mio, std and the C library in between cost a small message
//! about as much as the loop, the connection and the protocol together, most of it in returning through them: after a
//! system call the processor has forgotten where from.

#[cfg(all(feature = "direct-syscalls", target_os = "linux"))]
pub(crate) use direct::{receive, send};

#[cfg(not(all(feature = "direct-syscalls", target_os = "linux")))]
pub(crate) use plain::{receive, send};

#[cfg(all(feature = "direct-syscalls", target_os = "linux"))]
mod direct {
    use std::io;
    use std::os::fd::AsFd;

    use rustix::net::{RecvFlags, SendFlags};

    #[inline]
    pub(crate) fn receive(stream: &mut impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
        let (count, _) = rustix::net::recv(stream, buffer, RecvFlags::empty())?;
        Ok(count)
    }

    #[inline]
    pub(crate) fn send(stream: &mut impl AsFd, data: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(stream, data, SendFlags::NOSIGNAL)?)
    }
}

#[cfg(not(all(feature = "direct-syscalls", target_os = "linux")))]
mod plain {
    use std::io::{self, Read, Write};

    #[inline]
    pub(crate) fn receive(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
        stream.read(buffer)
    }

    #[inline]
    pub(crate) fn send(stream: &mut impl Write, data: &[u8]) -> io::Result<usize> {
        stream.write(data)
    }
}
