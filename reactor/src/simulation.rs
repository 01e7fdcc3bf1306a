//! Access to a simulated reactor, for code that simulates more than time.

use std::any::{Any, TypeId};
use std::fmt;
use std::net::IpAddr;
use std::rc::{Rc, Weak};

use crate::Handle;
use crate::core::Core;
use crate::driver::Simulated;

/// The random numbers of a simulated reactor, and a place for other simulated parts, such as the in-memory network.
///
/// Owns nothing, like a [`Handle`].
#[derive(Clone)]
pub struct Simulation {
    /// The reactor that simulates the world.
    core: Weak<Core>,
    host: Option<IpAddr>,
}

impl Handle {
    /// Returns the simulation of a simulated reactor. `None` if the operating system drives the reactor, or if it
    /// is gone.
    ///
    /// ```
    /// use twistor::prelude::*;
    ///
    /// assert!(Reactor::new()?.simulation().is_none());
    /// let drawn = |seed| Reactor::simulated(seed).simulation().map(|simulation| simulation.random());
    /// assert_eq!(drawn(7), drawn(7));
    /// assert_ne!(drawn(7), drawn(8));
    /// # Ok::<(), Failure>(())
    /// ```
    pub fn simulation(&self) -> Option<Simulation> {
        let core = self.core()?;
        Some(match core.driver.simulated()?.host() {
            Some((world, address)) => Simulation { core: world.clone(), host: Some(*address) },
            None => Simulation { core: Rc::downgrade(&core), host: None },
        })
    }
}

impl Simulation {
    /// Returns the next random number of the simulation, or 0 after the reactor is gone.
    ///
    /// Everything random in the simulation comes from this sequence. A program that draws all its random numbers
    /// here has the same run for the same seed.
    pub fn random(&self) -> u64 {
        self.with(Simulated::random).unwrap_or(0)
    }

    /// Returns the address of the simulated host whose reactor this is. `None` for the reactor of the whole simulation.
    pub fn host(&self) -> Option<IpAddr> {
        self.host
    }

    /// Returns the simulation's value of type `T`, which is created on first use and dropped with the reactor.
    /// `None` after the reactor is gone.
    ///
    /// The reactor owns the value: it may hold a [`Handle`], but must not hold a [`Reactor`](crate::Reactor).
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
