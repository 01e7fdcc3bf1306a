//! Rate limits in bytes per second.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use twistor_reactor::Handle;

/// A limit in bytes per second, for one connection or shared by several. Twisted: `ThrottlingFactory`.
///
/// Pass it to [`Transport::limit_reading`](crate::Transport::limit_reading) or
/// [`Transport::limit_writing`](crate::Transport::limit_writing), usually in `connection_made`. Clones share
/// one allowance. Unused bytes are kept for a tenth of a second, as a burst.
///
/// # Examples
///
/// ```
/// use twistor::net::RateLimit;
/// use twistor::prelude::*;
///
/// struct Upload(RateLimit);
///
/// impl Protocol for Upload {
///     fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
///         transport.limit_reading(&self.0);
///         Ok(())
///     }
///
///     fn data_received(&mut self, _: &Transport, data: &[u8]) -> Result<(), Failure> {
///         println!("{} bytes", data.len());
///         Ok(())
///     }
/// }
///
/// let reactor = Reactor::new()?;
/// let limit = RateLimit::new(&reactor, 1_000_000);
/// ServerEndpoint::tcp("127.0.0.1:0".parse()?).listen(&reactor, move |_peer| Upload(limit.clone()))?;
/// # Ok::<(), Failure>(())
/// ```
#[derive(Clone)]
pub struct RateLimit {
    budget: Rc<dyn Allowance>,
}

/// The budget of a limit. A trait object, so that a program without limits does not contain its code.
trait Allowance {
    fn handle(&self) -> &Handle;
    fn rate(&self) -> f64;
    fn allowance(&self) -> usize;
    fn spend(&self, bytes: usize);
    fn wait(&self) -> Duration;
}

struct Budget {
    handle: Handle,
    rate: f64,
    /// The largest number of bytes that may be used at once.
    burst: f64,
    /// The number of bytes that could be used at the time `at`. Negative after an overdraft: a whole read
    /// counts.
    balance: Cell<f64>,
    at: Cell<Instant>,
}

impl RateLimit {
    /// Creates a limit of `bytes_per_second`. 0 counts as 1.
    pub fn new(handle: &Handle, bytes_per_second: u64) -> RateLimit {
        let rate = bytes_per_second.max(1) as f64;
        let burst = (rate / 10.0).max(1.0);
        let (balance, at) = (Cell::new(burst), Cell::new(handle.now()));
        RateLimit { budget: Rc::new(Budget { handle: handle.clone(), rate, burst, balance, at }) }
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.budget.handle()
    }

    /// Returns the number of bytes that may be used now.
    pub(crate) fn allowance(&self) -> usize {
        self.budget.allowance()
    }

    pub(crate) fn spend(&self, bytes: usize) {
        self.budget.spend(bytes);
    }

    /// Returns the time until half a burst is available again. A shorter wait would cost a turn for a few
    /// bytes.
    pub(crate) fn wait(&self) -> Duration {
        self.budget.wait()
    }
}

impl Allowance for Budget {
    fn handle(&self) -> &Handle {
        &self.handle
    }

    fn rate(&self) -> f64 {
        self.rate
    }

    fn allowance(&self) -> usize {
        let now = self.handle.now();
        let earned = now.saturating_duration_since(self.at.replace(now)).as_secs_f64() * self.rate;
        self.balance.set((self.balance.get() + earned).min(self.burst));
        self.balance.get().max(0.0) as usize
    }

    fn spend(&self, bytes: usize) {
        self.balance.set(self.balance.get() - bytes as f64);
    }

    fn wait(&self) -> Duration {
        let missing = (self.burst / 2.0).max(1.0) - self.balance.get();
        Duration::from_secs_f64((missing.max(0.0) / self.rate).min(1e9))
    }
}

impl fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RateLimit({} bytes/s)", self.budget.rate())
    }
}
