//! UDP: datagrams.

mod multicast;

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};

use mio::net::UdpSocket;
use twistor_deferred::{Deferred, DeferredEvent, Failure, guarded, succeed};
use twistor_reactor::{CallSite, EventHandler, Handle, Progress, Ready, Registration};

pub use self::multicast::MulticastInterface;
use crate::errors::has_no_buffers;
use crate::network::{self, UdpBinding};
use crate::sockets::DatagramSocket;
use crate::sockets::scratch::with_scratch;
use crate::{CannotListen, ConnectionDone, ConnectionLost, HandlerPanicked};

/// The number of datagrams read per turn and port, which bounds what a flood can take of a turn.
const DATAGRAMS_PER_TURN: usize = 32;

/// The program's code for one UDP port, the counterpart of a [`DatagramTransport`]. Twisted:
/// `DatagramProtocol`.
///
/// # Examples
///
/// ```
/// use std::net::SocketAddr;
/// use twistor::net::{DatagramProtocol, DatagramTransport, UdpEndpoint};
/// use twistor::prelude::*;
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
/// # Ok::<(), Failure>(())
/// ```
///
/// # Errors
///
/// An `Err` from a method is logged, and the port stays open: a sender of one datagram cannot close it.
///
/// # Panics
///
/// A panic is handled like an `Err`.
///
/// # Ordering
///
/// `started` is called first and once, `stopped` last and once. Datagrams are delivered in the order of the
/// operating system, which can differ from the order in which they were sent.
///
/// # Re-entrancy
///
/// All methods are called from the loop, never inside one another or inside a call on the transport.
///
/// # Dropping
///
/// The protocol is dropped after `stopped`.
pub trait DatagramProtocol: 'static {
    /// Called when the port is open. Twisted: `startProtocol`.
    fn started(&mut self, transport: &DatagramTransport) -> Result<(), Failure> {
        let _ = transport;
        Ok(())
    }

    /// Called with one complete datagram, which may be empty.
    fn datagram_received(
        &mut self,
        transport: &DatagramTransport,
        data: &[u8],
        from: SocketAddr,
    ) -> Result<(), Failure>;

    /// Called when the peer of a connected port has refused a datagram: no process listens there (an ICMP
    /// message). The port stays open, since the peer may listen later. Twisted: `connectionRefused`.
    fn connection_refused(&mut self, transport: &DatagramTransport) -> Result<(), Failure> {
        let _ = transport;
        Ok(())
    }

    /// Called when the port is closed. The reason is [`ConnectionDone`] after
    /// [`stop_listening`](DatagramTransport::stop_listening), and otherwise the error. Twisted:
    /// `stopProtocol`.
    fn stopped(&mut self, reason: Failure) {
        let _ = reason;
    }
}

/// A UDP port to open, and its options. Twisted: `listenUDP`.
#[derive(Clone, Debug)]
pub struct UdpEndpoint(UdpBinding);

impl UdpEndpoint {
    /// Creates an endpoint for a UDP port of an interface. Port 0 selects any free port.
    pub fn new(address: SocketAddr) -> UdpEndpoint {
        UdpEndpoint(UdpBinding { address, peer: None, broadcast: false, reuse_port: false, only_v6: None })
    }

    /// Connects the port to a peer: it sends to this peer with [`send`](DatagramTransport::send), receives
    /// from this peer only, and is notified when the peer refuses a datagram. Twisted: `connect` of a UDP
    /// transport.
    #[must_use]
    pub fn peer(mut self, address: SocketAddr) -> UdpEndpoint {
        self.0.peer = Some(address);
        self
    }

    /// Sets whether broadcast addresses can be sent to. Default: off.
    #[must_use]
    pub fn broadcast(mut self, on: bool) -> UdpEndpoint {
        self.0.broadcast = on;
        self
    }

    /// Sets whether several sockets can use one port, such as the members of a multicast group on one
    /// machine, or one reactor per core. Default: off.
    #[must_use]
    pub fn reuse_port(mut self, on: bool) -> UdpEndpoint {
        self.0.reuse_port = on;
        self
    }

    /// Sets whether a port of an IPv6 interface refuses IPv4 (IPV6_V6ONLY). Default: the operating system's
    /// setting. Has no effect on a port of an IPv4 interface.
    #[must_use]
    pub fn only_v6(mut self, on: bool) -> UdpEndpoint {
        self.0.only_v6 = Some(on);
        self
    }

