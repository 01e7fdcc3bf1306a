//! Listing what a reactor waits for.

use std::fmt;
use std::time::Instant;

use crate::{CallSite, Handle};

/// Something that a reactor waits for, as listed by [`Handle::watched`].
///
/// Prints as `timer: the callback added at src/main.rs:7:13`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Watched {
    /// The kind of thing.
    pub kind: WatchedKind,
    /// The user's code that it was set up by.
    pub call_site: CallSite,
    /// When a timer is due.
    pub due: Option<Instant>,
}

/// The kinds of things that a reactor waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum WatchedKind {
    /// A source: a socket, a pipe, a descriptor, a handler without one.
    Source,
    /// A delayed call.
    Timer,
    /// A task that is not done.
    Task,
    /// Work for another thread that is not done.
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
    /// Lists what the reactor waits for: to find out why a program does not end, and for tests that nothing is left.
    /// Twisted: `getReaders`, `getWriters`, `getDelayedCalls`.
    ///
    /// It looks at everything, so its cost grows with the number of things. It is empty when the reactor is gone.
    ///
    /// ```
    /// use std::time::Duration;
    /// use twistor_reactor::{Reactor, WatchedKind};
    ///
    /// let reactor = Reactor::new()?;
    /// reactor.call_later(Duration::from_secs(60), || println!("a minute has passed"));
    /// let watched = reactor.watched();
    /// assert!(watched.len() == 1 && watched[0].kind == WatchedKind::Timer);
    /// println!("{}", watched[0]); // timer: the callback added at src/main.rs:5:9
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Ordering
    ///
    /// Sources, timers, tasks, jobs: the sources in no particular order, the timers in the order in which they are due,
    /// the tasks and jobs in the order in which they were started. On a simulated reactor, the same for the same seed.
    pub fn watched(&self) -> Vec<Watched> {
        let Some(core) = self.core() else { return Vec::new() };
        // Nothing is borrowed while a handler says who it is.
        let handlers = core.sources.borrow().handlers();
        let sources = handlers.iter().map(|handler| (WatchedKind::Source, handler.call_site(), None));
        let timers = core.timers.places().into_iter();
        let timers = timers.map(|(due, place)| (WatchedKind::Timer, place.into(), Some(due)));
        let tasks = core.tasks.places().into_iter().map(|place| (WatchedKind::Task, place.into(), None));
        let jobs = core.threads.places().into_iter().map(|place| (WatchedKind::Job, place.into(), None));
        let all = sources.chain(timers).chain(tasks).chain(jobs);
        all.map(|(kind, call_site, due)| Watched { kind, call_site, due }).collect()
    }
}
