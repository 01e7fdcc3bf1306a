//! Recordings of a reactor: the work of its loop, turn by turn, in pictures and text. With the cargo feature `trace`.
//!
//! [`Handle::record`](crate::Handle::record) starts a [`Recording`], which keeps the last events in bounded memory.
//! It has these views:
//!
//! - displayed, it is text with a line for each event;
//! - [`ladders`](Recording::ladders): the path of each Deferred's result, as text and as a picture;
//! - [`timeline`](Recording::timeline): the turns as a picture, with a bar for each callback;
//! - [`page`](Recording::page): one HTML file that plays the recording, step by step;
//! - [`chrome_trace`](Recording::chrome_trace): JSON for Perfetto and `chrome://tracing`;
//! - [`write_views`](Recording::write_views): all of them, as files.
//!
//! ```
//! use std::time::Duration;
//! use twistor::prelude::*;
//!
//! let reactor = Reactor::new()?;
//! let recording = reactor.record();
//! let greeting = defer_later(&reactor, Duration::from_millis(1), || println!("good morning"));
//! reactor.run_until(greeting.named("greeting"))?;
//! println!("{recording}");
//! # let folder = std::env::temp_dir();
//! std::fs::write(folder.join("greeting.html"), recording.page("greeting"))?;
//! # Ok::<(), Failure>(())
//! ```
//!
//! # Without changing the program
//!
//! If the environment variable `TWISTOR_RECORD` names a folder, every reactor that
//! [`Reactor::new`](crate::Reactor::new) or a [`Builder`](crate::Builder) creates is recorded, and writes its views
//! there when it is dropped. The folder of an earlier run is not overwritten: the next reactor writes to
//! `reactor-2` in it, and so on.
//!
//! ```console
//! TWISTOR_RECORD=out cargo run --features trace --example fetch_pages
//! ```

mod chrome;
mod entry;
mod files;
mod json;
mod page;
mod recording;
mod runs;
mod text;
mod timeline;

pub use crate::recorder::CallbackKind;
pub use entry::{ConnectionEvent, Entry, Happening};
pub(crate) use files::RecordedByEnvironment;
pub(crate) use recording::Log;
pub use recording::Recording;
#[doc(no_inline)]
pub use twistor_deferred::trace::{Event, Ladder, Moment, live};
