//! A client that keeps its connections.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::Deferred;
use twistor_net::Stream;
use twistor_net::connect::Connecting;
use twistor_reactor::Handle;

use super::cookies::Cookies;
use super::page::{self, Page};
use super::pool::Pool;
use super::proxy::Proxy;
use super::request::Request;
use super::stream::{self, Response};
use crate::Origin;

/// A client whose requests share connections. Twisted: `Agent` with an `HTTPConnectionPool`.
///
/// A connection is kept after a response that allows it, and serves further requests to its origin (scheme,
/// host and port). The connection used last is used first. The number of open connections to an origin is
/// limited; further requests wait, first come first served. If a kept connection turns out to be closed, an
/// idempotent request is sent once more, on a new one.
///
/// Clones share the same connections.
///
/// # Dropping
///
/// When the last clone is dropped and all pending requests are done, the connections are closed.
///
/// # Examples
///
/// ```no_run
/// use twistor::prelude::*;
///
/// let reactor = Reactor::new()?;
/// let agent = Agent::new(&reactor).max_connections(4);
/// let length = agent
///     .request(Request::get("http://localhost:8080/large"))
///     .add_callback(|response| {
///         println!("{} {}", response.status(), response.reason());
///         response.into_body().deliver(|piece| Ok(println!("{} bytes", piece.len())))
///     });
/// reactor.run_until(length)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Agent {
    handle: Handle,
    pool: Rc<Pool>,
}

impl Agent {
    /// Creates an agent without connections.
    pub fn new(handle: &Handle) -> Agent {
        Agent { handle: handle.clone(), pool: Pool::new(handle) }
    }

    /// Sets the number of connections that may be open to one origin. Default: 64. At least one.
    #[must_use]
    pub fn max_connections(self, count: usize) -> Agent {
        self.pool.max_open.set(count.max(1));
        self
    }

    /// Sets the number of connections that may be open in total. Default: 256. At least one.
    ///
    /// At the limit, the connection that has been idle longest is closed; if none is idle, requests wait.
    /// They also wait while the process has no descriptor for another connection, up to the
    /// [`connect_timeout`](Request::connect_timeout).
    #[must_use]
    pub fn max_total_connections(self, count: usize) -> Agent {
        self.pool.max_total.set(count.max(1));
        self
    }

    /// Sets the number of idle connections that are kept for one origin. Default: 16. With 0, none is kept.
    #[must_use]
    pub fn max_idle(self, count: usize) -> Agent {
        self.pool.max_idle.set(count);
        self
    }

    /// Sets how long an idle connection is kept. Default: 60 seconds.
    #[must_use]
    pub fn keep_idle(self, time: Duration) -> Agent {
        self.pool.idle_timeout.set(time);
        self
    }

    /// Sets the age up to which a connection is used again. Default: one hour.
    #[must_use]
    pub fn max_age(self, age: Duration) -> Agent {
        self.pool.max_age.set(age);
        self
    }

    /// Sets the trust and client certificate for `https` URLs. Default: the platform's trust.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(self, tls: twistor_net::tls::ClientTls) -> Agent {
        self.pool.trust.replace(Some(super::trust::speaking_http(tls)));
        self
    }

    /// Sets the proxy of requests that [set none](Request::proxy). Default: none.
    ///
    /// Connections through a proxy are separate from others. All `http` requests through a proxy share their
    /// connections to it, and the limit on those, whatever their origins.
    #[must_use]
    pub fn proxy(self, proxy: Proxy) -> Agent {
        self.pool.proxy.replace(Some(proxy));
        self
    }

    /// Sets how the agent reaches the host and port of an origin, or of a proxy, instead of by TCP: such as
    /// over a UNIX socket, or at other addresses. TLS, HTTP and the [proxy](Agent::proxy)'s protocol run on the
    /// connection that `connector` makes.
    ///
    /// A panic of `connector` fails the request.
    ///
    /// # Examples
    ///
    /// The API of Docker, over its UNIX socket:
    ///
    /// ```no_run
    /// # #[cfg(unix)] {
    /// use twistor::net::connect::{Connect, Unix};
    /// use twistor::prelude::*;
    ///
    /// let reactor = Reactor::new()?;
    /// let socket = Unix::new("/run/docker.sock");
    /// let agent = Agent::new(&reactor).connector(move |on, _origin| socket.connect(on));
    /// let version = reactor.run_until(agent.get_page("http://docker/version"))?;
    /// println!("{}", version.text());
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn connector(self, connector: impl Fn(&Connecting, &Origin) -> Deferred<Stream> + 'static) -> Agent {
        self.pool.dial.replace(Some(Rc::new(connector)));
        self
    }

    /// Sets the cookie jar. Default: none.
    #[must_use]
    pub fn cookies(self, jar: Rc<dyn Cookies>) -> Agent {
        self.pool.cookies.replace(Some(jar));
        self
    }

    /// Sends a request, or a `GET` for a URL. The Deferred fires with the head of the response, whose body is
    /// then read from it.
    ///
    /// Every status is a response, those of redirects only with [`Request::keep_redirects`]. The timeouts,
    /// and the limit on the size of the body, apply until its end.
    ///
    /// # Errors
    ///
    /// Those of [`get_page`](super::get_page), except [`HttpError`](super::HttpError).
    ///
    /// # Cancel safety
    ///
    /// Cancelling ends the request, or leaves the queue, and closes its connection.
    ///
    /// # Dropping
    ///
    /// Dropping the Deferred does not end the request. An unread [`Response`] that is dropped closes its
    /// connection.
    #[track_caller]
    pub fn request(&self, request: impl Into<Request>) -> Deferred<Response> {
        stream::fetch(&self.handle, Some(self.pool.clone()), request.into())
    }

    /// Sends a request, or a `GET` for a URL, and collects the response, like [`get_page`](super::get_page).
    ///
    /// # Errors
    ///
    /// Those of [`get_page`](super::get_page).
    ///
    /// # Cancel safety
    ///
    /// Cancelling ends the request, or leaves the queue, and closes its connection.
    #[track_caller]
    pub fn get_page(&self, request: impl Into<Request>) -> Deferred<Page> {
        page::fetch(&self.handle, Some(self.pool.clone()), request.into())
    }

    /// Closes all idle connections. Twisted: `closeCachedConnections`.
    pub fn close_idle(&self) {
        self.pool.close_idle();
    }

    /// Returns the number of sockets that are open or being opened, and how many of them are idle
    /// connections. A connection that is being closed counts until its socket is closed.
    pub fn connections(&self) -> (usize, usize) {
        self.pool.count()
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, idle) = self.connections();
        write!(f, "Agent({open} connections, {idle} of them idle)")
    }
}
