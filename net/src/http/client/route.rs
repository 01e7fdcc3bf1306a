//! The way to an origin.

use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::{Cancelled, Deferred, Failure};
use twistor_reactor::Handle;

use super::errors::ProxyUnreachable;
use super::proxy::{Proxy, Via};
use super::trust::Trust;
#[cfg(feature = "tls")]
use super::trust::trusting;
#[cfg(feature = "tls")]
use super::tunnel::Tunnel;
use crate::endpoint::timeout::{Progress, within};
use crate::http::{Origin, Scheme, Url};
use crate::transport::connection::Connection;
use crate::transport::watched::WatchedSocket;
use crate::{ClientEndpoint, ConnectStage, Protocol, Transport};

/// Where a connection leads. Requests with the same route can share one.
#[derive(Clone)]
pub(super) enum Route {
    Direct(Origin),
    /// To a proxy that is given whole requests, for any `http` origin.
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

    /// The proxy that reads the requests.
    pub(super) fn reader(&self) -> Option<&Via> {
        match self {
            Route::Forward(via) => Some(via),
            Route::Direct(_) | Route::Tunnel(..) => None,
        }
    }

    /// Whether connections are secured by TLS.
    pub(super) fn is_secured(&self) -> bool {
        match self {
            Route::Direct(origin) => origin.scheme == Scheme::Https,
            Route::Forward(via) => via.url.scheme() == Scheme::Https,
            Route::Tunnel(..) => true,
        }
    }

    /// What leads to that origin, in words.
    pub(super) fn to(&self, origin: &Origin) -> String {
        match self {
            Route::Direct(_) => origin.to_string(),
            Route::Forward(via) | Route::Tunnel(_, via) => {
                format!("{origin} through the proxy {}", via.name())
            }
        }
    }

    /// A connection that is not being made yet: what is to be reached first.
    pub(super) fn progress(&self) -> Progress {
        Progress::new(match self {
            Route::Direct(origin) => Rc::new(origin.clone()),
            Route::Forward(via) | Route::Tunnel(_, via) => Rc::new(format!("the proxy {}", via.name())),
        })
    }

    /// A connection, made in the time allowed.
    pub(super) fn connect(
        &self,
        handle: &Handle,
        timeout: Duration,
        trust: &Trust,
        protocol: impl Protocol,
        progress: &Progress,
    ) -> Result<Deferred<Transport>, Failure> {
        progress.enter(ConnectStage::Answer);
        let connected = match self {
            Route::Direct(origin) => endpoint(origin, trust)?.open(handle, progress),
            Route::Forward(via) => reach(via, handle, progress)?,
            Route::Tunnel(origin, via) => {
                secured(handle, reach(via, handle, progress)?, origin, via, trust, progress)?
            }
        };
        let starter = handle.clone();
        Ok(within(handle, connected, timeout, progress.clone())
            .add_callback(move |socket| Ok(Connection::start(&starter, socket, protocol)?)))
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

/// A socket connected to a proxy.
fn reach(via: &Rc<Via>, handle: &Handle, progress: &Progress) -> Result<Deferred<WatchedSocket>, Failure> {
    #[cfg(feature = "tls")]
    let trust = &via.tls;
    #[cfg(not(feature = "tls"))]
    let trust = &();
    let proxy = via.name();
    let connected = endpoint(&via.url.origin(), trust)?.open(handle, progress);
    Ok(connected.add_errback(move |failure| {
        if failure.is::<Cancelled>() {
            return Err(failure);
        }
        Err(ProxyUnreachable { proxy, source: failure.into() }.into())
    }))
}

/// Speaks TLS with the origin at the other end of a tunnel.
#[cfg(feature = "tls")]
fn secured(
    handle: &Handle,
    connected: Deferred<WatchedSocket>,
    origin: &Origin,
    via: &Rc<Via>,
    trust: &Trust,
    progress: &Progress,
) -> Result<Deferred<WatchedSocket>, Failure> {
    let tls = trusting(trust)?;
    let tunnel = Tunnel::new(origin, via)?;
    let (digger, handle, host) = (handle.clone(), handle.clone(), origin.host.clone());
    let what = Route::Tunnel(origin.clone(), via.clone()).to(origin);
    let (digging, securing) = (progress.clone(), progress.clone());
    let target = what.clone();
    let dug = connected.add_callback(move |socket| {
        digging.go_on(target, ConnectStage::Tunnel);
        tunnel.dig(&digger, socket)
    });
    Ok(dug.add_callback(move |socket| {
        securing.enter(ConnectStage::Handshake);
        tls.secure(&handle, &host, socket).add_errback(move |failure| Err(failure.context(what)))
    }))
}

#[cfg(not(feature = "tls"))]
fn secured(
    _: &Handle,
    _: Deferred<WatchedSocket>,
    _: &Origin,
    _: &Rc<Via>,
    (): &Trust,
    _: &Progress,
) -> Result<Deferred<WatchedSocket>, Failure> {
    Err(super::TlsUnavailable.into())
}

fn endpoint(origin: &Origin, trust: &Trust) -> Result<ClientEndpoint, Failure> {
    match origin.scheme {
        Scheme::Http => Ok(ClientEndpoint::tcp(origin.host.clone(), origin.port)),
        Scheme::Https => secure(origin, trust),
    }
}

#[cfg(feature = "tls")]
fn secure(origin: &Origin, trust: &Trust) -> Result<ClientEndpoint, Failure> {
    Ok(ClientEndpoint::tls(origin.host.clone(), origin.port, trusting(trust)?))
}

#[cfg(not(feature = "tls"))]
fn secure(_origin: &Origin, (): &Trust) -> Result<ClientEndpoint, Failure> {
    Err(super::TlsUnavailable.into())
}
