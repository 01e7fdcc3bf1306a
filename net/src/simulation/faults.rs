//! Faults that a simulated network can have, and how often each occurred.

use std::cell::Cell;
use std::fmt;

use super::SimulatedNetwork;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Fault {
    /// A connection was reset.
    Reset,
    /// A connection fell silent.
    Silence,
    /// A host crashed, and restarted later.
    Crash,
    /// Two hosts were cut off from each other.
    Partition,
    /// A datagram was lost.
    LostDatagram,
    /// A datagram arrived twice.
    RepeatedDatagram,
    /// A name server took seconds to answer.
    SlowName,
    /// No file descriptor was left for a socket.
    NoDescriptor,
    /// The operating system had no memory for a message.
    NoMemory,
}

impl Fault {
    const ALL: [Fault; 9] = [
        Fault::Reset,
        Fault::Silence,
        Fault::Crash,
        Fault::Partition,
        Fault::LostDatagram,
        Fault::RepeatedDatagram,
        Fault::SlowName,
        Fault::NoDescriptor,
        Fault::NoMemory,
    ];
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Reset => "reset",
            Fault::Silence => "silence",
            Fault::Crash => "crash",
            Fault::Partition => "partition",
            Fault::LostDatagram => "lost datagram",
            Fault::RepeatedDatagram => "repeated datagram",
            Fault::SlowName => "slow name",
            Fault::NoDescriptor => "missing descriptor",
            Fault::NoMemory => "lack of memory",
        })
    }
}

/// How often each fault occurred. Prints as `3 resets, 1 silence`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts([Cell<u64>; Fault::ALL.len()]);

impl FaultCounts {
    /// Returns how often a fault occurred.
    pub fn get(&self, fault: Fault) -> u64 {
        self.0[fault as usize].get()
    }

    pub(super) fn count(&self, fault: Fault) {
        let count = &self.0[fault as usize];
        count.set(count.get() + 1);
    }

    pub(super) fn add(&self, other: &FaultCounts) {
        for (count, more) in self.0.iter().zip(&other.0) {
            count.set(count.get() + more.get());
        }
    }
}

impl fmt::Display for FaultCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut occurred = Fault::ALL.iter().filter(|fault| self.get(**fault) > 0).peekable();
        if occurred.peek().is_none() {
            return f.write_str("no faults");
        }
        for (index, fault) in occurred.enumerate() {
            let count = self.get(*fault);
            let (comma, plural) = (if index > 0 { ", " } else { "" }, if count == 1 { "" } else { "s" });
            match fault {
                Fault::Crash if count > 1 => write!(f, "{comma}{count} crashes")?,
                Fault::NoMemory if count > 1 => write!(f, "{comma}{count} lacks of memory")?,
                fault => write!(f, "{comma}{count} {fault}{plural}")?,
            }
        }
        Ok(())
    }
}

/// Requests faults in the network of a [`World`](super::World). Each probability is between 0 and 1; without a request, a
/// fault does not occur.
///
/// ```
/// twistor::net::simulation::explore(0..10, |world| {
///     world.faults().resets(0.2).silences(0.1).slow_names(0.1);
/// });
/// ```
#[derive(Clone, Debug)]
#[must_use = "it requests nothing until a method is called"]
pub struct Faults(pub(super) SimulatedNetwork);

#[allow(clippy::must_use_candidate, reason = "each call takes effect")]
impl Faults {
    /// Requests every kind of fault with a small probability: resets and partitions for one connection in ten; silences and
    /// crashes for one in 20; one name lookup in 20 is slow; one datagram in 20 is lost and one in 50 arrives twice;
    /// descriptors are missing for one socket in 50; one message in 100 finds no memory.
    pub fn all(&self) -> &Faults {
        self.resets(0.1).silences(0.05).partitions(0.1).datagrams(0.05, 0.02).slow_names(0.05);
        self.missing_descriptors(0.02).send_failures(0.01).crashes(0.05)
    }

    /// Sets the probability that a connection is reset within its first second, as
    /// [`SimulatedNetwork::set_resets`] does.
    pub fn resets(&self, probability: f64) -> &Faults {
        self.0.set_resets(probability);
        self
    }

    /// Sets the probability that a connection falls silent within its first second, as
    /// [`SimulatedNetwork::set_silences`] does.
    pub fn silences(&self, probability: f64) -> &Faults {
        self.0.set_silences(probability);
        self
    }

    /// Sets the probability that the hosts of a connection are cut off from each other for a while, as
    /// [`SimulatedNetwork::set_partitions`] does.
    pub fn partitions(&self, probability: f64) -> &Faults {
        self.0.set_partitions(probability);
        self
    }

    /// Sets the probability that the [host](super::World::host) of a connection [crashes](super::SimulatedHost::crash)
    /// within the connection's first second, and restarts within a minute. It is the host of the listener if that is one,
    /// and else of the client.
    pub fn crashes(&self, probability: f64) -> &Faults {
        self.0.network.configure(|rules| rules.crashes = probability);
        self
    }

    /// Sets the probabilities that a datagram is lost or arrives twice.
    pub fn datagrams(&self, lost: f64, repeated: f64) -> &Faults {
        self.0.set_datagram_faults(lost, repeated);
        self
    }

    /// Sets the probability that a name lookup takes 1 to 20 seconds.
    pub fn slow_names(&self, probability: f64) -> &Faults {
        self.0.set_slow_names(probability);
        self
    }

    /// Sets the probability that a socket cannot be opened or accepted because no file descriptor is left.
    pub fn missing_descriptors(&self, probability: f64) -> &Faults {
        self.0.set_descriptor_failures(probability);
        self
    }

    /// Sets the probability that the operating system has no memory for a message.
    pub fn send_failures(&self, probability: f64) -> &Faults {
        self.0.set_send_failures(probability);
        self
    }
}
