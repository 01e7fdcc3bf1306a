//! Giving up on a Deferred.

use std::fmt;
use std::rc::Weak;

use crate::origin::{self, Origin};

/// Cancels a Deferred whose handle was given away; made by [`Deferred::canceller`](crate::Deferred::canceller).
///
/// It owns nothing, and may be cloned and kept as long as one likes.
///
/// ```
/// use twistor_deferred::{Cancelled, Deferred};
///
/// let (deferred, _trigger) = Deferred::<u64>::new();
/// let canceller = deferred.canceller();
/// let n = deferred.add_errback(|failure| failure.trap::<Cancelled>().map(|_| 0));
/// canceller.cancel();
/// assert!(matches!(n.try_result(), Ok(Ok(0))));
/// ```
#[derive(Clone)]
pub struct Canceller {
    origin: Option<Weak<dyn Origin>>,
}

impl Canceller {
    pub(crate) fn new(origin: Weak<dyn Origin>) -> Canceller {
        Canceller { origin: Some(origin) }
    }

    pub(crate) fn none() -> Canceller {
        Canceller { origin: None }
    }

    /// Cancels the Deferred as [`Deferred::cancel`](crate::Deferred::cancel) does: nothing happens once it
    /// has its result, or when it is gone.
    pub fn cancel(&self) {
        if let Some(origin) = self.origin.as_ref().and_then(Weak::upgrade) {
            origin::cancel(origin);
        }
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let alive = self.origin.as_ref().is_some_and(|origin| origin.strong_count() > 0);
        f.write_str(if alive { "Canceller" } else { "Canceller(of nothing)" })
    }
}

/// The error of a Deferred that was cancelled. Twisted's `CancelledError`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cancelled")
    }
}

impl std::error::Error for Cancelled {}
