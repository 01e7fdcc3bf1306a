//! The right to use a connection, and to have one open.

use std::rc::{Rc, Weak};

use super::exchange::Connection;
use super::pool::Place;

/// A connection lent to one request. Dropped, it ends the connection.
pub(super) struct Lease {
    connection: Option<Rc<Connection>>,
    /// Where the connection is kept afterwards; nowhere if it serves one request only.
    place: Option<Weak<Place>>,
}

impl Lease {
    pub(super) fn new(connection: Rc<Connection>, place: Option<Weak<Place>>) -> Lease {
        Lease { connection: Some(connection), place }
    }

    /// Whether another request may follow on the connection.
    pub(super) fn is_kept(&self) -> bool {
        self.place.is_some()
    }

    pub(super) fn connection(&self) -> Option<&Rc<Connection>> {
        self.connection.as_ref()
    }

    /// Gives the connection to the next request if it is reusable, and closes it otherwise.
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

/// The right to have one connection of a route open. Held until the socket is closed, so the pool counts sockets.
pub(super) struct Permit {
    place: Weak<Place>,
    connected: bool,
}

impl Permit {
    /// Only [`Place`] issues permits, after counting them.
    pub(super) fn new(place: Weak<Place>) -> Permit {
        Permit { place, connected: false }
    }

    pub(super) fn connected(&mut self) {
        self.connected = true;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(place) = self.place.upgrade() {
            place.closed(self.connected);
        }
    }
}
