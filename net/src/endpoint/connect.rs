//! Making one connection out of the addresses of a name.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
#[cfg(unix)]
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::time::Duration;

use mio::net::TcpStream;
use socket2::{Domain, SockAddr, Type};
use twistor_deferred::{Canceller, Deferred, Failure, Trigger, fail};
use twistor_reactor::{DelayedCall, EventHandler, Handle, Progress, Ready};

use crate::errors::connect_failure;
use crate::simulation::Network;
use crate::transport::socket::Socket;
use crate::transport::watched::WatchedSocket;
use crate::{Address, ConnectFailed, ConnectRefused, ConnectTimedOut, NoRoute};

/// How long one address may keep quiet before the next is tried beside it: what RFC 8305 recommends.
pub(crate) const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// How long to wait when a UNIX socket's queue of connections is full; nothing announces when it is not.
const UNIX_RETRY: Duration = Duration::from_millis(10);

/// A connected socket. Cancelling closes it.
pub(crate) fn attempt(handle: &Handle, address: SocketAddr, bind: Option<IpAddr>) -> Deferred<WatchedSocket> {
    let opened = match Network::of(handle) {
        Some(network) => {
            network.connect(address.into(), bind).map(|socket| Socket::Simulated(Box::new(socket)))
        }
        None => open(address, bind).map(Socket::Tcp),
    };
    match opened {
        Ok(socket) => watch(handle, socket.into(), address.into()),
        Err(error) => fail(connect_failure(address.into(), error)),
    }
}

/// As `attempt`, for a UNIX socket.
#[cfg(unix)]
pub(crate) fn attempt_unix(handle: &Handle, path: PathBuf) -> Deferred<WatchedSocket> {
    let opened = match Network::of(handle) {
        Some(network) => network
            .connect(Address::Unix(Some(path.clone())), None)
            .map(|socket| Socket::Simulated(Box::new(socket))),
        None => mio::net::UnixStream::connect(&path).map(Socket::Unix),
    };
    match opened {
        Ok(socket) => watch(handle, socket.into(), Address::Unix(Some(path))),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let (waited, trigger) = Deferred::new();
            handle.call_later(UNIX_RETRY, move || trigger.callback(()));
            let handle = handle.clone();
            waited.add_callback(move |()| attempt_unix(&handle, path))
        }
        Err(error) => fail(connect_failure(Address::Unix(Some(path)), error)),
    }
}

/// One socket on its way.
struct Attempt {
    address: Address,
    socket: RefCell<Option<WatchedSocket>>,
    trigger: Cell<Option<Trigger<WatchedSocket>>>,
}

/// Waits until the socket is connected. It is even if it is already, so that whatever follows runs from the loop.
fn watch(handle: &Handle, mut socket: WatchedSocket, address: Address) -> Deferred<WatchedSocket> {
    let pending: Rc<OnceCell<Weak<Attempt>>> = Rc::default();
    let to_cancel = pending.clone();
    let (deferred, trigger) = Deferred::with_canceller(move |_| {
        if let Some(attempt) = to_cancel.get().and_then(Weak::upgrade) {
            drop(attempt.socket.take());
        }
    });
    let attempt = Rc::new(Attempt { address, socket: RefCell::new(None), trigger: Cell::new(None) });
    match socket.hand_to(handle, attempt.clone()) {
        Ok(()) => {
            let _ = pending.set(Rc::downgrade(&attempt));
            attempt.socket.replace(Some(socket));
            attempt.trigger.set(Some(trigger));
        }
        Err(error) => trigger.errback(connect_failure(attempt.address.clone(), error)),
    }
    deferred
}

