//! Typed, callback-chain Deferreds: no I/O, no clock, no loop.
//!
//! A [`Deferred<T>`] stands for a result that is not there yet. Whoever will have the result keeps the
//! [`Trigger<T>`]; whoever wants it adds callbacks, which run in order, each on what the one before it
//! returned, as soon as the trigger fires. An error travels the same chain on its other side, as a
//! [`Failure`], to the next errback.
//!
//! ```
//! use twistor_deferred::Deferred;
//!
//! let (deferred, trigger) = Deferred::<String>::new();
//! deferred
//!     .add_callback(|text| Ok(text.parse::<u64>()?))
//!     .add_errback(|failure| {
//!         println!("that is no number: {failure}");
//!         Ok(0)
//!     })
//!     .add_callback(|n| println!("twice that is {}", 2 * n));
//! trigger.callback("21".into()); // prints: twice that is 42
//! ```
//!
//! Firing is synchronous: the callbacks have run when [`Trigger::callback`] returns, and a callback
//! added to a Deferred that has fired runs before `add_callback` returns. Nothing here needs a reactor.
//!
//! # From here
//!
//! - What a callback may return, and how an error gets into the chain and out of it: [`Outcome`], [`Failure`].
//! - Several at once: [`gather_results`] for all, [`DeferredList`] for each, [`race`] for the first, [`join`] where
//!   their types differ.
//! - Waiting for one another: [`DeferredQueue`], [`DeferredLock`], [`DeferredSemaphore`], [`DeferredPool`],
//!   [`DeferredEvent`].
//! - Stopping: [`Deferred::cancel`], [`Canceller`].
//! - All that is promised, numbered: [`behaviour`].
//!
//! With the feature `trace` (off by default) the module `trace` tells which path a result took, as text and as a
//! picture, and which Deferreds have not fired yet.

#![cfg_attr(not(test), deny(clippy::disallowed_types, clippy::disallowed_methods))]

#[doc = include_str!("../BEHAVIOUR.md")]
pub mod behaviour {}

mod budget;
mod cancel;
mod chain;
mod deferred;
mod ending;
mod event;
mod failure;
mod frame;
mod future;
mod lent;
mod list;
mod origin;
mod outcome;
mod pool;
mod queue;
mod semaphore;
mod shortcuts;
mod slot;
mod stderr;
#[cfg(feature = "trace")]
pub mod trace;
#[cfg(not(feature = "trace"))]
mod trace;
mod trigger;
mod wait_list;

pub use budget::with_budget;
pub use cancel::{Cancelled, Canceller};
pub use chain::CircularWait;
pub use deferred::Deferred;
pub use ending::ending;
pub use event::DeferredEvent;
pub use failure::{Failure, Panicked};
pub use frame::{guarded, loop_turn};
pub use list::{
    DeferredList, EarlyListMode, EveryResult, FailureGroup, FirstError, FirstFailure, FirstValue, JoinTuple,
    ListMode, gather_results, join, race,
};
pub use outcome::{Outcome, OutcomeOf};
pub use pool::DeferredPool;
pub use queue::{DeferredQueue, QueueOverflow, QueueUnderflow};
pub use semaphore::{DeferredLock, DeferredSemaphore, NoSlots, Permit};
pub use shortcuts::{execute, fail, maybe_deferred, maybe_deferred_at, succeed};
pub use stderr::log_to_stderr;
pub use trigger::{Abandoned, Trigger};

/// The README's program is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
