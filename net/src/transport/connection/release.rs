//! Releasing a live connection to its next owner.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::Failure;
use twistor_reactor::Ready;

use super::{Connection, Flags, Io, Link};
use crate::sockets::Socket;
use crate::stream::Stream;
use crate::transport::outgoing::Outgoing;
use crate::{ConnectionReleased, Protocol, Transport};

/// Received bytes that the owner has not used. The old and the next connection share them until the next one
/// reads, because an owner that releases inside one of its methods adds its bytes only when that method
/// returns.
pub(crate) type Unread = Rc<RefCell<Vec<u8>>>;

/// A wrapper does not pass `Protocol::unread` on to a protocol that keeps bytes.
pub(crate) struct Unreachable;

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the protocol around a `Framed` or a `Conversation` does not pass `Protocol::unread` on")
    }
}

/// The state that the next owner of a connection inherits, besides the socket.
#[derive(Default)]
pub(crate) struct Inherited {
    pub(crate) unread: Unread,
    /// Unsent bytes, the waiters for them, and rate limits.
    outgoing: Option<Box<Outgoing>>,
    flags: Flags,
}

/// Fails `drained` if the connection is dropped before its next owner runs, because the unsent bytes are
/// lost.
impl Drop for Inherited {
    fn drop(&mut self) {
        if let Some(drained) = self.outgoing.as_mut().and_then(|outgoing| outgoing.drained.take()) {
            drained.fail_with(|| crate::ConnectionLost::new(io::ErrorKind::BrokenPipe.into()).into());
        }
    }
}

impl Connection<dyn Protocol> {
    /// Deregisters the socket and takes it away from the protocol, which loses the connection.
    pub(crate) fn release(self: Rc<Self>) -> io::Result<Stream> {
        if self.is(Flags::LOST.or(Flags::DOOMED).or(Flags::CLOSING)) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if self.is(Flags::SECURING) {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "a TLS handshake is under way"));
        }
        let registration = self.registration.get().ok_or(io::ErrorKind::NotConnected)?;
        let kept = Flags::WRITE_CLOSING.or(Flags::WRITE_CLOSED).or(Flags::BROKEN);
        let mut inherited = Inherited::default();
        inherited.flags = self.flags.get().and(kept);
        let mut socket = self.with_io(|Io { socket, outgoing }| {
            if let Some(outgoing) = outgoing {
                inherited.unread = outgoing.unread.take().unwrap_or_default();
                inherited.outgoing = outgoing.bequeath();
            }
            std::mem::replace(socket, Socket::Closed)
        });
        let buffered = self.flags.get().and(Flags::BUFFERED);
        let free = self.protocol.try_borrow_mut().is_ok();
        // VISITS makes the loop gather the protocol's bytes as soon as its running method returns.
        self.flags.set(Flags::LOST.or(Flags::RELEASED).or(Flags::VISITS).or(buffered));
        self.with_outgoing(|outgoing| outgoing.unread = Some(inherited.unread.clone()));
        // Deregistered, so that the next registration reports everything that the socket is ready for.
        let _ = registration.deregister(&mut socket);
        if free {
            self.gather_unread();
        }
        let released = self.clone();
        registration.handle().call_later(Duration::ZERO, move || {
            released.tell_release(&mut |reason| released.protocol.borrow_mut().connection_lost(reason));
        });
        Ok(Stream { watched: socket.into(), inherited: Some(Box::new(inherited)) })
    }

    /// Requests the unused bytes of the protocol of a released connection.
    #[cold]
    pub(super) fn gather_unread(&self) {
        self.clear(Flags::VISITS);
        let Some(unread) = self.with_io(|io| io.outgoing.as_mut()?.unread.take()) else { return };
        self.call("unread", |protocol| {
            match protocol.unread() {
                Some(bytes) => drop(unread.borrow_mut().splice(..0, bytes)),
                None if self.is(Flags::BUFFERED) => log::error!("received bytes are lost: {}", Unreachable),
                None => {}
            }
            Ok(())
        });
    }

    /// Continues in the state that the last owner has left.
    pub(super) fn inherit(&self, mut inherited: Inherited) {
        self.set(inherited.flags.or(Flags::INHERITED_DATA));
        if inherited.flags.holds(Flags::BROKEN) {
            self.set(Flags::BREAK_UNREPORTED.or(Flags::END_ANNOUNCED));
        }
        if let Some(outgoing) = inherited.outgoing.take() {
            self.set(outgoing.limits());
            self.with_io(|io| io.outgoing = Some(outgoing));
        }
        self.with_outgoing(|outgoing| outgoing.unread = Some(std::mem::take(&mut inherited.unread)));
        self.wake(Ready::READABLE | Ready::WRITABLE);
    }

    /// Delivers the bytes that the last owner has left, before any that are read.
    #[cold]
    pub(super) fn deliver_unread(&self, transport: &Transport) {
        while !self.is(Flags::NOT_READ) {
            let piece = self.take_unread(self.flags.get().read_size());
            if piece.is_empty() || self.is(Flags::CLOSING) {
                self.forget_unread();
                return self.tidy();
            }
            self.enter(transport, "data_received", |protocol| protocol.data_received(transport, &piece));
        }
    }

    /// Removes all bytes that the last owner has left.
    pub(super) fn forget_unread(&self) -> Vec<u8> {
        self.clear(Flags::INHERITED_DATA);
        let unread = self.with_io(|io| io.outgoing.as_mut().and_then(|outgoing| outgoing.unread.take()));
        unread.map_or_else(Vec::new, |unread| unread.take())
    }

    fn take_unread(&self, most: usize) -> Vec<u8> {
        self.with_io(|io| {
            let unread = io.outgoing.as_ref().and_then(|outgoing| outgoing.unread.as_ref());
            unread.map_or_else(Vec::new, |unread| {
                let mut bytes = unread.borrow_mut();
                let rest = if bytes.len() > most { bytes.split_off(most) } else { Vec::new() };
                std::mem::replace(&mut *bytes, rest)
            })
        })
    }
}

impl Link {
    /// Notifies the protocol, by `connection_lost`, that its connection was released.
    #[cold]
    pub(super) fn tell_release(&self, connection_lost: &mut dyn FnMut(Failure)) {
        if self.is(Flags::RELEASED) {
            self.clear(Flags::RELEASED);
            let Io { outgoing, .. } = self.io.replace(Io::GONE);
            self.tell_loss(outgoing, || ConnectionReleased.into(), connection_lost);
        }
    }
}
