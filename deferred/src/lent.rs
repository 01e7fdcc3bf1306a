//! Values that return to their source if they are dropped unread.

use std::panic::{AssertUnwindSafe, Location, catch_unwind};

use crate::frame::{self, panic_message};

/// A value on its way to a reader. If it is dropped unread, it returns to its source.
pub(crate) struct Lent<T>(Box<dyn Loan<T>>);

impl<T: 'static> Lent<T> {
    pub(crate) fn new(value: T, give_back: impl FnOnce(T) + 'static) -> Lent<T> {
        Lent(Box::new(Unread { value: Some((value, give_back)), made_at: None }))
    }
}

impl<T> Lent<T> {
    /// Notes the line that created the Deferred, when the value arrives at the end of a chain.
    pub(crate) fn arrive(&mut self, made_at: &'static Location<'static>) {
        *self.0.made_at() = Some(made_at);
    }

    pub(crate) fn made_at(&mut self) -> &'static Location<'static> {
        // `None` does not occur.
        self.0.made_at().unwrap_or(Location::caller())
    }

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

    fn made_at(&mut self) -> &mut Option<&'static Location<'static>>;
}

struct Unread<T, F> {
    value: Option<(T, F)>,
    made_at: Option<&'static Location<'static>>,
}

impl<T: 'static, F: FnOnce(T) + 'static> Loan<T> for Unread<T, F> {
    fn take(&mut self) -> Option<T> {
        self.value.take().map(|(value, _)| value)
    }

    fn made_at(&mut self) -> &mut Option<&'static Location<'static>> {
        &mut self.made_at
    }

    fn give_back(&mut self) {
        let Some((value, give_back)) = self.value.take() else { return };
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
