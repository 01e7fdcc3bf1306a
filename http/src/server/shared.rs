//! The state that all connections of a site share: root, limits, clock, and the list of connections.

use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::rc::Rc;

use slab::Slab;
use twistor_deferred::{Deferred, DeferredEvent, succeed};
use twistor_net::{ListeningPort, Transport, guarded_at};
use twistor_reactor::{DelayedCall, Handle};

use super::exchange::answered::Answered;
use super::resource::Resource;
use super::settings::{Rounds, Settings};
use super::wire::date;
use super::wire::encode::{self, DateLine};
use crate::Limits;

/// A buffer that grew larger is freed after use.
pub(super) const KEPT_BUFFER: usize = 256 * 1024;

/// The function that is notified of each finished request, and the place where it was given.
pub(super) type Watcher = (Rc<dyn Fn(&Answered<'_>)>, &'static Location<'static>);

pub(super) struct SiteState {
    pub(super) handle: Handle,
    /// The place in the program where the site was created.
    pub(super) place: &'static Location<'static>,
    pub(super) root: Rc<dyn Resource>,
    pub(super) settings: Settings,
    pub(super) limits: Rounds,
    /// The limits of request decoders. The one on bodies is left out: it depends on the resource.
    pub(super) decoding: Limits,
    /// The current round.
    now: Cell<u64>,
    pub(super) date: Cell<DateLine>,
    /// The buffer in which answers are gathered.
    pub(super) out: Cell<Vec<u8>>,
    pub(super) watcher: RefCell<Option<Watcher>>,
    members: RefCell<Slab<Member>>,
    joined: Cell<u64>,
    draining: Cell<bool>,
    drained: DeferredEvent<()>,
    /// The timer that ends the wait for the last connections.
    pub(super) grace: RefCell<Option<DelayedCall>>,
    /// The timer of the current round.
    pub(super) round: RefCell<Option<DelayedCall>>,
    pub(super) ports: RefCell<Vec<ListeningPort>>,
    /// Whether a shutdown hook of the reactor is registered.
    pub(super) awaited: Cell<bool>,
}

/// A connection of the site. It has no transport during its TLS handshake.
struct Member {
    serial: u64,
    transport: Option<Transport>,
}

/// A connection's place in the list. The key of a connection that has left may be given to another one, which
/// has another serial number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Membership {
    key: usize,
    serial: u64,
}

impl SiteState {
    pub(super) fn new(
        handle: &Handle,
        root: Rc<dyn Resource>,
        settings: Settings,
        place: &'static Location<'static>,
    ) -> SiteState {
        SiteState {
            handle: handle.clone(),
            place,
            root,
            limits: Rounds::of(&settings.timeouts),
            decoding: Limits { body_size: u64::MAX, ..settings.limits.clone() },
            settings,
            now: Cell::new(0),
            date: Cell::new(encode::date_line(0)),
            out: Cell::default(),
            watcher: RefCell::default(),
            members: RefCell::default(),
            joined: Cell::new(0),
            draining: Cell::new(false),
            drained: DeferredEvent::new(),
            grace: RefCell::default(),
            round: RefCell::default(),
            ports: RefCell::default(),
            awaited: Cell::new(false),
        }
    }

    #[inline]
    pub(super) fn is_watched(&self) -> bool {
        self.watcher.borrow().is_some()
    }

    /// Notifies the watcher, if there is one.
    pub(super) fn tell(&self, answered: &Answered<'_>) {
        let watcher = self.watcher.borrow().clone();
        if let Some((watcher, place)) = watcher {
            let watched = guarded_at("on_answered", place, || {
                watcher(answered);
                Ok(())
            });
            if let Err(failure) = watched {
                log::error!("{failure}");
            }
        }
    }

    /// Returns the buffer for answers, for the next use.
    #[inline]
    pub(super) fn put_back(&self, out: Vec<u8>) {
        if out.capacity() <= KEPT_BUFFER {
            self.out.set(out);
        }
    }

    /// Returns the current round.
    #[inline]
    pub(super) fn now(&self) -> u64 {
        self.now.get()
    }

    /// Returns the round that comes this many rounds from now.
    #[inline]
    pub(super) fn deadline(&self, rounds: u64) -> u64 {
        self.now.get().saturating_add(rounds)
    }

    /// Begins the next round.
    pub(super) fn begin_round(&self) -> u64 {
        self.now.set(self.now.get() + 1);
        self.look_at_the_clock();
        self.now.get()
    }

    pub(super) fn look_at_the_clock(&self) {
        self.date.set(encode::date_line(date::seconds(self.handle.system_time())));
    }

    /// Returns the number of connections.
    pub(super) fn count(&self) -> usize {
        self.members.borrow().len()
    }

    /// Returns the transports of all connections past their handshake.
    pub(super) fn transports(&self) -> Vec<Transport> {
        self.members.borrow().iter().filter_map(|(_, member)| member.transport.clone()).collect()
    }

    /// Adds a connection whose handshake may be under way.
    pub(super) fn join(&self) -> Membership {
        let serial = self.joined.get();
        self.joined.set(serial + 1);
        let key = self.members.borrow_mut().insert(Member { serial, transport: None });
        Membership { key, serial }
    }

    /// Records the transport of a connection. Returns false if the site has been stopped since it joined.
    pub(super) fn arrive(&self, place: Membership, transport: &Transport) -> bool {
        let mut members = self.members.borrow_mut();
        match members.get_mut(place.key).filter(|member| member.serial == place.serial) {
            Some(member) => {
                member.transport = Some(transport.clone());
                true
            }
            None => false,
        }
    }

    /// Removes a connection. A second call does nothing.
    pub(super) fn leave(&self, place: Membership) {
        let mut members = self.members.borrow_mut();
        if members.get(place.key).is_some_and(|member| member.serial == place.serial) {
            members.remove(place.key);
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Begins the end: connections are no longer kept alive, and pending handshakes are not waited for.
    pub(super) fn drain(&self) {
        self.draining.set(true);
        self.members.borrow_mut().retain(|_, member| member.transport.is_some());
    }

    /// Returns a Deferred that fires when no connection is left.
    pub(super) fn drained(&self) -> Deferred<()> {
        if self.count() == 0 { succeed(()) } else { self.drained.wait() }
    }

    /// Accepts connections again.
    pub(super) fn open(&self) {
        self.draining.set(false);
        self.drained.reset();
    }

    /// Completes the stop if the last connection is gone.
    pub(super) fn see_whether_drained(&self) {
        if self.draining.get() && self.count() == 0 {
            if let Some(grace) = self.grace.take() {
                let _ = grace.cancel();
            }
            self.drained.fire(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use twistor_reactor::Reactor;

    use crate::server::{Request, Settings};

    use super::{KEPT_BUFFER, SiteState};

    // P5: one answer with a head beyond measure does not cost the memory of one for ever
    #[test]
    fn a_buffer_that_grew_large_is_given_back() {
        let reactor = Reactor::simulated(1);
        let root = Rc::new(|_: &mut Request<'_>| "fine");
        let site = SiteState::new(&reactor, root, Settings::default(), std::panic::Location::caller());
        site.put_back(Vec::with_capacity(1000));
        assert!(site.out.take().capacity() >= 1000);
        site.put_back(Vec::with_capacity(KEPT_BUFFER + 1));
        assert_eq!(site.out.take().capacity(), 0);
    }
}
