//! Serving the connections of a listening socket.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::io;
#[cfg(unix)]
use std::os::fd::OwnedFd;
use std::panic::Location;
use std::rc::{Rc, Weak};
use std::time::Duration;

use twistor_deferred::{Deferred, guarded, succeed};
use twistor_reactor::{CallSite, EventHandler, Handle, Progress, Ready, Registration};

use super::connection::Connection;
use crate::sockets::{Acceptor, Socket};
use crate::stream::Security;
use crate::{Address, Factory, HandlerPanicked, Listener, Transport};

/// The number of connections accepted per turn and listener, which bounds what a burst can take of a turn.
const ACCEPTS_PER_TURN: usize = 64;

/// The wait of a listener without descriptors or memory before it tries again. New clients wait in the
/// operating system's queue, which reports no further event for them, so the listener needs a timer.
const BACK_OFF: Duration = Duration::from_millis(100);

/// A handle of a listening port, returned by [`ServerEndpoint::listen`](crate::ServerEndpoint::listen) and
/// [`Listener::serve`](crate::Listener::serve). Twisted: `IListeningPort`.
///
/// # Dropping
///
/// Dropping a clone, even the last one, does not stop the listener, which the reactor owns.
#[derive(Clone)]
pub struct ListeningPort {
    server: Weak<Server>,
    address: Address,
}

impl ListeningPort {
    /// Returns the address of the listener. Its port is the one that was selected for port 0. Twisted:
    /// `getHost`.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Stops accepting, and closes the listening socket before this returns. Open connections stay open. Does
    /// nothing if the listener is stopped. Twisted: `stopListening`.
    ///
    /// Returns a Deferred that has already fired.
    ///
    /// # Cancel safety
    ///
    /// Cancelling has no effect. The port is closed.
    pub fn stop_listening(&self) -> Deferred<()> {
        if let Some(server) = self.server.upgrade() {
            server.stop();
        }
        succeed(())
    }

    /// Duplicates the descriptor of the listening socket, to inspect it or to set an option that has no
    /// method here.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the listener is stopped, `Unsupported` on a simulated reactor, or the error of the
    /// operating system.
    #[cfg(unix)]
    pub fn try_clone_fd(&self) -> io::Result<OwnedFd> {
        self.server.upgrade().ok_or(io::ErrorKind::NotConnected)?.try_clone_fd()
    }

    /// Returns whether the listener still accepts connections.
    pub fn is_listening(&self) -> bool {
        self.server.upgrade().is_some_and(|server| server.is_listening())
    }
}

impl fmt::Debug for ListeningPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ListeningPort({}, listening: {})", self.address, self.is_listening())
    }
}

struct Server {
    acceptor: RefCell<Option<Box<dyn Acceptor>>>,
    registration: OnceCell<Registration>,
    welcome: Box<dyn Welcome>,
    security: Security,
    handle: Handle,
    address: Address,
    /// Accepting fails for lack of resources. Logged once, until a connection is accepted.
    starved: Cell<bool>,
    /// A timer for another try is set. Each new client causes another failure, and one timer is enough.
    looks_again: Cell<bool>,
}

/// The actions of a listener that depend on its factory, the only part that is compiled again for each.
trait Welcome {
    fn connected(&self, server: &Rc<Server>, socket: Socket, peer: Address);
    fn place(&self) -> &'static Location<'static>;
}

impl Listener {
    /// Serves each connection with a protocol from `factory`. The reactor accepts connections while it runs.
    ///
    /// # Errors
    ///
    /// The error of the operating system, or `NotConnected` if the reactor is gone. The socket is then
    /// closed.
    #[track_caller]
    pub fn serve<F: Factory>(self, handle: &Handle, factory: F) -> io::Result<ListeningPort> {
        let Listener { acceptor, address, security } = self;
        let factory = RefCell::new(factory);
        let welcome = FactoryWelcome { factory, place: Location::caller() };
        listen(handle, acceptor, address, security, Box::new(welcome))
    }
}

/// Starts to accept connections on a listening socket. Compiled once for all factories.
fn listen(
    handle: &Handle,
    acceptor: Box<dyn Acceptor>,
    address: Address,
    security: Security,
    welcome: Box<dyn Welcome>,
) -> io::Result<ListeningPort> {
    let server = Rc::new(Server {
        acceptor: RefCell::new(Some(acceptor)),
        registration: OnceCell::new(),
        welcome,
        security,
        handle: handle.clone(),
        address: address.clone(),
        starved: Cell::new(false),
        looks_again: Cell::new(false),
    });
    if let Some(acceptor) = &mut *server.acceptor.borrow_mut() {
        let registration = acceptor.watch(handle, server.clone())?;
        let _ = server.registration.set(registration);
    }
    Ok(ListeningPort { server: Rc::downgrade(&server), address })
}

