//! One request, with its redirects, its retry and its time limits.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ::http::header::{COOKIE, HeaderValue};
use twistor_deferred::{Canceller, Failure, guarded};
use twistor_reactor::{DelayedCall, Handle, defer_later};

use super::connection::{ClientProtocol, Connection};
use super::destination::{Appetite, Destination, Ending};
use super::errors::{IdleTimedOut, RequestStage, RequestTimedOut};
#[cfg(feature = "compression")]
use super::inflate::Inflater;
use super::pool::{Found, Pool};
use super::request::{Parts, Request, Settings};
use super::route::Route;
use super::trust::is_default;
use crate::endpoint::timeout::Progress;
use crate::http::{BodyLength, Hop, ResponseHead};
use crate::{HandlerPanicked, Transport};

/// The body of a redirect is read up to here, to keep the connection; a larger one costs the connection.
const SKIPPED_BODY: u64 = 64 << 10;

pub(super) struct Fetch {
    handle: Handle,
    pool: Option<Rc<Pool>>,
    settings: RefCell<Settings>,
    parts: RefCell<Parts>,
    destination: Rc<dyn Destination>,
    /// The way of the connection looked for last.
    route: RefCell<Option<Route>>,
    stage: RefCell<Stage>,
    /// The redirect whose own body is being passed over.
    hop: RefCell<Option<(Hop, u64)>>,
    /// Whether a head was handed on: then the response is the answer, whatever happens.
    answered: Cell<bool>,
    retried: Cell<bool>,
    /// How the exchange ended, while the end of what came is held back.
    ending: Cell<Option<Ending>>,
    /// The destination was told of the end, or will not be.
    done: Cell<bool>,
    /// When the server was last heard of, or last given something to do.
    heard: Cell<Option<Instant>>,
    #[cfg(feature = "compression")]
    inflater: RefCell<Option<Box<Inflater>>>,
    whole: RefCell<Option<DelayedCall>>,
    idle: RefCell<Option<DelayedCall>>,
}

enum Stage {
    New,
    /// Waiting for a connection, and how far that has come.
    Waiting(Canceller, Progress),
    Exchanging(Rc<Connection>),
}

impl Fetch {
    /// Starts the request; its end comes to `destination`, perhaps before this returns.
    pub(super) fn start(
        handle: &Handle,
        pool: Option<Rc<Pool>>,
        request: Request,
        destination: Rc<dyn Destination>,
    ) -> Option<Rc<Fetch>> {
        let Request { parts, settings } = request;
        let parts = match parts {
            Ok(parts) => parts,
            Err(failure) => {
                destination.ended(Ending::Failed(failure));
                return None;
            }
        };
        let timeout = settings.timeout;
        let fetch = Rc::new(Fetch {
            handle: handle.clone(),
            pool,
            settings: RefCell::new(settings),
            parts: RefCell::new(parts),
            destination,
            route: RefCell::new(None),
            stage: RefCell::new(Stage::New),
            hop: RefCell::new(None),
            answered: Cell::new(false),
            retried: Cell::new(false),
            ending: Cell::new(None),
            done: Cell::new(false),
            heard: Cell::new(None),
            #[cfg(feature = "compression")]
            inflater: RefCell::new(None),
            whole: RefCell::new(None),
            idle: RefCell::new(None),
        });
        if let Some(after) = timeout {
            let weak = Rc::downgrade(&fetch);
            let call = handle.call_later(after, move || {
                if let Some(fetch) = weak.upgrade() {
                    let (target, stage) = fetch.awaited();
                    fetch.fail(RequestTimedOut { target, stage, after }.into());
                }
            });
            fetch.whole.replace(Some(call));
        }
        Some(fetch)
    }

    /// Looks for a connection, and sends the request on it.
    pub(super) fn attempt(self: &Rc<Self>, fresh: bool) {
        let route = self.route();
        let (timeout, trust) = {
            let settings = self.settings.borrow();
            #[cfg(feature = "tls")]
            let trust = settings.tls.clone();
            #[cfg(not(feature = "tls"))]
            let trust = ();
            (settings.connect_timeout, trust)
        };
        let found = match &self.pool {
            Some(pool) if is_default(&trust) => pool.find(&route, timeout, fresh),
            _ => {
                let connection = Connection::new(None, self.handle.now());
                let protocol = ClientProtocol::new(connection.clone());
                let progress = route.progress();
                let connected = match route.connect(&self.handle, timeout, &trust, protocol, &progress) {
                    Ok(connected) => connected,
                    Err(failure) => return self.fail(failure),
                };
                Found::Later(connected.add_callback(move |_| Ok(connection)), progress)
            }
        };
        self.route.replace(Some(route));
        let (later, progress) = match found {
            Found::Now(connection) => return self.send(connection),
            Found::Later(later, progress) => (later, progress),
        };
        self.stage.replace(Stage::Waiting(later.canceller(), progress));
        let (fetch, failing) = (self.clone(), self.clone());
        drop(
            later.add_callbacks(
                move |connection| fetch.send(connection),
                move |failure| failing.fail(failure),
            ),
        );
    }

