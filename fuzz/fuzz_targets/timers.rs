//! Delayed calls on a clock: created, cancelled and moved, also from inside other calls, they run in the order of a
//! sorted map of deadlines, at the same times and with the same results.

#![no_main]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use libfuzzer_sys::arbitrary::{self, Arbitrary, Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use twistor_reactor::{Clock, DelayedCall, ManualClock};

/// An operation on the clock. Calls are numbered in the order in which they were scheduled.
#[derive(Clone, Debug, Arbitrary)]
enum Op {
    /// Schedules a call after this delay, which performs this operation.
    Call(Delay, Box<Op>),
    /// Schedules this many calls with the same deadline, which do nothing.
    Many(Delay, u8),
    /// Schedules four times this many calls, this many nanoseconds apart, in another order than that of their
    /// deadlines: enough to fill the lists of the queue, and to split them.
    Spread(Delay, u8, u16),
    /// Cancels one of this many calls.
    CancelEvery(u8),
    Cancel(u8),
    Reset(u8, Delay),
    Delay(u8, Delay),
    /// Schedules a call without a delay that keeps rescheduling itself.
    Again,
    /// Moves one call so often that its stale entries have to be swept out.
    Shuffle(u8),
    Nothing,
}

/// Returns a delay in nanoseconds: one of a few values, so that there are ties, or a very large one.
#[derive(Clone, Copy, Debug)]
struct Delay(u64);

impl<'a> Arbitrary<'a> for Delay {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Delay> {
        Ok(Delay(match u.arbitrary::<u8>()? {
            byte @ 0..200 => u64::from(byte % 20),
            byte @ 200..250 => u64::from(byte) << 20,
            byte => u64::MAX - u64::from(byte),
        }))
    }
}

#[derive(Debug, Arbitrary)]
enum Step {
    Do(Op),
    Advance(Delay),
}

/// The observable events: results, and calls with the times at which they ran.
#[derive(Debug, PartialEq)]
enum Seen {
    Answer(bool),
    Ran(usize, u64),
    At(u64, usize),
}

trait World {
    fn call(&mut self, delay: u64, then: Op);
    fn cancel(&mut self, call: usize) -> bool;
    fn reset(&mut self, call: usize, delay: u64) -> bool;
    fn delay(&mut self, call: usize, delay: u64) -> bool;
    fn made(&self) -> usize;
    fn see(&mut self, seen: Seen);

    fn perform(&mut self, op: &Op) {
        let made = self.made();
        let which = |number: u8| usize::from(number) % made.max(1);
        let answer = match op {
            Op::Call(delay, then) => return self.call(delay.0, (**then).clone()),
            Op::Many(delay, count) => return (0..*count).for_each(|_| self.call(delay.0, Op::Nothing)),
            Op::Again => return self.call(0, Op::Again),
            Op::Spread(delay, count, step) => {
                let count = 4 * u64::from(*count);
                let after = |n| delay.0.saturating_add(n * 7919 % count * u64::from(*step));
                return (0..count).for_each(|n| self.call(after(n), Op::Nothing));
            }
            Op::Nothing => return,
            _ if made == 0 => return,
            Op::Cancel(call) => self.cancel(which(*call)),
            Op::CancelEvery(stride) => {
                let calls = (0..made).step_by(1 + usize::from(*stride));
                calls.fold(false, |any, call| self.cancel(call) | any)
            }
            Op::Reset(call, delay) => self.reset(which(*call), delay.0),
            Op::Delay(call, delay) => self.delay(which(*call), delay.0),
            Op::Shuffle(call) => (0..1500).all(|turn| self.reset(which(*call), turn % 7)),
        };
        self.see(Seen::Answer(answer));
    }
}

/// The clock under test.
#[derive(Clone)]
struct Real {
    clock: ManualClock,
    start: Instant,
    calls: Rc<RefCell<Vec<DelayedCall>>>,
    seen: Rc<RefCell<Vec<Seen>>>,
}

impl Real {
    fn now(&self) -> u64 {
        nanos(self.clock.now() - self.start)
    }

    fn handle(&self, call: usize) -> DelayedCall {
        self.calls.borrow()[call].clone()
    }
}

impl World for Real {
    fn call(&mut self, delay: u64, then: Op) {
        let (mut world, number) = (self.clone(), self.made());
        let call = self.clock.call_later(Duration::from_nanos(delay), move || {
            world.see(Seen::Ran(number, world.now()));
            world.perform(&then);
        });
        self.calls.borrow_mut().push(call);
    }

