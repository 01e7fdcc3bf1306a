//! The route to an origin.

use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::{Cancelled, Deferred, Failure, fail, maybe_deferred};
use twistor_net::connect::{Connect, Connecting, Socks5, Tcp};
use twistor_net::{ConnectStage, Stream};
use twistor_reactor::Handle;

use super::errors::ProxyUnreachable;
use super::exchange::ClientProtocol;
use super::proxy::Proxy;
use super::trust::Trust;
#[cfg(feature = "tls")]
use super::trust::trusting;
#[cfg(feature = "tls")]
use super::tunnel::Tunnel;
use super::via::{Socks, Via};
use crate::{Origin, Scheme, Url};

/// The route of a connection. Requests with the same route can share one.
#[derive(Clone)]
pub(super) enum Route {
    Direct(Origin),
    /// To a proxy that receives whole requests, for any `http` origin.
    Forward(Rc<Via>),
    /// To an origin through a tunnel of a proxy: an `https` one by `CONNECT`, any by SOCKS.
    Tunnel(Origin, Rc<Via>),
}

impl Route {
    pub(super) fn new(url: &Url, proxy: Option<&Proxy>) -> Result<Route, Failure> {
        let via = proxy.map_or(Ok(None), |proxy| proxy.via(url))?;
        Ok(match (via, url.scheme()) {
            (None, _) => Route::Direct(url.origin()),
            (Some(via), Scheme::Http) if via.socks.is_none() => Route::Forward(via.clone()),
            (Some(via), _) => Route::Tunnel(url.origin(), via.clone()),
        })
    }

    /// Returns the proxy that receives the requests.
    pub(super) fn reader(&self) -> Option<&Via> {
        match self {
            Route::Forward(via) => Some(via),
            Route::Direct(_) | Route::Tunnel(..) => None,
        }
    }

    /// Returns whether the connections use TLS.
    pub(super) fn is_secured(&self) -> bool {
        match self {
            Route::Direct(origin) | Route::Tunnel(origin, _) => origin.scheme == Scheme::Https,
            Route::Forward(via) => via.url.scheme() == Scheme::Https,
        }
    }

    /// Returns the name of an origin and its route in error messages.
    pub(super) fn to(&self, origin: &Origin) -> String {
        match self {
            Route::Direct(_) => origin.to_string(),
            Route::Forward(via) | Route::Tunnel(_, via) => through(origin, via),
        }
    }

    /// Creates the state of a connection to the first target of the route.
    pub(super) fn connecting(&self, handle: &Handle) -> Connecting {
        match self {
            Route::Direct(origin) => Connecting::new(handle, origin.clone()),
            Route::Forward(via) | Route::Tunnel(_, via) => Connecting::new(handle, the_proxy(via)),
        }
    }

    /// Connects, within the timeout, and returns what `lend` returns then.
    pub(super) fn connect<L: 'static>(
        &self,
        timeout: Duration,
        trust: &Trust,
        dial: &Dial,
        protocol: ClientProtocol,
        on: &Connecting,
        lend: impl FnOnce() -> L + 'static,
    ) -> Deferred<L> {
        let starter = on.handle().clone();
        self.reach(timeout, trust, dial, on).add_callback(move |stream| {
            stream.run(&starter, protocol)?;
            Ok(lend())
        })
    }

    fn reach(&self, timeout: Duration, trust: &Trust, dial: &Dial, on: &Connecting) -> Deferred<Stream> {
        on.enter(ConnectStage::Answer);
        on.within(timeout, |on| {
            let connected = match self {
                Route::Direct(origin) => reach_origin(origin, trust, dial, on),
                Route::Forward(via) => reach_proxy(via, dial, on),
                Route::Tunnel(origin, via) => reach_through(origin, via, trust, dial, on),
            };
            connected.unwrap_or_else(fail)
        })
    }
}

impl PartialEq for Route {
    fn eq(&self, other: &Route) -> bool {
        match (self, other) {
            (Route::Direct(one), Route::Direct(two)) => one == two,
            (Route::Forward(one), Route::Forward(two)) => one.is_same(two),
            (Route::Tunnel(one, via), Route::Tunnel(two, other)) => one == two && via.is_same(other),
            _ => false,
        }
    }
}

impl Eq for Route {}

impl Hash for Route {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Route::Direct(origin) => origin.hash(state),
            Route::Forward(via) => via.url.hash(state),
            Route::Tunnel(origin, via) => (origin, &via.url).hash(state),
        }
    }
}

/// The agent's connector to a host and port. `None`: TCP.
pub(super) type Dial = Option<Rc<dyn Fn(&Connecting, &Origin) -> Deferred<Stream>>>;

/// Connects to the host and port of an origin, with TLS for an `https` one.
fn reach_origin(
    origin: &Origin,
    trust: &Trust,
    dial: &Dial,
    on: &Connecting,
) -> Result<Deferred<Stream>, Failure> {
    let connector = Dialling { origin: origin.clone(), dial: dial.clone() };
    match origin.scheme {
        Scheme::Http => Ok(connector.connect(on)),
        Scheme::Https => secure(connector, &origin.host, on, trust),
    }
}

/// The connector to the host and port of an origin, without TLS.
struct Dialling {
    origin: Origin,
    dial: Dial,
}

