//! Typed, callback-chain Deferreds: no I/O, no clock, no loop.
//!
//! A [`Deferred<T>`] is a result that has not arrived yet. The code that produces the result keeps the [`Trigger<T>`].
//! The code that needs the result adds callbacks, which run in order when the trigger fires. Each callback receives the
//! result of the one before it. An error becomes a [`Failure`] and goes to the next errback.
//!
//! ```
//! use twistor::prelude::*;
//!
//! let (deferred, trigger) = Deferred::<String>::new();
//! deferred
//!     .add_callback(|text| Ok(text.parse::<u64>()?))
//!     .add_errback(|failure| {
//!         println!("not a number: {failure}");
//!         Ok(0)
//!     })
//!     .add_callback(|n| println!("twice that is {}", 2 * n))
//!     .detach();
//! trigger.callback("21".into()); // prints: twice that is 42
//! ```
//!
//! Firing is synchronous: [`Trigger::callback`] returns after the callbacks have run, and a callback added to a fired
//! Deferred runs before `add_callback` returns. This crate does not need a reactor.
//!
//! # Where to go next
//!
//! - Callback results and errors: [`Outcome`], [`Failure`].
//! - Several Deferreds at once: [`gather_results`] returns all values, [`DeferredList`] each result, [`race`] the first
//!   value, and [`join`] values of different types.
//! - Synchronization: [`DeferredQueue`], [`DeferredLock`], [`DeferredSemaphore`], [`DeferredPool`], [`DeferredEvent`].
//! - Cancellation: [`Deferred::cancel`], [`Canceller`].
//! - The numbered promises of this crate: [`behaviour`].
//!
//! # Features
//!
//! - `trace` (off by default): the module `trace` shows the path of a result, as text and as a picture, and lists the
//!   Deferreds that have not fired.

// Badges with the feature that an item needs, on docs.rs.
#![cfg_attr(docsrs, feature(doc_cfg))]
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
mod late;
mod lent;
mod list;
mod number_map;
mod origin;
mod outcome;
mod pending_chain;
mod pool;
mod queue;
mod semaphore;
mod shortcuts;
mod slot;
mod stage_function;
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
pub use failure::{Abandoned, Failure, FailureError, Panicked};
pub use frame::{guarded, loop_turn};
pub use list::{
    DeferredList, EarlyListMode, EveryResult, FailureGroup, FirstError, FirstFailure, FirstValue, JoinTuple,
    ListMode, gather_results, join, race,
};
pub use outcome::{Outcome, OutcomeOf};
pub use pool::DeferredPool;
pub use queue::{DeferredQueue, QueueOverflow, QueueUnderflow};
pub use semaphore::{DeferredLock, DeferredSemaphore, NoSlots, Permit};
pub use shortcuts::{fail, maybe_deferred, maybe_deferred_at, succeed};
pub use stderr::log_to_stderr;
pub use trigger::Trigger;

/// Compiles the README's program as a doc test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
