//! Observers: code that is called with each event, such as a reactor's recording.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use super::{Event, Moment};

/// Code that is called with every event of this thread's Deferreds. See [`observe`].
pub trait Observer {
    /// Takes an event and returns its moment, which the [paths](crate::Deferred::path) then show.
    ///
    /// # Re-entrancy
    /// It is called from inside Deferreds. It must not create, fire or drop one.
    fn observe(&self, event: &Event) -> Moment;
}

type Observers = RefCell<Vec<Rc<dyn Observer>>>;

thread_local! {
    /// Deferreds belong to a thread and know no reactor, so their observers are the thread's.
    static OBSERVERS: Observers = const { RefCell::new(Vec::new()) };
}

/// Passes the events of this thread's Deferreds to `observer` until the returned guard is dropped.
pub fn observe(observer: Rc<dyn Observer>) -> Observation {
    // A thread that is ending has no use for it.
    let _ = OBSERVERS.try_with(|observers| observers.borrow_mut().push(observer.clone()));
    Observation(observer)
}

/// Ends an observation when it is dropped.
#[must_use = "dropping it ends the observation"]
pub struct Observation(Rc<dyn Observer>);

impl Drop for Observation {
    fn drop(&mut self) {
        let _ = OBSERVERS
            .try_with(|observers| observers.borrow_mut().retain(|other| !Rc::ptr_eq(other, &self.0)));
    }
}

impl fmt::Debug for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observation")
    }
}

/// Passes an event on. Returns its moment in the recording that began last.
pub(crate) fn notify(event: &Event) -> Option<Moment> {
    let notify = |observers: &Observers| {
        let observers = observers.try_borrow().ok()?;
        if observers.is_empty() {
            return None;
        }
        observers.iter().fold(None, |_, observer| Some(observer.observe(event)))
    };
    OBSERVERS.try_with(notify).ok().flatten()
}
