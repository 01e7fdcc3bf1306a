//! Protocols: the program's code for one connection, and the factories that build them.

use std::any::{Any, TypeId};

use twistor_deferred::Failure;

use crate::{Address, ConnectionDone, Transport};

/// Lets the concrete type of a `dyn Protocol` be found. Every type implements it.
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

/// The program's code for one connection, the counterpart of a [`Transport`]. Twisted: `Protocol`.
///
/// One value serves one connection. Only [`data_received`](Protocol::data_received) is required.
///
/// # Examples
///
/// ```
/// use twistor::prelude::*;
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
/// # Errors
///
/// An `Err` from a method closes this connection and becomes the reason of `connection_lost`. Data written
/// before is still sent, so a protocol can send a last message; nothing more is read. `?` converts any error
/// into a [`Failure`].
///
/// # Panics
///
/// A panic resets this connection at once and is logged. The reason is
/// [`HandlerPanicked`](crate::HandlerPanicked), and unsent data is dropped. Other connections continue.
///
/// # Ordering
///
/// `connection_made` is called first and once, `connection_lost` last and once. All data that the peer sent
/// before it closed is delivered before the end of the stream, and the end of the stream before the loss.
///
/// # Re-entrancy
///
/// All methods are called from the loop, never inside one another or inside a call on the transport. So they
/// may call anything, including methods of their own transport. A protocol may keep a clone of the transport,
/// which does not keep the connection alive.
///
/// # Dropping
///
/// The protocol is dropped after `connection_lost`. A connection that is still open when its reactor stops or
/// is dropped is lost with [`ConnectionLost`](crate::ConnectionLost).
pub trait Protocol: AsAny + 'static {
    /// Called when the connection is established.
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        let _ = transport;
        Ok(())
    }

    /// Called with received data: 1 byte to 256 KiB, in the order in which the peer sent it, split anywhere.
    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure>;

    /// Called when reading continues after [`pause_producing`](Transport::pause_producing) and
    /// [`resume_producing`](Transport::resume_producing), before any new data. A protocol that kept data
    /// while it was paused delivers that data here. Not called on a connection that is closing.
    fn reading_resumed(&mut self, transport: &Transport) -> Result<(), Failure> {
        let _ = transport;
        Ok(())
    }

    /// Called when the peer has ended its half of the connection. Writing still works. Twisted:
    /// `readConnectionLost`.
    ///
    /// By default, this returns [`ConnectionDone`], so the connection closes after everything written is
    /// sent. An implementation that returns `Ok(())` leaves the connection open for writing until
    /// `lose_connection`.
    fn read_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        let _ = transport;
        Err(ConnectionDone.into())
    }

    /// Called when nothing more can be sent, such as after a reset, while received data may still be unread.
    /// All data that has arrived is delivered first, at the reader's pace, then `connection_lost` is called.
    /// Twisted: `writeConnectionLost`.
    ///
    /// This is for protocols that stop their work for the peer early. The transport ignores writes from here
    /// on; [`Transport::drained`] has failed and a producer was stopped. To skip the rest of the data, call
    /// [`Transport::lose_connection`]. Does nothing by default. Not called after this side has closed the
    /// connection or its writing half.
    fn write_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        let _ = transport;
        Ok(())
    }

    /// Returns the part of this protocol that has the given type, for [`Transport::enter`] and
    /// [`Transport::deliver`]. Default: `None`.
    ///
    /// A protocol that wraps another one implements this with [`part_of`]. It need not return itself.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::any::{Any, TypeId};
    /// use twistor::net::part_of;
    /// use twistor::prelude::*;
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

    /// Returns and removes the received bytes that this protocol has not used; `None` from a protocol that
    /// keeps no bytes. Default: `None`.
    ///
    /// A protocol that keeps received bytes implements it; a wrapper passes the call on to the inner
    /// protocol. Called when the connection is [released](Transport::release), whose next owner receives
    /// these bytes first, and by `start_tls` and `accept_tls`, which fail if there are any.
    fn unread(&mut self) -> Option<Vec<u8>> {
        None
    }

    /// Called when the connection has ended. The reason is [`ConnectionDone`] after a clean close, and
    /// otherwise the error: [`ConnectionLost`](crate::ConnectionLost),
    /// [`ConnectionAborted`](crate::ConnectionAborted), or the failure of one of these methods. After a
    /// [release](Transport::release) it is [`ConnectionReleased`](crate::ConnectionReleased).
    ///
    /// # Panics
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

/// Implements the named methods of [`Protocol`] for a wrapper, by calling them on the inner protocol.
macro_rules! pass_on {
    ($self:ident, $inner:expr => $($method:ident)*) => {
        $(pass_on!(@$method $self, $inner);)*
    };
    (@part $self:ident, $inner:expr) => {
        fn part(&mut $self, part: std::any::TypeId) -> Option<&mut dyn std::any::Any> {
            crate::part_of(&mut $inner, part)
        }
    };
    (@unread $self:ident, $inner:expr) => {
        fn unread(&mut $self) -> Option<Vec<u8>> {
            $inner.unread()
        }
    };
    (@data_received $self:ident, $inner:expr) => {
        fn data_received(&mut $self, transport: &crate::Transport, data: &[u8]) -> Result<(), crate::Failure> {
            $inner.data_received(transport, data)
        }
    };
    (@connection_lost $self:ident, $inner:expr) => {
        fn connection_lost(&mut $self, reason: crate::Failure) {
            $inner.connection_lost(reason);
        }
    };
    (@$method:ident $self:ident, $inner:expr) => {
        fn $method(&mut $self, transport: &crate::Transport) -> Result<(), crate::Failure> {
            $inner.$method(transport)
        }
    };
}

pub(crate) use pass_on;

impl<P: Protocol + ?Sized> Protocol for Box<P> {
    pass_on!(self, **self => connection_made data_received reading_resumed read_connection_lost
        write_connection_lost part unread connection_lost);
}

/// Builds a protocol for each connection that a listener accepts. Twisted: `Factory`.
///
/// A closure that takes the peer's [`Address`] and returns a protocol is a factory: `|_peer| Echo`. Implement
/// the trait to refuse connections, or to choose among several protocols (with `Box<dyn Protocol>`).
///
/// # Panics
///
/// A panic in `build_protocol` is logged and closes the new connection. The listener continues.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a protocol factory",
    label = "this is not a factory",
    note = "pass a closure that returns a protocol for each connection: `|_peer| …`"
)]
pub trait Factory: 'static {
    /// The protocol that this factory builds.
    type Protocol: Protocol;

    /// Builds a protocol for a connection from `peer`. `None` closes the connection.
    fn build_protocol(&mut self, peer: Address) -> Option<Self::Protocol>;
}

impl<P: Protocol, F: FnMut(Address) -> P + 'static> Factory for F {
    type Protocol = P;

    fn build_protocol(&mut self, peer: Address) -> Option<P> {
        Some(self(peer))
    }
}
