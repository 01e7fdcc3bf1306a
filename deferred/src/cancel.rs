//! Cancelling a Deferred.

use std::fmt;
use std::rc::Weak;

use crate::origin::{self, Origin};

/// Cancels a Deferred whose handle has moved elsewhere. [`Deferred::canceller`](crate::Deferred::canceller) creates it.
///
/// A `Canceller` owns nothing. It can be cloned, and kept after the Deferred is gone.
///
/// ```
/// use twistor::deferred::Cancelled;
/// use twistor::prelude::*;
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

    /// Cancels the Deferred, as [`Deferred::cancel`](crate::Deferred::cancel) does. Does nothing if the result has arrived
    /// or the Deferred is gone.
    pub fn cancel(&self) {
        if let Some(origin) = self.origin.as_ref().and_then(Weak::upgrade) {
            origin::cancel(origin);
        }
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let alive = self.origin.as_ref().is_some_and(|origin| origin.strong_count() > 0);
        f.write_str(if alive { "Canceller" } else { "Canceller(gone)" })
    }
}

/// The error of a cancelled Deferred. Twisted: `CancelledError`.
// Exhaustive, so that cancellers and tests can fail with it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cancelled")
    }
}

impl std::error::Error for Cancelled {}
