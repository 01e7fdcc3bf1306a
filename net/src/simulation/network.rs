//! The state of the simulated network: listeners, partitions, and the rules for drawing from the seed.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use twistor_deferred::Deferred;
use twistor_reactor::{Clock, Handle, ScheduledCall, Simulation};

use super::datagrams::Mailbox;
use super::faults::{Fault, FaultCounts};
use super::hosts::HostState;
use super::link::Link;
use super::socket::{Backlog, BoxedSocket, SimulatedListener, SimulatedSocket};
use super::{NetworkEvent, NetworkEventKind};
use crate::{Address, DnsLookupError};

/// The host of connections without a bind address. These addresses are reserved for documentation.
const HOME_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const HOME_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

/// The first port assigned to sockets that request port 0.
const FIRST_FREE_PORT: u16 = 49_152;

/// How long a slow name server takes, at least and at most.
const SLOW_NAME: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(20));

type Observer = Rc<dyn Fn(&NetworkEvent)>;

pub(crate) struct Network {
    handle: Handle,
    simulation: Simulation,
    start: Instant,
    rules: RefCell<Rules>,
    state: RefCell<NetworkState>,
    observer: RefCell<Option<Observer>>,
    pub(super) faults: FaultCounts,
    /// The number of open sockets.
    pub(super) descriptors: Cell<usize>,
    /// The host whose sockets are dropped by a loss of power.
    pub(super) losing_power: Cell<Option<IpAddr>>,
}

/// The ranges and probabilities for drawing from the seed.
#[derive(Clone)]
pub(super) struct Rules {
    pub(super) latency: (Duration, Duration),
    pub(super) splitting: bool,
    pub(super) window: (usize, usize),
    pub(super) resets: f64,
    pub(super) silences: f64,
    pub(super) descriptors: Option<usize>,
    pub(super) send_failures: f64,
    pub(super) datagram_losses: f64,
    pub(super) datagram_repeats: f64,
    pub(super) partitions: f64,
    pub(super) slow_names: f64,
    pub(super) descriptor_failures: f64,
    pub(super) crashes: f64,
}

#[derive(Default)]
struct NetworkState {
    listeners: BTreeMap<Address, Vec<Rc<Backlog>>>,
    mailboxes: BTreeMap<SocketAddr, Rc<Mailbox>>,
    names: BTreeMap<String, Vec<IpAddr>>,
    /// Partitions between two hosts, or between one host and all others.
    cuts: Vec<(IpAddr, Option<IpAddr>)>,
    unreachable: Vec<IpAddr>,
    /// Hosts that crashed.
    down: Vec<IpAddr>,
    hosts: BTreeMap<IpAddr, Weak<HostState>>,
    /// In the order of their creation.
    links: Vec<Weak<Link>>,
    last_port: u16,
}

impl Network {
    pub(crate) fn of(handle: &Handle) -> Option<Rc<Network>> {
        let simulation = handle.simulation()?;
        let part = simulation.clone();
        part.part(|| {
            let rules = Rules {
                latency: (Duration::from_micros(100), Duration::from_millis(10)),
                splitting: true,
                window: (4 * 1024, 128 * 1024),
                resets: 0.0,
                silences: 0.0,
                send_failures: 0.0,
                descriptors: None,
                datagram_losses: 0.0,
                datagram_repeats: 0.0,
                partitions: 0.0,
                slow_names: 0.0,
                descriptor_failures: 0.0,
                crashes: 0.0,
            };
            let names = BTreeMap::from([("localhost".to_owned(), vec![Ipv4Addr::LOCALHOST.into()])]);
            Network {
                handle: handle.clone(),
                simulation,
                start: handle.now(),
                rules: RefCell::new(rules),
                state: RefCell::new(NetworkState {
                    names,
                    last_port: FIRST_FREE_PORT - 1,
                    ..NetworkState::default()
                }),
                observer: RefCell::default(),
                faults: FaultCounts::default(),
                descriptors: Cell::new(0),
                losing_power: Cell::new(None),
            }
        })
    }

