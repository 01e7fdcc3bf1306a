//! Datagrams: UDP.

mod multicast;
mod socket;

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};

use mio::net::UdpSocket;
use twistor_deferred::{Deferred, DeferredEvent, Failure, guarded, succeed};
use twistor_reactor::{EventHandler, Handle, Progress, Ready, Registration};

pub use self::multicast::MulticastInterface;
pub(crate) use self::socket::DatagramSocket;
use crate::network::{self, UdpBinding};
use crate::transport::calls::has_no_buffers;
use crate::transport::scratch::with_scratch;
use crate::{Address, CannotListen, ConnectionDone, ConnectionLost, HandlerPanicked};

/// Datagrams read per turn and port: what a flood may take of a turn.
const DATAGRAMS_PER_TURN: usize = 32;

/// What happens at one UDP port: the program's side of a [`DatagramTransport`]. Twisted: `DatagramProtocol`.
///
/// ```
/// use std::net::SocketAddr;
/// use twistor_net::{DatagramProtocol, DatagramTransport, Failure, UdpEndpoint};
/// use twistor_reactor::Reactor;
///
/// struct Echo;
///
/// impl DatagramProtocol for Echo {
///     fn datagram_received(
///         &mut self,
///         transport: &DatagramTransport,
///         data: &[u8],
///         from: SocketAddr,
///     ) -> Result<(), Failure> {
///         Ok(transport.send_to(data, from)?)
///     }
/// }
///
/// let reactor = Reactor::new()?;
/// let transport = UdpEndpoint::new("127.0.0.1:0".parse()?).listen(&reactor, Echo)?;
/// println!("listening on {}", transport.address());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Ordering
///
/// `started` comes first and once, `stopped` last and once. Datagrams come in the order in which the operating system
/// has them, which need not be the one in which they were sent.
///
/// # Errors
///
/// An `Err` from a method is logged, and the port goes on: whoever can send one datagram cannot close it.
///
/// # Panics
///
/// As an `Err`.
///
/// # Re-entrancy
///
/// All methods are called from the loop, never from inside one another or inside a call on the transport.
///
/// # Dropping
///
/// The protocol is dropped after `stopped`.
pub trait DatagramProtocol: 'static {
    /// The port is open. Twisted: `startProtocol`.
    fn started(&mut self, transport: &DatagramTransport) -> Result<(), Failure> {
        let _ = transport;
        Ok(())
    }

    /// A datagram came, whole; it may be empty.
    fn datagram_received(
        &mut self,
        transport: &DatagramTransport,
        data: &[u8],
        from: SocketAddr,
    ) -> Result<(), Failure>;

    /// The peer of a connected port has said, by ICMP, that nobody listens there. It may, later. Twisted:
    /// `connectionRefused`.
    fn connection_refused(&mut self, transport: &DatagramTransport) -> Result<(), Failure> {
        let _ = transport;
        Ok(())
    }

    /// The port is closed: with [`ConnectionDone`] when it was stopped, else with what went wrong. Twisted:
    /// `stopProtocol`.
    fn stopped(&mut self, reason: Failure) {
        let _ = reason;
    }
}

/// Where to open a UDP port. Twisted: `listenUDP`.
#[derive(Clone, Debug)]
pub struct UdpEndpoint(UdpBinding);

impl UdpEndpoint {
    /// A UDP port of an interface; port 0 is any free one.
    pub fn new(address: SocketAddr) -> UdpEndpoint {
        UdpEndpoint(UdpBinding { address, peer: None, broadcast: false, reuse_port: false, only_v6: None })
    }

    /// Connects the port: it sends to this peer with [`send`](DatagramTransport::send), hears from no other, and is
    /// told when the peer refuses. Twisted: `connect` of a UDP transport.
    #[must_use]
    pub fn peer(mut self, address: SocketAddr) -> UdpEndpoint {
        self.0.peer = Some(address);
        self
    }

    /// Allows sending to broadcast addresses.
    #[must_use]
    pub fn broadcast(mut self, on: bool) -> UdpEndpoint {
        self.0.broadcast = on;
        self
    }

    /// Lets several sockets have one port: the members of a multicast group on one machine, or one reactor per core.
    #[must_use]
    pub fn reuse_port(mut self, on: bool) -> UdpEndpoint {
        self.0.reuse_port = on;
        self
    }

    /// Sets whether a port of an IPv6 interface refuses IPv4 (IPV6_V6ONLY). Default: what the operating system is set
    /// to. Nothing happens on a port of an IPv4 interface.
    #[must_use]
    pub fn only_v6(mut self, on: bool) -> UdpEndpoint {
        self.0.only_v6 = Some(on);
        self
    }

