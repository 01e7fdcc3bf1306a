//! The ends of a connection: a clean close, when everything is sent and a sending peer has ended, or an
//! immediate end for a reason.

use std::io;
use std::time::Duration;

use twistor_deferred::Failure;
use twistor_reactor::Ready;

use super::recording::ConnectionStep;
use super::{Connection, Flags, Io, Link};
use crate::transport::outgoing::{Outgoing, Producing};
use crate::{ConnectionAborted, ConnectionDone, ConnectionLost, Protocol, Transport};

/// The limits of the wait for the end of a sending peer, after a closed connection has sent everything.
const LINGER: Duration = Duration::from_secs(5);
const LINGER_BYTES: usize = 16 << 20;

impl Connection<dyn Protocol> {
    /// Ends the writing half, or the connection, if everything is sent.
    pub(super) fn wind_up(&self, transport: &Transport) {
        // Closing a socket with unread data resets the connection. The loop reads first.
        if self.is(Flags::UNREAD_DATA) {
            return;
        }
        let (said, always_lingers, starved) = self.with_io(|Io { socket, outgoing }| {
            let sent = outgoing.as_ref().is_none_or(|out| out.queue.is_empty() && out.producing.is_none());
            // After an error, no peer is left to send close_notify to.
            let said = sent && !matches!(socket.finish(), Ok(false));
            (said, socket.keeps_bytes(), socket.is_starved())
        });
        if starved {
            self.starve();
        }
        if !said {
            return;
        }
        let lingers = self.is(Flags::PEER_SENDING) || always_lingers;
        if lingers && self.is(Flags::CLOSING) && !self.is(Flags::PEER_EOF.or(Flags::LINGERING)) {
            self.linger(transport);
        }
        if self.is(Flags::LINGERING.or(Flags::WRITE_CLOSING)) && !self.is(Flags::WRITE_CLOSED) {
            // This fails only if the connection is already gone, which an event will report.
            let _ = self.with_io(|io| io.socket.shutdown_write());
            self.set(Flags::WRITE_CLOSED);
        }
        if self.is(Flags::LINGERING) && !self.is(Flags::PEER_EOF) {
            return;
        }
        if self.is(Flags::CLOSING.or(Flags::PEER_EOF)) {
            self.lose();
        }
    }

    /// Waits for the end of a sending peer. If its data met a closed socket, the peer would get a reset, and
    /// could lose data that was sent to it and that it has not read yet.
    #[cold]
    fn linger(&self, transport: &Transport) {
        let Some(registration) = self.registration.get() else { return };
        let connection = transport.connection.clone();
        let timer = registration.handle().call_later(LINGER, move || {
            if let Some(connection) = connection.upgrade() {
                // Stands for the end that has not come.
                connection.set(Flags::PEER_EOF);
                connection.wake(Ready::WRITABLE);
            }
        });
        self.with_outgoing(|outgoing| outgoing.lingering = Some((LINGER_BYTES, timer)));
        self.set(Flags::LINGERING);
        self.wake(Ready::READABLE);
    }

    /// Counts discarded bytes, and ends the wait for the peer at the limit.
    #[cold]
    pub(super) fn throw_away(&self, count: usize) {
        self.set(Flags::PEER_SENDING);
        let enough = self.with_io(|io| {
            let (left, _) = io.outgoing.as_mut()?.lingering.as_mut()?;
            *left = left.saturating_sub(count);
            (*left == 0).then_some(())
        });
        if enough.is_some() {
            self.set(Flags::PEER_EOF);
        }
    }

    /// Handles an announced end of the stream, or an error.
    ///
    /// The error itself stays with the socket. It comes after the unread data, or not at all if the peer had
    /// ended its half before. Reading the error here would make the two cases indistinguishable.
    #[cold]
    pub(super) fn end_is_near(&self, ready: Ready) {
        self.set(Flags::END_ANNOUNCED);
        if !ready.is_error() || self.is(Flags::BROKEN) {
            return;
        }
        if self.is(Flags::LINGERING) {
            self.set(Flags::PEER_EOF);
        } else {
            self.forget_queue();
            self.set(Flags::BROKEN.or(Flags::BREAK_UNREPORTED));
        }
    }

