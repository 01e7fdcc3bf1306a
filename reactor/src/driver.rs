//! The one seam to the operating system: waiting, the clock, and waking. Above it, the reactor is the same whether
//! the system or a simulation is below.

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

/// How long a turn may wait for something to happen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wait {
    /// There is work at hand.
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
    /// Waits, and tells which sources became ready. Interruption by a signal counts as nothing found.
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

    /// Whether the system may have more to tell than the last wait could take.
    pub(crate) fn has_more(&self) -> bool {
        match self {
            Driver::Os(os) => os.has_more(),
            Driver::Simulated(_) => false,
        }
    }

    /// No earlier than this should a wait for timers end: dense timers are run in batches. In a simulation, each timer
    /// has its own moment.
    pub(crate) fn earliest_alarm(&self) -> u64 {
        match self {
            Driver::Os(os) => os.pace.earliest(),
            Driver::Simulated(_) => 0,
        }
    }

    /// So many timers ran in this turn.
    pub(crate) fn ran_timers(&self, timers: u64) {
        match self {
            Driver::Os(os) => os.pace.ran(timers),
            Driver::Simulated(_) => {}
        }
    }

    /// Where sources of the operating system are registered; a simulation has none.
    pub(crate) fn registry(&self) -> io::Result<&mio::Registry> {
        match self {
            Driver::Os(os) => Ok(os.registry()),
            Driver::Simulated(_) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "a simulated reactor cannot watch a source of the operating system",
            )),
        }
    }

    /// What ends a wait from another thread.
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
