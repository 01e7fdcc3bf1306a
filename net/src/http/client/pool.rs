//! Connections kept for the next request, origin by origin.

// Routes are looked up, and have no order of their own; walks that show an order sort.
#![allow(clippy::disallowed_types)]

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use twistor_deferred::{Deferred, Trigger, fail};
use twistor_reactor::{DelayedCall, Handle};

use super::connection::{ClientProtocol, Connection};
use super::cookies::Cookies;
use super::proxy::Proxy;
use super::route::Route;
use super::trust::Trust;
use crate::endpoint::timeout::Progress;

pub(super) struct Pool {
    handle: Handle,
    pub(super) max_open: Cell<usize>,
    pub(super) max_idle: Cell<usize>,
    pub(super) idle_timeout: Cell<Duration>,
    pub(super) max_age: Cell<Duration>,
    pub(super) trust: RefCell<Trust>,
    pub(super) proxy: RefCell<Option<Proxy>>,
    pub(super) cookies: RefCell<Option<Rc<dyn Cookies>>>,
    places: RefCell<HashMap<Route, Rc<Place>>>,
    /// Numbers places in the order in which they came.
    next_number: Cell<u64>,
    sweep: RefCell<Option<DelayedCall>>,
}

/// What one route has: an origin, or a proxy for many.
pub(super) struct Place {
    pool: Weak<Pool>,
    route: Route,
    number: u64,
    /// Idle ones with the time since when, the longest first.
    idle: RefCell<VecDeque<(Rc<Connection>, Instant)>>,
    /// Open or being opened, the idle ones included.
    open: Cell<usize>,
    waiting: RefCell<VecDeque<Waiting>>,
}

struct Waiting {
    trigger: Trigger<Rc<Connection>>,
    connect_timeout: Duration,
    progress: Progress,
}

/// A connection, now or later.
pub(super) enum Found {
    Now(Rc<Connection>),
    /// It has made no progress as long as it is waited for in the queue.
    Later(Deferred<Rc<Connection>>, Progress),
}

impl Pool {
    pub(super) fn new(handle: &Handle) -> Rc<Pool> {
        Rc::new(Pool {
            handle: handle.clone(),
            max_open: Cell::new(64),
            max_idle: Cell::new(16),
            idle_timeout: Cell::new(Duration::from_secs(60)),
            max_age: Cell::new(Duration::from_secs(3600)),
            trust: RefCell::default(),
            proxy: RefCell::default(),
            cookies: RefCell::default(),
            places: RefCell::default(),
            next_number: Cell::new(0),
            sweep: RefCell::new(None),
        })
    }

    /// A connection for a request: an idle one unless it must be `fresh`, else a new one where the bound allows
    /// it, else the next that is free, first come first served.
    pub(super) fn find(self: &Rc<Self>, route: &Route, connect_timeout: Duration, fresh: bool) -> Found {
        let place = self.place(route);
        let now = self.handle.now();
        loop {
            let Some((connection, since)) = place.idle.borrow_mut().pop_back() else { break };
            if fresh || !connection.is_usable() || self.is_over(&connection, since, now) {
                // Gives its place free, and a fresh request room.
                connection.close();
            } else {
                return Found::Now(connection);
            }
        }
        // Anew: with its last connection, the pool forgot the place.
        let place = self.place(route);
        let progress = route.progress();
        if place.open.get() < self.max_open.get() && !place.is_awaited() {
            return Found::Later(place.connect(self, connect_timeout, &progress), progress);
        }
        let (deferred, trigger) = Deferred::new();
        let waiting = Waiting { trigger, connect_timeout, progress: progress.clone() };
        place.waiting.borrow_mut().push_back(waiting);
        Found::Later(deferred, progress)
    }

    fn place(self: &Rc<Self>, route: &Route) -> Rc<Place> {
        let mut places = self.places.borrow_mut();
        if let Some(place) = places.get(route) {
            return place.clone();
        }
        let place = Rc::new(Place {
            pool: Rc::downgrade(self),
            route: route.clone(),
            number: self.next_number.replace(self.next_number.get() + 1),
            idle: RefCell::default(),
            open: Cell::new(0),
            waiting: RefCell::default(),
        });
        places.insert(route.clone(), place.clone());
        place
    }

    fn is_over(&self, connection: &Connection, since: Instant, now: Instant) -> bool {
        now.saturating_duration_since(since) >= self.idle_timeout.get()
            || now.saturating_duration_since(connection.opened) >= self.max_age.get()
    }

    /// The places in the order in which they came, which no hash changes.
    fn in_order(&self) -> Vec<Rc<Place>> {
        let mut places: Vec<Rc<Place>> = self.places.borrow().values().cloned().collect();
        places.sort_unstable_by_key(|place| place.number);
        places
    }

    /// Closes all connections that carry no request.
    pub(super) fn close_idle(&self) {
        for place in self.in_order() {
            let idle = place.idle.take();
            idle.iter().for_each(|(connection, _)| connection.close());
        }
    }

    /// How many connections are open, and how many of these are idle.
    pub(super) fn count(&self) -> (usize, usize) {
        let places = self.places.borrow();
        places
            .values()
            .fold((0, 0), |(open, idle), place| (open + place.open.get(), idle + place.idle.borrow().len()))
    }

