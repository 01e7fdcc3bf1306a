//! Visits: calls into a connection's protocol from outside its own methods.

use std::cell::Cell;

use twistor_deferred::{Canceller, Deferred, Failure};
use twistor_reactor::Ready;

use super::{Connection, Flags};
use crate::{Protocol, Transport};

/// The maximum depth of nested visits. Deeper ones run from the loop, so that a chain of connections of any
/// length needs no more stack.
const MOST_NESTED: u32 = 16;

/// The number of queued visits that run in a row before the loop continues.
const VISITS_PER_TURN: usize = 1024;

/// A call of the protocol.
type Call<'a> = &'a mut dyn FnMut(&mut dyn Protocol) -> Result<(), Failure>;

/// A check of the protocol; see [`Transport::require_part`].
pub(crate) type Check = fn(&mut dyn Protocol) -> Result<(), Failure>;

thread_local! {
    /// The check that a running method has requested for its own connection, which then has the flag `CHECK`.
    ///
    /// A server's protocols request one for each connection. As a queued visit, it would cost an accepted
    /// connection three allocations, and as a field, every connection eight bytes for its lifetime.
    static CHECK: Cell<Option<Check>> = const { Cell::new(None) };

    /// The number of nested running visits. It belongs to the thread, because visits of all its reactors
    /// share one stack.
    static NESTED: Cell<u32> = const { Cell::new(0) };
}

/// Counts one running visit for its lifetime.
struct Nested;

impl Nested {
    fn begin() -> Option<Nested> {
        let depth = NESTED.get();
        (depth < MOST_NESTED).then(|| {
            NESTED.set(depth + 1);
            Nested
        })
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        NESTED.set(NESTED.get() - 1);
    }
}

impl Connection<dyn Protocol> {
    /// Calls the protocol, and then runs the visits that were queued meanwhile.
    #[inline]
    pub(super) fn enter(
        &self,
        transport: &Transport,
        method: &'static str,
        call: impl FnOnce(&mut dyn Protocol) -> Result<(), Failure>,
    ) {
        self.call(method, call);
        if self.is(Flags::VISITS.or(Flags::CHECK)) {
            self.run_visits(transport);
        }
    }

    /// As `enter`, compiled once, for methods that are called at most a few times for a connection.
    #[inline(never)]
    pub(super) fn enter_rarely(&self, transport: &Transport, method: &'static str, call: Call<'_>) {
        self.enter(transport, method, call);
    }

    /// As `call`, compiled once.
    #[inline(never)]
    fn call_rarely(&self, method: &'static str, call: Call<'_>) {
        self.call(method, call);
    }

    /// Runs `check` as [`visit`](Connection::visit) does, but before the visits that wait.
    pub(crate) fn require(&self, transport: &Transport, check: Check) {
        let busy = self.protocol.try_borrow_mut().is_err();
        // The cell holds one check, which `enter` takes out. Queued visits do not run in `enter`.
        if busy && !self.is(Flags::LOST.or(Flags::VISITS).or(Flags::CHECK)) && CHECK.get().is_none() {
            CHECK.set(Some(check));
            self.set(Flags::CHECK);
        } else {
            self.visit(transport, move |protocol, _| check(protocol));
        }
    }

    /// Runs a visit now if the protocol is free and no other visit waits, otherwise later. Returns false if
    /// the connection has ended.
    pub(crate) fn visit(
        &self,
        transport: &Transport,
        visit: impl FnOnce(&mut dyn Protocol, &Transport) -> Result<(), Failure> + 'static,
    ) -> bool {
        if self.is(Flags::LOST.or(Flags::DOOMED)) {
            return false;
        }
        let free = self.protocol.try_borrow_mut().is_ok();
        let nested = if free && !self.is(Flags::VISITS) { Nested::begin() } else { None };
        if nested.is_some() {
            self.enter(transport, "a visit", |protocol| visit(protocol, transport));
        } else {
            self.with_outgoing(|outgoing| outgoing.visits.push_back(Box::new(visit)));
            self.set(Flags::VISITS);
            // A running method runs the queue when it returns.
            if free {
                self.wake(Ready::WRITABLE);
            }
        }
        true
    }

    /// Runs the queued visits, and then those that were queued meanwhile.
    #[cold]
    pub(super) fn run_visits(&self, transport: &Transport) {
        if self.is(Flags::CHECK) {
            let check = CHECK.take();
            if let Some(check) = check.filter(|_| !self.is(Flags::LOST.or(Flags::DOOMED))) {
                self.call_rarely("a visit", &mut |protocol| check(protocol));
            }
            self.clear(Flags::CHECK);
            if !self.is(Flags::VISITS) {
                return;
            }
        }
        for _ in 0..VISITS_PER_TURN {
            if self.is(Flags::RELEASED) {
                return self.gather_unread();
            }
            let visit = self.with_io(|io| io.outgoing.as_mut()?.visits.pop_front());
            let Some(visit) = visit else {
                self.clear(Flags::VISITS);
                return self.tidy();
            };
            if self.is(Flags::LOST.or(Flags::DOOMED)) {
                // Dropping the visit may run any code of the program.
                self.guard("a visit", || drop(visit));
            } else {
                let mut visit = Some(visit);
                self.call_rarely("a visit", &mut |protocol| {
                    visit.take().map_or(Ok(()), |visit| visit(protocol, transport))
                });
            }
        }
        self.wake(Ready::READABLE | Ready::WRITABLE);
    }

    /// Calls `then` with the protocol when `deferred` fires. Cancels `deferred` if the connection is lost
    /// first.
    pub(crate) fn deliver<T: 'static>(
        &self,
        transport: &Transport,
        deferred: Deferred<T>,
        then: impl FnOnce(&mut dyn Protocol, &Transport, Result<T, Failure>) -> Result<(), Failure> + 'static,
    ) {
        if self.is(Flags::LOST.or(Flags::DOOMED)) {
            deferred.canceller().cancel();
            drop(deferred.add_both(|_| ()));
            return;
        }
        let id = self.await_delivery(deferred.canceller());
        let target = transport.clone();
        drop(deferred.add_both(move |result| {
            let Some(connection) = target.connection.upgrade() else { return };
            connection.delivered(id);
            connection.visit(&target, move |protocol, transport| then(protocol, transport, result));
        }));
    }

    fn await_delivery(&self, canceller: Canceller) -> u64 {
        self.with_outgoing(|outgoing| {
            let id = outgoing.deliveries.back().map_or(0, |(id, _)| id + 1);
            outgoing.deliveries.push_back((id, canceller));
            id
        })
    }

    fn delivered(&self, id: u64) {
        let canceller = self.with_io(|io| {
            let deliveries = &mut io.outgoing.as_mut()?.deliveries;
            let place = deliveries.binary_search_by_key(&id, |(id, _)| *id).ok()?;
            deliveries.remove(place)
        });
        drop(canceller);
        self.tidy();
    }
}