impl EventHandler for Server {
    fn ready(self: Rc<Self>, _: Ready) -> Progress {
        for _ in 0..ACCEPTS_PER_TURN {
            let accepted = match &*self.acceptor.borrow() {
                Some(acceptor) => acceptor.accept(),
                None => return Progress::Drained,
            };
            match accepted {
                Ok((socket, peer)) => {
                    self.starved.set(false);
                    self.welcome.connected(&self, socket, peer);
                    if self.registration.get().is_some_and(|registration| registration.share() == 0) {
                        return Progress::More;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Progress::Drained,
                Err(error) if concerns_one_connection(&error) => {
                    log::debug!("accepting a connection to {} failed: {error}", self.address);
                }
                Err(error) => {
                    self.back_off(&error);
                    return Progress::Drained;
                }
            }
        }
        Progress::More
    }

    fn call_site(&self) -> CallSite {
        CallSite::PortOpenedAt(self.welcome.place())
    }
}

struct FactoryWelcome<F> {
    /// Borrowed while it builds a protocol. Only the loop borrows it, and the loop does not re-enter itself.
    factory: RefCell<F>,
    /// The place in the user's code that gave the factory to the library.
    place: &'static Location<'static>,
}

impl<F: Factory> Welcome for FactoryWelcome<F> {
    fn connected(&self, server: &Rc<Server>, socket: Socket, peer: Address) {
        let built = guarded(|| self.factory.borrow_mut().build_protocol(peer));
        match built {
            Ok(Some(protocol)) => match &server.security {
                Security::None => server.started(Connection::start(&server.handle, socket, protocol)),
                #[cfg(feature = "tls")]
                Security::Tls(tls) => server.secure(tls, socket, protocol),
            },
            Ok(None) => {}
            Err(message) => {
                server.not_built(HandlerPanicked::new("build_protocol", message).given_at(self.place));
            }
        }
    }

    fn place(&self) -> &'static Location<'static> {
        self.place
    }
}

impl Server {
    #[cold]
    fn not_built(&self, panic: HandlerPanicked) {
        log::error!("connection to {} was closed: {panic}", self.address);
    }

    fn started(&self, outcome: io::Result<Transport>) {
        if let Err(error) = outcome {
            log::error!("cannot serve a connection to {}: {error}", self.address);
        }
    }

    /// Starts the protocol after the handshake. The protocol is built before it, so that a factory that
    /// limits connections also limits handshakes.
    #[cfg(feature = "tls")]
    fn secure(self: &Rc<Self>, tls: &crate::tls::ServerTls, socket: Socket, protocol: impl crate::Protocol) {
        let server = self.clone();
        let secured = tls.secure(&self.handle, socket.into());
        drop(secured.add_callbacks(
            move |stream| server.started(Connection::start(&server.handle, stream, protocol)),
            // The observer of failed handshakes has been called.
            drop,
        ));
    }

    fn back_off(self: &Rc<Self>, error: &io::Error) {
        if !self.starved.replace(true) {
            log::warn!("{} accepts no connections until resources are free: {error}", self.address);
        }
        if self.looks_again.replace(true) {
            return;
        }
        let listener = Rc::downgrade(self);
        self.handle.call_later(BACK_OFF, move || {
            let Some(listener) = listener.upgrade() else { return };
            listener.looks_again.set(false);
            if let Some(registration) = listener.registration.get() {
                registration.wake(Ready::READABLE);
            }
        });
    }

    fn stop(&self) {
        let acceptor = self.acceptor.borrow_mut().take();
        if let (Some(mut acceptor), Some(registration)) = (acceptor, self.registration.get()) {
            // This fails if the reactor is gone. The socket is closed either way.
            let _ = acceptor.deregister(registration);
        }
    }

    fn is_listening(&self) -> bool {
        self.acceptor.borrow().is_some()
    }

    #[cfg(unix)]
    fn try_clone_fd(&self) -> io::Result<OwnedFd> {
        match &*self.acceptor.borrow() {
            Some(acceptor) => acceptor.fd().ok_or(io::ErrorKind::Unsupported)?.try_clone_to_owned(),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

/// Returns whether an error of accept concerns only the connection to be accepted (see accept(2)), so that
/// the next accept may succeed. All other errors are about resources, and would repeat at once without a
/// wait.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted
            | Kind::ConnectionReset
            | Kind::ConnectionRefused
            | Kind::HostUnreachable
            | Kind::Interrupted
            | Kind::NetworkDown
            | Kind::NetworkUnreachable
            | Kind::PermissionDenied
            | Kind::TimedOut
    )
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    // P7.4: an error about resources, retried at once, would make the loop spin
    #[test]
    fn an_accept_error_concerns_one_connection_or_resources() {
        let is_skipped = |code| concerns_one_connection(&io::Error::from_raw_os_error(code));
        for one in [libc::ECONNABORTED, libc::EINTR, libc::EPERM, libc::ENETDOWN, libc::EHOSTUNREACH] {
            assert!(is_skipped(one), "{}", io::Error::from_raw_os_error(one));
        }
        for all in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EINVAL] {
            assert!(!is_skipped(all), "{}", io::Error::from_raw_os_error(all));
        }
    }
}