    fn cancel(&mut self, call: usize) -> bool {
        self.handle(call).cancel().is_ok()
    }

    fn reset(&mut self, call: usize, delay: u64) -> bool {
        self.handle(call).reset(Duration::from_nanos(delay)).is_ok()
    }

    fn delay(&mut self, call: usize, delay: u64) -> bool {
        self.handle(call).delay(Duration::from_nanos(delay)).is_ok()
    }

    fn made(&self) -> usize {
        self.calls.borrow().len()
    }

    fn see(&mut self, seen: Seen) {
        self.seen.borrow_mut().push(seen);
    }
}

/// The map from deadline and order of scheduling to the call.
#[derive(Default)]
struct Model {
    now: u64,
    scheduled: u64,
    queue: BTreeMap<(u64, u64), usize>,
    /// The operation of each call, and its place in the queue while it is pending.
    calls: Vec<(Op, Option<(u64, u64)>)>,
    seen: Vec<Seen>,
}

impl Model {
    fn schedule(&mut self, call: usize, deadline: u64) {
        let place = (deadline, self.scheduled);
        self.scheduled += 1;
        self.queue.insert(place, call);
        self.calls[call].1 = Some(place);
    }

    /// Removes a call, and returns its deadline.
    fn take(&mut self, call: usize) -> Option<u64> {
        let place = self.calls[call].1.take()?;
        self.queue.remove(&place);
        Some(place.0)
    }

    fn advance(&mut self, by: u64) {
        let end = self.now.saturating_add(by);
        loop {
            let turns = if self.now < end { 1000 } else { 1 };
            let _ = (0..turns).take_while(|_| self.turn()).count();
            if self.now == end {
                return;
            }
            let later = self.queue.range((self.now + 1, 0)..).next();
            self.now = later.map_or(end, |(&(deadline, _), _)| deadline.min(end));
        }
    }

    /// Runs the calls that are due and were scheduled before the turn. Returns false if there were none.
    fn turn(&mut self) -> bool {
        let mark = self.scheduled;
        let mut ran = false;
        while let Some((&(deadline, order), &call)) = self.queue.first_key_value() {
            if deadline > self.now || order >= mark {
                break;
            }
            ran = true;
            self.take(call);
            self.see(Seen::Ran(call, self.now));
            let then = self.calls[call].0.clone();
            self.perform(&then);
        }
        ran
    }
}

impl World for Model {
    fn call(&mut self, delay: u64, then: Op) {
        self.calls.push((then, None));
        self.schedule(self.calls.len() - 1, self.now.saturating_add(delay));
    }

    fn cancel(&mut self, call: usize) -> bool {
        self.take(call).is_some()
    }

    fn reset(&mut self, call: usize, delay: u64) -> bool {
        let pending = self.take(call).is_some();
        if pending {
            self.schedule(call, self.now.saturating_add(delay));
        }
        pending
    }

    fn delay(&mut self, call: usize, delay: u64) -> bool {
        match self.take(call) {
            Some(deadline) => self.schedule(call, deadline.saturating_add(delay)),
            None => return false,
        }
        true
    }

    fn made(&self) -> usize {
        self.calls.len()
    }

    fn see(&mut self, seen: Seen) {
        self.seen.push(seen);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fuzz_target!(|steps: Vec<Step>| {
    let clock = ManualClock::new();
    let mut real = Real { start: clock.now(), clock, calls: Rc::default(), seen: Rc::default() };
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Do(op) => {
                real.perform(&op);
                model.perform(&op);
            }
            Step::Advance(delay) => {
                real.clock.advance(Duration::from_nanos(delay.0));
                model.advance(delay.0);
            }
        }
        real.see(Seen::At(real.now(), real.clock.pending()));
        model.see(Seen::At(model.now, model.queue.len()));
    }
    assert_eq!(*real.seen.borrow(), model.seen);
    for (call, (_, place)) in model.calls.iter().enumerate() {
        let time = real.handle(call).time().map(|time| nanos(time - real.start));
        assert_eq!(time, place.map(|(deadline, _)| deadline), "call {call}");
    }
    // Pending calls hold the clock, which holds them: a reference cycle.
    real.calls.borrow().iter().for_each(|call| assert!(call.cancel().is_ok() || !call.active()));
    assert_eq!(real.clock.pending(), 0);
});
