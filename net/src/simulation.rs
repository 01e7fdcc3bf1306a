//! The in-memory network of a simulated reactor, and tests that run once for each of many seeds.
//!
//! [`explore`] runs a test body in a new [`World`] for each seed. [`SimulatedNetwork`] is the network itself, for tests
//! that make their own reactors.

mod datagrams;
mod explore;
mod faults;
mod hosts;
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
pub use explore::{Counterexample, Exploration, Verdict, World, explore, try_explore};
pub use faults::{Fault, FaultCounts, Faults};
pub use hosts::SimulatedHost;
pub(crate) use network::Network;
pub(crate) use socket::{BoxedSocket, SimulatedListener};

/// The in-memory network of a [simulated reactor](twistor_reactor::Reactor::simulated). All endpoints,
/// listeners and transports of the reactor use it unchanged. A test controls its behaviour and faults with
/// the methods below.
///
/// All other behaviour is drawn from the reactor's seed: the latency of every piece of data, the places where
/// data is split, and the order of sockets that become ready at the same moment. The same program with the same
/// seed produces the same trace. Another seed produces another possible trace. Nothing reaches the operating system.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use twistor::net::SimulatedNetwork;
/// use twistor::prelude::*;
///
/// struct Echo;
///
/// impl Protocol for Echo {
///     fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
///         transport.write(data);
///         Ok(())
///     }
/// }
///
/// struct Caller(Handle, usize);
///
/// impl Protocol for Caller {
///     fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
///         transport.write(b"is anybody there?");
///         Ok(())
///     }
///
///     fn data_received(&mut self, _: &Transport, data: &[u8]) -> Result<(), Failure> {
///         self.1 += data.len(); // The data can be split anywhere.
///         if self.1 == 17 {
///             self.0.stop();
///         }
///         Ok(())
///     }
/// }
///
/// for seed in 0..100 {
///     let reactor = Reactor::simulated(seed);
///     let network = SimulatedNetwork::of(&reactor).expect("the reactor is simulated");
///     network.set_latency(Duration::from_millis(1), Duration::from_millis(80));
///     network.add_name("far.test", ["192.0.2.7".parse()?]);
///     ServerEndpoint::tcp("192.0.2.7:80".parse()?).listen(&reactor, |_peer| Echo)?;
///     let caller = Caller(reactor.handle(), 0);
///     ClientEndpoint::tcp("far.test", 80).connect(&reactor, caller).detach();
///     reactor.run()?;
/// }
/// # Ok::<(), Failure>(())
/// ```
///
/// # Hosts
///
/// Every IP address is a host: listen on one, and connect from one with
/// [`bind_address`](crate::ClientEndpoint::bind_address). Connections without a bind address come from
/// 192.0.2.1 (or 2001:db8::1); those to a loopback address come from the same loopback address. An address
/// without a listener refuses connections. UNIX socket paths are separate from hosts.
///
/// The name `localhost` is 127.0.0.1. Other names must be [added](SimulatedNetwork::add_name). They apply to
/// endpoints that set no other resolver.
///
/// # Limits of the simulation
///
/// Bandwidth, congestion and keep-alive are not simulated. Data across a partition waits, as if TCP sent it
/// again, but without TCP's limit of about a quarter of an hour. TLS runs on the network but generates its
/// own random keys, so lengths can differ by a few bytes between two runs. Time passes only when nothing else
/// can run.
#[derive(Clone)]
pub struct SimulatedNetwork {
    network: Rc<Network>,
}

impl SimulatedNetwork {
    /// Returns the network of a simulated reactor; `None` for a reactor of the operating system.
    pub fn of(handle: &Handle) -> Option<SimulatedNetwork> {
        Some(SimulatedNetwork { network: Network::of(handle)? })
    }

    /// Sets the range of the latency, for each direction. Default: 100 µs to 10 ms. The data of one
    /// connection stays in order.
    pub fn set_latency(&self, least: Duration, most: Duration) {
        self.network.configure(|rules| rules.latency = (least, most.max(least)));
    }

    /// Sets whether data can be split anywhere, each part with its own latency. Default: on.
    pub fn set_splitting(&self, on: bool) {
        self.network.configure(|rules| rules.splitting = on);
    }

    /// Sets the range of the receive window: how many unread bytes a new connection accepts in each
    /// direction. Default: 4 KiB to 128 KiB.
    pub fn set_window(&self, least: usize, most: usize) {
        let least = least.max(1);
        self.network.configure(|rules| rules.window = (least, most.max(least)));
    }

    /// Sets the probability, from 0 to 1, that a connection is reset for both sides. Default: 0. The time is
    /// drawn from the first second of the connection, on a logarithmic scale, so that early and late stages
    /// are hit equally often.
    pub fn set_resets(&self, probability: f64) {
        self.network.configure(|rules| rules.resets = probability);
    }

    /// Sets the probability, from 0 to 1, that a connection falls silent, as if the other host had lost
    /// power. Data sent from then on never arrives, and neither side is notified. Default: 0.
    pub fn set_silences(&self, probability: f64) {
        self.network.configure(|rules| rules.silences = probability);
    }

    /// Sets the probability, from 0 to 1, that the operating system has no memory for a message (ENOBUFS),
    /// for streams and datagrams. Default: 0.
    pub fn set_send_failures(&self, probability: f64) {
        self.network.configure(|rules| rules.send_failures = probability);
    }

