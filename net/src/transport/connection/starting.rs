//! From a stream to a connection: the counterpart of [`release`](super::release).

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use twistor_reactor::{EventHandler, Handle, Ready};

use super::recording::ConnectionStep;
use super::{Connection, Io, Link};
use crate::stream::Stream;
use crate::{Protocol, Transport};

impl Stream {
    /// Runs `protocol` on the connection.
    ///
    /// # Errors
    ///
    /// The error of the operating system, or `NotConnected` if the reactor is gone. The protocol is then
    /// dropped without a call, and the connection is closed.
    ///
    /// # Ordering
    ///
    /// `connection_made` has run when this returns. All other methods are called from the loop: first with
    /// the bytes that an earlier protocol has left or [`put_back`](Stream::put_back) has added, then with new
    /// data.
    pub fn run<P: Protocol>(self, handle: &Handle, protocol: P) -> io::Result<Transport> {
        Connection::start(handle, self, protocol)
    }
}

impl Connection<dyn Protocol> {
    /// Registers a connected socket with the loop and calls `connection_made`. Must be called from the loop.
    pub(crate) fn start<P: Protocol>(
        handle: &Handle,
        stream: impl Into<Stream>,
        protocol: P,
    ) -> io::Result<Transport> {
        let Stream { watched, inherited } = stream.into();
        let keeps_bytes = watched.socket.keeps_bytes();
        let connection =
            Rc::new(Connection { link: Link::new(keeps_bytes), protocol: RefCell::new(protocol) });
        let handler: Rc<dyn EventHandler> = connection.clone();
        Connection::take_up(connection, handler, handle, Stream { watched, inherited })
    }

    /// Continues [`start`](Connection::start), compiled once for all protocols. `connection` and `handler`
    /// are the same object.
    fn take_up(
        connection: Rc<Connection<dyn Protocol>>,
        handler: Rc<dyn EventHandler>,
        handle: &Handle,
        stream: Stream,
    ) -> io::Result<Transport> {
        let Stream { mut watched, inherited } = stream;
        let keeps_bytes = watched.socket.keeps_bytes();
        watched.hand_to(handle, handler)?;
        // TLS may hold plaintext, for which no event comes.
        let left = if keeps_bytes { watched.left | Ready::READABLE } else { watched.left };
        let (socket, registration) = watched.into_parts();
        connection.io.set(Io { socket, outgoing: None });
        if let Some(registration) = registration {
            let _ = connection.registration.set(registration);
        }
        if left.readable() {
            connection.wake(left);
        }
        if let Some(inherited) = inherited {
            connection.inherit(*inherited);
        }
        let transport = Transport::new(&connection);
        connection.record(ConnectionStep::Made);
        connection.enter(&transport, "connection_made", |protocol| protocol.connection_made(&transport));
        Ok(transport)
    }
}
