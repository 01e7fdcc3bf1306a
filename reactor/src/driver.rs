//! The interface to the operating system, which waits, tells the time, and wakes. A simulation implements it as
//! well; the rest of the reactor does not differ between the two.

mod alarm;
mod os;
mod pace;
#[cfg(feature = "simulation")]
mod simulated;
#[cfg(not(feature = "simulation"))]
#[path = "driver/absent.rs"]
mod simulated;

use std::io;
use std::sync::Weak;

use crate::ready::Ready;
use crate::sources::SourceToken;
use crate::time::Time;

pub(crate) use os::Os;
pub(crate) use simulated::Simulated;

/// How long a turn may wait for events.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wait {
    /// Not at all: work is pending.
    Not,
    /// Until this time of the reactor's clock.
    Until(u64),
    /// No timer is set.
    Forever,
}

#[derive(Debug)]
pub(crate) enum Driver {
    Os(Os),
    #[cfg_attr(not(feature = "simulation"), expect(dead_code, reason = "it has no value then"))]
    Simulated(Simulated),
}

impl Driver {
    /// Waits, and reports the sources that became ready. A wait that a signal interrupts reports none.
    pub(crate) fn wait(
        &self,
        time: &Time,
        wait: Wait,
        found: impl FnMut(SourceToken, Ready),
    ) -> io::Result<()> {
        match self {
            Driver::Os(os) => os.wait(time, wait, found),
            Driver::Simulated(simulated) => simulated.wait(time, wait),
        }
    }

    /// Returns whether the system may have more events than the last wait could return.
    pub(crate) fn has_more(&self) -> bool {
        match self {
            Driver::Os(os) => os.has_more(),
            Driver::Simulated(_) => false,
        }
    }

    /// Returns the earliest time at which a wait for timers should end, so that dense timers run in batches. In a
    /// simulation, each timer runs at its own deadline.
    pub(crate) fn earliest_alarm(&self) -> u64 {
        match self {
            Driver::Os(os) => os.pace.earliest(),
            Driver::Simulated(_) => 0,
        }
    }

    /// Records that this many timers ran in this turn.
    pub(crate) fn ran_timers(&self, timers: u64) {
        match self {
            Driver::Os(os) => os.pace.ran(timers),
            Driver::Simulated(_) => {}
        }
    }

    /// Returns the registry for sources of the operating system. A simulation has none.
    pub(crate) fn registry(&self) -> io::Result<&mio::Registry> {
        match self {
            Driver::Os(os) => Ok(os.registry()),
            Driver::Simulated(_) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "a simulated reactor cannot watch a source of the operating system",
            )),
        }
    }

    /// Returns the waker that ends a wait from another thread.
    pub(crate) fn waker(&self) -> Weak<mio::Waker> {
        match self {
            Driver::Os(os) => os.waker(),
            Driver::Simulated(_) => Weak::new(),
        }
    }

    pub(crate) fn simulated(&self) -> Option<&Simulated> {
        match self {
            Driver::Os(_) => None,
            Driver::Simulated(simulated) => Some(simulated),
        }
    }
}
