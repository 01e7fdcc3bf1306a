//! The route to an origin.

use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::{Cancelled, Deferred, Failure, fail, maybe_deferred};
use twistor_net::connect::{Connect, Connecting, Tcp};
use twistor_net::{ConnectStage, Protocol, Stream, Transport};
use twistor_reactor::Handle;

use super::errors::ProxyUnreachable;
use super::proxy::{Proxy, Via};
use super::trust::Trust;
#[cfg(feature = "tls")]
use super::trust::trusting;
#[cfg(feature = "tls")]
use super::tunnel::Tunnel;
use crate::{Origin, Scheme, Url};

/// The route of a connection. Requests with the same route can share one.
#[derive(Clone)]
pub(super) enum Route {
    Direct(Origin),
    /// To a proxy that receives whole requests, for any `http` origin.
    Forward(Rc<Via>),
    /// To an `https` origin through a tunnel of a proxy.
    Tunnel(Origin, Rc<Via>),
}

impl Route {
    pub(super) fn new(url: &Url, proxy: Option<&Proxy>) -> Result<Route, Failure> {
        let via = proxy.map_or(Ok(None), |proxy| proxy.via(url))?;
        Ok(match (via, url.scheme()) {
            (None, _) => Route::Direct(url.origin()),
            (Some(via), Scheme::Http) => Route::Forward(via.clone()),
            (Some(via), Scheme::Https) => Route::Tunnel(url.origin(), via.clone()),
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
            Route::Direct(origin) => origin.scheme == Scheme::Https,
            Route::Forward(via) => via.url.scheme() == Scheme::Https,
            Route::Tunnel(..) => true,
        }
    }

    /// Returns the name of an origin and its route in error messages.
    pub(super) fn to(&self, origin: &Origin) -> String {
        match self {
            Route::Direct(_) => origin.to_string(),
            Route::Forward(via) | Route::Tunnel(_, via) => {
                format!("{origin} through the proxy {}", via.name())
            }
        }
    }

    /// Creates the state of a connection to the first target of the route.
    pub(super) fn connecting(&self, handle: &Handle) -> Connecting {
        match self {
            Route::Direct(origin) => Connecting::new(handle, origin.clone()),
            Route::Forward(via) | Route::Tunnel(_, via) => {
                Connecting::new(handle, format!("the proxy {}", via.name()))
            }
        }
    }

    /// Connects, within the timeout.
    pub(super) fn connect(
        &self,
        timeout: Duration,
        trust: &Trust,
        dial: &Dial,
        protocol: impl Protocol,
        on: &Connecting,
    ) -> Deferred<Transport> {
        on.enter(ConnectStage::Answer);
        let starter = on.handle().clone();
        let connected = on.within(timeout, |on| {
            let connected = match self {
                Route::Direct(origin) => reach_origin(origin, trust, dial, on),
                Route::Forward(via) => reach_proxy(via, dial, on),
                Route::Tunnel(origin, via) => reach_through(origin, via, trust, dial, on),
            };
            connected.unwrap_or_else(fail)
        });
        connected.add_callback(move |stream| Ok(stream.run(&starter, protocol)?))
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
        Scheme::Https => secure(connector, on, trust),
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
fn secure(dialling: Dialling, on: &Connecting, trust: &Trust) -> Result<Deferred<Stream>, Failure> {
    let host = dialling.origin.host.clone();
    Ok(twistor_net::connect::Tls::new(dialling, host, trusting(trust)?).connect(on))
}

#[cfg(not(feature = "tls"))]
fn secure(_: Dialling, _: &Connecting, _: &Trust) -> Result<Deferred<Stream>, Failure> {
    Err(super::TlsUnavailable.into())
}

/// Connects to a proxy.
fn reach_proxy(via: &Rc<Via>, dial: &Dial, on: &Connecting) -> Result<Deferred<Stream>, Failure> {
    #[cfg(feature = "tls")]
    let trust = &via.tls;
    #[cfg(not(feature = "tls"))]
    let trust = &Trust;
    let proxy = via.name();
    Ok(reach_origin(&via.url.origin(), trust, dial, on)?.add_errback(move |failure| {
        if failure.is::<Cancelled>() {
            return Err(failure);
        }
        Err(ProxyUnreachable { proxy, source: failure.into() }.into())
    }))
}

/// Connects to an origin through a proxy's tunnel, with TLS.
#[cfg(feature = "tls")]
fn reach_through(
    origin: &Origin,
    via: &Rc<Via>,
    trust: &Trust,
    dial: &Dial,
    on: &Connecting,
) -> Result<Deferred<Stream>, Failure> {
    let tls = trusting(trust)?;
    let tunnel = Tunnel::new(origin, via)?;
    let connected = reach_proxy(via, dial, on)?;
    let what = Route::Tunnel(origin.clone(), via.clone()).to(origin);
    let (digging, securing, host) = (on.clone(), on.clone(), origin.host.clone());
    let target = what.clone();
    let dug = connected.add_callback(move |stream| {
        digging.go_on(target, ConnectStage::Tunnel);
        tunnel.dig(digging.handle(), stream)
    });
    Ok(dug.add_callback(move |stream| {
        securing.enter(ConnectStage::Handshake);
        // The deadline of the request bounds the handshake too, and its error names the stage.
        let tls = if securing.deadline().is_some() { tls.handshake_timeout(Duration::MAX) } else { tls };
        tls.secure(securing.handle(), &host, stream).add_errback(move |failure| Err(failure.context(what)))
    }))
}

#[cfg(not(feature = "tls"))]
fn reach_through(
    _: &Origin,
    _: &Rc<Via>,
    _: &Trust,
    _: &Dial,
    _: &Connecting,
) -> Result<Deferred<Stream>, Failure> {
    Err(super::TlsUnavailable.into())
}
