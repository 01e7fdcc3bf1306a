//! The usual lists, and the one whose members differ in type.

use std::cell::Cell;
use std::rc::Rc;

use super::DeferredList;
use crate::{Abandoned, Deferred};

/// The values of all the Deferreds, in their order, or [`FirstError`](crate::FirstError) as soon as one has
/// failed. Twisted's `gatherResults`.
///
/// # Cancel safety
/// As of a [`DeferredList`]: cancelling it cancels the members.
///
/// It is a [`DeferredList`] that [fires on one errback](DeferredList::fire_on_one_errback): take that for
/// its options.
///
/// ```
/// use twistor_deferred::{gather_results, succeed};
///
/// let sum = gather_results([succeed(1), succeed(2)]).add_callback(|numbers| Ok(numbers[0] + numbers[1]));
/// assert!(matches!(sum.try_result(), Ok(Ok(3))));
/// ```
#[track_caller]
pub fn gather_results<T: 'static>(members: impl IntoIterator<Item = Deferred<T>>) -> Deferred<Vec<T>> {
    DeferredList::new(members).fire_on_one_errback().into_deferred()
}

/// The first value, with the index of the Deferred it came from; the others are cancelled, just before the
/// race fires. Twisted's `race`.
///
/// # Errors
/// [`FailureGroup`](crate::FailureGroup), with the failures in the order of the members, when all have
/// failed, and at once when there are none. The failures of those that lost are dropped in silence.
///
/// # Cancel safety
/// Cancelling it cancels the members. A member that lost loses no item of a queue: it leaves the queue, or gives back the
/// item that it had.
///
/// ```
/// use twistor_deferred::{Deferred, race};
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

/// Waits for Deferreds of differing types, two to eight: the tuple of their values, or
/// [`FirstError`](crate::FirstError) as soon as one has failed.
///
/// # Cancel safety
/// As of a [`DeferredList`]: cancelling it cancels the members.
///
/// ```
/// use twistor_deferred::{join, succeed};
///
/// let both = join((succeed("answer"), succeed(42)));
/// assert!(matches!(both.try_result(), Ok(Ok(("answer", 42)))));
/// ```
#[track_caller]
pub fn join<J: JoinTuple>(members: J) -> Deferred<J::Values> {
    members.joined()
}

/// Tuples of Deferreds, for [`join`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no tuple of two to eight Deferreds",
    note = "any number of one type can be waited for with `gather_results`"
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
                        // Not reached: each has come, and nobody else takes them.
                        _ => Err(Abandoned.into()),
                    }
                })
            }
        }
    };
}

/// Where one of the values waits for the others.
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
