//! The driver for a simulation. Its clock jumps to the next deadline when no work is pending.

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::rc::{Rc, Weak};

use super::Wait;
use crate::core::Core;
use crate::time::Time;

pub(crate) struct Simulated {
    /// The state of the random number generator, the only source of randomness in the simulation.
    random: Rc<Cell<u64>>,
    /// The simulated parts, one value per type.
    parts: RefCell<Vec<(TypeId, Rc<dyn Any>)>>,
    /// The reactor that simulates the world of this one, and this one's address in it.
    host: Option<(Weak<Core>, IpAddr)>,
    /// The number of sources that were already ready after the handlers of this turn.
    settled: Cell<usize>,
}

impl fmt::Debug for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulated").field("random", &self.random).finish_non_exhaustive()
    }
}

impl Simulated {
    pub(crate) fn new(seed: u64) -> Simulated {
        Simulated {
            random: Rc::new(Cell::new(seed)),
            parts: RefCell::default(),
            host: None,
            settled: Cell::new(0),
        }
    }

    /// One host of a simulated world, which has the random numbers and the parts.
    pub(crate) fn host_of(&self, world: Weak<Core>, address: IpAddr) -> Simulated {
        let (random, parts, host) = (self.random.clone(), RefCell::default(), Some((world, address)));
        Simulated { random, parts, host, settled: Cell::new(0) }
    }

    pub(crate) fn host(&self) -> Option<&(Weak<Core>, IpAddr)> {
        self.host.as_ref()
    }

    pub(crate) fn wait(&self, time: &Time, wait: Wait) -> io::Result<()> {
        match wait {
            Wait::Not => Ok(()),
            Wait::Until(deadline) => {
                time.advance_to(deadline);
                Ok(())
            }
            Wait::Forever => Err(io::Error::new(
                io::ErrorKind::Deadlock,
                "the simulation is stuck: no timer is set, and nothing else can happen",
            )),
        }
    }

    pub(crate) fn parts(&self) -> &RefCell<Vec<(TypeId, Rc<dyn Any>)>> {
        &self.parts
    }

    pub(crate) fn settle(&self, ready: usize) {
        self.settled.set(ready);
    }

    pub(crate) fn settled(&self) -> usize {
        self.settled.get()
    }

    /// Returns the next random number (SplitMix64).
    pub(crate) fn random(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