    /// Opens the port, and runs `protocol` on it.
    ///
    /// # Errors
    ///
    /// [`CannotListen`], with what the operating system says.
    pub fn listen(
        &self,
        handle: &Handle,
        protocol: impl DatagramProtocol,
    ) -> Result<DatagramTransport, CannotListen> {
        network::open_datagrams(handle, &self.0)
            .and_then(|socket| UdpPort::start(handle, socket, protocol))
            .map_err(|source| CannotListen::new(self.0.address, source))
    }
}

/// A UDP port, as those who send from it see it. Twisted: `IUDPTransport`, `IMulticastTransport`.
///
/// It is cheap to clone and owns nothing: the reactor keeps the port until it is stopped.
///
/// # Dropping
///
/// Dropping a handle, even the last, changes nothing about the port.
#[derive(Clone)]
pub struct DatagramTransport {
    port: Weak<UdpPort<dyn DatagramProtocol>>,
    address: SocketAddr,
}

impl DatagramTransport {
    /// The address of this end. Twisted: `getHost`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends one datagram.
    ///
    /// # Errors
    ///
    /// What the operating system says, such as [`WouldBlock`](io::ErrorKind::WouldBlock) when its buffer is full: the
    /// datagram is lost then, as it might be anywhere on its way. `NotConnected` when the port is closed.
    pub fn send_to(&self, data: &[u8], to: SocketAddr) -> io::Result<()> {
        self.send_with(|socket| socket.send_to(data, to))
    }

    /// Sends one datagram to the peer of a connected port.
    ///
    /// # Errors
    ///
    /// As [`send_to`](DatagramTransport::send_to). That the peer has refused an earlier one is no error here; the
    /// protocol is told.
    pub fn send(&self, data: &[u8]) -> io::Result<()> {
        self.send_with(|socket| socket.send(data))
    }

    fn send_with(&self, send: impl Fn(&DatagramSocket) -> io::Result<usize>) -> io::Result<()> {
        let port = self.port.upgrade().ok_or(io::ErrorKind::NotConnected)?;
        let socket = port.socket.borrow();
        let socket = socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        match send(socket) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                // The answer to an earlier datagram; asking for it has cleared it.
                port.refused.set(true);
                port.wake();
                send(socket).map(drop)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => send(socket).map(drop),
            Err(error) if has_no_buffers(&error) => Err(io::ErrorKind::WouldBlock.into()),
            outcome => outcome.map(drop),
        }
    }

    /// Closes the port. Fires when `stopped` has been called; at once if it was closed before. Twisted:
    /// `stopListening`.
    ///
    /// # Cancel safety
    ///
    /// Cancelling ends the wait. The port is closed all the same.
    #[track_caller]
    pub fn stop_listening(&self) -> Deferred<()> {
        match self.port.upgrade() {
            Some(port) if !port.lost.get() => {
                port.stopping.set(true);
                port.wake();
                port.stopped.wait()
            }
            _ => succeed(()),
        }
    }

    fn with_socket<T>(&self, use_it: impl FnOnce(&UdpSocket) -> io::Result<T>) -> io::Result<T> {
        let port = self.port.upgrade().ok_or(io::ErrorKind::NotConnected)?;
        let socket = port.socket.borrow();
        use_it(socket.as_ref().ok_or(io::ErrorKind::NotConnected)?.system()?)
    }
}

impl fmt::Debug for DatagramTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatagramTransport({})", self.address)
    }
}

/// An open port; `P` is unsized to `dyn DatagramProtocol` as soon as it is made.
struct UdpPort<P: DatagramProtocol + ?Sized> {
    socket: RefCell<Option<DatagramSocket>>,
    registration: OnceCell<Registration>,
    address: SocketAddr,
    started: Cell<bool>,
    refused: Cell<bool>,
    lost: Cell<bool>,
    stopping: Cell<bool>,
    stopped: DeferredEvent<()>,
    /// Borrowed while a method of it runs. Nobody but `enter` asks for it, and the loop does not re-enter itself.
    protocol: RefCell<P>,
}

impl<P: DatagramProtocol> EventHandler for UdpPort<P> {
    fn ready(self: Rc<Self>, ready: Ready) -> Progress {
        let port: Rc<UdpPort<dyn DatagramProtocol>> = self;
        port.ready(ready)
    }
}

impl UdpPort<dyn DatagramProtocol> {
    fn start<P: DatagramProtocol>(
        handle: &Handle,
        mut socket: DatagramSocket,
        protocol: P,
    ) -> io::Result<DatagramTransport> {
        let address = socket.local_addr()?;
        let port = Rc::new(UdpPort {
            socket: RefCell::new(None),
            registration: OnceCell::new(),
            address,
            started: Cell::new(false),
            refused: Cell::new(false),
            lost: Cell::new(false),
            stopping: Cell::new(false),
            stopped: DeferredEvent::new(),
            protocol: RefCell::new(protocol),
        });
        let registration = socket.watch(handle, port.clone())?;
        port.socket.replace(Some(socket));
        // `started` is called from the loop, as the rest.
        registration.wake(Ready::READABLE);
        let _ = port.registration.set(registration);
        let port: Rc<UdpPort<dyn DatagramProtocol>> = port;
        Ok(DatagramTransport { port: Rc::downgrade(&port), address })
    }