    /// Returns the handle of the simulated world.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(super) fn configure(&self, change: impl FnOnce(&mut Rules)) {
        change(&mut self.rules.borrow_mut());
    }

    pub(super) fn rules(&self) -> Rules {
        self.rules.borrow().clone()
    }

    pub(super) fn now(&self) -> Duration {
        self.handle.now().saturating_duration_since(self.start)
    }

    /// Draws a number below `limit`. Returns 0 if `limit` is 0.
    pub(super) fn below(&self, limit: u64) -> u64 {
        self.simulation.random() % limit.max(1)
    }

    pub(super) fn chance(&self, probability: f64) -> bool {
        probability > 0.0 && ((self.simulation.random() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }

    pub(super) fn latency(&self) -> Duration {
        let (least, most) = self.rules.borrow().latency;
        let spread = u64::try_from((most - least).as_nanos()).unwrap_or(u64::MAX);
        least + Duration::from_nanos(self.below(spread.saturating_add(1)))
    }

    pub(super) fn later(
        &self,
        delay: Duration,
        call: impl FnOnce() + 'static,
    ) -> twistor_reactor::DelayedCall {
        self.handle.schedule(delay, ScheduledCall::unrecorded(call))
    }

    pub(super) fn tell(&self, from: &Address, to: &Address, kind: NetworkEventKind) {
        #[cfg(feature = "trace")]
        self.handle.record_network(|| format!("{from} > {to}: {kind}"));
        let observer = self.observer.borrow().clone();
        if let Some(observer) = observer {
            observer(&NetworkEvent { time: self.now(), from: from.clone(), to: to.clone(), kind });
        }
    }

    pub(super) fn set_observer(&self, observer: Observer) {
        let before = self.observer.replace(Some(observer));
        drop(before);
    }

    /// Counts another socket. Fails if the limit is reached.
    pub(super) fn take_descriptor(&self) -> io::Result<()> {
        let open = self.descriptors.get();
        let rules = self.rules();
        if rules.descriptors.is_some_and(|limit| open >= limit) || self.chance(rules.descriptor_failures) {
            self.faults.count(Fault::NoDescriptor);
            #[cfg(unix)]
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
            #[cfg(not(unix))]
            return Err(io::Error::other("too many open sockets"));
        }
        self.descriptors.set(open + 1);
        Ok(())
    }

    pub(super) fn set_name(&self, name: String, addresses: Option<Vec<IpAddr>>) {
        let names = &mut self.state.borrow_mut().names;
        match addresses {
            Some(addresses) => names.insert(name, addresses),
            None => names.remove(&name),
        };
    }

    /// Looks up a name for the reactor of `handle`, after a latency.
    pub(crate) fn resolve(
        self: &Rc<Self>,
        handle: &Handle,
        host: &str,
        port: u16,
    ) -> Deferred<Vec<SocketAddr>> {
        let (answer, trigger) = Deferred::new();
        let (network, host) = (Rc::downgrade(self), host.to_owned());
        let mut delay = self.latency();
        if self.chance(self.rules().slow_names) {
            self.faults.count(Fault::SlowName);
            let spread = SLOW_NAME.1 - SLOW_NAME.0;
            delay += SLOW_NAME.0 + Duration::from_nanos(self.below(spread.as_nanos() as u64));
        }
        handle.call_later(delay, move || {
            let network = network.upgrade();
            let found = network.and_then(|network| network.state.borrow().names.get(&host).cloned());
            match found {
                Some(hosts) => {
                    trigger.callback(hosts.into_iter().map(|host| SocketAddr::new(host, port)).collect());
                }
                None => {
                    let source = io::Error::new(io::ErrorKind::NotFound, "no such name in this simulation");
                    trigger.errback(DnsLookupError::new(host, Some(source)));
                }
            }
        });
        answer
    }

    pub(crate) fn listen(
        self: &Rc<Self>,
        handle: &Handle,
        wanted: &Address,
        backlog: u32,
        shared: bool,
    ) -> io::Result<(SimulatedListener, Address)> {
        let address = match wanted {
            Address::Ip(address) => self.place_for(handle, *address, None).into(),
            other => other.clone(),
        };
        let queue = Backlog::new(backlog, shared);
        let mut state = self.state.borrow_mut();
        let there = state.listeners.entry(address.clone()).or_default();
        if there.iter().any(|other| !(shared && other.shared)) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        there.push(queue.clone());
        Ok((SimulatedListener::new(self, address.clone(), queue), address))
    }

    pub(super) fn stop_listening(&self, address: &Address, queue: &Rc<Backlog>) {
        let mut state = self.state.borrow_mut();
        if let Some(there) = state.listeners.get_mut(address) {
            there.retain(|other| !Rc::ptr_eq(other, queue));
            if there.is_empty() {
                state.listeners.remove(address);
            }
        }
    }

    /// Returns the address of a socket of `handle` that requests `wanted`.
    pub(super) fn place_for(
        &self,
        handle: &Handle,
        wanted: SocketAddr,
        peer: Option<SocketAddr>,
    ) -> SocketAddr {
        let host = match (wanted.ip(), peer) {
            (host, Some(peer)) if host.is_unspecified() => home(handle, peer.ip()),
            (host, None) if host.is_unspecified() => host_of(handle, host).unwrap_or(host),
            (host, _) => host,
        };
        if wanted.port() == 0 { self.free_address(host) } else { SocketAddr::new(host, wanted.port()) }
    }

    /// Binds a UDP socket. Returns whether the address was free.
    pub(super) fn add_mailbox(&self, address: SocketAddr, mailbox: Rc<Mailbox>) -> bool {
        let mailboxes = &mut self.state.borrow_mut().mailboxes;
        let is_free = !mailboxes.contains_key(&address);
        if is_free {
            mailboxes.insert(address, mailbox);
        }
        is_free
    }

    pub(super) fn remove_mailbox(&self, address: SocketAddr, mailbox: &Rc<Mailbox>) {
        let mailboxes = &mut self.state.borrow_mut().mailboxes;
        if mailboxes.get(&address).is_some_and(|there| Rc::ptr_eq(there, mailbox)) {
            mailboxes.remove(&address);
        }
    }

    /// Returns the receiver of datagrams to an address.
    pub(super) fn mailbox(&self, to: SocketAddr) -> Option<Rc<Mailbox>> {
        let state = self.state.borrow();
        state.mailboxes.get(&to).or_else(|| state.mailboxes.get(&any_host(to))).cloned()
    }

    fn free_address(&self, host: IpAddr) -> SocketAddr {
        let mut state = self.state.borrow_mut();
        state.last_port = state.last_port.checked_add(1).unwrap_or(FIRST_FREE_PORT);
        SocketAddr::new(host, state.last_port)
    }

    pub(crate) fn connect(
        self: &Rc<Self>,
        handle: &Handle,
        target: Address,
        bind: Option<IpAddr>,
    ) -> io::Result<BoxedSocket> {
        let source = match &target {
            Address::Unix(_) => Address::Unix(None),
            Address::Ip(address) => {
                let host = bind.unwrap_or_else(|| home(handle, address.ip()));
                if self.state.borrow().unreachable.contains(&address.ip()) {
                    return Err(io::ErrorKind::HostUnreachable.into());
                }
                self.free_address(host).into()
            }
        };
        self.take_descriptor()?;
        let link = Link::new(self, source, target);
        let socket = SimulatedSocket::new(self, link.clone(), 0);
        let mut state = self.state.borrow_mut();
        if state.links.len() == state.links.capacity() {
            state.links.retain(|link| link.strong_count() > 0);
        }
        state.links.push(Rc::downgrade(&link));
        drop(state);
        link.call();
        Ok(Box::new(socket))
    }

    /// Returns the listener for connections to an address.
    pub(super) fn listener(&self, target: &Address) -> Option<Rc<Backlog>> {
        let state = self.state.borrow();
        let there =
            state.listeners.get(target).or_else(|| state.listeners.get(&any_host(target.ip()?).into()))?;
        let which = if there.len() > 1 { self.simulation.random() as usize % there.len() } else { 0 };
        there.get(which).cloned()
    }

    pub(super) fn is_cut(&self, one: &Address, other: &Address) -> bool {
        let (Some(one), Some(other)) = (one.ip(), other.ip()) else { return false };
        let (one, other) = (one.ip(), other.ip());
        let state = self.state.borrow();
        one != other
            && (state.down.iter().any(|host| *host == one || *host == other)
                || state.cuts.iter().any(|cut| match *cut {
                    (host, None) => host == one || host == other,
                    (a, Some(b)) => (a, b) == (one, other) || (b, a) == (one, other),
                }))
    }

    pub(super) fn add_host(&self, host: &Rc<HostState>) {
        self.state.borrow_mut().hosts.insert(host.address, Rc::downgrade(host));
    }

    pub(super) fn host(&self, address: IpAddr) -> Option<Rc<HostState>> {
        self.state.borrow().hosts.get(&address).and_then(Weak::upgrade)
    }

    pub(super) fn is_down(&self, host: IpAddr) -> bool {
        self.state.borrow().down.contains(&host)
    }

    pub(super) fn set_down(&self, host: IpAddr, down: bool) {
        let hosts = &mut self.state.borrow_mut().down;
        hosts.retain(|other| *other != host);
        if down {
            hosts.push(host);
        }
    }

    /// Lets data and requests that waited for a host continue on their way.
    pub(super) fn go_on(&self) {
        for link in self.links() {
            link.go_on();
        }
    }

    /// Returns whether a socket with this address is dropped by a loss of power.
    pub(super) fn is_losing_power(&self, address: &Address) -> bool {
        self.losing_power.get().is_some_and(|host| address.ip().is_some_and(|address| address.ip() == host))
    }

    pub(super) fn cut(&self, one: IpAddr, other: Option<IpAddr>) {
        self.state.borrow_mut().cuts.push((one, other));
    }

    pub(super) fn heal(&self, one: IpAddr, other: Option<IpAddr>) {
        let is_this = |cut: &(IpAddr, Option<IpAddr>)| match (*cut, other) {
            ((a, None), None) => a == one,
            ((a, Some(b)), Some(other)) => (a, b) == (one, other) || (b, a) == (one, other),
            _ => false,
        };
        self.state.borrow_mut().cuts.retain(|cut| !is_this(cut));
        self.go_on();
    }

    pub(super) fn set_reachable(&self, host: IpAddr, reachable: bool) {
        let unreachable = &mut self.state.borrow_mut().unreachable;
        unreachable.retain(|other| *other != host);
        if !reachable {
            unreachable.push(host);
        }
    }

    pub(super) fn reset_connections(&self, host: IpAddr) -> usize {
        self.links_of(host).into_iter().filter(|link| link.reset()).count()
    }

    pub(super) fn silence_connections(&self, host: IpAddr) -> usize {
        self.links_of(host).into_iter().filter(|link| link.silence()).count()
    }

    fn links(&self) -> Vec<Rc<Link>> {
        self.state.borrow().links.iter().filter_map(Weak::upgrade).collect()
    }

    fn links_of(&self, host: IpAddr) -> Vec<Rc<Link>> {
        let mut links = self.links();
        links.retain(|link| link.has_end_at(host));
        links
    }
}

/// Returns the host of a sender without a bind address.
fn home(handle: &Handle, peer: IpAddr) -> IpAddr {
    match (peer, host_of(handle, peer)) {
        (peer, _) if peer.is_loopback() => peer,
        (_, Some(host)) => host,
        (IpAddr::V4(_), None) => HOME_V4,
        (IpAddr::V6(_), None) => HOME_V6,
    }
}

/// Returns the address of the simulated host whose reactor this is, if it is of the same family as `like`.
fn host_of(handle: &Handle, like: IpAddr) -> Option<IpAddr> {
    handle.simulation()?.host().filter(|host| host.is_ipv4() == like.is_ipv4())
}

/// Returns the unspecified address with the same port, on which a socket listens for every host.
fn any_host(address: SocketAddr) -> SocketAddr {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    SocketAddr::new(any, address.port())
}
