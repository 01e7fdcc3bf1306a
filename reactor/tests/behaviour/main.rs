//! The reactor's promises. Comments name their numbers in BEHAVIOUR.md.

#![allow(clippy::unwrap_used)]

mod cooperator;
mod delays;
#[cfg(unix)]
mod embedding;
mod futures;
mod lifecycle;
#[cfg(unix)]
mod lines;
mod looping_call;
mod manual_clock;
#[cfg(all(unix, feature = "process"))]
mod processes;
#[cfg(feature = "trace")]
mod recording;
mod remote_results;
#[cfg(unix)]
mod second_run;
// Their sources are pipes, which mio has on Unix only.
#[cfg(unix)]
mod sources;
mod support;
#[cfg(unix)]
mod teardown;
mod threads;
mod time;
mod timer_model;
mod turns;
#[cfg(unix)]
mod watch;
mod watched;
#[cfg(unix)]
mod watcher;
