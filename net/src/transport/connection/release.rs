//! Releasing a live connection to its next owner.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::Failure;
use twistor_reactor::Ready;

use super::{Connection, Flags, Io, Link};
use crate::errors::Unreachable;
use crate::sockets::Socket;
use crate::stream::{Inherited, Stream};
use crate::{ConnectionReleased, Protocol, Transport};

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
        let mut inherited = Inherited::default();
        inherited.write_closing = self.is(Flags::WRITE_CLOSING);
        inherited.write_closed = self.is(Flags::WRITE_CLOSED);
        inherited.broken = self.is(Flags::BROKEN);
        let mut socket = self.with_io(|Io { socket, outgoing }| {
            if let Some(outgoing) = outgoing {
                outgoing.bequeath(&mut inherited);
            }
            std::mem::replace(socket, Socket::Closed)
        });
        let lasting = self.flags.get().and(Flags::BUFFERED.or(Flags::CHECK));
        let free = self.protocol.try_borrow_mut().is_ok();
        // VISITS makes the loop gather the protocol's bytes as soon as its running method returns.
        self.flags.set(Flags::LOST.or(Flags::RELEASED).or(Flags::VISITS).or(lasting));
        self.with_outgoing(|outgoing| outgoing.unread = Some(inherited.unread.clone()));
        // Deregistered, so that the next registration reports everything that the socket is ready for.
        let _ = registration.deregister(&mut socket);
        if free {
            self.gather_unread();
        }
        // From the loop: `connection_lost` must not run inside a call of the program.
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
        for (flags, holds) in [
            (Flags::INHERITED_DATA, true),
            (Flags::WRITE_CLOSING, inherited.write_closing),
            (Flags::WRITE_CLOSED, inherited.write_closed),
            (Flags::BROKEN.or(Flags::BREAK_UNREPORTED).or(Flags::END_ANNOUNCED), inherited.broken),
            (Flags::READ_LIMITED, inherited.read_limit.is_some()),
            (Flags::WRITE_LIMITED, inherited.write_limit.is_some()),
        ] {
            if holds {
                self.set(flags);
            }
        }
        self.with_outgoing(|outgoing| outgoing.inherit(&mut inherited));
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
            self.enter_rarely(transport, "data_received", &mut |protocol| {
                protocol.data_received(transport, &piece)
            });
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
