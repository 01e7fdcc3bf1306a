//! How many bytes a second.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use twistor_reactor::Handle;

/// Bytes a second, for one connection or shared by many. Twisted: `ThrottlingFactory`.
///
/// Give it to [`Transport::limit_reading`](crate::Transport::limit_reading) or
/// [`Transport::limit_writing`](crate::Transport::limit_writing), mostly in `connection_made`; clones share one
/// allowance. What was not used is kept for a tenth of a second, and may then come at once.
///
/// ```
/// use twistor_net::{Failure, Protocol, RateLimit, Transport};
///
/// struct Upload(RateLimit);
///
/// impl Protocol for Upload {
///     fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
///         transport.limit_reading(&self.0);
///         Ok(())
///     }
///
///     fn data_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
///         Ok(())
///     }
/// }
///
/// let reactor = twistor_reactor::Reactor::new()?;
/// let budget = RateLimit::new(&reactor, 1_000_000);
/// let factory = move |_peer| Upload(budget.clone());
/// # fn check(_: impl twistor_net::Factory) {}
/// # check(factory);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct RateLimit {
    budget: Rc<Budget>,
}

struct Budget {
    handle: Handle,
    rate: f64,
    /// What may be used at once, at most.
    burst: f64,
    /// What may be used at `at`; less than nothing after an overdraft.
    balance: Cell<f64>,
    at: Cell<Instant>,
}

impl RateLimit {
    /// So many bytes a second; 0 counts as 1.
    pub fn new(handle: &Handle, bytes_per_second: u64) -> RateLimit {
        let rate = bytes_per_second.max(1) as f64;
        let burst = (rate / 10.0).max(1.0);
        let (balance, at) = (Cell::new(burst), Cell::new(handle.now()));
        RateLimit { budget: Rc::new(Budget { handle: handle.clone(), rate, burst, balance, at }) }
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.budget.handle
    }

    /// How many bytes may go now.
    pub(crate) fn allowance(&self) -> usize {
        let budget = &*self.budget;
        let now = budget.handle.now();
        let earned = now.saturating_duration_since(budget.at.replace(now)).as_secs_f64() * budget.rate;
        budget.balance.set((budget.balance.get() + earned).min(budget.burst));
        budget.balance.get().max(0.0) as usize
    }

    pub(crate) fn spend(&self, bytes: usize) {
        self.budget.balance.set(self.budget.balance.get() - bytes as f64);
    }

    /// How long until there is enough again to be worth a turn.
    pub(crate) fn wait(&self) -> Duration {
        let missing = (self.budget.burst / 2.0).max(1.0) - self.budget.balance.get();
        Duration::from_secs_f64((missing.max(0.0) / self.budget.rate).min(1e9))
    }
}

impl fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RateLimit({} bytes/s)", self.budget.rate)
    }
}
