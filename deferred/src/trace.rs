//! Seeing what happens: the path that a result took, and the Deferreds that have not fired.
//!
//! Only with the cargo feature `trace`. Without it nothing is recorded, at no cost.
//!
//! [`Deferred::path`](crate::Deferred::path) shows, as text or as a picture, which stages a result went through. [`live`]
//! lists the Deferreds that a hanging program waits for. [`observe`] passes every event to an [`Observer`], such as the
//! recording of a reactor.
//!
#![cfg_attr(feature = "trace", doc = "```")]
#![cfg_attr(not(feature = "trace"), doc = "```ignore")]
//! use twistor::deferred::trace;
//! use twistor::prelude::*;
//!
//! let (deferred, trigger) = Deferred::<String>::new();
//! let deferred = deferred
//!     .named("input")
//!     .add_callback(|text| Ok(text.parse::<u64>()?))
//!     .named("parse")
//!     .add_errback(|_| Ok(0))
//!     .named("default")
//!     .shown();
//! println!("{}", trace::live()); // input, made here, waits for its trigger
//! let path = deferred.path();
//! trigger.callback("forty-two".to_owned());
//! println!("{path}"); // parse failed, default returned 0
//! # let dir = std::env::temp_dir();
//! std::fs::write(dir.join("path.svg"), path.svg())?;
//! # Ok::<(), std::io::Error>(())
//! ```

#[cfg(feature = "trace")]
use crate::failure::Settled;

#[cfg(feature = "trace")]
mod event;
#[cfg(feature = "trace")]
mod ladder;
#[cfg(feature = "trace")]
mod live;
#[cfg(feature = "trace")]
mod observer;
#[cfg(not(feature = "trace"))]
mod off;
#[cfg(feature = "trace")]
#[doc(hidden)]
pub mod paint;
#[cfg(feature = "trace")]
mod path;
#[cfg(feature = "trace")]
mod record;
#[cfg(feature = "trace")]
mod registry;
#[cfg(feature = "trace")]
mod svg;

#[cfg(feature = "trace")]
pub use event::{Came, Event, Moment, Side, StageKind, What};
#[cfg(feature = "trace")]
pub use ladder::{Ladder, Ladders};
#[cfg(feature = "trace")]
pub use live::{Live, Unfired, Waiting, live};
#[cfg(feature = "trace")]
pub use observer::{Observation, Observer, observe};
#[cfg(not(feature = "trace"))]
pub(crate) use off::{StageTrack, Track};
#[cfg(feature = "trace")]
pub use path::Path;
#[cfg(feature = "trace")]
pub(crate) use record::{StageTrack, Track};

/// Returns the number that this thread's next Deferred will have.
#[cfg(feature = "trace")]
pub fn next_id() -> u64 {
    registry::next_id()
}

/// The functions of a stage.
#[cfg(not(feature = "trace"))]
#[derive(Clone, Copy)]
pub(crate) enum StageKind {
    Callback,
    Errback,
    Callbacks,
    Both,
}

/// The state of a Deferred, as records look at it.
pub(crate) trait TracedState<T> {
    /// Returns the result of a Deferred whose chain is gone.
    #[cfg(feature = "trace")]
    fn fired(&self) -> Option<&Settled<T>>;

    /// Looks at the result, if it has arrived.
    #[cfg(feature = "trace")]
    fn look_at_result(&self, look: impl FnOnce(&Settled<T>));
}