/// A socket on its way.
fn open(address: SocketAddr, bind: Option<IpAddr>) -> io::Result<TcpStream> {
    let Some(bind) = bind else { return TcpStream::connect(address) };
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let mut local = SocketAddr::new(bind, 0);
    if let (SocketAddr::V6(local), SocketAddr::V6(address)) = (&mut local, address) {
        local.set_scope_id(address.scope_id());
    }
    socket.bind(&SockAddr::from(local))?;
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if in_progress(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

/// Whether a connect that does not wait has only begun.
fn in_progress(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(libc::EINPROGRESS) {
        return true;
    }
    error.kind() == io::ErrorKind::WouldBlock
}

impl EventHandler for Attempt {
    fn ready(self: Rc<Self>, ready: Ready) -> Progress {
        if !ready.writable() {
            return Progress::Drained;
        }
        let outcome = match &mut *self.socket.borrow_mut() {
            None => return Progress::Drained,
            Some(watched) => match connected(&watched.socket) {
                // Announced too early; the real event is still to come.
                Err(error) if error.kind() == io::ErrorKind::NotConnected && !ready.is_error() => {
                    return Progress::Drained;
                }
                outcome => {
                    watched.left = ready;
                    outcome
                }
            },
        };
        match (self.trigger.take(), self.socket.take(), outcome) {
            (Some(trigger), Some(socket), Ok(())) => trigger.callback(socket),
            (Some(trigger), _, Err(error)) => trigger.errback(connect_failure(self.address.clone(), error)),
            _ => {}
        }
        Progress::Drained
    }
}

/// Whether a socket is connected; what it says of itself where it is not.
fn connected(socket: &Socket) -> io::Result<()> {
    // In this order, which asks the system but once where all is well.
    match socket.peer() {
        Ok(_) => Ok(()),
        Err(error) => Err(socket.take_error().unwrap_or(error)),
    }
}

/// A socket connected to whichever of the addresses answers first: they are tried in turn, the next one when the last
/// has failed or been quiet for a while. Twisted: `HostnameEndpoint`.
///
/// When all fail, the failure is the one that tells most.
pub(crate) fn connect_any(
    handle: &Handle,
    addresses: Vec<SocketAddr>,
    bind: Option<IpAddr>,
) -> Deferred<WatchedSocket> {
    if let [only] = addresses[..] {
        return attempt(handle, only, bind);
    }
    let pending: Rc<OnceCell<Weak<Race>>> = Rc::default();
    let to_cancel = pending.clone();
    let (deferred, trigger) = Deferred::with_canceller(move |_| {
        if let Some(race) = to_cancel.get().and_then(Weak::upgrade) {
            race.end();
        }
    });
    let race = Rc::new(Race {
        handle: handle.clone(),
        bind,
        waiting: RefCell::new(alternate_families(addresses)),
        running: RefCell::new(Vec::new()),
        next: Cell::new(None),
        failure: Cell::new(None),
        trigger: Cell::new(Some(trigger)),
    });
    let _ = pending.set(Rc::downgrade(&race));
    race.start_next();
    deferred
}

/// RFC 8305, section 4: the families take turns, so that one that does not work costs one delay. Each address once,
/// whatever the resolver said.
fn alternate_families(mut addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let mut seen = HashSet::new();
    addresses.retain(|address| seen.insert(*address));
    let Some(first) = addresses.first().copied() else { return VecDeque::new() };
    let (mut same, mut other): (VecDeque<_>, VecDeque<_>) =
        addresses.into_iter().partition(|address| address.is_ipv4() == first.is_ipv4());
    let mut order = VecDeque::with_capacity(same.len() + other.len());
    while !same.is_empty() || !other.is_empty() {
        order.extend(same.pop_front());
        order.extend(other.pop_front());
    }
    order
}

/// Attempts under way. The attempts' callbacks own it.
struct Race {
    handle: Handle,
    bind: Option<IpAddr>,
    waiting: RefCell<VecDeque<SocketAddr>>,
    running: RefCell<Vec<(SocketAddr, Canceller)>>,
    next: Cell<Option<DelayedCall>>,
    failure: Cell<Option<Failure>>,
    /// Taken when the race is over.
    trigger: Cell<Option<Trigger<WatchedSocket>>>,
}

impl Race {
    fn start_next(self: &Rc<Self>) {
        let next = self.waiting.borrow_mut().pop_front();
        let Some(address) = next else { return };
        let deferred = attempt(&self.handle, address, self.bind);
        self.running.borrow_mut().push((address, deferred.canceller()));
        if !self.waiting.borrow().is_empty() {
            let race = Rc::downgrade(self);
            let call = self.handle.call_later(ATTEMPT_DELAY, move || {
                if let Some(race) = race.upgrade() {
                    race.start_next();
                }
            });
            self.stop_timer();
            self.next.set(Some(call));
        }
        let race = self.clone();
        drop(deferred.add_both(move |result| race.finished(address, result)));
    }

    fn finished(self: &Rc<Self>, address: SocketAddr, result: Result<WatchedSocket, Failure>) {
        self.running.borrow_mut().retain(|(running, _)| *running != address);
        match result {
            Ok(socket) => {
                if let Some(trigger) = self.end() {
                    trigger.callback(socket);
                }
            }
            Err(failure) => {
                let before = self.failure.take();
                self.failure.set(Some(match before {
                    Some(before) if tells(&before) >= tells(&failure) => before,
                    _ => failure,
                }));
                let Some(trigger) = self.trigger.take() else { return };
                if self.waiting.borrow().is_empty() && self.running.borrow().is_empty() {
                    match self.failure.take() {
                        Some(failure) => trigger.errback(failure),
                        None => drop(trigger),
                    }
                } else {
                    self.trigger.set(Some(trigger));
                    self.start_next();
                }
            }
        }
    }

    /// Ends the race: nothing more is tried, and what is under way is closed.
    fn end(&self) -> Option<Trigger<WatchedSocket>> {
        let trigger = self.trigger.take();
        self.stop_timer();
        self.waiting.borrow_mut().clear();
        let running = std::mem::take(&mut *self.running.borrow_mut());
        for (_, canceller) in running {
            canceller.cancel();
        }
        trigger
    }

    fn stop_timer(&self) {
        if let Some(call) = self.next.take() {
            let _ = call.cancel();
        }
    }
}

/// How much a failure tells: that someone is there and refuses is more than that a network is not there.
fn tells(failure: &Failure) -> u8 {
    if failure.is::<ConnectRefused>() {
        4
    } else if failure.is::<ConnectTimedOut>() {
        3
    } else if failure.is::<ConnectFailed>() {
        2
    } else {
        u8::from(failure.is::<NoRoute>())
    }
}
