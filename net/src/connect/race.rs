//! Connecting to any one of the addresses of a name.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};
use std::time::Duration;

use twistor_deferred::{Canceller, Deferred, Failure, Trigger};
use twistor_reactor::{DelayedCall, Handle};

use super::attempt::attempt;
use crate::errors::{FailedAttempt, beside};
use crate::{ConnectFailed, ConnectRefused, ConnectTimedOut, NoRoute, Stream};

/// The time without an answer after which the next address is tried in parallel, as RFC 8305 recommends.
pub(crate) const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// The number of attempts started per turn. A name can have thousands of addresses that all fail at once.
const ATTEMPTS_PER_TURN: usize = 32;

/// Connects to the first of the addresses that answers. The next address is tried when the last one has
/// failed, or has had no answer for [`ATTEMPT_DELAY`]. Twisted: `HostnameEndpoint`.
///
/// If all fail, the failure is the most telling one and lists the others.
pub(crate) fn connect_any(
    handle: &Handle,
    addresses: Vec<SocketAddr>,
    bind: Option<IpAddr>,
) -> Deferred<Stream> {
    if let [only] = addresses[..] {
        return attempt(handle, only, bind);
    }
    let pending: Rc<OnceCell<Weak<Race>>> = Rc::default();
    let to_cancel = pending.clone();
    let (deferred, trigger) = Deferred::with_canceller(move |_| {
        if let Some(race) = to_cancel.get().and_then(Weak::upgrade) {
            race.end();
        }
    });
    let race = Rc::new(Race {
        handle: handle.clone(),
        bind,
        waiting: RefCell::new(alternate_families(addresses)),
        running: RefCell::new(Vec::new()),
        next: Cell::new(None),
        failures: RefCell::default(),
        trigger: Cell::new(Some(trigger)),
    });
    let _ = pending.set(Rc::downgrade(&race));
    race.go_on();
    deferred
}

/// Orders addresses by RFC 8305, section 4: IPv6 and IPv4 take turns, so that a family that does not work
/// costs one delay. Each address is tried once, however often the resolver listed it.
fn alternate_families(mut addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let mut seen = BTreeSet::new();
    addresses.retain(|address| seen.insert(*address));
    let Some(first) = addresses.first().copied() else { return VecDeque::new() };
    let (mut same, mut other): (VecDeque<_>, VecDeque<_>) =
        addresses.into_iter().partition(|address| address.is_ipv4() == first.is_ipv4());
    let mut order = VecDeque::with_capacity(same.len() + other.len());
    while !same.is_empty() || !other.is_empty() {
        order.extend(same.pop_front());
        order.extend(other.pop_front());
    }
    order
}

/// The attempts to connect to a name. It is owned by the callbacks of the running attempts.
struct Race {
    handle: Handle,
    bind: Option<IpAddr>,
    waiting: RefCell<VecDeque<SocketAddr>>,
    running: RefCell<Vec<(SocketAddr, Canceller)>>,
    next: Cell<Option<DelayedCall>>,
    failures: RefCell<Failures>,
    /// Taken when the race ends.
    trigger: Cell<Option<Trigger<Stream>>>,
}

/// The most telling failure so far, and the others in the order in which they occurred.
#[derive(Default)]
struct Failures {
    best: Option<(SocketAddr, Failure)>,
    others: Vec<FailedAttempt>,
}

impl Race {
    /// Starts attempts until one is pending. A loop, not recursion, because each attempt may fail at once.
    fn go_on(self: &Rc<Self>) {
        self.stop_timer();
        for _ in 0..ATTEMPTS_PER_TURN {
            let next = self.waiting.borrow_mut().pop_front();
            let Some(address) = next else { return self.give_up_if_over() };
            match attempt(&self.handle, address, self.bind).try_result() {
                Ok(Ok(stream)) => return self.won(stream),
                Ok(Err(failure)) => self.failures.borrow_mut().add(address, failure),
                Err(pending) => {
                    self.running.borrow_mut().push((address, pending.canceller()));
                    let race = self.clone();
                    drop(pending.add_both(move |result| race.finished(address, result)));
                    return self.set_timer(ATTEMPT_DELAY);
                }
            }
        }
        // A name may have thousands of addresses.
        self.set_timer(Duration::ZERO);
    }

    fn finished(self: &Rc<Self>, address: SocketAddr, result: Result<Stream, Failure>) {
        self.running.borrow_mut().retain(|(running, _)| *running != address);
        match result {
            Ok(stream) => self.won(stream),
            Err(failure) => {
                self.failures.borrow_mut().add(address, failure);
                self.go_on();
            }
        }
    }

    fn won(&self, stream: Stream) {
        if let Some(trigger) = self.end() {
            trigger.callback(stream);
        }
    }

    /// Fails if no address is left and no attempt is pending.
    fn give_up_if_over(&self) {
        if !self.running.borrow().is_empty() {
            return;
        }
        let failure = self.failures.take().into_failure();
        if let (Some(trigger), Some(failure)) = (self.trigger.take(), failure) {
            trigger.errback(failure);
        }
    }

    /// Ends the race: starts no more attempts, and closes those that are pending.
    fn end(&self) -> Option<Trigger<Stream>> {
        // Taken first, so that the attempts cancelled below cannot fire it.
        let trigger = self.trigger.take();
        self.stop_timer();
        self.waiting.borrow_mut().clear();
        let running = std::mem::take(&mut *self.running.borrow_mut());
        for (_, canceller) in running {
            canceller.cancel();
        }
        trigger
    }

    fn set_timer(self: &Rc<Self>, delay: Duration) {
        if self.waiting.borrow().is_empty() {
            return self.give_up_if_over();
        }
        let race = self.clone();
        self.next.set(Some(self.handle.call_later(delay, move || race.go_on())));
    }

    fn stop_timer(&self) {
        if let Some(call) = self.next.take() {
            let _ = call.cancel();
        }
    }
}

impl Failures {
    fn add(&mut self, address: SocketAddr, failure: Failure) {
        let other = match self.best.take() {
            Some(best) if tells(&best.1) >= tells(&failure) => {
                self.best = Some(best);
                (address, failure)
            }
            before => {
                self.best = Some((address, failure));
                let Some(before) = before else { return };
                before
            }
        };
        self.others.push(FailedAttempt::new(other.0, &other.1));
    }

    fn into_failure(self) -> Option<Failure> {
        let (_, best) = self.best?;
        Some(beside(best, self.others))
    }
}

/// Ranks a failure by how much it tells the user: a refusal tells more than a missing route.
fn tells(failure: &Failure) -> u8 {
    if failure.is::<ConnectRefused>() {
        4
    } else if failure.is::<ConnectTimedOut>() {
        3
    } else if failure.is::<ConnectFailed>() {
        2
    } else {
        u8::from(failure.is::<NoRoute>())
    }
}
