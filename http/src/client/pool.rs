//! Kept connections, by route, and the requests that wait for one.

// Routes are looked up and have no order. Iterations whose order is visible sort them.
#![allow(clippy::disallowed_types)]

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use twistor_deferred::{Deferred, Failure, Trigger, fail};
use twistor_net::connect::Connecting;
use twistor_reactor::{DelayedCall, Handle};

use super::cookies::Cookies;
use super::exchange::{ClientConnection, ClientProtocol};
use super::lease::{Lease, SocketPermit};
use super::proxy::Proxy;
use super::route::{Dial, Route};
use super::trust::Trust;

/// A connection that was read at most this long ago, in the same turn, is used without a check of its socket for a
/// request that can be sent again.
const RECENT: Duration = Duration::from_millis(1);

/// How long requests wait for descriptors before the next try, unless a connection closes first.
const BACK_OFF: Duration = Duration::from_millis(100);

pub(super) struct Pool {
    handle: Handle,
    pub(super) max_open: Cell<usize>,
    pub(super) max_total: Cell<usize>,
    pub(super) max_idle: Cell<usize>,
    pub(super) idle_timeout: Cell<Duration>,
    pub(super) max_age: Cell<Duration>,
    pub(super) trust: RefCell<Trust>,
    pub(super) dial: RefCell<Dial>,
    pub(super) proxy: RefCell<Option<Proxy>>,
    pub(super) cookies: RefCell<Option<Rc<dyn Cookies>>>,
    places: RefCell<HashMap<Route, Rc<RoutePool>>>,
    /// The sockets that are open or being opened, over all routes.
    open: Cell<usize>,
    /// The requests in the queues, over all routes, cancelled ones included.
    queued: Cell<usize>,
    /// Numbers routes and requests in the order in which they came.
    next_number: Cell<u64>,
    /// The last try to connect found no descriptor.
    starved: Cell<bool>,
    /// A call of `serve` is scheduled, at once or after the back-off.
    serving: Cell<bool>,
    retrying: Cell<bool>,
    sweep: RefCell<Option<(Instant, DelayedCall)>>,
}

/// The connections of one route: to an origin, or to a proxy for many.
pub(super) struct RoutePool {
    pool: Weak<Pool>,
    route: Route,
    number: u64,
    /// The one idle longest first.
    idle: RefCell<VecDeque<Idle>>,
    /// The permits held: sockets that are open or being opened, idle ones included.
    open: Cell<usize>,
    waiting: RefCell<VecDeque<WaitingFetch>>,
}

struct Idle {
    connection: Rc<ClientConnection>,
    since: Instant,
    /// The reactor's number of turns at that time.
    turn: u64,
    /// `None`: until it is too old.
    until: Option<Instant>,
}

struct WaitingFetch {
    trigger: Trigger<Lease>,
    number: u64,
    connect_timeout: Duration,
    /// When to stop waiting for descriptors. Set by the first try that found none.
    give_up: Option<Instant>,
    connecting: Connecting,
}

/// The kept connections that a request may use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// None, because the last one was closed.
    None,
    /// Those whose socket is checked, because the request could not be sent again.
    Checked,
    /// Also those that were read a moment ago.
    Recent,
}

/// A connection, now or later.
pub(super) enum Found {
    Now(Lease),
    /// Without a stage while the request waits in the queue.
    Later(Deferred<Lease>, Connecting),
}

impl Pool {
    pub(super) fn new(handle: &Handle) -> Rc<Pool> {
        Rc::new(Pool {
            handle: handle.clone(),
            max_open: Cell::new(64),
            max_total: Cell::new(256),
            max_idle: Cell::new(16),
            idle_timeout: Cell::new(Duration::from_secs(60)),
            max_age: Cell::new(Duration::from_secs(3600)),
            trust: RefCell::default(),
            dial: RefCell::default(),
            proxy: RefCell::default(),
            cookies: RefCell::default(),
            places: RefCell::default(),
            open: Cell::new(0),
            queued: Cell::new(0),
            next_number: Cell::new(0),
            starved: Cell::new(false),
            serving: Cell::new(false),
            retrying: Cell::new(false),
            sweep: RefCell::new(None),
        })
    }

    /// Returns an idle connection that may be used; otherwise a new one if the limits allow it; otherwise the
    /// next free one, first come first served.
    pub(super) fn find(self: &Rc<Self>, route: &Route, connect_timeout: Duration, kept: Kept) -> Found {
        let place = self.place(route);
        loop {
            let Some(idle) = place.idle.borrow_mut().pop_back() else { break };
            if self.is_fit(&idle, kept) {
                return Found::Now(place.lease(idle.connection));
            }
            // This also makes room for a new one.
            idle.connection.close();
        }
        let connecting = route.connecting(&self.handle);
        let waiting_before = place.is_awaited();
        if place.open.get() < self.max_open.get() && !waiting_before && self.has_room() {
            return Found::Later(place.connect(self, connect_timeout, None, &connecting), connecting);
        }
        let number = self.number();
        Found::Later(place.queue(self, number, connect_timeout, None, &connecting), connecting)
    }

