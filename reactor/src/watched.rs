//! A list of everything that a reactor waits for.

use std::fmt;
use std::time::Instant;

use crate::{CallSite, Handle};

/// Something that a reactor waits for, as listed by [`Handle::watched`].
///
/// Displayed as `timer: the callback added at src/main.rs:7:13`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Watched {
    /// The kind of thing that the reactor waits for.
    pub kind: WatchedKind,
    /// The user's code that set it up.
    pub call_site: CallSite,
    /// The deadline of a timer.
    pub due: Option<Instant>,
}

/// The kinds of things that a reactor waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum WatchedKind {
    /// A source: a socket, a pipe, another descriptor, a handler without one, or a callback for a signal.
    Source,
    /// A delayed call.
    Timer,
    /// An unfinished task.
    Task,
    /// Unfinished work on a thread.
    Job,
}

impl fmt::Display for WatchedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WatchedKind::Source => "source",
            WatchedKind::Timer => "timer",
            WatchedKind::Task => "task",
            WatchedKind::Job => "job",
        })
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.call_site)
    }
}

impl Handle {
    /// Lists everything that the reactor waits for, to find out why a program does not end, or to test that nothing
    /// is left. The reactor's own handling of Ctrl-C and SIGTERM is not listed. Twisted: `getReaders`,
    /// `getWriters`, `getDelayedCalls`.
    ///
    /// The cost grows with the number of things. The list is empty after the reactor is gone.
    ///
    /// ```
    /// use std::time::Duration;
    /// use twistor::prelude::*;
    /// use twistor::reactor::WatchedKind;
    ///
    /// let reactor = Reactor::new()?;
    /// reactor.call_later(Duration::from_secs(60), || println!("a minute has passed"));
    /// let watched = reactor.watched();
    /// assert!(watched.len() == 1 && watched[0].kind == WatchedKind::Timer);
    /// println!("{}", watched[0]); // timer: the callback added at src/main.rs:6:9
    /// # Ok::<(), Failure>(())
    /// ```
    ///
    /// # Ordering
    ///
    /// Sources come first, then timers, tasks and jobs. Sources are in no particular order, timers in the order in
    /// which they are due, tasks and jobs in the order in which they were started. On a simulated reactor, the
    /// order depends only on the seed.
    pub fn watched(&self) -> Vec<Watched> {
        let Some(core) = self.core() else { return Vec::new() };
        // Nothing may stay borrowed while the user's `call_site` runs.
        #[allow(unused_mut, reason = "not needed without signals")]
        let mut handlers = core.sources.borrow().handlers();
        #[cfg(all(unix, feature = "signals"))]
        let signals = core.signals.callbacks_instead(&mut handlers);
        #[cfg(not(all(unix, feature = "signals")))]
        let signals: [&'static std::panic::Location<'static>; 0] = [];
        let sources = handlers.iter().map(|handler| handler.call_site());
        let sources = sources.chain(signals.into_iter().map(CallSite::from));
        let sources = sources.map(|call_site| (WatchedKind::Source, call_site, None));
        let timers = core.timers.places().into_iter();
        let timers = timers.map(|(due, place)| (WatchedKind::Timer, place.into(), Some(due)));
        let tasks = core.tasks.places().into_iter().map(|place| (WatchedKind::Task, place.into(), None));
        let jobs = core.threads.get().map_or_else(Vec::new, |threads| threads.places());
        let jobs = jobs.into_iter().map(|place| (WatchedKind::Job, place.into(), None));
        let all = sources.chain(timers).chain(tasks).chain(jobs);
        all.map(|(kind, call_site, due)| Watched { kind, call_site, due }).collect()
    }
}
