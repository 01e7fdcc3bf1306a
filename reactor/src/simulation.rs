//! What a simulated reactor offers to those who simulate more than time.

use std::any::{Any, TypeId};
use std::fmt;
use std::rc::{Rc, Weak};

use crate::Handle;
use crate::core::Core;
use crate::driver::Simulated;

/// A simulated reactor's random numbers, and a place for what else is simulated: the network in memory hangs here.
///
/// It owns nothing, as a [`Handle`] does not.
#[derive(Clone)]
pub struct Simulation {
    core: Weak<Core>,
}

impl Handle {
    /// The simulation this reactor is; `None` for a reactor that the operating system drives, and for one that is gone.
    ///
    /// ```
    /// use twistor_reactor::Reactor;
    ///
    /// assert!(Reactor::new()?.simulation().is_none());
    /// let drawn = |seed| Reactor::simulated(seed).simulation().map(|simulation| simulation.random());
    /// assert_eq!(drawn(7), drawn(7));
    /// assert_ne!(drawn(7), drawn(8));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn simulation(&self) -> Option<Simulation> {
        let core = self.core()?;
        core.driver.simulated()?;
        Some(Simulation { core: Rc::downgrade(&core) })
    }
}

impl Simulation {
    /// The next of the random numbers that everything in this simulation is drawn from; 0 when the reactor is gone.
    ///
    /// Whatever a program leaves to chance, it should draw here: then the same seed gives the same run.
    pub fn random(&self) -> u64 {
        self.with(Simulated::random).unwrap_or(0)
    }

    /// The simulation's one part of this type, made at its first use, and dropped with the reactor. `None` when the
    /// reactor is gone.
    ///
    /// A part is owned by the reactor: let it hold a [`Handle`], never a [`Reactor`](crate::Reactor).
    pub fn part<T: 'static>(&self, make: impl FnOnce() -> T) -> Option<Rc<T>> {
        let find = |simulated: &Simulated| {
            let parts = simulated.parts().borrow();
            parts.iter().find(|(id, _)| *id == TypeId::of::<T>()).map(|(_, part)| part.clone())
        };
        let found: Rc<dyn Any> = match self.with(find)? {
            Some(part) => part,
            None => {
                let part: Rc<dyn Any> = Rc::new(make());
                self.with(|simulated| {
                    simulated.parts().borrow_mut().push((TypeId::of::<T>(), part.clone()))
                })?;
                part
            }
        };
        found.downcast().ok()
    }

    fn with<T>(&self, f: impl FnOnce(&Simulated) -> T) -> Option<T> {
        let core = self.core.upgrade()?;
        core.driver.simulated().map(f)
    }
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Simulation")
    }
}
