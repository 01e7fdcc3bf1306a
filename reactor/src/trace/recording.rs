//! The recording: the last events, in a ring.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::time::Duration;

use twistor_deferred::trace::{self, Event, Ladder, Ladders, Moment, Observer, What};

use super::{Entry, Happening};
use crate::Handle;
use crate::delayed_call::TimerQueue;

/// The number of events that a recording keeps by default.
const EVENTS: usize = 100_000;

/// A recording of a reactor's work, started by [`Handle::record`]. Dropping it ends the recording.
///
/// It keeps the last 100,000 events, and forgets those before: see [`keep`](Recording::keep). Clone it to keep it
/// in two places; the recording ends with the last clone.
#[derive(Clone)]
pub struct Recording(Rc<Running>);

struct Running {
    log: Rc<Log>,
    queue: Weak<TimerQueue>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.upgrade() {
            queue.recorder.stop(&self.log);
        }
    }
}

impl Handle {
    /// Starts a recording of the reactor's work: turns and waits, callbacks, timers, tasks, calls from threads,
    /// connections, and the events of this thread's Deferreds. With the cargo feature `trace`; see
    /// [`trace`](crate::trace).
    ///
    /// A recording of a simulated world includes its hosts, each under its address.
    ///
    /// A reactor has one recording at a time. An earlier recording receives no more events.
    ///
    /// Recording reads the clock for each event, so a recorded program is slower. On a simulated reactor callbacks
    /// take no time, and the recording depends only on the seed, byte for byte.
    pub fn record(&self) -> Recording {
        let Some(core) = self.core() else {
            return Recording(Rc::new(Running { log: Log::new(Weak::new(), 0), queue: Weak::new() }));
        };
        let queue = Rc::downgrade(&core.timers);
        let log = Log::new(queue.clone(), core.timers.time.now());
        core.timers.recorder.start(log.clone());
        Recording(Rc::new(Running { log, queue }))
    }
}

impl Recording {
    /// Sets the number of events that are kept; earlier ones are dropped. Default: 100,000.
    pub fn keep(self, events: usize) -> Recording {
        self.0.log.most.set(events.max(1));
        self.0.log.trim();
        self
    }

    /// Ends the recording. Its views remain available.
    pub fn stop(&self) {
        if let Some(queue) = self.0.queue.upgrade() {
            queue.recorder.stop(&self.0.log);
        }
    }

    /// Returns the events that are kept, in order.
    pub fn entries(&self) -> Vec<Entry> {
        self.0.log.entries.borrow().iter().cloned().collect()
    }

    /// Returns the number of events that were dropped because later ones were kept.
    pub fn forgotten(&self) -> u64 {
        self.0.log.next.get() - 1 - self.0.log.entries.borrow().len() as u64
    }

    /// Returns the ladders of the Deferreds in this recording, in the order of their creation.
    pub fn ladders(&self) -> Vec<Ladder> {
        let mut ladders = Ladders::default();
        for entry in self.0.log.entries.borrow().iter() {
            if let Happening::Deferred(event) = &entry.what {
                ladders.apply(event, entry.at);
            }
        }
        ladders.into_vec()
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording")
            .field("events", &self.0.log.entries.borrow().len())
            .field("forgotten", &self.forgotten())
            .finish_non_exhaustive()
    }
}

/// The ring of events. No user code runs while it is borrowed.
pub(crate) struct Log {
    entries: RefCell<VecDeque<Entry>>,
    most: Cell<usize>,
    /// The number of the next event.
    next: Cell<u64>,
    queue: Weak<TimerQueue>,
    /// The time at which the recording began, by the reactor's clock.
    start: u64,
    /// The time of the last event.
    last: Cell<u64>,
    /// The first number that a Deferred of this recording may have, less one: another run in this thread counts on.
    deferreds: u64,
    /// The simulated host that takes a turn.
    host: Cell<Option<IpAddr>>,
}

impl Log {
    fn new(queue: Weak<TimerQueue>, start: u64) -> Rc<Log> {
        Rc::new(Log {
            entries: RefCell::default(),
            most: Cell::new(EVENTS),
            next: Cell::new(1),
            queue,
            start,
            last: Cell::new(0),
            deferreds: trace::next_id() - 1,
            host: Cell::new(None),
        })
    }

    fn now(&self) -> Moment {
        if let Some(queue) = self.queue.upgrade() {
            self.last.set(queue.time.now().saturating_sub(self.start));
        }
        Moment { time: Duration::from_nanos(self.last.get()), step: self.next.get() }
    }

    pub(crate) fn add(&self, host: Option<IpAddr>, what: Happening) {
        match what {
            Happening::TurnBegan { .. } => self.host.set(host),
            Happening::TurnEnded => self.host.set(None),
            _ => {}
        }
        let since_start = |due: u64| if due == u64::MAX { due } else { due.saturating_sub(self.start) };
        let what = match what {
            Happening::TimerSet { timer, due, place } => {
                Happening::TimerSet { timer, due: since_start(due), place }
            }
            Happening::TimerMoved { timer, due } => Happening::TimerMoved { timer, due: since_start(due) },
            what => what,
        };
        self.push(self.now(), host, what);
    }

    fn push(&self, at: Moment, host: Option<IpAddr>, what: Happening) {
        self.next.set(at.step + 1);
        self.entries.borrow_mut().push_back(Entry { at, host, what });
        self.trim();
    }

    fn trim(&self) {
        let mut entries = self.entries.borrow_mut();
        while entries.len() > self.most.get() {
            entries.pop_front();
        }
    }

    /// The number in this recording of a Deferred; `None` for one that was made before.
    fn number(&self, id: u64) -> Option<u64> {
        id.checked_sub(self.deferreds).filter(|number| *number > 0)
    }
}

impl Observer for Log {
    fn observe(&self, event: &Event) -> Moment {
        let at = self.now();
        let Some(id) = self.number(event.id) else { return at };
        let what = match &event.what {
            What::Waits { stage, on } => What::Waits { stage: *stage, on: self.number(*on).unwrap_or(0) },
            What::Gathers { members, count } => {
                let members = members.iter().map(|member| self.number(*member).unwrap_or(0)).collect();
                What::Gathers { members, count: *count }
            }
            what => what.clone(),
        };
        self.push(at, self.host.get(), Happening::Deferred(Event { id, what }));
        at
    }
}
