//! Seeing what happens: the path a result took, and the Deferreds that have not fired.
//!
//! Only with the cargo feature `trace`; without it nothing is recorded, at no cost.
//!
//! [`Deferred::path`](crate::Deferred::path) tells, as text or as a picture, which stages a result went
//! through, and [`live`] what a program that hangs is waiting for.
//!
#![cfg_attr(feature = "trace", doc = "```")]
#![cfg_attr(not(feature = "trace"), doc = "```ignore")]
//! use twistor_deferred::{Deferred, trace};
//!
//! let (deferred, trigger) = Deferred::<String>::new();
//! let deferred = deferred
//!     .named("input")
//!     .add_callback(|text| Ok(text.parse::<u64>()?))
//!     .named("parse")
//!     .add_errback(|_| Ok(0))
//!     .named("default");
//! println!("{}", trace::live()); // input, made here, waits for its trigger
//! let path = deferred.path();
//! trigger.callback("forty-two".to_owned());
//! println!("{path}"); // parse failed, default put it right
//! # let dir = std::env::temp_dir();
//! std::fs::write(dir.join("path.svg"), path.svg())?;
//! # Ok::<(), std::io::Error>(())
//! ```

#[cfg(feature = "trace")]
mod live;
#[cfg(not(feature = "trace"))]
mod off;
#[cfg(feature = "trace")]
mod path;
#[cfg(feature = "trace")]
mod record;
#[cfg(feature = "trace")]
mod svg;

#[cfg(feature = "trace")]
pub use live::{Live, Unfired, Waiting, live};
#[cfg(not(feature = "trace"))]
pub(crate) use off::{StageTrack, Track};
#[cfg(feature = "trace")]
pub use path::Path;
#[cfg(feature = "trace")]
pub(crate) use record::{StageTrack, Track};

/// What a stage has functions for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum StageKind {
    Callback,
    Errback,
    Callbacks,
    Both,
}
