//! The loop: it waits for what comes from outside, and fires [Deferreds](twistor_deferred) with it.
//!
//! A [`Reactor`] runs calls when their time has come, calls handlers when their sources are ready, and takes calls and
//! results from other threads. It is a value, bound to one thread, without globals. Everything that runs in it reaches
//! it through a cheap [`Handle`] that owns nothing.
//!
//! ```
//! use std::time::Duration;
//! use twistor_reactor::Reactor;
//!
//! let reactor = Reactor::new()?;
//! let answer = reactor.defer_to_thread(|| Ok(6 * 7));
//! let answer = reactor.run_until(answer.add_callback(|n| Ok(n.to_string())))?;
//! assert_eq!(answer, "42");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # In a loop of another's
//!
//! A program that has a loop already, as games and GUIs have, carries the reactor in it:
//!
//! - it sleeps no longer than until [`next_deadline`](Handle::next_deadline), and no longer than the reactor's
//!   [descriptor](Reactor#impl-AsFd-for-Reactor) is not readable;
//! - then it takes a [`turn`](Reactor::turn) that does not wait, or [`turns`](Reactor::turns) for as long as it likes;
//! - if code of its own uses the reactor between turns, a [hook](Builder::host_hook) ends its sleep when that calls for
//!   a turn sooner.
//!
//! A host that cannot watch a descriptor has a [watcher](Builder::watcher) call that hook when a source is ready.
//!
//! The examples `embed_poll` and `embed_game` are such programs, and `benches/hosts/glib` is one in GLib's main loop.
//!
//! # From here
//!
//! - Time: [`Handle::call_later`], [`defer_later`], [`LoopingCall`], [`AddTimeout`]; [`ManualClock`] for tests.
//! - Much to do: [`Cooperator`] shares the loop, [`Handle::defer_to_thread`] leaves it, [`Remote`] comes back to it.
//! - Descriptors: [`Handle::add_source`], or `Handle::readable` and `writable` as Deferreds; `Handle::lines`.
//! - Futures: [`Handle::spawn`], [`Handle::sleep`], [`yield_now`]. Programs: `Handle::spawn_process`. Signals: `Handle::on_signal`.
//! - Start and end: [`Handle::call_when_running`], [`Handle::on_shutdown`].
//! - A run that is the same for the same seed: [`Reactor::simulated`].
//! - All that is promised, numbered: [`behaviour`].
//!
//! # Features
//!
//! All on by default: `precise-timers` (to tens of microseconds on Linux, instead of to the millisecond), `process`
//! (child processes), `signals` (Ctrl-C and SIGTERM stop a run, and callbacks for signals) and `simulation`
//! ([`Reactor::simulated`]).

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
mod handle;
mod lifecycle;
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
mod watch;
mod watched;
#[cfg(unix)]
mod watcher;
mod yield_now;

pub use call_site::CallSite;
pub use clock::Clock;
pub use cooperator::{CooperativeTask, Cooperator, SchedulerStopped, TaskError, TaskFailed, TaskStopped};
pub use delayed_call::{DelayedCall, NotPending};
pub use delays::{AddTimeout, TimedOut, defer_later};
pub use handle::Handle;
pub use lifecycle::{Phase, PhaseTrigger};
#[cfg(unix)]
pub use lines::LineReader;
pub use looping_call::{AlreadyLooping, LoopingCall};
pub use manual_clock::ManualClock;
pub use mio::{self, Interest};
#[cfg(all(unix, not(target_os = "openbsd"), feature = "process"))]
pub use process::{ExitStatusLost, Process, ProcessBuilder};
pub use reactor::{Builder, NotRunning, Reactor, RunError, Stopped};
pub use ready::{EventHandler, Progress, Ready};
pub use registration::{Registration, SourceWaker};
pub use remote::{ReactorGone, Remote};
pub use remote_result::{RemoteResult, RemoteTrigger};
pub use scheduled_call::ScheduledCall;
pub use shared_iterator::SharedIterator;
#[cfg(all(unix, feature = "signals"))]
pub use signals::{SignalCallback, signal};
pub use simulation::Simulation;
pub use sleep::Sleep;
pub use stats::Stats;
pub use watch::Watch;
pub use watched::{Watched, WatchedKind};
pub use yield_now::{YieldNow, yield_now};

/// The README's program is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
