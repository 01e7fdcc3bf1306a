//! The reactor: an event loop that waits for timers, sources and other threads, and fires
//! [Deferreds](twistor_deferred).
//!
//! A [`Reactor`] runs calls at their deadlines, calls handlers when their sources are ready, and accepts calls and
//! results from other threads. It is a value, bound to one thread, without globals. Everything that runs in it
//! reaches it through a [`Handle`], which is cheap to clone and owns nothing.
//!
//! ```
//! use twistor::prelude::*;
//!
//! let reactor = Reactor::new()?;
//! let answer = reactor.defer_to_thread(|| Ok(6 * 7));
//! let answer = reactor.run_until(answer.add_callback(|n| Ok(n.to_string())))?;
//! assert_eq!(answer, "42");
//! # Ok::<(), Failure>(())
//! ```
//!
//! # Embedding in another loop
//!
//! A program that already has a loop, such as a game or a GUI, runs the reactor inside it. Such a host
//!
//! - sleeps until [`next_deadline`](Handle::next_deadline) or until the reactor's
//!   [descriptor](Reactor#impl-AsFd-for-Reactor) is readable, whichever comes first;
//! - then takes a [`turn`](Reactor::turn) that does not wait, or [`turns`](Reactor::turns) for as long as it likes;
//! - if its own code uses the reactor between turns, sets a [hook](Builder::host_hook), which ends the sleep when
//!   that code makes a turn necessary sooner.
//!
//! For a host that cannot watch a descriptor, a [watcher](Builder::watcher) calls that hook when a source is ready.
//!
//! The examples `embed_poll` and `embed_game` are such programs, and `benches/hosts/glib` embeds the reactor in
//! GLib's main loop.
//!
//! # Overview
//!
//! - Time: [`Handle::call_later`], [`defer_later`], [`LoopingCall`], [`AddTimeout`]; [`ManualClock`] for tests.
//! - Long work: [`Cooperator`] runs it in steps, [`Handle::defer_to_thread`] on a thread; a [`Remote`] calls back
//!   from threads.
//! - Descriptors: [`Handle::add_source`]; `Handle::readable` and `writable` return Deferreds; `Handle::lines` reads
//!   text.
//! - Futures: [`Handle::spawn`], [`Handle::sleep`], [`yield_now`]. Programs: `Handle::spawn_process`. Signals:
//!   `Handle::on_signal`.
//! - Startup and shutdown: [`Handle::call_when_running`], [`Handle::on_shutdown`].
//! - Runs that are reproducible from a seed: [`Reactor::simulated`].
//! - All promises, numbered: [`behaviour`].
//!
//! # Features
//!
//! On by default: `precise-timers` (timers accurate to tens of microseconds on Linux, instead of a
//! millisecond), `process` (child processes), `signals` (Ctrl-C and SIGTERM stop a run; callbacks for signals) and
//! `simulation` ([`Reactor::simulated`]). Off by default: `pty` (child processes that have a terminal) and
//! `pass-descriptors` (child processes that inherit descriptors).

// Badges with the feature that an item needs, on docs.rs.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), deny(clippy::disallowed_types, clippy::disallowed_methods))]

#[doc = include_str!("../BEHAVIOUR.md")]
pub mod behaviour {}

mod call_site;
mod clock;
mod cooperator;
mod core;
mod delayed_call;
mod delays;
#[cfg(unix)]
mod descriptor;
mod driver;
mod errors;
mod handle;
mod lifecycle;
#[cfg(unix)]
mod line_buffer;
#[cfg(unix)]
mod lines;
mod looping_call;
mod mailbox;
mod manual_clock;
mod memory;
mod oneshot;
#[cfg(all(unix, not(target_os = "openbsd"), feature = "process"))]
mod process;
mod reactor;
#[cfg(unix)]
mod readable;
mod ready;
mod recorder;
mod registration;
mod remote;
mod remote_result;
mod scheduled_call;
mod shared_iterator;
#[cfg(all(unix, feature = "signals"))]
mod signals;
mod simulation;
mod sleep;
mod sources;
mod stats;
mod tasks;
mod threads;
mod time;
mod timers;
#[cfg(feature = "trace")]
pub mod trace;
mod watch;
mod watched;
#[cfg(unix)]
mod watcher;
mod yield_now;

// Errors without data, such as `NotPending`, are exhaustive unit structs, as in std: callers compare with them. Errors
// with data have private fields, and so can grow. Enums are non-exhaustive unless a comment says why they are not.
pub use call_site::CallSite;
pub use clock::Clock;
pub use cooperator::{CooperativeTask, Cooperator, SchedulerStopped, TaskError, TaskFailed, TaskStopped};
pub use delayed_call::{DelayedCall, NotPending};
pub use delays::{AddTimeout, TimedOut, defer_later};
pub use errors::{NotRunning, ReactorGone, RunError, Stopped};
pub use handle::Handle;
pub use lifecycle::{Phase, PhaseTrigger};
#[cfg(unix)]
pub use lines::LineReader;
pub use looping_call::{AlreadyLooping, LoopingCall};
pub use manual_clock::ManualClock;
pub use mio::{self, Interest};
#[cfg(all(unix, not(target_os = "openbsd"), feature = "process"))]
pub use process::{ExitStatusLost, Process, ProcessBuilder};
pub use reactor::{Builder, Reactor};
pub use ready::{EventHandler, Progress, Ready};
pub use registration::{Registration, SourceWaker};
pub use remote::Remote;
pub use remote_result::{RemoteResult, RemoteTrigger};
pub use scheduled_call::ScheduledCall;
pub use shared_iterator::SharedIterator;
#[cfg(all(unix, feature = "signals"))]
pub use signals::{SignalCallback, signal};
pub use simulation::Simulation;
pub use sleep::Sleep;
pub use stats::{Slow, Stats};
pub use watch::Watch;
pub use watched::{Watched, WatchedKind};
pub use yield_now::{YieldNow, yield_now};

/// Compiles the README's program as a doc test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
