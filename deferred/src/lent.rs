//! Values that return to their source if they are dropped unread.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::failure::panic_message;
use crate::frame;

/// A value on its way to a reader. If it is dropped unread, it returns to its source.
pub(crate) struct Lent<T>(Box<dyn Loan<T>>);

impl<T: 'static> Lent<T> {
    pub(crate) fn new(value: T, give_back: impl FnOnce(T) + 'static) -> Lent<T> {
        Lent(Box::new(Some((value, give_back))))
    }
}

impl<T> Lent<T> {
    /// Takes the value. `None` does not occur, because reading consumes the `Lent`.
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
        // `give_back` may fire the next waiter. Its callbacks run after the panic is caught.
        if std::thread::panicking() {
            return frame::park(Box::new(move || give_back(value)));
        }
        let _frame = frame::Frame::enter();
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| give_back(value))) {
            log::error!("the function that takes back an unread value panicked: {}", panic_message(payload));
        }
    }
}
