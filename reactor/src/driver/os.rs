//! The driver for the operating system, through mio.

use std::cell::{Cell, RefCell};
use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use mio::{Events, Poll, Registry, Waker};

use super::Wait;
use super::alarm::Alarm;
use super::pace::AlarmPace;
use crate::ready::Ready;
use crate::sources::SourceToken;
use crate::time::Time;

/// The maximum number of events fetched in one wait. The next turn fetches the rest.
const EVENTS: usize = 1024;
/// The tokens of the waker and the alarm, which end a wait and report nothing else. Their index belongs to no source.
const WAKER: mio::Token = mio::Token(usize::MAX);
const ALARM: mio::Token = mio::Token(usize::MAX >> 1);

#[derive(Debug)]
pub(crate) struct Os {
    /// Borrowed only during a wait, when only this crate's code runs.
    poll: RefCell<(Poll, Events, Alarm)>,
    /// The same selector, to register sources without a borrow.
    registry: Registry,
    waker: Arc<Waker>,
    /// The last wait returned as many events as fit, so there may be more. A host is not notified of those: if it
    /// watches the selector edge-triggered, as mio and tokio do, it is notified once for all events.
    more: Cell<bool>,
    pub(super) pace: AlarmPace,
}

impl Os {
    pub(crate) fn new() -> io::Result<Os> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let waker = Arc::new(Waker::new(&registry, WAKER)?);
        let alarm = Alarm::new(&registry, ALARM);
        let poll = RefCell::new((poll, Events::with_capacity(EVENTS), alarm));
        Ok(Os { poll, registry, waker, more: Cell::new(false), pace: AlarmPace::default() })
    }

    pub(crate) fn has_more(&self) -> bool {
        self.more.get()
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn waker(&self) -> Weak<Waker> {
        Arc::downgrade(&self.waker)
    }

    pub(crate) fn wait(
        &self,
        time: &Time,
        wait: Wait,
        mut found: impl FnMut(SourceToken, Ready),
    ) -> io::Result<()> {
        let (poll, events, alarm) = &mut *self.poll.borrow_mut();
        // A deadline that has passed needs no alarm. It counts as an alarm that fires now.
        let mut overdue = None;
        let timeout = match wait {
            Wait::Not => Some(Duration::ZERO),
            Wait::Until(deadline) => {
                let now = time.now();
                overdue = (deadline <= now).then_some(now);
                alarm.timeout(now, deadline)
            }
            Wait::Forever => None,
        };
        match poll.poll(events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        self.more.set(events.iter().count() >= events.capacity());
        let mut event_of_alarm = false;
        for event in events.iter() {
            match event.token() {
                WAKER => {}
                ALARM => event_of_alarm = true,
                source => found(source.into(), event.into()),
            }
        }
        if let Wait::Until(deadline) = wait {
            if let Some(time) = overdue.or_else(|| alarm.rang(deadline, event_of_alarm, events.is_empty())) {
                self.pace.rang(time);
            }
        }
        Ok(())
    }
}