    fn route(&self) -> Route {
        let (parts, settings) = (self.parts.borrow(), self.settings.borrow());
        match (&settings.proxy, &self.pool) {
            (None, Some(pool)) => Route::new(&parts.url, pool.proxy.borrow().as_ref()),
            (own, _) => Route::new(&parts.url, own.as_ref()),
        }
    }

    fn send(self: &Rc<Self>, connection: Rc<Connection>) {
        if self.done.get() {
            return connection.unwanted();
        }
        // The jar is the program's: a panic in it costs this request, and not the connection's place.
        let cookies = match guarded(|| self.cookies()) {
            Ok(cookies) => cookies,
            Err(message) => {
                connection.unwanted();
                return self.fail(HandlerPanicked::new("cookies", message).into());
            }
        };
        let (request, method, limits) = {
            let (parts, settings) = (self.parts.borrow(), self.settings.borrow());
            let request = match &*self.route.borrow() {
                Some(route) => parts.encode(connection.is_pooled(), route, cookies),
                None => return connection.unwanted(),
            };
            (request, parts.method.clone(), settings.limits.clone())
        };
        let request = match request {
            Ok(request) => request,
            Err(error) => {
                connection.unwanted();
                return self.fail(error.into());
            }
        };
        self.touch();
        self.watch();
        self.stage.replace(Stage::Exchanging(connection.clone()));
        if !connection.send(self.clone(), method, limits, request) {
            drop(connection.detach());
            connection.abort();
            let cause = "the connection was closed".to_owned();
            self.ended(Ending::NoResponse { partial: false, stale: true, cause });
        }
    }

    /// What is waited for, and of whom.
    fn awaited(&self) -> (String, RequestStage) {
        if let Stage::Waiting(_, progress) = &*self.stage.borrow() {
            let stage = progress.stage().map_or(RequestStage::Queue, RequestStage::Connect);
            return (progress.target(), stage);
        }
        let origin = self.parts.borrow().url.origin();
        let target =
            self.route.borrow().as_ref().map_or_else(|| origin.to_string(), |route| route.to(&origin));
        let stage = if self.answered.get() || self.hop.borrow().is_some() {
            RequestStage::Body
        } else if self.transport().is_some_and(|transport| transport.buffered() > 0) {
            RequestStage::Send
        } else {
            RequestStage::Head
        };
        (target, stage)
    }

    /// How much of what comes is wanted.
    pub(super) fn appetite(&self) -> Appetite {
        if self.answered.get() { self.destination.appetite() } else { Appetite::Little }
    }

    /// The destination wants more, and what it has held up is to come.
    pub(super) fn resume(self: &Rc<Self>) {
        if !self.is_held_up() {
            return;
        }
        // Silence counts from now on.
        self.touch();
        if self.is_holding() {
            // From the loop, so that one who asks again each time is not called from inside itself.
            let (fetch, failing) = (self.clone(), self.clone());
            let soon = defer_later(&self.handle, Duration::ZERO, || Ok(()));
            drop(soon.add_callbacks(move |()| fetch.go_on(), move |failure| failing.fail(failure)));
        } else {
            self.read_on();
        }
    }

    /// Whether it is the reader of the response who holds it up, and not the server.
    fn is_held_up(&self) -> bool {
        self.is_holding() || self.transport().is_some_and(|transport| transport.is_paused())
    }

    fn read_on(&self) {
        if let Some(transport) = self.transport() {
            transport.resume_producing();
        }
    }

    fn transport(&self) -> Option<Transport> {
        match &*self.stage.borrow() {
            Stage::Exchanging(connection) => connection.transport().cloned(),
            _ => None,
        }
    }

    /// Something came.
    pub(super) fn touch(&self) {
        self.heard.set(Some(self.handle.now()));
    }

    /// Sees to it that silence is noticed. The timer is not moved for every byte: when it rings, it looks how long
    /// ago the last one came.
    fn watch(self: &Rc<Self>) {
        let Some(after) = self.settings.borrow().idle_timeout else { return };
        if self.idle.borrow().is_none() {
            self.ring(after, after);
        }
    }