    /// Notifies the producer, the waiters and the protocol that writing is broken.
    #[cold]
    pub(super) fn tell_break(&self, transport: &Transport) {
        self.clear(Flags::BREAK_UNREPORTED);
        let (producing, drained) = self.with_io(|io| match &mut io.outgoing {
            Some(outgoing) => (outgoing.producing.take(), outgoing.drained.take()),
            None => (None, None),
        });
        if let Some(Producing { producer, .. }) = producing {
            self.guard("stop_producing", || producer.stop_producing());
        }
        if let Some(drained) = drained {
            drained.lost();
        }
        if !self.is(Flags::CLOSING.or(Flags::DOOMED).or(Flags::WRITE_CLOSED).or(Flags::LOST)) {
            self.enter_rarely(transport, "write_connection_lost", &mut |protocol| {
                protocol.write_connection_lost(transport)
            });
        }
    }

    /// Handles an empty socket. After a reset, no more data will arrive.
    #[cold]
    pub(super) fn emptied(&self) {
        if self.is(Flags::BROKEN) {
            self.set(Flags::PEER_EOF);
        }
    }

    /// Ends a broken connection when the data that the peer has sent is read, at the reader's pace. Waits for
    /// a paused reader only if unread data is left, here or in its protocol.
    #[cold]
    pub(super) fn lose_if_read(&self) {
        if !self.is(Flags::PEER_EOF.or(Flags::CLOSING)) {
            if !self.is(Flags::PAUSED) || self.is(Flags::LOSS_HELD.or(Flags::INHERITED_DATA)) {
                return;
            }
            match self.with_io(|io| io.socket.has_data()) {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => self.write_down(ConnectionLost::new(error).into()),
            }
        }
        if !self.has_reason() {
            let error = self.with_io(|io| io.socket.take_error());
            let error = error.unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
            self.write_down(ConnectionLost::new(error).into());
        }
        self.lose();
    }

    pub(super) fn has_reason(&self) -> bool {
        self.with_io(|io| io.outgoing.as_ref().is_some_and(|outgoing| outgoing.reason.is_some()))
    }

    /// Handles an error of reading.
    #[cold]
    pub(super) fn failed(&self, error: io::Error) {
        let cut_off = error.kind() == io::ErrorKind::UnexpectedEof;
        if self.is(Flags::LINGERING) || (cut_off && self.is(Flags::CLOSING)) {
            // All data is sent or can be sent, and the data that will not arrive would have been discarded.
            self.set(Flags::PEER_EOF);
        } else {
            self.doom(lost_for(error));
        }
    }
}

/// Converts an error of reading to the reason of the loss.
#[cold]
fn lost_for(error: io::Error) -> Failure {
    #[cfg(feature = "tls")]
    if let Some(truncated) =
        error.get_ref().and_then(|inner| inner.downcast_ref::<crate::tls::TlsTruncated>())
    {
        return (*truncated).into();
    }
    ConnectionLost::new(error).into()
}

/// Functions to end a connection, also when it is dropped.
impl Link {
    /// Ends the connection: frees everything, then notifies the producer, the waiters and, with
    /// `connection_lost`, the protocol.
    pub(super) fn lose(&self, connection_lost: &mut dyn FnMut(Failure)) {
        self.set(Flags::LOST);
        let Io { mut socket, outgoing } = self.io.replace(Io::GONE);
        if let Some(registration) = self.registration.get() {
            // This fails if the reactor is gone. The socket is closed either way.
            let _ = registration.deregister(&mut socket);
        }
        // Closed before the program is notified, so that it can use the address or descriptor again.
        drop(socket);
        self.tell_loss(outgoing, || ConnectionDone.into(), connection_lost);
    }

