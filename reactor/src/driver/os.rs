//! The operating system, through mio.

use std::cell::{Cell, RefCell};
use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use mio::{Events, Poll, Registry, Waker};

use super::Wait;
use super::alarm::Alarm;
use crate::ready::Ready;
use crate::sources::Token;
use crate::time::Time;

/// Events taken from the system at once. What does not fit is fetched in the next turn.
const EVENTS: usize = 1024;
/// The waker's and the alarm's token, which names no source: they are there to end a wait, and tell nothing else.
const NO_SOURCE: mio::Token = mio::Token(usize::MAX);

#[derive(Debug)]
pub(crate) struct Os {
    /// Borrowed only while waiting, when no code but ours runs.
    poll: RefCell<(Poll, Events, Alarm)>,
    /// The same selector, for registering without a borrow.
    registry: Registry,
    waker: Arc<Waker>,
    /// The last wait was given as many events as fit, so there may be more. A host does not hear of those: one that
    /// watches the selector edge-triggered, as mio and tokio do, is told once of all.
    more: Cell<bool>,
}

impl Os {
    pub(crate) fn new() -> io::Result<Os> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let waker = Arc::new(Waker::new(&registry, NO_SOURCE)?);
        let alarm = Alarm::new(&registry, NO_SOURCE);
        let poll = RefCell::new((poll, Events::with_capacity(EVENTS), alarm));
        Ok(Os { poll, registry, waker, more: Cell::new(false) })
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
        mut found: impl FnMut(Token, Ready),
    ) -> io::Result<()> {
        let (poll, events, alarm) = &mut *self.poll.borrow_mut();
        let timeout = match wait {
            Wait::Not => Some(Duration::ZERO),
            Wait::Until(deadline) => alarm.timeout(time.now(), deadline),
            Wait::Forever => None,
        };
        match poll.poll(events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        self.more.set(events.iter().count() >= events.capacity());
        for event in events.iter().filter(|event| event.token() != NO_SOURCE) {
            found(event.token().into(), event.into());
        }
        Ok(())
    }
}
