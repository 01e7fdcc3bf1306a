//! The sizes of the types, and which of them are `Send`.

use twistor_deferred::{Abandoned, Cancelled, Canceller, Deferred, Failure, FirstError, Panicked, Trigger};

// D19.6
#[cfg(not(feature = "trace"))]
#[test]
fn a_deferred_is_at_most_four_words() {
    assert!(size_of::<Deferred<u64>>() <= 32);
    assert!(size_of::<Deferred<()>>() <= 32);
    assert!(size_of::<Deferred<Vec<u8>>>() <= 32);
}

#[test]
fn a_trigger_and_a_failure_are_one_word_and_a_canceller_two() {
    assert_eq!(size_of::<Trigger<[u8; 1000]>>(), size_of::<usize>());
    assert_eq!(size_of::<Failure>(), size_of::<usize>());
    assert_eq!(size_of::<Result<(), Failure>>(), size_of::<usize>());
    assert!(size_of::<Canceller>() <= 2 * size_of::<usize>());
}

#[test]
fn a_failure_may_cross_to_another_thread() {
    fn may_cross<T: Send + Sync + 'static>() {}
    may_cross::<Failure>();
    may_cross::<FirstError>();
    may_cross::<Panicked>();
    may_cross::<Cancelled>();
    may_cross::<Abandoned>();
}

/// Does not compile if `T` is `Send`, because both implementations would apply and `_` would be ambiguous.
macro_rules! stays_on_its_thread {
    ($($T:ty),+) => {$({
        trait Ambiguous<A> {
            fn here() {}
        }
        struct ItIsSend;
        impl<T: ?Sized> Ambiguous<()> for T {}
        impl<T: ?Sized + Send> Ambiguous<ItIsSend> for T {}
        <$T as Ambiguous<_>>::here();
    })+};
}

#[test]
fn deferreds_triggers_and_cancellers_stay_on_their_thread() {
    stays_on_its_thread!(Deferred<u64>, Trigger<u64>, Canceller);
}

#[test]
fn deferreds_move_freely() {
    fn moves<T: Unpin>() {}
    moves::<Deferred<std::marker::PhantomPinned>>();
}