    /// Opens the port and runs `protocol` on it.
    ///
    /// # Errors
    ///
    /// [`CannotListen`] with the error of the operating system.
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

/// A handle for sending from one UDP port and controlling it. Twisted: `IUDPTransport`,
/// `IMulticastTransport`.
///
/// It is cheap to clone. The reactor owns the port until it is stopped.
///
/// # Dropping
///
/// Dropping a clone, even the last one, does not affect the port.
#[derive(Clone)]
pub struct DatagramTransport {
    port: Weak<UdpPort<dyn DatagramProtocol>>,
    address: SocketAddr,
}

impl DatagramTransport {
    /// Returns the address of this end. Twisted: `getHost`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends one datagram.
    ///
    /// # Errors
    ///
    /// The error of the operating system, such as [`WouldBlock`](io::ErrorKind::WouldBlock) if its buffer is
    /// full. The datagram is then lost, as it could be anywhere on its way. `NotConnected` if the port is
    /// closed.
    pub fn send_to(&self, data: &[u8], to: SocketAddr) -> io::Result<()> {
        self.send_with(|socket| socket.send_to(data, to))
    }

    /// Sends one datagram to the peer of a connected port.
    ///
    /// # Errors
    ///
    /// The same as of [`send_to`](DatagramTransport::send_to). A refusal of an earlier datagram is not an
    /// error here; the protocol is notified of it.
    pub fn send(&self, data: &[u8]) -> io::Result<()> {
        self.send_with(|socket| socket.send(data))
    }

    fn send_with(&self, send: impl Fn(&DatagramSocket) -> io::Result<usize>) -> io::Result<()> {
        let port = self.port.upgrade().ok_or(io::ErrorKind::NotConnected)?;
        let socket = port.socket.borrow();
        let socket = socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        match send(socket) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                // This error belongs to an earlier datagram, and reporting it has cleared it.
                port.refused.set(true);
                port.wake();
                send(socket).map(drop)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => send(socket).map(drop),
            Err(error) if has_no_buffers(&error) => Err(io::ErrorKind::WouldBlock.into()),
            outcome => outcome.map(drop),
        }
    }

    /// Closes the port. Twisted: `stopListening`.
    ///
    /// Returns a Deferred that fires when `stopped` has been called. It has already fired if the port is
    /// closed.
    ///
    /// # Cancel safety
    ///
    /// Cancelling ends the wait only. The port is still closed.
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

/// An open port. `P` becomes `dyn DatagramProtocol` when it is created, so that most of the code is compiled
/// once.
struct UdpPort<P: DatagramProtocol + ?Sized> {
    socket: RefCell<Option<DatagramSocket>>,
    registration: OnceCell<Registration>,
    address: SocketAddr,
    started: Cell<bool>,
    refused: Cell<bool>,
    lost: Cell<bool>,
    stopping: Cell<bool>,
    stopped: DeferredEvent<()>,
    /// Borrowed while one of its methods runs. Only `enter` borrows it, and the loop does not re-enter
    /// itself.
    protocol: RefCell<P>,
}

impl<P: DatagramProtocol> EventHandler for UdpPort<P> {
    fn ready(self: Rc<Self>, ready: Ready) -> Progress {
        let port: Rc<UdpPort<dyn DatagramProtocol>> = self;
        port.ready(ready)
    }

    fn call_site(&self) -> CallSite {
        CallSite::Handler(std::any::type_name::<P>())
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
        // All methods are called from the loop, `started` too.
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
        // Before any datagram, also one that has arrived already.
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
                // Usually the fate of a datagram sent earlier. An error that persists would make the loop
                // spin.
                Err(error) => {
                    failures += 1;
                    if failures == DATAGRAMS_PER_TURN {
                        self.close(ConnectionLost::new(error).into());
                        return Progress::Drained;
                    }
                    log::debug!("reading UDP port {} failed: {error}", self.address);
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
            Ok(Err(failure)) => log::error!("{method} of UDP port {} failed: {failure}", self.address),
            Err(message) => {
                let panic = HandlerPanicked::new(method, message);
                log::error!("UDP port {}: {panic}", self.address);
            }
        }
    }

    fn wake(&self) {
        if let Some(registration) = self.registration.get() {
            registration.wake(Ready::WRITABLE);
        }
    }
}

/// A port that is dropped without a stop lost its reactor, which has stopped or was dropped.
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
    fn a_persistent_error_closes_the_port_and_does_not_spin() {
        let reactor = Reactor::new().unwrap();
        // Reading datagrams from a listening TCP socket fails, although the socket is readable.
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