    fn ring(self: &Rc<Self>, delay: Duration, after: Duration) {
        let weak = Rc::downgrade(self);
        let call = self.handle.call_later(delay, move || {
            let Some(fetch) = weak.upgrade().filter(|fetch| !fetch.done.get()) else { return };
            let waiting = !matches!(*fetch.stage.borrow(), Stage::Exchanging(_));
            if waiting || fetch.is_held_up() {
                fetch.touch();
            }
            let now = fetch.handle.now();
            let silence = now.saturating_duration_since(fetch.heard.get().unwrap_or(now));
            match after.checked_sub(silence) {
                Some(left) if !left.is_zero() => fetch.ring(left, after),
                _ => {
                    let (target, stage) = fetch.awaited();
                    fetch.fail(IdleTimedOut { target, stage, after }.into());
                }
            }
        });
        self.idle.replace(Some(call));
    }

    /// What the jar of the agent has for this request.
    fn cookies(&self) -> Option<HeaderValue> {
        let jar = self.pool.as_ref()?.cookies.borrow().clone()?;
        let url = {
            let parts = self.parts.borrow();
            if parts.headers.contains_key(COOKIE) {
                return None;
            }
            parts.url.clone()
        };
        jar.cookies(&url)
    }

    /// Puts the cookies of a response into the jar of the agent.
    fn keep_cookies(&self, head: &ResponseHead<'_>) {
        let Some(pool) = &self.pool else { return };
        let jar = pool.cookies.borrow().clone();
        let Some(jar) = jar.filter(|_| head.headers.get("set-cookie").is_some()) else { return };
        let url = self.parts.borrow().url.clone();
        jar.set_cookies(&url, &mut head.headers.get_all("set-cookie"));
    }

    pub(super) fn head(self: &Rc<Self>, connection: &Rc<Connection>, head: &ResponseHead<'_>) {
        self.keep_cookies(head);
        let followed = {
            let (parts, mut settings) = (self.parts.borrow(), self.settings.borrow_mut());
            settings.redirects.follow(&parts.url, &parts.method, head.status, head.headers.get("location"))
        };
        match followed {
            Ok(None) => {
                self.answered.set(true);
                // It will not be sent again, and the body of the response may be kept for long.
                self.parts.borrow_mut().body = Vec::new();
                #[cfg(feature = "compression")]
                let decoded = self.decode(head);
                #[cfg(feature = "compression")]
                let head = decoded.as_ref().unwrap_or(head);
                let url = self.parts.borrow().url.clone();
                if let Err(failure) = self.destination.clone().head(head, url) {
                    self.fail(failure);
                }
            }
            Ok(Some(hop)) => {
                let short = match head.body {
                    BodyLength::Empty => true,
                    BodyLength::Known(length) => length <= SKIPPED_BODY,
                    BodyLength::Chunked => true,
                    BodyLength::ToEnd => false,
                };
                if connection.is_pooled() && head.keep_alive && short {
                    self.hop.replace(Some((hop, SKIPPED_BODY)));
                } else {
                    drop(connection.detach());
                    connection.close();
                    self.follow(hop);
                }
            }
            Err(error) => self.fail(error.into_failure()),
        }
    }

    pub(super) fn data(self: &Rc<Self>, data: &[u8]) {
        if self.answered.get() {
            if let Err(failure) = self.hand_on(data) {
                self.fail(failure);
            }
            return;
        }
        let mut skipping = self.hop.borrow_mut();
        let Some((_, left)) = skipping.as_mut() else { return };
        *left = left.saturating_sub(data.len() as u64);
        if *left > 0 {
            return;
        }
        let hop = skipping.take();
        drop(skipping);
        if let (Stage::Exchanging(connection), Some((hop, _))) = (self.stage.replace(Stage::New), hop) {
            drop(connection.detach());
            connection.abort();
            self.follow(hop);
        }
    }

