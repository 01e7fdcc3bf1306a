//! What a program says about one connection.

mod conversation;
mod framed;
mod idle;
mod limits;

use std::any::{Any, TypeId};

use twistor_deferred::Failure;

pub use conversation::{Conversation, EndOfData, conversations};
pub use framed::{FrameReceiver, Framed};
pub use idle::{ConnectionIdleTimedOut, IdleTimeout, IdleTimer};
pub use limits::{Limited, LimitedProtocol};

use crate::{Address, ConnectionDone, Transport};

/// Every type, so that a protocol is found behind `dyn Protocol`.
#[doc(hidden)]
pub trait AsAny {
    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

impl<T: 'static> AsAny for T {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

/// What happens on one connection: the program's side of a [`Transport`]. Twisted: `Protocol`.
///
/// One value serves one connection. Only [`data_received`](Protocol::data_received) has to be written.
///
/// ```
/// use twistor_net::{Failure, Protocol, Transport};
///
/// struct Echo;
///
/// impl Protocol for Echo {
///     fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
///         transport.write(data);
///         Ok(())
///     }
/// }
/// ```
///
/// # Ordering
///
/// `connection_made` comes first and once, `connection_lost` last and once. All that the peer sent before it closed
/// comes before the end of the data, and that before the loss.
///
/// # Errors
///
/// An `Err` from a method closes this connection, and is the reason that `connection_lost` gets. What was written
/// before is sent first, so a protocol can say goodbye; nothing more is read. `?` turns any error into a [`Failure`].
///
/// # Panics
///
/// A panic resets this connection at once, with [`HandlerPanicked`](crate::HandlerPanicked) as the reason, and is logged.
/// Unsent data is dropped. All others live on.
///
/// # Re-entrancy
///
/// All methods are called from the loop, never from inside one another or inside a call on the transport. So they
/// may call anything, also on their own transport. A protocol may keep a clone of the transport; that keeps nothing
/// alive.
///
/// # Dropping
///
/// The protocol is dropped after `connection_lost`. A connection that is still open when its reactor stops or is dropped
/// is lost then, with [`ConnectionLost`](crate::ConnectionLost).
pub trait Protocol: AsAny + 'static {
    /// The connection is there.
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        let _ = transport;
        Ok(())
    }

    /// Some bytes came: at least one, in the order they were sent, cut anywhere; in one call 256 KiB at most.
    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure>;

    /// Reading goes on after [`pause_producing`](Transport::pause_producing) and
    /// [`resume_producing`](Transport::resume_producing). For protocols that kept back what they had got already:
    /// this comes before any new data. It does not come to a connection that is closing.
    fn reading_resumed(&mut self, transport: &Transport) -> Result<(), Failure> {
        let _ = transport;
        Ok(())
    }

    /// The peer has sent all it will; writing still works (a half-close). Twisted: `readConnectionLost`.
    ///
    /// Unless this is overridden, the connection is closed: it returns [`ConnectionDone`], so what was written is
    /// still sent. One that is overridden and returns `Ok(())` leaves the connection open for writing, until
    /// `lose_connection`.
    fn read_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        let _ = transport;
        Err(ConnectionDone.into())
    }

    /// The peer takes nothing more, such as after a reset, but there may still be data to read. All data that has
    /// arrived is delivered first, however slowly it is read, then comes `connection_lost`. Twisted:
    /// `writeConnectionLost`.
    ///
    /// For protocols that do work for the peer and want to stop it early. The transport ignores writes from here on;
    /// [`Transport::drained`] has failed and a producer was stopped. To give up the rest of the data, call
    /// [`Transport::lose_connection`]. By default, this does nothing. It is not called after this side has closed the
    /// connection or its writing half.
    fn write_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        let _ = transport;
        Ok(())
    }

    /// Returns the part of this protocol that has the given type, for [`Transport::enter`] and
    /// [`Transport::deliver`]. Default: none.
    ///
    /// A protocol that wraps another implements it, with [`part_of`]. The protocol itself need not be returned.
    ///
    /// ```
    /// use std::any::{Any, TypeId};
    /// use twistor_net::{Failure, Protocol, Transport, part_of};
    ///
    /// struct Logged<P>(P);
    ///
    /// impl<P: Protocol> Protocol for Logged<P> {
    ///     fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
    ///         println!("{} bytes", data.len());
    ///         self.0.data_received(transport, data)
    ///     }
    ///
    ///     fn part(&mut self, part: TypeId) -> Option<&mut dyn Any> {
    ///         part_of(&mut self.0, part)
    ///     }
    /// }
    /// ```
    fn part(&mut self, part: TypeId) -> Option<&mut dyn Any> {
        let _ = part;
        None
    }

    /// Returns the bytes that were received and that this protocol has not used, and forgets them. Default: none.
    ///
    /// It is called when the connection is [released](Transport::release): its next owner receives these bytes first. A
    /// protocol that keeps received bytes implements it, and one that wraps another passes the call on.
    fn unread(&mut self) -> Vec<u8> {
        Vec::new()
    }

    /// The connection is gone. The reason is [`ConnectionDone`] when it was closed in order, else what went wrong:
    /// [`ConnectionLost`](crate::ConnectionLost), [`ConnectionAborted`](crate::ConnectionAborted), or the failure of
    /// one of these methods.
    ///
    /// A panic here is logged.
    fn connection_lost(&mut self, reason: Failure) {
        let _ = reason;
    }
}

/// Returns `protocol`, or the [part](Protocol::part) of it, that has the given type.
pub fn part_of<P: Protocol + ?Sized>(protocol: &mut P, part: TypeId) -> Option<&mut dyn Any> {
    if (*protocol).as_any().type_id() == part { Some(protocol.as_any_mut()) } else { protocol.part(part) }
}

impl<P: Protocol + ?Sized> Protocol for Box<P> {
    fn part(&mut self, part: TypeId) -> Option<&mut dyn Any> {
        part_of(&mut **self, part)
    }

    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        (**self).connection_made(transport)
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        (**self).data_received(transport, data)
    }

    fn reading_resumed(&mut self, transport: &Transport) -> Result<(), Failure> {
        (**self).reading_resumed(transport)
    }

    fn read_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        (**self).read_connection_lost(transport)
    }

    fn write_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        (**self).write_connection_lost(transport)
    }

    fn unread(&mut self) -> Vec<u8> {
        (**self).unread()
    }

    fn connection_lost(&mut self, reason: Failure) {
        (**self).connection_lost(reason);
    }
}

/// Makes a protocol for each connection that a listener accepts. Twisted: `Factory`.
///
/// A closure that takes the peer's [`Address`] and returns a protocol is one: `|_peer| Echo`. Implement the trait to
/// refuse connections, or to choose among kinds of protocols (with `Box<dyn Protocol>`).
///
/// # Panics
///
/// A panic in `build_protocol` closes the connection that it was for; it is logged, and the listener goes on.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a protocol factory",
    label = "this is not a factory",
    note = "pass a closure that returns a protocol for each connection: `|_peer| …`"
)]
pub trait Factory: 'static {
    /// The protocol of its connections.
    type Protocol: Protocol;

    /// A protocol for a connection from `peer`; `None` closes it.
    fn build_protocol(&mut self, peer: Address) -> Option<Self::Protocol>;
}

impl<P: Protocol, F: FnMut(Address) -> P + 'static> Factory for F {
    type Protocol = P;

    fn build_protocol(&mut self, peer: Address) -> Option<P> {
        Some(self(peer))
    }
}
