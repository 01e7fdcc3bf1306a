//! UDP in the simulated network, with loss, duplication and reordering.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};

use mio::event::Source;
use mio::{Interest, Registry, Token};
use twistor_reactor::{Handle, Ready, SourceWaker};

use super::NetworkEventKind;
use super::faults::Fault;
use super::network::Network;
use crate::errors::NO_BUFFERS;

/// The bytes that can wait to be read at one socket. Datagrams beyond it are lost.
const CAPACITY: usize = 200 * 1024;

/// The largest payload of an IPv4 datagram.
const LONGEST: usize = 65_507;

/// The datagrams received for one socket.
pub(super) struct Mailbox {
    address: SocketAddr,
    peer: Option<SocketAddr>,
    waiting: RefCell<VecDeque<(Vec<u8>, SocketAddr)>>,
    held: Cell<usize>,
    refused: Cell<bool>,
    waker: RefCell<Option<SourceWaker>>,
}

/// A UDP socket.
pub(crate) struct SimulatedDatagrams {
    network: Weak<Network>,
    mailbox: Rc<Mailbox>,
}

impl Network {
    pub(crate) fn open_datagrams(
        self: &Rc<Self>,
        handle: &Handle,
        wanted: SocketAddr,
        peer: Option<SocketAddr>,
    ) -> io::Result<SimulatedDatagrams> {
        let address = self.place_for(handle, wanted, peer);
        self.take_descriptor()?;
        let mailbox = Rc::new(Mailbox {
            address,
            peer,
            waiting: RefCell::default(),
            held: Cell::new(0),
            refused: Cell::new(false),
            waker: RefCell::new(None),
        });
        // From here on, dropping the socket releases the descriptor.
        let socket = SimulatedDatagrams { network: Rc::downgrade(self), mailbox: mailbox.clone() };
        if self.add_mailbox(address, mailbox) { Ok(socket) } else { Err(io::ErrorKind::AddrInUse.into()) }
    }

    fn post(self: &Rc<Self>, data: &[u8], from: &Rc<Mailbox>, to: SocketAddr) {
        let (source, target) = (from.address.into(), to.into());
        let rules = self.rules();
        if self.is_cut(&source, &target) || self.chance(rules.datagram_losses) {
            self.faults.count(Fault::LostDatagram);
            // Reported later, when it could have arrived, because the observer must not run inside the
            // sender's call.
            let (network, length) = (Rc::downgrade(self), data.len());
            self.later(self.latency(), move || {
                if let Some(network) = network.upgrade() {
                    network.tell(&source, &target, NetworkEventKind::Lost(length));
                }
            });
            return;
        }
        let repeated = self.chance(rules.datagram_repeats);
        if repeated {
            self.faults.count(Fault::RepeatedDatagram);
        }
        let copies = if repeated { 2 } else { 1 };
        for _ in 0..copies {
            let (network, data, sender) = (Rc::downgrade(self), data.to_vec(), Rc::downgrade(from));
            self.later(self.latency(), move || {
                if let Some(network) = network.upgrade() {
                    network.deliver(data, &sender, to);
                }
            });
        }
    }

    fn deliver(self: &Rc<Self>, data: Vec<u8>, sender: &Weak<Mailbox>, to: SocketAddr) {
        let Some(sender) = sender.upgrade() else { return };
        let (source, target) = (sender.address.into(), to.into());
        let length = data.len();
        let taken = match self.mailbox(to) {
            Some(mailbox) if mailbox.takes_from(sender.address) => mailbox.put(data, sender.address),
            _ => {
                if sender.peer == Some(to) && !self.is_down(to.ip()) {
                    let sender = Rc::downgrade(&sender);
                    self.later(self.latency(), move || {
                        if let Some(sender) = sender.upgrade() {
                            sender.refused.set(true);
                            sender.wake();
                        }
                    });
                }
                false
            }
        };
        let kind = if taken { NetworkEventKind::Datagram(length) } else { NetworkEventKind::Lost(length) };
        self.tell(&source, &target, kind);
    }
}

impl Mailbox {
    fn takes_from(&self, sender: SocketAddr) -> bool {
        self.peer.is_none_or(|peer| peer == sender)
    }

    fn put(&self, data: Vec<u8>, from: SocketAddr) -> bool {
        if self.held.get() + data.len() > CAPACITY {
            return false;
        }
        self.held.set(self.held.get() + data.len());
        self.waiting.borrow_mut().push_back((data, from));
        self.wake();
        true
    }

    fn wake(&self) {
        let waker = self.waker.borrow().clone();
        if let Some(waker) = waker {
            waker.wake(Ready::READABLE);
        }
    }
}

impl SimulatedDatagrams {
    pub(crate) fn watch(&self, waker: SourceWaker) {
        self.mailbox.waker.replace(Some(waker));
        self.mailbox.wake();
    }

    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        if self.mailbox.refused.take() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let next = self.mailbox.waiting.borrow_mut().pop_front();
        let (data, from) = next.ok_or(io::ErrorKind::WouldBlock)?;
        self.mailbox.held.set(self.mailbox.held.get() - data.len());
        let length = data.len().min(buffer.len());
        buffer[..length].copy_from_slice(&data[..length]);
        Ok((length, from))
    }

    pub(crate) fn send(&self, data: &[u8], to: Option<SocketAddr>) -> io::Result<usize> {
        if self.mailbox.refused.take() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let network = self.network.upgrade().ok_or(io::ErrorKind::NotConnected)?;
        if data.len() > LONGEST {
            #[cfg(unix)]
            return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
            #[cfg(not(unix))]
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if network.chance(network.rules().send_failures) {
            network.faults.count(Fault::NoMemory);
            return Err(io::Error::from_raw_os_error(NO_BUFFERS));
        }
        let to = to.or(self.mailbox.peer).ok_or(io::ErrorKind::NotConnected)?;
        network.post(data, &self.mailbox, to);
        Ok(data.len())
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.mailbox.address
    }
}

impl Drop for SimulatedDatagrams {
    fn drop(&mut self) {
        if let Some(network) = self.network.upgrade() {
            network.descriptors.set(network.descriptors.get() - 1);
            network.remove_mailbox(self.mailbox.address, &self.mailbox);
        }
    }
}

/// The socket is watched by its waker, so the registry of the operating system is not used.
impl Source for SimulatedDatagrams {
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