    /// Returns whether a kept connection can be used: it is young enough, and the server has neither closed
    /// it nor sent data.
    fn is_fit(&self, idle: &Idle, kept: Kept) -> bool {
        let now = self.handle.now();
        if kept == Kept::None
            || !idle.connection.is_usable()
            || idle.is_over(now)
            || self.is_too_old(&idle.connection, now)
        {
            return false;
        }
        // Data that arrived before this turn's events were collected may not be delivered yet.
        let is_recent =
            || idle.turn == self.handle.stats().turns && now.saturating_duration_since(idle.since) < RECENT;
        (kept == Kept::Recent && is_recent()) || idle.connection.is_silent()
    }

    fn is_too_old(&self, connection: &ClientConnection, now: Instant) -> bool {
        now.saturating_duration_since(connection.opened) >= self.max_age.get()
    }

    /// Returns whether another socket may be opened. At the limit, closes an idle connection.
    fn has_room(&self) -> bool {
        if self.starved.get() {
            return false;
        }
        let room = self.open.get() < self.max_total.get();
        if !room {
            // There is room once its socket is closed. Then the queue is served.
            self.close_one_idle();
        }
        room
    }

    fn place(self: &Rc<Self>, route: &Route) -> Rc<RoutePool> {
        let mut places = self.places.borrow_mut();
        if let Some(place) = places.get(route) {
            return place.clone();
        }
        let place = Rc::new(RoutePool {
            pool: Rc::downgrade(self),
            route: route.clone(),
            number: self.number(),
            idle: RefCell::default(),
            open: Cell::new(0),
            waiting: RefCell::default(),
        });
        places.insert(route.clone(), place.clone());
        place
    }

    fn number(&self) -> u64 {
        let number = self.next_number.get();
        self.next_number.set(number + 1);
        number
    }

    /// Returns the routes in the order of their creation, which does not depend on a hash.
    fn in_order(&self) -> Vec<Rc<RoutePool>> {
        let mut places: Vec<Rc<RoutePool>> = self.places.borrow().values().cloned().collect();
        places.sort_unstable_by_key(|place| place.number);
        places
    }

    /// Closes all idle connections.
    pub(super) fn close_idle(&self) {
        for place in self.in_order() {
            place.idle.take().iter().for_each(|idle| idle.connection.close());
        }
    }

    /// Closes the connection that has been idle longest.
    fn close_one_idle(&self) {
        let since =
            |place: &Rc<RoutePool>| place.idle.borrow().front().map(|idle| (idle.since, place.number));
        let longest = self
            .places
            .borrow()
            .values()
            .filter(|place| since(place).is_some())
            .min_by_key(|place| since(place))
            .cloned();
        let idle = longest.and_then(|place| place.idle.borrow_mut().pop_front());
        if let Some(idle) = idle {
            idle.connection.close();
        }
    }

    /// Returns the number of sockets that are open or being opened, and of idle connections.
    pub(super) fn count(&self) -> (usize, usize) {
        let idle = self.places.borrow().values().map(|place| place.idle.borrow().len()).sum();
        (self.open.get(), idle)
    }

    /// Schedules closing the connections that will be idle for too long at `time`.
    fn sweep_at(self: &Rc<Self>, time: Instant) {
        let mut sweep = self.sweep.borrow_mut();
        // The call is inactive if the end of a run has dropped it.
        if sweep.as_ref().is_some_and(|(due, call)| *due <= time && call.active()) {
            return;
        }
        if let Some((_, call)) = sweep.take() {
            let _ = call.cancel();
        }
        let weak = Rc::downgrade(self);
        let call = self.handle.call_later(time.saturating_duration_since(self.handle.now()), move || {
            if let Some(pool) = weak.upgrade() {
                pool.sweep();
            }
        });
        *sweep = Some((time, call));
    }

    fn sweep(self: &Rc<Self>) {
        self.sweep.replace(None);
        let now = self.handle.now();
        let mut next: Option<Instant> = None;
        for place in self.in_order() {
            let mut over = Vec::new();
            place.idle.borrow_mut().retain(|idle| {
                if idle.is_over(now) {
                    over.push(idle.connection.clone());
                    return false;
                }
                next = next.into_iter().chain(idle.until).min();
                true
            });
            over.iter().for_each(|connection| connection.close());
        }
        if let Some(time) = next {
            self.sweep_at(time);
        }
    }

