//! Sockets and listeners of the simulated network. They behave like those of the operating system.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::rc::{Rc, Weak};

use mio::event::Source;
use mio::{Interest, Registry, Token};
use twistor_reactor::{Ready, SourceWaker};

use super::faults::Fault;
use super::link::Link;
use super::network::Network;
use crate::Address;
use crate::errors::NO_BUFFERS;

/// Boxed, because it is larger than the other kinds of socket and every connection would pay for it.
pub(crate) type BoxedSocket = Box<SimulatedSocket>;

/// One end of a connection.
pub(crate) struct SimulatedSocket {
    network: Weak<Network>,
    link: Rc<Link>,
    side: usize,
    reset_on_close: Cell<bool>,
}

impl SimulatedSocket {
    /// Creates a socket. Its descriptor is already counted.
    pub(super) fn new(network: &Rc<Network>, link: Rc<Link>, side: usize) -> SimulatedSocket {
        let reset_on_close = Default::default();
        SimulatedSocket { network: Rc::downgrade(network), link, side, reset_on_close }
    }

    pub(crate) fn watch(&self, waker: SourceWaker) {
        self.link.watch(self.side, waker);
    }

    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.link.read(self.side, buffer)
    }

    pub(crate) fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.check_memory()?;
        self.link.write(self.side, data)
    }

    /// Fails with ENOBUFS at times. As with a real system, no readiness event follows.
    fn check_memory(&self) -> io::Result<()> {
        match self.network.upgrade() {
            Some(network) if network.chance(network.rules().send_failures) => {
                network.faults.count(Fault::NoMemory);
                Err(io::Error::from_raw_os_error(NO_BUFFERS))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.check_memory()?;
        let mut taken = 0;
        for slice in slices.iter().filter(|slice| !slice.is_empty()) {
            match self.link.write(self.side, slice) {
                Ok(count) => taken += count,
                Err(_) if taken > 0 => return Ok(taken),
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
    }

    pub(crate) fn shutdown(&self, _: Shutdown) -> io::Result<()> {
        self.link.shutdown_write(self.side)
    }

    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(self.link.take_error(self.side))
    }

    pub(crate) fn has_data(&self) -> bool {
        self.link.has_incoming(self.side)
    }

    pub(crate) fn reset_on_close(&self) {
        self.reset_on_close.set(true);
    }

    pub(crate) fn check_connected(&self) -> io::Result<()> {
        if self.link.is_established(self.side) { Ok(()) } else { Err(io::ErrorKind::NotConnected.into()) }
    }

    pub(crate) fn peer(&self) -> Address {
        self.link.ends[1 - self.side].address.clone()
    }

    pub(crate) fn local_addr(&self) -> io::Result<Address> {
        Ok(self.link.ends[self.side].address.clone())
    }
}

impl Drop for SimulatedSocket {
    fn drop(&mut self) {
        let network = self.network.upgrade();
        let end = &self.link.ends[self.side].address;
        match &network {
            Some(network) if network.is_losing_power(end) => self.link.vanish(self.side),
            _ => self.link.close(self.side, self.reset_on_close.get()),
        }
        if let Some(network) = network {
            network.descriptors.set(network.descriptors.get() - 1);
        }
    }
}

/// The socket is watched by its waker, so the registry of the operating system is not used.
impl Source for SimulatedSocket {
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

/// The connections waiting to be accepted.
pub(super) struct Backlog {
    waiting: RefCell<VecDeque<Rc<Link>>>,
    waker: RefCell<Option<SourceWaker>>,
    most: usize,
    pub(super) shared: bool,
}

impl Backlog {
    pub(super) fn new(most: u32, shared: bool) -> Rc<Backlog> {
        let (waiting, waker) = Default::default();
        Rc::new(Backlog { waiting, waker, most: most.max(1) as usize, shared })
    }

    pub(super) fn has_room(&self) -> bool {
        self.waiting.borrow().len() < self.most
    }

    pub(super) fn push(&self, link: Rc<Link>) {
        self.waiting.borrow_mut().push_back(link);
        let waker = self.waker.borrow().clone();
        if let Some(waker) = waker {
            waker.wake(Ready::READABLE);
        }
    }
}

/// A listening socket.
pub(crate) struct SimulatedListener {
    network: Weak<Network>,
    address: Address,
    backlog: Rc<Backlog>,
}

impl SimulatedListener {
    pub(super) fn new(network: &Rc<Network>, address: Address, backlog: Rc<Backlog>) -> SimulatedListener {
        SimulatedListener { network: Rc::downgrade(network), address, backlog }
    }

    pub(crate) fn accept(&self) -> io::Result<(BoxedSocket, Address)> {
        let network = self.network.upgrade().ok_or(io::ErrorKind::NotConnected)?;
        if self.backlog.waiting.borrow().is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        network.take_descriptor()?;
        match self.backlog.waiting.borrow_mut().pop_front() {
            Some(link) => {
                let peer = link.ends[0].address.clone();
                Ok((Box::new(SimulatedSocket::new(&network, link, 1)), peer))
            }
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    pub(crate) fn watch(&self, waker: SourceWaker) {
        if !self.backlog.waiting.borrow().is_empty() {
            waker.wake(Ready::READABLE);
        }
        self.backlog.waker.replace(Some(waker));
    }
}

impl Drop for SimulatedListener {
    fn drop(&mut self) {
        let network = self.network.upgrade();
        if let Some(network) = &network {
            network.stop_listening(&self.address, &self.backlog);
        }
        for link in self.backlog.waiting.take() {
            match &network {
                Some(network) if network.is_losing_power(&link.ends[1].address) => link.vanish(1),
                _ => link.close(1, true),
            }
        }
    }
}
