//! The right to use a connection, and the right to have one open.

use std::rc::{Rc, Weak};

use super::exchange::{ClientConnection, Permit};
use super::pool::RoutePool;

/// A connection lent to one request. Dropping it ends the connection.
pub(super) struct Lease {
    connection: Option<Rc<ClientConnection>>,
    /// Where the connection is kept afterwards. `None` if it serves one request only.
    place: Option<Weak<RoutePool>>,
}

impl Lease {
    pub(super) fn new(connection: Rc<ClientConnection>, place: Option<Weak<RoutePool>>) -> Lease {
        Lease { connection: Some(connection), place }
    }

    /// Returns whether another request may follow on the connection.
    pub(super) fn is_kept(&self) -> bool {
        self.place.is_some()
    }

    pub(super) fn connection(&self) -> Option<&Rc<ClientConnection>> {
        self.connection.as_ref()
    }

    /// Returns the connection to the pool if it is reusable, and closes it otherwise.
    pub(super) fn give_back(mut self, reusable: bool) {
        let Some(connection) = self.connection.take() else { return };
        drop(connection.detach());
        match self.place.as_ref().and_then(Weak::upgrade) {
            Some(place) if reusable && connection.is_usable() => place.keep(connection),
            _ => connection.close(),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(connection.detach());
            connection.abort();
        }
    }
}

/// The right to have one connection of a route open. It is held until the socket is closed, so that the pool
/// counts sockets.
pub(super) struct SocketPermit {
    place: Weak<RoutePool>,
    connected: bool,
}

impl SocketPermit {
    /// Only [`RoutePool`] issues permits, after counting them.
    pub(super) fn new(place: Weak<RoutePool>) -> SocketPermit {
        SocketPermit { place, connected: false }
    }
}

impl Permit for SocketPermit {
    fn connected(&mut self) {
        self.connected = true;
    }
}

impl Drop for SocketPermit {
    fn drop(&mut self) {
        if let Some(place) = self.place.upgrade() {
            place.closed(self.connected);
        }
    }
}
