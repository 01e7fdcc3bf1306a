//! The network in memory of a simulated reactor, as programs and tests see it.

mod datagrams;
mod link;
mod network;
mod socket;

use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use twistor_reactor::Handle;

use crate::Address;

pub(crate) use datagrams::SimulatedDatagrams;
pub(crate) use network::Network;
pub(crate) use socket::{BoxedSocket, SimulatedListener};

/// The network of a [simulated reactor](twistor_reactor::Reactor::simulated): all endpoints, listeners and transports
/// of such a reactor use it, unchanged, and this is where a test says what the network does to them.
///
/// What is not said is drawn from the reactor's seed: how long every piece of data takes, and where data is cut on its
/// way. The same program with the same seed gives the same trace; with the next seed, another one that could have
/// happened. Nothing goes to the operating system.
///
/// ```
/// use std::time::Duration;
/// use twistor_net::{ClientEndpoint, Failure, Protocol, ServerEndpoint, SimulatedNetwork, Transport};
/// use twistor_reactor::{Handle, Reactor};
///
/// struct Echo;
/// impl Protocol for Echo {
///     fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
///         transport.write(data);
///         Ok(())
///     }
/// }
///
/// struct Caller(Handle, usize);
/// impl Protocol for Caller {
///     fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
///         transport.write(b"is anybody there?");
///         Ok(())
///     }
///     fn data_received(&mut self, _: &Transport, data: &[u8]) -> Result<(), Failure> {
///         self.1 += data.len(); // cut anywhere
///         if self.1 == 17 {
///             self.0.stop();
///         }
///         Ok(())
///     }
/// }
///
/// for seed in 0..100 {
///     let reactor = Reactor::simulated(seed);
///     let network = SimulatedNetwork::of(&reactor).ok_or("not simulated")?;
///     network.set_latency(Duration::from_millis(1), Duration::from_millis(80));
///     network.add_name("far.test", ["192.0.2.7".parse()?]);
///     let _port = ServerEndpoint::tcp("192.0.2.7:80".parse()?).listen(&reactor, |_peer| Echo)?;
///     drop(ClientEndpoint::tcp("far.test", 80).connect(&reactor, Caller(reactor.clone(), 0)));
///     reactor.run()?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Hosts
///
/// There are as many hosts as there are addresses: listen on one, and connect from one with
/// [`bind_address`](crate::ClientEndpoint::bind_address). Who connects without saying from where is at 192.0.2.1 (or
/// 2001:db8::1; to a loopback address, at the same loopback address). An address on which nobody listens refuses. The
/// paths of UNIX sockets are places of their own. `localhost` is 127.0.0.1, and other names are those
/// [added](SimulatedNetwork::add_name), for endpoints that have no resolver of their own.
///
/// # What it is not
///
/// There is no bandwidth, no congestion and no keep-alive. What is cut off waits, as TCP would send it again, but TCP
/// would give up after a quarter of an hour, and this does not. TLS runs on it, but draws its own keys, so that lengths
/// may differ by some bytes between two runs. Time passes only while nothing else is to be done.
#[derive(Clone)]
pub struct SimulatedNetwork {
    network: Rc<Network>,
}

impl SimulatedNetwork {
    /// The network of a simulated reactor; `None` when the operating system is the network.
    pub fn of(handle: &Handle) -> Option<SimulatedNetwork> {
        Some(SimulatedNetwork { network: Network::of(handle)? })
    }

    /// Sets how long anything may take on its way, in either direction; from 100 µs to 10 ms if never set. Data of one
    /// connection stays in order.
    pub fn set_latency(&self, least: Duration, most: Duration) {
        self.network.configure(|rules| rules.latency = (least, most.max(least)));
    }

    /// Sets whether data may be cut anywhere on its way, each part with its own latency; it is if never set.
    pub fn set_splitting(&self, on: bool) {
        self.network.configure(|rules| rules.splitting = on);
    }

    /// Sets how many bytes a connection made from now on takes in each direction before the reader has read them:
    /// drawn from 4 KiB to 128 KiB if never set.
    pub fn set_window(&self, least: usize, most: usize) {
        let least = least.max(1);
        self.network.configure(|rules| rules.window = (least, most.max(least)));
    }

    /// Sets how likely a connection is to be reset in the middle, for both sides, from 0 (never, as it is if never set)
    /// to 1. When, is drawn: within a second of its beginning, early moments being as likely as late ones.
    pub fn set_resets(&self, probability: f64) {
        self.network.configure(|rules| rules.resets = probability);
    }

    /// Sets how likely a connection is to fall silent in the middle, as if the other host had lost its power: what is
    /// sent from then on never arrives, and nobody is told. From 0 (never, as it is if never set) to 1.
    pub fn set_silences(&self, probability: f64) {
        self.network.configure(|rules| rules.silences = probability);
    }

    /// Sets how likely the operating system is to have no memory for a message (ENOBUFS), for streams and datagrams, from
    /// 0 (never, the default) to 1.
    pub fn set_send_failures(&self, probability: f64) {
        self.network.configure(|rules| rules.send_failures = probability);
    }