    /// Notifies the producer, the waiters and the protocol. The reason is the recorded one, or `other`.
    pub(super) fn tell_loss(
        &self,
        outgoing: Option<Box<Outgoing>>,
        other: fn() -> Failure,
        connection_lost: &mut dyn FnMut(Failure),
    ) {
        let mut reason = None;
        if let Some(outgoing) = outgoing {
            let Outgoing {
                queue,
                producing,
                reason: written_down,
                drained,
                lingering,
                visits,
                deliveries,
                #[cfg(feature = "tls")]
                securing,
                ..
            } = *outgoing;
            drop(queue);
            #[cfg(feature = "tls")]
            if let Some(securing) = securing {
                securing.lose();
            }
            self.guard("a visit", || drop(visits));
            for (_, canceller) in deliveries {
                self.guard("cancelling", || canceller.cancel());
            }
            if let Some((_, timer)) = lingering {
                let _ = timer.cancel();
            }
            let reset = written_down.as_ref().is_some_and(|reason| reason.is::<ConnectionAborted>());
            reason = written_down;
            if let Some(Producing { producer, .. }) = producing {
                self.guard("stop_producing", || producer.stop_producing());
            }
            if let Some(drained) = drained {
                if reset {
                    drained.aborted();
                } else {
                    drained.lost();
                }
            }
        }
        let reason = reason.unwrap_or_else(other);
        self.record(ConnectionStep::Lost(&reason));
        self.guard("connection_lost", || connection_lost(reason));
    }

    /// Ends a connection that is dropped without a loss, because its reactor has stopped or was dropped.
    pub(super) fn dropped(&self, connection_lost: &mut dyn FnMut(Failure)) {
        self.tell_release(connection_lost);
        if !self.is(Flags::LOST) && self.registration.get().is_some() {
            if !self.is(Flags::LINGERING) {
                self.write_down(ConnectionLost::new(io::Error::other("the reactor has stopped")).into());
            }
            self.lose(connection_lost);
        }
    }

    /// Stops the producer, and ends the connection for a reason when everything written is sent.
    #[cold]
    pub(super) fn close_because(&self, reason: Failure) {
        self.write_down(reason);
        if self.is(Flags::LOST) {
            return;
        }
        let producing =
            self.with_io(|io| io.outgoing.as_mut().and_then(|outgoing| outgoing.producing.take()));
        if let Some(Producing { producer, .. }) = producing {
            self.guard("stop_producing", || producer.stop_producing());
        }
        self.close();
    }

    /// Starts a clean close. Until everything is sent, received data is read and discarded. Unread data would
    /// turn the close into a reset, and the peer could lose data sent to it.
    pub(super) fn close(&self) {
        self.set(Flags::CLOSING);
        // Only data that comes after the close makes the close wait, and no limit delays discarding it.
        self.clear(Flags::PEER_SENDING.or(Flags::READ_LIMITED));
        let held_up = Flags::PAUSED.or(Flags::READ_HELD);
        if self.is(held_up) {
            self.clear(held_up);
            self.set(Flags::UNREAD_DATA);
            self.wake(Ready::READABLE);
        }
        self.wake(Ready::WRITABLE);
    }

    /// Ends the connection the next time the loop calls it.
    #[cold]
    pub(super) fn doom(&self, reason: Failure) {
        self.write_down(reason);
        self.set(Flags::DOOMED);
        // Not lost here: `connection_lost` must not run inside a call of the program.
        self.wake(Ready::WRITABLE);
    }

    /// Records the reason of the loss. The first one counts.
    pub(super) fn write_down(&self, reason: Failure) {
        let late = self.with_outgoing(|outgoing| match &mut outgoing.reason {
            Some(_) => Some(reason),
            none => {
                *none = Some(reason);
                None
            }
        });
        drop(late);
    }

    /// Handles a failed write: ends the connection when the data that the peer has sent is read.
    #[cold]
    pub(super) fn break_off(&self, reason: Failure) {
        self.write_down(reason);
        self.forget_queue();
        self.set(Flags::BROKEN.or(Flags::END_ANNOUNCED).or(Flags::BREAK_UNREPORTED));
        self.wake(Ready::READABLE);
    }

    /// Drops unsent data.
    pub(super) fn forget_queue(&self) {
        self.with_io(|io| {
            if let Some(outgoing) = &mut io.outgoing {
                outgoing.forget();
            }
        });
    }
}

impl<P: Protocol + ?Sized> Drop for Connection<P> {
    fn drop(&mut self) {
        self.link.dropped(&mut |reason| self.protocol.borrow_mut().connection_lost(reason));
    }
}