    /// Serves the queues from the loop, because the caller may be the program's code, or the failure of
    /// another connection.
    fn serve_soon(self: &Rc<Self>) {
        if !self.serving.replace(true) {
            let soon = Soon { pool: Some(self.clone()), is_retry: false };
            self.handle.call_later(Duration::ZERO, move || soon.serve());
        }
    }

    /// Opens connections for waiting requests, first come first served, within the limits.
    fn serve(self: &Rc<Self>) {
        while self.queued.get() > 0 && !self.starved.get() {
            let Some(place) = self.first_place_to_serve() else { break };
            if !self.has_room() {
                break;
            }
            let Some(waiting) = place.next_waiting(self) else { break };
            let WaitingFetch { trigger, connect_timeout, give_up, connecting, .. } = waiting;
            let connected = place.connect(self, connect_timeout, give_up, &connecting);
            drop(connected.add_both(move |result| match result {
                // Cancelled meanwhile, so the next request gets the connection.
                Ok(lease) if !trigger.is_live() => lease.give_back(true),
                result => trigger.fire(result),
            }));
        }
        self.places.borrow_mut().retain(|_, place| place.is_needed());
    }

    /// Returns the route with the oldest request among those that may open a connection.
    fn first_place_to_serve(&self) -> Option<Rc<RoutePool>> {
        let mut first: Option<(u64, Rc<RoutePool>)> = None;
        for place in self.places.borrow().values().filter(|place| place.open.get() < self.max_open.get()) {
            if let Some(number) = place.first_number(self) {
                if first.as_ref().is_none_or(|(earlier, _)| number < *earlier) {
                    first = Some((number, place.clone()));
                }
            }
        }
        first.map(|(_, place)| place)
    }

    /// Returns whether a free connection must be closed: the limit over all routes is reached, and another
    /// waiting route may open one. If this route waits too, only a route without any connection takes
    /// precedence.
    fn owes_room(&self, place: &RoutePool) -> bool {
        if self.queued.get() == 0 || self.open.get() < self.max_total.get() {
            return false;
        }
        let most = if place.is_awaited() { 0 } else { self.max_open.get() - 1 };
        let places = self.places.borrow();
        let mut others = places.values().filter(|other| other.number != place.number);
        others.any(|other| other.open.get() <= most && other.is_awaited())
    }

    /// Handles a lack of descriptors: closes an idle connection, and schedules another try.
    fn starve(self: &Rc<Self>) {
        if !self.starved.replace(true) {
            log::warn!("no descriptor for another connection; requests wait until one is free");
        }
        self.close_one_idle();
        if !self.retrying.replace(true) {
            let soon = Soon { pool: Some(self.clone()), is_retry: true };
            self.handle.call_later(BACK_OFF, move || soon.serve());
        }
    }
}

impl Drop for Pool {
    /// Closes the idle connections, which the reactor owns and which no request can use any more.
    fn drop(&mut self) {
        self.close_idle();
        if let Some((_, sweep)) = self.sweep.take() {
            let _ = sweep.cancel();
        }
    }
}

impl RoutePool {
    fn lease(self: &Rc<Self>, connection: Rc<ClientConnection>) -> Lease {
        Lease::new(connection, Some(Rc::downgrade(self)))
    }

    /// Opens a connection. If the process has no free descriptor, the request waits for one, up to the
    /// connect timeout.
    fn connect(
        self: &Rc<Self>,
        pool: &Rc<Pool>,
        timeout: Duration,
        give_up: Option<Instant>,
        connecting: &Connecting,
    ) -> Deferred<Lease> {
        // A socket that is being opened has a descriptor too.
        self.open.set(self.open.get() + 1);
        pool.open.set(pool.open.get() + 1);
        let permit = SocketPermit::new(Rc::downgrade(self));
        let now = pool.handle.now();
        let connection = ClientConnection::new(now, self.route.is_secured().then(|| pool.handle.clone()));
        let protocol = ClientProtocol::new(connection.clone(), Some(Box::new(permit)));
        let (trust, dial) = (pool.trust.borrow().clone(), pool.dial.borrow().clone());
        let (place, route) = (self.clone(), self.route.clone());
        let lend = move || place.lease(connection);
        let connected = self.route.connect(timeout, &trust, &dial, protocol, connecting, lend);
        let (pool, connecting) = (pool.clone(), connecting.clone());
        connected.add_errback(move |failure| {
            let give_up = give_up.or_else(|| now.checked_add(timeout));
            let late = give_up.is_some_and(|time| pool.handle.now() >= time);
            if late || !is_out_of_descriptors(&failure) {
                return fail(failure);
            }
            pool.starve();
            // The pool may have dropped the route together with the failed connection.
            pool.place(&route).queue(&pool, 0, timeout, give_up, &connecting)
        })
    }