    /// Sees to it that a compressed body is decompressed. Its length is another then.
    #[cfg(feature = "compression")]
    fn decode<'a>(&self, head: &ResponseHead<'a>) -> Option<ResponseHead<'a>> {
        if head.body == BodyLength::Empty || !self.parts.borrow().is_decoded() {
            return None;
        }
        let limit = self.settings.borrow().max_decoded;
        let inflater = Inflater::new(head.headers.get_all("content-encoding"), limit)?;
        self.inflater.replace(Some(inflater));
        Some(ResponseHead { body: BodyLength::Chunked, ..*head })
    }

    #[cfg(feature = "compression")]
    fn hand_on(&self, data: &[u8]) -> Result<(), Failure> {
        let fed = self.inflater.borrow_mut().as_mut().map(|inflater| inflater.feed(data));
        if fed.is_some() { self.inflate() } else { self.destination.data(data) }
    }

    /// Hands on what comes of the compressed bytes that are there, as long as somebody wants it.
    #[cfg(feature = "compression")]
    fn inflate(&self) -> Result<(), Failure> {
        // Taken out: what is handed on may lead anywhere.
        let Some(mut inflater) = self.inflater.take() else { return Ok(()) };
        let mut outcome = Ok(());
        while outcome.is_ok() && !self.done.get() && self.appetite() != Appetite::None {
            outcome = match inflater.next() {
                Ok(Some(piece)) => self.destination.data(piece),
                Ok(None) => break,
                Err(failure) => Err(failure),
            };
        }
        self.inflater.replace(Some(inflater));
        outcome
    }

    /// Whether compressed bytes are held back until somebody wants what comes of them.
    #[cfg(feature = "compression")]
    fn is_holding(&self) -> bool {
        self.inflater.borrow().as_ref().is_some_and(|inflater| !inflater.is_used_up())
    }

    /// Goes on with what was held back.
    fn go_on(self: &Rc<Self>) {
        #[cfg(feature = "compression")]
        if let Err(failure) = self.inflate() {
            return self.fail(failure);
        }
        if !self.is_holding() {
            self.read_on();
            if let Some(ending) = self.ending.take() {
                self.conclude(ending);
            }
        }
    }

    #[cfg(not(feature = "compression"))]
    fn hand_on(&self, data: &[u8]) -> Result<(), Failure> {
        self.destination.data(data)
    }

    #[cfg(not(feature = "compression"))]
    fn is_holding(&self) -> bool {
        false
    }

    fn follow(self: &Rc<Self>, hop: Hop) {
        self.stage.replace(Stage::New);
        self.parts.borrow_mut().redirect(hop);
        self.retried.set(false);
        self.attempt(false);
    }

    /// The exchange on the connection is over, and the connection forgotten.
    pub(super) fn ended(self: &Rc<Self>, ending: Ending) {
        if self.done.get() {
            return;
        }
        self.stage.replace(Stage::New);
        let hop = self.hop.borrow_mut().take();
        match (ending, hop) {
            // Where it leads is known, however the page that says so ends.
            (Ending::Complete | Ending::Cut { .. }, Some((hop, _))) => self.follow(hop),
            (Ending::NoResponse { stale: true, .. }, _) if self.may_retry() => {
                self.retried.set(true);
                self.attempt(true);
            }
            (ending, _) => {
                self.stop_timers();
                if self.is_holding() {
                    self.ending.set(Some(ending));
                } else {
                    self.conclude(ending);
                }
            }
        }
    }

    /// Tells of the end, when all before it was handed on.
    fn conclude(&self, ending: Ending) {
        if self.done.replace(true) {
            return;
        }
        #[cfg(feature = "compression")]
        let ending = match (ending, self.inflater.take()) {
            (Ending::Complete, Some(inflater)) => {
                inflater.finish().map_or_else(Ending::Failed, |()| Ending::Complete)
            }
            // What was announced is the compressed length, and what came is counted decompressed.
            (Ending::Cut { cause, .. }, Some(_)) => Ending::Cut { expected: None, cause },
            (ending, _) => ending,
        };
        self.destination.ended(ending);
    }

    fn may_retry(&self) -> bool {
        !self.retried.get() && self.parts.borrow().is_idempotent()
    }

    /// Gives up, and tells why.
    pub(super) fn fail(self: &Rc<Self>, failure: Failure) {
        if self.abandon() {
            self.destination.ended(Ending::Failed(failure));
        }
    }

    /// Gives up: closes the connection or gives up waiting for one. False if there is nothing to give up.
    pub(super) fn abandon(&self) -> bool {
        if self.done.get() {
            return false;
        }
        self.done.set(true);
        self.stop_timers();
        #[cfg(feature = "compression")]
        drop(self.inflater.take());
        match self.stage.replace(Stage::New) {
            Stage::New => {}
            Stage::Waiting(canceller, _) => canceller.cancel(),
            Stage::Exchanging(connection) => {
                drop(connection.detach());
                connection.abort();
            }
        }
        true
    }

    fn stop_timers(&self) {
        for timer in [&self.whole, &self.idle] {
            if let Some(call) = timer.borrow_mut().take() {
                let _ = call.cancel();
            }
        }
    }
}
