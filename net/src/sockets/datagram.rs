//! A UDP socket, of the operating system or of a simulated network.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use mio::Interest;
use mio::net::UdpSocket;
use twistor_reactor::{EventHandler, Handle, Registration};

use crate::simulation::SimulatedDatagrams;

pub(crate) enum DatagramSocket {
    System(UdpSocket),
    Simulated(SimulatedDatagrams),
}

impl DatagramSocket {
    pub(crate) fn watch(
        &mut self,
        handle: &Handle,
        handler: Rc<dyn EventHandler>,
    ) -> io::Result<Registration> {
        match self {
            DatagramSocket::System(socket) => handle.register(socket, Interest::READABLE, handler),
            DatagramSocket::Simulated(socket) => {
                let registration = handle.attach(handler)?;
                socket.watch(registration.waker());
                Ok(registration)
            }
        }
    }

    /// Deregisters the socket, before it is closed.
    pub(crate) fn unwatch(&mut self, registration: &Registration) {
        match self {
            // This fails if the reactor is gone. The socket is closed either way.
            DatagramSocket::System(socket) => drop(registration.deregister(socket)),
            DatagramSocket::Simulated(socket) => drop(registration.deregister(socket)),
        }
    }

    pub(crate) fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match self {
            DatagramSocket::System(socket) => socket.recv_from(buffer),
            DatagramSocket::Simulated(socket) => socket.receive(buffer),
        }
    }

    pub(crate) fn send_to(&self, data: &[u8], to: SocketAddr) -> io::Result<usize> {
        match self {
            DatagramSocket::System(socket) => socket.send_to(data, to),
            DatagramSocket::Simulated(socket) => socket.send(data, Some(to)),
        }
    }

    pub(crate) fn send(&self, data: &[u8]) -> io::Result<usize> {
        match self {
            DatagramSocket::System(socket) => socket.send(data),
            DatagramSocket::Simulated(socket) => socket.send(data, None),
        }
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            DatagramSocket::System(socket) => socket.local_addr(),
            DatagramSocket::Simulated(socket) => Ok(socket.local_addr()),
        }
    }

    /// Returns the operating system's socket, for operations that a simulated one lacks.
    pub(crate) fn system(&self) -> io::Result<&UdpSocket> {
        match self {
            DatagramSocket::System(socket) => Ok(socket),
            DatagramSocket::Simulated(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}