    /// Sees to it that connections that stay idle are closed.
    fn sweep_later(self: &Rc<Self>, after: Duration) {
        let mut sweep = self.sweep.borrow_mut();
        // A run that ended has dropped it.
        if sweep.as_ref().is_none_or(|sweep| !sweep.active()) {
            let weak = Rc::downgrade(self);
            *sweep = Some(self.handle.call_later(after, move || {
                if let Some(pool) = weak.upgrade() {
                    pool.sweep();
                }
            }));
        }
    }

    fn sweep(self: &Rc<Self>) {
        self.sweep.replace(None);
        let now = self.handle.now();
        let mut next: Option<Duration> = None;
        for place in self.in_order() {
            loop {
                let first =
                    place.idle.borrow().front().map(|(connection, since)| (connection.clone(), *since));
                let Some((connection, since)) = first else { break };
                let idle = now.saturating_duration_since(since);
                match self.idle_timeout.get().checked_sub(idle) {
                    Some(left) if !left.is_zero() => {
                        next = Some(next.map_or(left, |next| next.min(left)));
                        break;
                    }
                    _ => connection.close(),
                }
            }
        }
        if let Some(after) = next {
            self.sweep_later(after);
        }
    }
}

impl Drop for Pool {
    /// The connections belong to the reactor; without a pool nobody uses them.
    fn drop(&mut self) {
        self.close_idle();
        if let Some(sweep) = self.sweep.take() {
            let _ = sweep.cancel();
        }
    }
}

impl Place {
    fn connect(
        self: &Rc<Self>,
        pool: &Pool,
        timeout: Duration,
        progress: &Progress,
    ) -> Deferred<Rc<Connection>> {
        self.open.set(self.open.get() + 1);
        let connection = Connection::new(Some(Rc::downgrade(self)), pool.handle.now());
        let failed = connection.clone();
        let protocol = ClientProtocol::new(connection.clone());
        let connected = self.route.connect(&pool.handle, timeout, &pool.trust.borrow(), protocol, progress);
        let connected = match connected {
            Ok(connected) => connected,
            Err(failure) => {
                failed.close();
                return fail(failure);
            }
        };
        connected.add_callbacks(
            move |_| Ok(connection),
            move |failure| {
                failed.close();
                Err(failure)
            },
        )
    }

    /// A connection is free: the first that waits gets it, else it is kept.
    pub(super) fn release(self: &Rc<Self>, connection: Rc<Connection>) {
        let Some(pool) = self.pool.upgrade() else { return connection.close() };
        let now = pool.handle.now();
        if pool.is_over(&connection, now, now) {
            return connection.close();
        }
        if let Some(waiting) = self.next_waiting() {
            return waiting.trigger.callback(connection);
        }
        self.idle.borrow_mut().push_back((connection, now));
        if self.idle.borrow().len() > pool.max_idle.get() {
            let oldest = self.idle.borrow_mut().pop_front();
            if let Some((oldest, _)) = oldest {
                oldest.close();
            }
        }
        pool.sweep_later(pool.idle_timeout.get());
    }

    /// A connection is gone, or did not come to be: somebody else may open one.
    pub(super) fn closed(self: &Rc<Self>, connection: &Connection) {
        self.idle.borrow_mut().retain(|(idle, _)| !std::ptr::eq(&**idle, connection));
        self.open.set(self.open.get() - 1);
        let Some(pool) = self.pool.upgrade() else { return };
        if self.waiting.borrow().is_empty() {
            if self.open.get() == 0 {
                pool.places.borrow_mut().remove(&self.route);
            }
            return;
        }
        // From the loop: this may be inside a user's call, or inside the failure of another's connection.
        let soon = Soon(Some(self.clone()));
        pool.handle.call_later(Duration::ZERO, move || soon.serve());
    }

    fn serve(self: &Rc<Self>) {
        let Some(pool) = self.pool.upgrade() else { return };
        while self.open.get() < pool.max_open.get() {
            let Some(waiting) = self.next_waiting() else { break };
            let place = self.clone();
            drop(self.connect(&pool, waiting.connect_timeout, &waiting.progress).add_both(move |result| {
                match result {
                    // Cancelled meanwhile: somebody else will want it.
                    Ok(connection) if !waiting.trigger.is_live() => place.release(connection),
                    result => waiting.trigger.fire(result),
                }
            }));
        }
        if self.open.get() == 0 && self.waiting.borrow().is_empty() {
            pool.places.borrow_mut().remove(&self.route);
        }
    }

    /// Whether somebody waits, who comes first.
    fn is_awaited(&self) -> bool {
        self.waiting.borrow().iter().any(|waiting| waiting.trigger.is_live())
    }

    /// The first that waits still; those cancelled meanwhile give up their place.
    fn next_waiting(&self) -> Option<Waiting> {
        loop {
            let waiting = self.waiting.borrow_mut().pop_front()?;
            if waiting.trigger.is_live() {
                return Some(waiting);
            }
        }
    }
}

/// A call to come. If it never does, the reactor is gone, and nobody who waits will be served.
struct Soon(Option<Rc<Place>>);

impl Soon {
    fn serve(mut self) {
        if let Some(place) = self.0.take() {
            place.serve();
        }
    }
}

impl Drop for Soon {
    fn drop(&mut self) {
        if let Some(place) = self.0.take() {
            drop(place.waiting.take());
        }
    }
}