    fn ready(self: &Rc<Self>, ready: Ready) -> Progress {
        if self.lost.get() {
            return Progress::Drained;
        }
        let transport = DatagramTransport { port: Rc::downgrade(self), address: self.address };
        if !self.started.replace(true) {
            self.enter("started", |protocol| protocol.started(&transport));
        }
        let progress = if ready.readable() {
            with_scratch(|scratch| self.receive(&transport, scratch))
        } else {
            Progress::Drained
        };
        if self.refused.take() && !self.stopping.get() {
            self.enter("connection_refused", |protocol| protocol.connection_refused(&transport));
        }
        if self.stopping.get() {
            self.close(ConnectionDone.into());
        }
        progress
    }

    fn receive(&self, transport: &DatagramTransport, scratch: &mut [u8]) -> Progress {
        let mut failures = 0;
        for _ in 0..DATAGRAMS_PER_TURN {
            if self.stopping.get() {
                return Progress::Drained;
            }
            let received = match &*self.socket.borrow() {
                Some(socket) => socket.recv_from(scratch),
                None => return Progress::Drained,
            };
            match received {
                Ok((count, from)) => self.enter("datagram_received", |protocol| {
                    protocol.datagram_received(transport, &scratch[..count], from)
                }),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Progress::Drained,
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => self.refused.set(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Mostly what became of a datagram that was sent. An error that does not go away is the port's end.
                Err(error) => {
                    failures += 1;
                    if failures == DATAGRAMS_PER_TURN {
                        self.close(ConnectionLost::new(error).into());
                        return Progress::Drained;
                    }
                    log::debug!("at UDP port {}: {error}", self.address);
                }
            }
        }
        Progress::More
    }
}

impl<P: DatagramProtocol + ?Sized> UdpPort<P> {
    fn close(&self, reason: Failure) {
        if self.lost.replace(true) {
            return;
        }
        let socket = self.socket.borrow_mut().take();
        if let (Some(mut socket), Some(registration)) = (socket, self.registration.get()) {
            socket.unwatch(registration);
        }
        if self.started.get() {
            self.enter("stopped", |protocol| {
                protocol.stopped(reason);
                Ok(())
            });
        }
        self.stopped.fire(());
    }

    fn enter(&self, method: &'static str, call: impl FnOnce(&mut P) -> Result<(), Failure>) {
        match guarded(|| call(&mut *self.protocol.borrow_mut())) {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => log::error!("at UDP port {}, {method} failed: {failure}", self.address),
            Err(message) => {
                let panic = HandlerPanicked::new(method, message);
                log::error!("at UDP port {}, {panic}", self.address);
            }
        }
    }

    fn wake(&self) {
        if let Some(registration) = self.registration.get() {
            registration.wake(Ready::WRITABLE);
        }
    }
}

/// A port that is dropped was not stopped: its reactor has stopped, or was dropped.
impl<P: DatagramProtocol + ?Sized> Drop for UdpPort<P> {
    fn drop(&mut self) {
        self.close(ConnectionLost::new(io::Error::other("the reactor has stopped")).into());
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    use twistor_deferred::{Deferred, Trigger};
    use twistor_reactor::Reactor;

    use super::*;

    struct Reason(Cell<Option<Trigger<Failure>>>);

    impl DatagramProtocol for Reason {
        fn datagram_received(
            &mut self,
            _: &DatagramTransport,
            _: &[u8],
            _: SocketAddr,
        ) -> Result<(), Failure> {
            Ok(())
        }

        fn stopped(&mut self, reason: Failure) {
            if let Some(trigger) = self.0.take() {
                trigger.callback(reason);
            }
        }
    }

    // P15
    #[test]
    fn errors_that_do_not_end_are_the_ports_end_and_do_not_spin() {
        let reactor = Reactor::new().unwrap();
        // A socket of which datagrams can be asked for, in vain: one that listens for streams, and is readable.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let _connected = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        listener.set_nonblocking(true).unwrap();
        let socket = std::net::UdpSocket::from(OwnedFd::from(listener));
        let (reason, trigger) = Deferred::new();
        let socket = DatagramSocket::System(UdpSocket::from_std(socket));
        let transport = UdpPort::start(&reactor, socket, Reason(Cell::new(Some(trigger)))).unwrap();
        let handle = Handle::clone(&reactor);
        reactor.call_later(Duration::from_secs(20), move || handle.stop());
        let reason = reactor.run_until(reason).unwrap();
        assert_eq!(reason.downcast_ref::<ConnectionLost>().unwrap().kind(), io::ErrorKind::NotConnected);
        assert_eq!(transport.send(b"x").unwrap_err().kind(), io::ErrorKind::NotConnected);
        assert!(reactor.stats().turns < 10);
    }
}
