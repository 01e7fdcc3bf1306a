//! The floor of a chain: boxed closures in a vector, run one after another; and the same chain as futures.

use std::cell::Cell;
use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::runner::child::Arguments;
use crate::runner::sample::Stopwatch;

/// Builds chains of a length that the compiler does not know, and runs each once.
pub fn measure(arguments: &Arguments<'_>, mut chain: impl FnMut(u64, u64)) {
    let (times, length) = (arguments.number(0), arguments.number(1));
    let captured = black_box(3);
    for _ in 0..times / 10 {
        chain(captured, black_box(length));
    }
    let clock = Stopwatch::start();
    for _ in 0..times {
        chain(captured, black_box(length));
    }
    clock.stop(times).report();
}

pub fn closures(arguments: &Arguments<'_>) {
    measure(arguments, |captured, length| {
        let mut chain: Vec<Box<dyn FnOnce(u64) -> u64>> = Vec::with_capacity(length as usize);
        for index in 0..length {
            let added = captured + index;
            chain.push(Box::new(move |n| n.wrapping_add(added)));
        }
        let mut n = black_box(1);
        for callback in black_box(chain) {
            n = callback(n);
        }
        black_box(n);
    });
}

/// One boxed closure, the floor of a Deferred without callbacks.
pub fn closure(arguments: &Arguments<'_>) {
    measure(arguments, |captured, _| {
        let callback: Box<dyn FnOnce(u64) -> u64> = Box::new(move |n| n.wrapping_add(captured));
        black_box(black_box(callback)(black_box(1)));
    });
}

/// Plain calls, which the compiler may optimize away.
pub fn calls(arguments: &Arguments<'_>) {
    measure(arguments, |captured, length| {
        let mut n = black_box(1_u64);
        for index in 0..length {
            let added = captured + index;
            n = n.wrapping_add(added);
        }
        black_box(n);
    });
}

struct Fires(Rc<Cell<Option<u64>>>);

impl Future for Fires {
    type Output = u64;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u64> {
        self.0.take().map_or(Poll::Pending, Poll::Ready)
    }
}

pub fn futures(arguments: &Arguments<'_>) {
    let mut context = Context::from_waker(Waker::noop());
    measure(arguments, |captured, length| {
        let trigger = Rc::new(Cell::new(None));
        let mut chain: Pin<Box<dyn Future<Output = u64>>> = Box::pin(Fires(trigger.clone()));
        for index in 0..length {
            let added = captured + index;
            chain = Box::pin(async move { chain.await.wrapping_add(added) });
        }
        assert!(chain.as_mut().poll(&mut context).is_pending());
        black_box(&trigger).set(Some(black_box(1)));
        let _ = black_box(chain.as_mut().poll(&mut context));
    });
}