    /// Sets how many sockets there may be at a time; accepting and connecting fail beyond, as they do when a process
    /// has no descriptor left. `None`, as if never set, is no limit.
    pub fn set_descriptor_limit(&self, limit: Option<usize>) {
        self.network.configure(|rules| rules.descriptors = limit);
    }

    /// Sets how likely a datagram is to be lost, and to come twice, each from 0 (never, as it is if never set) to 1.
    /// Whether one overtakes another is drawn with the latency. One sent across a cut is lost.
    pub fn set_datagram_faults(&self, lost: f64, repeated: f64) {
        self.network.configure(|rules| (rules.datagram_losses, rules.datagram_repeats) = (lost, repeated));
    }

    /// Gives a name addresses, the most preferred first; those it had are forgotten.
    pub fn add_name(&self, name: impl Into<String>, addresses: impl Into<Vec<IpAddr>>) {
        self.network.set_name(name.into(), Some(addresses.into()));
    }

    /// Makes a name unknown.
    pub fn remove_name(&self, name: &str) {
        self.network.set_name(name.to_owned(), None);
    }

    /// Cuts the network between two hosts, in both directions: what is sent, and what is under way, waits until it is
    /// [healed](SimulatedNetwork::heal). Nobody is told.
    pub fn partition(&self, one: IpAddr, other: IpAddr) {
        self.network.cut(one, Some(other));
    }

    /// Cuts a host off from all others.
    pub fn isolate(&self, host: IpAddr) {
        self.network.cut(host, None);
    }

    /// Undoes [`partition`](SimulatedNetwork::partition): what waited goes on its way.
    pub fn heal(&self, one: IpAddr, other: IpAddr) {
        self.network.heal(one, Some(other));
    }

    /// Undoes [`isolate`](SimulatedNetwork::isolate).
    pub fn rejoin(&self, host: IpAddr) {
        self.network.heal(host, None);
    }

    /// Takes all routes to a host away, or gives them back: connecting there fails at once with
    /// [`NoRoute`](crate::NoRoute).
    pub fn set_reachable(&self, host: IpAddr, reachable: bool) {
        self.network.set_reachable(host, reachable);
    }

    /// Resets every connection that has one end at this host, now, for both sides. How many these were.
    pub fn reset_connections(&self, host: IpAddr) -> usize {
        self.network.reset_connections(host)
    }

    /// Has every connection that has one end at this host fall silent, as with
    /// [`set_silences`](SimulatedNetwork::set_silences): its peers stay, half open. How many these were.
    pub fn silence_connections(&self, host: IpAddr) -> usize {
        self.network.silence_connections(host)
    }

    /// Has `observer` told of everything that happens, in order: the trace of a run. It replaces the one before.
    ///
    /// # Re-entrancy
    ///
    /// It is called from the loop, and also from inside what a program does with this network, and with endpoints. It
    /// may do anything.
    pub fn set_observer(&self, observer: impl Fn(&NetworkEvent) + 'static) {
        self.network.set_observer(Rc::new(observer));
    }
}

impl fmt::Debug for SimulatedNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimulatedNetwork")
    }
}

/// Something that happened in a [`SimulatedNetwork`].
///
/// Prints as `1.5ms 192.0.2.1:49152 > 192.0.2.7:80: 17 bytes`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NetworkEvent {
    /// When, since the network's first use.
    pub time: Duration,
    /// Whence.
    pub from: Address,
    /// Whereto.
    pub to: Address,
    /// What.
    pub kind: NetworkEventKind,
}

/// What happened in a [`SimulatedNetwork`]; at its destination, unless it is said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetworkEventKind {
    /// A connection was asked for, at its source.
    Connecting,
    /// A connection waits to be accepted.
    Arrived,
    /// The news that it does is back.
    Connected,
    /// The news that nobody listens is back.
    Refused,
    /// So many bytes came.
    Data(usize),
    /// A datagram of so many bytes came.
    Datagram(usize),
    /// A datagram of so many bytes was lost: on its way, or for want of a taker.
    Lost(usize),
    /// The end of the data came.
    End,
    /// A reset came.
    Reset,
    /// Something that came is held up by a cut, or lost in a silence.
    Held,
}

impl fmt::Display for NetworkEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} > {}: ", self.time, self.from, self.to)?;
        match self.kind {
            NetworkEventKind::Connecting => f.write_str("connecting"),
            NetworkEventKind::Arrived => f.write_str("arrived"),
            NetworkEventKind::Connected => f.write_str("connected"),
            NetworkEventKind::Refused => f.write_str("refused"),
            NetworkEventKind::Data(bytes) => write!(f, "{bytes} bytes"),
            NetworkEventKind::Datagram(bytes) => write!(f, "datagram of {bytes} bytes"),
            NetworkEventKind::Lost(bytes) => write!(f, "datagram of {bytes} bytes lost"),
            NetworkEventKind::End => f.write_str("end"),
            NetworkEventKind::Reset => f.write_str("reset"),
            NetworkEventKind::Held => f.write_str("held up"),
        }
    }
}