    /// Sets the number of sockets that may be open at a time. Above it, accepting and connecting fail as in a
    /// process without free file descriptors. Default: `None`, no limit.
    pub fn set_descriptor_limit(&self, limit: Option<usize>) {
        self.network.configure(|rules| rules.descriptors = limit);
    }

    /// Sets the probabilities, from 0 to 1, that a datagram is lost or arrives twice. Default: 0 for both.
    /// The latency determines whether one datagram overtakes another. Datagrams sent across a partition are
    /// lost.
    pub fn set_datagram_faults(&self, lost: f64, repeated: f64) {
        self.network.configure(|rules| (rules.datagram_losses, rules.datagram_repeats) = (lost, repeated));
    }

    /// Sets the probability, from 0 to 1, that the hosts of a connection are cut off from each other, as by
    /// [`partition`](SimulatedNetwork::partition), within the connection's first second and for at most a minute.
    /// Default: 0.
    pub fn set_partitions(&self, probability: f64) {
        self.network.configure(|rules| rules.partitions = probability);
    }

    /// Sets the probability, from 0 to 1, that a name lookup takes 1 to 20 seconds. Default: 0.
    pub fn set_slow_names(&self, probability: f64) {
        self.network.configure(|rules| rules.slow_names = probability);
    }

    /// Sets the probability, from 0 to 1, that accepting or connecting fails because no file descriptor is left.
    /// Default: 0.
    pub fn set_descriptor_failures(&self, probability: f64) {
        self.network.configure(|rules| rules.descriptor_failures = probability);
    }

    /// Returns which faults have occurred so far.
    pub fn fault_counts(&self) -> FaultCounts {
        self.network.faults.clone()
    }

    /// Sets the addresses of a name, the preferred ones first. They replace its earlier addresses.
    pub fn add_name(&self, name: impl Into<String>, addresses: impl Into<Vec<IpAddr>>) {
        self.network.set_name(name.into(), Some(addresses.into()));
    }

    /// Removes a name.
    pub fn remove_name(&self, name: &str) {
        self.network.set_name(name.to_owned(), None);
    }

    /// Partitions two hosts, in both directions. Data sent between them, or in flight, waits until the
    /// network is [healed](SimulatedNetwork::heal). Neither host is notified.
    pub fn partition(&self, one: IpAddr, other: IpAddr) {
        self.network.cut(one, Some(other));
    }

    /// Partitions a host from all others.
    pub fn isolate(&self, host: IpAddr) {
        self.network.cut(host, None);
    }

    /// Ends a [`partition`](SimulatedNetwork::partition). Waiting data continues on its way.
    pub fn heal(&self, one: IpAddr, other: IpAddr) {
        self.network.heal(one, Some(other));
    }

    /// Ends an [`isolate`](SimulatedNetwork::isolate).
    pub fn rejoin(&self, host: IpAddr) {
        self.network.heal(host, None);
    }

    /// Removes or restores all routes to a host. Without a route, connecting fails at once with
    /// [`NoRoute`](crate::NoRoute).
    pub fn set_reachable(&self, host: IpAddr, reachable: bool) {
        self.network.set_reachable(host, reachable);
    }

    /// Resets all connections of a host now, for both sides. Returns the number of connections.
    pub fn reset_connections(&self, host: IpAddr) -> usize {
        self.network.reset_connections(host)
    }

    /// Silences all connections of a host, as [`set_silences`](SimulatedNetwork::set_silences) does. Its
    /// peers stay half open. Returns the number of connections.
    pub fn silence_connections(&self, host: IpAddr) -> usize {
        self.network.silence_connections(host)
    }

    /// Calls `observer` for every event, in order. These are the trace of a run. Replaces an earlier
    /// observer.
    ///
    /// # Re-entrancy
    ///
    /// The observer is called from the loop, and also inside calls of the program on this network and on
    /// endpoints. It may call anything.
    pub fn set_observer(&self, observer: impl Fn(&NetworkEvent) + 'static) {
        self.network.set_observer(Rc::new(observer));
    }
}

impl fmt::Debug for SimulatedNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimulatedNetwork")
    }
}

/// An event in a [`SimulatedNetwork`].
///
/// It displays as `1.5ms 192.0.2.1:49152 > 192.0.2.7:80: 17 bytes`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NetworkEvent {
    /// The time since the first use of the network.
    pub time: Duration,
    /// The source.
    pub from: Address,
    /// The destination.
    pub to: Address,
    /// The kind of event.
    pub kind: NetworkEventKind,
}

/// The kind of a [`NetworkEvent`]. Events happen at the destination unless stated otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetworkEventKind {
    /// A connection was requested. Happens at the source.
    Connecting,
    /// The connection arrived and waits to be accepted.
    Arrived,
    /// The confirmation of the connection arrived.
    Connected,
    /// The refusal of the connection arrived: the address has no listener.
    Refused,
    /// This number of bytes arrived.
    Data(usize),
    /// A datagram of this number of bytes arrived.
    Datagram(usize),
    /// A datagram of this number of bytes was lost on its way, or because no socket received it.
    Lost(usize),
    /// The end of the stream arrived.
    End,
    /// A reset arrived.
    Reset,
    /// Something is held up by a partition, or lost in a silence.
    Held,
}

impl fmt::Display for NetworkEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} > {}: {}", self.time, self.from, self.to, self.kind)
    }
}

impl fmt::Display for NetworkEventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
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