    /// Waits for a connection, after the requests with smaller numbers.
    fn queue(
        &self,
        pool: &Pool,
        number: u64,
        connect_timeout: Duration,
        give_up: Option<Instant>,
        connecting: &Connecting,
    ) -> Deferred<Lease> {
        let (deferred, trigger) = Deferred::new();
        let waiting =
            WaitingFetch { trigger, number, connect_timeout, give_up, connecting: connecting.clone() };
        pool.queued.set(pool.queued.get() + 1);
        let mut queue = self.waiting.borrow_mut();
        match queue.iter().rposition(|other| other.number <= number) {
            Some(last) => queue.insert(last + 1, waiting),
            None => queue.push_front(waiting),
        }
        deferred
    }

    /// Passes a free connection to the first waiting request, or keeps it.
    pub(super) fn keep(self: &Rc<Self>, connection: Rc<ClientConnection>) {
        let Some(pool) = self.pool.upgrade() else { return connection.close() };
        let (now, time) = (pool.handle.now(), connection.keep_time(pool.idle_timeout.get()));
        if time.is_zero() || pool.is_too_old(&connection, now) || pool.owes_room(self) {
            return connection.close();
        }
        if let Some(waiting) = self.next_waiting(&pool) {
            return waiting.trigger.callback(self.lease(connection));
        }
        let until = now.checked_add(time);
        let idle = Idle { connection, since: now, turn: pool.handle.stats().turns, until };
        self.idle.borrow_mut().push_back(idle);
        if self.idle.borrow().len() > pool.max_idle.get() {
            let oldest = self.idle.borrow_mut().pop_front();
            if let Some(oldest) = oldest {
                oldest.connection.close();
            }
        }
        if let Some(until) = until {
            pool.sweep_at(until);
        }
    }

    /// Handles a socket that was closed or not opened, so that another may be opened.
    pub(super) fn closed(self: &Rc<Self>, was_connected: bool) {
        self.idle.borrow_mut().retain(|idle| idle.connection.is_usable());
        self.open.set(self.open.get() - 1);
        let Some(pool) = self.pool.upgrade() else { return };
        pool.open.set(pool.open.get() - 1);
        if was_connected {
            pool.starved.set(false);
        }
        if pool.queued.get() == 0 {
            if !self.is_needed() {
                pool.places.borrow_mut().remove(&self.route);
            }
        } else {
            pool.serve_soon();
        }
    }

    fn is_needed(&self) -> bool {
        self.open.get() > 0 || !self.waiting.borrow().is_empty()
    }

    /// Returns whether an uncancelled request waits here.
    fn is_awaited(&self) -> bool {
        self.waiting.borrow().iter().any(|waiting| waiting.trigger.is_live())
    }

    /// Returns the number of the first waiting request.
    fn first_number(&self, pool: &Pool) -> Option<u64> {
        let mut queue = self.waiting.borrow_mut();
        while queue.front().is_some_and(|waiting| !waiting.trigger.is_live()) {
            queue.pop_front();
            pool.queued.set(pool.queued.get() - 1);
        }
        queue.front().map(|waiting| waiting.number)
    }

    /// Takes the first waiting request.
    fn next_waiting(&self, pool: &Pool) -> Option<WaitingFetch> {
        self.first_number(pool)?;
        let waiting = self.waiting.borrow_mut().pop_front()?;
        pool.queued.set(pool.queued.get() - 1);
        Some(waiting)
    }
}

impl Idle {
    fn is_over(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now >= until)
    }
}

/// Returns whether connecting failed because the process or the machine has no free descriptor.
fn is_out_of_descriptors(failure: &Failure) -> bool {
    #[cfg(unix)]
    return failure.chain().any(|error| {
        let code = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
        matches!(code, Some(libc::EMFILE | libc::ENFILE))
    });
    #[cfg(not(unix))]
    {
        let _ = failure;
        false
    }
}

/// A scheduled call. If it is dropped without running, the reactor is gone, and waiting requests are not
/// served.
struct Soon {
    pool: Option<Rc<Pool>>,
    is_retry: bool,
}

impl Soon {
    fn serve(mut self) {
        let Some(pool) = self.pool.take() else { return };
        if self.is_retry {
            pool.retrying.set(false);
            pool.starved.set(false);
        } else {
            pool.serving.set(false);
        }
        pool.serve();
    }
}

impl Drop for Soon {
    fn drop(&mut self) {
        let Some(pool) = self.pool.take() else { return };
        pool.serving.set(false);
        pool.retrying.set(false);
        for place in pool.in_order() {
            let waiting = place.waiting.take();
            pool.queued.set(pool.queued.get() - waiting.len());
            drop(waiting);
        }
    }
}
