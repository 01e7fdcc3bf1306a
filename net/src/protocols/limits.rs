//! Limits on the number of connections.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;

use crate::transport::pass_on;
use crate::{Address, Factory, Protocol};

/// A factory that limits the number of open connections, in total and for each peer address. Twisted:
/// `LimitTotalConnectionsFactory`, `LimitConnectionsByPeer`.
///
/// A connection above a limit is closed at once, and logged at debug level. Connections over UNIX sockets
/// count towards the total only.
///
/// # Examples
///
/// ```
/// use twistor::net::Limited;
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
/// let reactor = Reactor::new()?;
/// let factory = Limited::new(|_peer| Echo).total(10_000).per_peer(20);
/// ServerEndpoint::tcp("127.0.0.1:0".parse()?).listen(&reactor, factory)?;
/// # Ok::<(), Failure>(())
/// ```
pub struct Limited<F> {
    factory: F,
    total: usize,
    per_peer: usize,
    counts: Rc<RefCell<Counts>>,
}

#[derive(Default)]
struct Counts {
    total: usize,
    peers: BTreeMap<IpAddr, usize>,
}

impl<F: Factory> Limited<F> {
    /// Wraps `factory`, without limits.
    pub fn new(factory: F) -> Limited<F> {
        Limited { factory, total: usize::MAX, per_peer: usize::MAX, counts: Rc::default() }
    }

    /// Sets the largest number of open connections. Default: no limit.
    #[must_use]
    pub fn total(mut self, connections: usize) -> Limited<F> {
        self.total = connections;
        self
    }

    /// Sets the largest number of open connections from one IP address. Default: no limit.
    #[must_use]
    pub fn per_peer(mut self, connections: usize) -> Limited<F> {
        self.per_peer = connections;
        self
    }

    /// # Errors
    ///
    /// The limit that is reached, and the connections that it counts.
    fn admit(&self, peer: Option<IpAddr>) -> Result<Admission, (usize, &'static str)> {
        let mut counts = self.counts.borrow_mut();
        if counts.total >= self.total {
            return Err((self.total, "in total"));
        }
        if let Some(peer) = peer {
            if counts.peers.get(&peer).is_some_and(|count| *count >= self.per_peer) || self.per_peer == 0 {
                return Err((self.per_peer, "from one address"));
            }
            *counts.peers.entry(peer).or_default() += 1;
        }
        counts.total += 1;
        Ok(Admission { counts: self.counts.clone(), peer })
    }
}

impl<F: Factory> Factory for Limited<F> {
    type Protocol = LimitedProtocol<F::Protocol>;

    fn build_protocol(&mut self, peer: Address) -> Option<Self::Protocol> {
        let admission = match self.admit(peer.ip().map(|address| address.ip())) {
            Ok(admission) => admission,
            Err((limit, counted)) => {
                log::debug!(
                    "closed a connection from {peer}: limit of {limit} connections {counted} reached"
                );
                return None;
            }
        };
        // If it returns `None` or panics, dropping the admission takes the connection out of the count.
        let protocol = self.factory.build_protocol(peer)?;
        Some(LimitedProtocol { protocol, _admission: admission })
    }
}

impl<F> fmt::Debug for Limited<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = self.counts.borrow().total;
        f.debug_struct("Limited")
            .field("open", &open)
            .field("total", &self.total)
            .field("per_peer", &self.per_peer)
            .finish_non_exhaustive()
    }
}

/// One counted connection. Dropping it makes room for another.
struct Admission {
    counts: Rc<RefCell<Counts>>,
    peer: Option<IpAddr>,
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut counts = self.counts.borrow_mut();
        counts.total -= 1;
        if let Some(peer) = self.peer {
            if let Some(count) = counts.peers.get_mut(&peer) {
                *count -= 1;
                if *count == 0 {
                    counts.peers.remove(&peer);
                }
            }
        }
    }
}

/// A protocol built by a [`Limited`] factory. It counts as open until it is dropped.
pub struct LimitedProtocol<P> {
    protocol: P,
    _admission: Admission,
}

impl<P: Protocol> Protocol for LimitedProtocol<P> {
    pass_on!(self, self.protocol => connection_made data_received reading_resumed read_connection_lost
        write_connection_lost part unread connection_lost);
}

impl<P> fmt::Debug for LimitedProtocol<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LimitedProtocol")
    }
}
