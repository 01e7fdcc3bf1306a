//! A value that goes back if nobody reads it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::failure::panic_message;
use crate::frame;

/// A value on its way to a reader. Dropped unread, it is given back.
pub(crate) struct Lent<T>(Box<dyn Loan<T>>);

impl<T: 'static> Lent<T> {
    pub(crate) fn new(value: T, give_back: impl FnOnce(T) + 'static) -> Lent<T> {
        Lent(Box::new(Some((value, give_back))))
    }
}

impl<T> Lent<T> {
    /// Reads the value. `None` was read before, which does not happen: reading consumes.
    pub(crate) fn read(mut self) -> Option<T> {
        self.0.take()
    }
}

impl<T> Drop for Lent<T> {
    #[inline]
    fn drop(&mut self) {
        self.0.give_back();
    }
}

trait Loan<T> {
    fn take(&mut self) -> Option<T>;

    fn give_back(&mut self);
}

impl<T: 'static, F: FnOnce(T) + 'static> Loan<T> for Option<(T, F)> {
    fn take(&mut self) -> Option<T> {
        Option::take(self).map(|(value, _)| value)
    }

    fn give_back(&mut self) {
        let Some((value, give_back)) = Option::take(self) else { return };
        // It may fire the next waiter, and callbacks do not run inside of a panic.
        if std::thread::panicking() {
            return frame::park(Box::new(move || give_back(value)));
        }
        let _frame = frame::Frame::enter();
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| give_back(value))) {
            log::error!("giving back an unread value panicked: {}", panic_message(payload));
        }
    }
}