impl Connect for Dialling {
    fn connect(&self, on: &Connecting) -> Deferred<Stream> {
        match &self.dial {
            // A panic of it fails this request only.
            Some(dial) => maybe_deferred(|| dial(on, &self.origin)),
            None => Tcp::new(self.origin.host.clone(), self.origin.port).connect(on),
        }
    }
}

#[cfg(feature = "tls")]
fn secure(
    connector: impl Connect,
    host: &str,
    on: &Connecting,
    trust: &Trust,
) -> Result<Deferred<Stream>, Failure> {
    Ok(twistor_net::connect::Tls::new(connector, host, trusting(trust)?).connect(on))
}

#[cfg(not(feature = "tls"))]
fn secure(_: impl Connect, _: &str, _: &Connecting, _: &Trust) -> Result<Deferred<Stream>, Failure> {
    Err(super::TlsUnavailable.into())
}

/// Connects to a proxy.
fn reach_proxy(via: &Rc<Via>, dial: &Dial, on: &Connecting) -> Result<Deferred<Stream>, Failure> {
    #[cfg(feature = "tls")]
    let trust = &via.tls;
    #[cfg(not(feature = "tls"))]
    let trust = &Trust;
    let proxy = via.name.clone();
    Ok(reach_origin(&via.url.origin(), trust, dial, on)?.add_errback(move |failure| {
        if failure.is::<Cancelled>() {
            return Err(failure);
        }
        Err(ProxyUnreachable { proxy, source: failure.into() }.into())
    }))
}

/// Connects to an origin through a proxy's tunnel, with TLS for an `https` one.
fn reach_through(
    origin: &Origin,
    via: &Rc<Via>,
    trust: &Trust,
    dial: &Dial,
    on: &Connecting,
) -> Result<Deferred<Stream>, Failure> {
    let tunnel = {
        let (origin, via, dial) = (origin.clone(), via.clone(), dial.clone());
        move |on: &Connecting| match &via.socks {
            Some(socks) => ask_socks(socks, &origin, &via, &dial, on),
            None => dig(&origin, &via, &dial, on).unwrap_or_else(fail),
        }
    };
    if origin.scheme == Scheme::Http {
        return Ok(tunnel.connect(on));
    }
    let (stage, what) = (on.clone(), through(origin, via));
    Ok(secure(tunnel, &origin.host, on, trust)?.add_errback(move |failure| {
        // Earlier failures name the proxy themselves, and so does that of TLS with it.
        let is_late = stage.stage() == Some(ConnectStage::Handshake) && !failure.is::<ProxyUnreachable>();
        Err(if is_late { failure.context(what) } else { failure })
    }))
}

/// Opens a tunnel by `CONNECT`.
#[cfg(feature = "tls")]
fn dig(origin: &Origin, via: &Rc<Via>, dial: &Dial, on: &Connecting) -> Result<Deferred<Stream>, Failure> {
    let tunnel = Tunnel::new(origin, via)?;
    let (what, digging) = (through(origin, via), on.clone());
    Ok(reach_proxy(via, dial, on)?.add_callback(move |stream| {
        digging.go_on(what, ConnectStage::Tunnel);
        tunnel.dig(digging.handle(), stream)
    }))
}

/// Only an `https` origin needs such a tunnel.
#[cfg(not(feature = "tls"))]
fn dig(_: &Origin, _: &Rc<Via>, _: &Dial, _: &Connecting) -> Result<Deferred<Stream>, Failure> {
    Err(super::TlsUnavailable.into())
}

/// Opens a tunnel by SOCKS5.
fn ask_socks(
    socks: &Socks,
    origin: &Origin,
    via: &Rc<Via>,
    dial: &Dial,
    on: &Connecting,
) -> Deferred<Stream> {
    let what = through(origin, via);
    let proxy = {
        let (what, via, dial) = (what.clone(), via.clone(), dial.clone());
        move |on: &Connecting| {
            on.go_on(the_proxy(&via), ConnectStage::Answer);
            let (what, asking) = (what.clone(), on.clone());
            let reached = reach_proxy(&via, &dial, on).unwrap_or_else(fail);
            reached.add_callback(move |stream| {
                asking.go_on(what, ConnectStage::Tunnel);
                Ok(stream)
            })
        }
    };
    let mut socks5 = Socks5::by(proxy);
    if let Some((user, password)) = &socks.credentials {
        socks5 = socks5.credentials(user, password);
    }
    if socks.looks_up {
        // The lookup of the origin's name precedes the connection to the proxy.
        on.go_on(what.clone(), ConnectStage::Lookup);
        socks5 = socks5.look_up_names();
    }
    socks5.to(&origin.host, origin.port).connect(on).add_errback(move |failure| {
        let is_named = failure.is::<ProxyUnreachable>() || failure.is::<Cancelled>();
        Err(if is_named { failure } else { failure.context(what) })
    })
}

/// Returns the name of a proxy as a target.
fn the_proxy(via: &Via) -> String {
    format!("the proxy {}", via.name)
}

/// Returns the name of an origin and the proxy on the way to it.
fn through(origin: &Origin, via: &Via) -> String {
    format!("{origin} through the proxy {}", via.name)
}
