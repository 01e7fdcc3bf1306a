//! Functions for common lists, and for members of different types.

use std::cell::Cell;
use std::rc::Rc;

use super::DeferredList;
use crate::{Abandoned, Deferred};

/// Waits for the values of all members, in their order. Fails with [`FirstError`](crate::FirstError) as soon as one fails.
/// Twisted: `gatherResults`.
///
/// This is a [`DeferredList`] with [`fire_on_one_errback`](DeferredList::fire_on_one_errback). Use that for more options.
///
/// # Cancel safety
/// As for a [`DeferredList`]: cancelling the result cancels the members.
///
/// ```
/// use twistor::prelude::*;
///
/// let sum = gather_results([succeed(1), succeed(2)]).add_callback(|numbers| Ok(numbers[0] + numbers[1]));
/// assert!(matches!(sum.try_result(), Ok(Ok(3))));
/// ```
#[track_caller]
pub fn gather_results<T: 'static>(members: impl IntoIterator<Item = Deferred<T>>) -> Deferred<Vec<T>> {
    DeferredList::new(members).fire_on_one_errback().into_deferred()
}

/// Waits for the first value, and returns it with the index of its member. The other members are cancelled before the race
/// fires. Twisted: `race`.
///
/// # Errors
/// [`FailureGroup`](crate::FailureGroup), with the failures in the order of the members, if all members fail. Immediately,
/// if `members` is empty. If a member wins, the failures of the others are dropped without a log line.
///
/// # Cancel safety
/// Cancelling the race cancels the members. A losing member that waits for a queue leaves the queue, or returns the item
/// that it received.
///
/// ```
/// use twistor::prelude::*;
///
/// let (near, trigger) = Deferred::new();
/// let (far, far_trigger) = Deferred::new();
/// let first = race([far, near]);
/// trigger.callback("from the near mirror");
/// assert!(!far_trigger.is_live());
/// assert!(matches!(first.try_result(), Ok(Ok((1, "from the near mirror")))));
/// ```
#[track_caller]
pub fn race<T: 'static>(members: impl IntoIterator<Item = Deferred<T>>) -> Deferred<(usize, T)> {
    DeferredList::new(members).fire_on_one_callback().consume_errors().cancel_others().into_deferred()
}

/// Waits for two to eight Deferreds of different types, and returns the tuple of their values. Fails with
/// [`FirstError`](crate::FirstError) as soon as one fails.
///
/// # Cancel safety
/// As for a [`DeferredList`]: cancelling the result cancels the members.
///
/// ```
/// use twistor::prelude::*;
///
/// let both = join((succeed("answer"), succeed(42)));
/// assert!(matches!(both.try_result(), Ok(Ok(("answer", 42)))));
/// ```
#[track_caller]
pub fn join<J: JoinTuple>(members: J) -> Deferred<J::Values> {
    members.joined()
}

/// A tuple of two to eight Deferreds, for [`join`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a tuple of two to eight Deferreds",
    note = "to wait for any number of Deferreds of one type, use `gather_results`"
)]
pub trait JoinTuple: sealed::Sealed {
    /// The tuple of their values.
    type Values: 'static;

    #[doc(hidden)]
    #[track_caller]
    fn joined(self) -> Deferred<Self::Values>;
}

mod sealed {
    #[allow(unnameable_types, reason = "that is what seals the trait")]
    pub trait Sealed {}
}

macro_rules! join_tuple {
    ($($type:ident $value:ident $index:tt),+) => {
        impl<$($type: 'static),+> sealed::Sealed for ($(Deferred<$type>,)+) {}

        impl<$($type: 'static),+> JoinTuple for ($(Deferred<$type>,)+) {
            type Values = ($($type,)+);

            fn joined(self) -> Deferred<Self::Values> {
                let slots = ($(JoinedValue::<$type>::default(),)+);
                gather_results([$(slots.$index.filled_by(self.$index)),+]).add_callback(move |_| {
                    match ($(slots.$index.0.take(),)+) {
                        ($(Some($value),)+) => Ok(($($value,)+)),
                        // Unreachable: all values have arrived, and only this callback takes them.
                        _ => Err(Abandoned.into()),
                    }
                })
            }
        }
    };
}

/// One value of the tuple, stored until the others arrive.
struct JoinedValue<T>(Rc<Cell<Option<T>>>);

impl<T> Default for JoinedValue<T> {
    fn default() -> JoinedValue<T> {
        JoinedValue(Rc::default())
    }
}

impl<T: 'static> JoinedValue<T> {
    #[track_caller]
    fn filled_by(&self, member: Deferred<T>) -> Deferred<()> {
        let slot = self.0.clone();
        member.add_callback(move |value| slot.set(Some(value)))
    }
}

join_tuple!(A a 0, B b 1);
join_tuple!(A a 0, B b 1, C c 2);
join_tuple!(A a 0, B b 1, C c 2, D d 3);
join_tuple!(A a 0, B b 1, C c 2, D d 3, E e 4);
join_tuple!(A a 0, B b 1, C c 2, D d 3, E e 4, F f 5);
join_tuple!(A a 0, B b 1, C c 2, D d 3, E e 4, F f 5, G g 6);
join_tuple!(A a 0, B b 1, C c 2, D d 3, E e 4, F f 5, G g 6, H h 7);
