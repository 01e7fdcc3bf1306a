//! One attempt: a connection, and the request on it.

use std::rc::Rc;

use ::http::header::{COOKIE, HeaderValue};
use twistor_deferred::Failure;
use twistor_net::guarded;

use super::{Fetch, FetchStage};
use crate::ResponseHead;
use crate::client::exchange::{ClientConnection, ClientProtocol, Exchanging};
use crate::client::lease::Lease;
use crate::client::pool::{Found, Kept};
use crate::client::route::Route;
use crate::client::sink::Ending;
use crate::client::trust::is_default;

/// The size from which the progress of sending is observed.
const LARGE: usize = 64 << 10;

/// The unsent bytes that the operating system buffers for such a request, which is the granularity of the
/// progress.
const UNSENT: usize = 64 << 10;

impl Fetch {
    /// Finds a connection and sends the request on it.
    pub(in crate::client) fn attempt(self: &Rc<Self>, fresh: bool) {
        let route = match self.choose_route() {
            Ok(route) => route,
            Err(failure) => return self.fail(failure),
        };
        let (timeout, trust) = {
            let settings = self.settings.borrow();
            #[cfg(feature = "tls")]
            let trust = settings.tls.clone();
            #[cfg(not(feature = "tls"))]
            let trust = crate::client::trust::Trust;
            (settings.connect_timeout, trust)
        };
        let found = match &self.pool {
            Some(pool) if is_default(&trust) => {
                let kept = match self.parts.borrow().is_idempotent() {
                    _ if fresh => Kept::None,
                    true => Kept::Recent,
                    false => Kept::Checked,
                };
                pool.find(&route, timeout, kept)
            }
            _ => {
                let secured = route.is_secured().then(|| self.handle.clone());
                let connection = ClientConnection::new(self.handle.now(), secured);
                let protocol = ClientProtocol::new(connection.clone(), None);
                let connecting = route.connecting(&self.handle);
                let dial = self.pool.as_ref().and_then(|pool| pool.dial.borrow().clone());
                let lend = move || Lease::new(connection, None);
                Found::Later(route.connect(timeout, &trust, &dial, protocol, &connecting, lend), connecting)
            }
        };
        self.route.replace(Some(route));
        let (later, connecting) = match found {
            Found::Now(lease) => return self.send(lease),
            Found::Later(later, connecting) => (later, connecting),
        };
        self.stage.replace(FetchStage::Waiting(later.canceller(), connecting));
        let (fetch, failing) = (self.clone(), self.clone());
        drop(later.add_callbacks(move |lease| fetch.send(lease), move |failure| failing.fail(failure)));
    }

    fn choose_route(&self) -> Result<Route, Failure> {
        let (parts, settings) = (self.parts.borrow(), self.settings.borrow());
        match (&settings.proxy, &self.pool) {
            (None, Some(pool)) => Route::new(&parts.url, pool.proxy.borrow().as_ref()),
            (own, _) => Route::new(&parts.url, own.as_deref()),
        }
    }

    fn send(self: &Rc<Self>, lease: Lease) {
        let Some(connection) = lease.connection().filter(|_| !self.done.get()).cloned() else {
            return lease.give_back(true);
        };
        // A panic of the program's jar fails this request, but not the connection.
        let cookies = match guarded("cookies", || Ok(self.cookies())) {
            Ok(cookies) => cookies,
            Err(failure) => {
                lease.give_back(true);
                return self.fail(failure);
            }
        };
        let encoded = {
            let (parts, settings) = (self.parts.borrow(), self.settings.borrow());
            let route = self.route.borrow();
            let encoded = match &*route {
                Some(route) => parts.encode(lease.is_kept(), route, cookies, settings.decodes()),
                None => return lease.give_back(true),
            };
            encoded.map(|request| (request, parts.method.clone(), settings.limits.clone()))
        };
        let (request, method, limits) = match encoded {
            Ok(encoded) => encoded,
            Err(error) => {
                lease.give_back(true);
                return self.fail(error.into());
            }
        };
        self.heard_now();
        self.stage.replace(FetchStage::Exchanging(lease));
        let is_large = request.len() > LARGE;
        if let Some(transport) = connection.transport().filter(|_| is_large) {
            // Without this option, progress appears in larger steps.
            let _ = transport.set_unsent_limit(UNSENT);
        }
        if connection.send(self.clone(), method, limits, request) {
            self.watch_the_server(is_large);
        } else {
            drop(connection.detach());
            let cause = "the connection was closed".to_owned();
            self.clone().ended(Ending::NoResponse { partial: false, stale: true, cause }, false);
        }
    }

    /// Returns the agent's cookies for this request.
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

    /// Passes the cookies of a response to the agent's jar.
    pub(super) fn keep_cookies(&self, head: &ResponseHead<'_>) {
        let Some(pool) = &self.pool else { return };
        let jar = pool.cookies.borrow().clone();
        let Some(jar) = jar.filter(|_| head.headers.get("set-cookie").is_some()) else { return };
        let url = self.parts.borrow().url.clone();
        jar.set_cookies(&url, &mut head.headers.get_all("set-cookie"));
    }

    pub(super) fn may_retry(&self) -> bool {
        !self.retried.get() && self.parts.borrow().is_idempotent()
    }
}
