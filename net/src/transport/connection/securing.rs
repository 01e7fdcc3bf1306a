//! Securing a live connection by TLS, in place.
//!
//! Bytes written before are sent in plaintext. Then the session takes over the socket and reads everything
//! that the peer has sent since. Plaintext bytes that this side has read but not used may be injected by an
//! attacker, so they fail the handshake (RFC 3207, section 6). Nothing is read for the protocol until it
//! knows the result of the handshake.

use std::time::Duration;

use rustls::Connection as Session;
use twistor_deferred::{Deferred, fail};
use twistor_reactor::{DelayedCall, Ready};

use super::{Connection, Flags, SENT_PER_TURN};
use crate::errors::has_no_buffers;
use crate::sockets::Socket;
use crate::tls::{Cause, HandshakeFailed, Handshaking, Opening, Securing, ServerTls};
use crate::{Address, ConnectionLost, Protocol, Transport};

impl Connection<dyn Protocol> {
    /// Starts a handshake with the session that `begin` creates.
    #[track_caller]
    pub(crate) fn secure(
        &self,
        transport: &Transport,
        begin: impl FnOnce(&Address) -> Result<Session, HandshakeFailed>,
        timeout: Duration,
        server: Option<&ServerTls>,
        adopts_unread: bool,
    ) -> Deferred<()> {
        let peer = match self.with_socket(Socket::peer) {
            Ok(peer) => peer,
            Err(error) => return fail(ConnectionLost::new(error)),
        };
        let ending =
            Flags::LOST.or(Flags::DOOMED).or(Flags::BROKEN).or(Flags::CLOSING).or(Flags::WRITE_CLOSING);
        if self.is(ending) {
            return fail(HandshakeFailed::new(peer, Cause::Closed));
        }
        if self.is(Flags::SECURING.or(Flags::SECURED)) {
            return fail(HandshakeFailed::new(peer, Cause::Repeated));
        }
        let session = match begin(&peer) {
            Ok(session) => session,
            Err(failure) => {
                // The connection ends, and nothing more may go out in the clear.
                self.forget_queue();
                self.doom(failure.duplicate().into());
                return fail(failure);
            }
        };
        let target = transport.clone();
        let (deferred, trigger) = Deferred::with_canceller(move |_| target.abort_connection());
        let timer = self.time_limit(transport, timeout);
        self.set(Flags::SECURING);
        self.with_outgoing(|outgoing| {
            outgoing.securing = Some(Box::new(Securing {
                peer,
                clear: std::mem::take(&mut outgoing.queue),
                session: Some(session),
                adopts_unread,
                early: Vec::new(),
                refused: None,
                opening: Opening::default(),
                trigger,
                server: server.cloned(),
                timer,
            }));
        });
        // A visit, because the protocol may be running now, and may still use the bytes that it has.
        let target = transport.clone();
        self.visit(transport, move |protocol, _| {
            let unread = protocol.unread();
            if let Some(connection) = target.connection.upgrade() {
                connection.check_unread(unread);
            }
            Ok(())
        });
        self.wake(Ready::READABLE | Ready::WRITABLE);
        deferred
    }

    fn time_limit(&self, transport: &Transport, timeout: Duration) -> Option<DelayedCall> {
        if timeout == Duration::MAX {
            return None;
        }
        let late = transport.clone();
        let handle = self.registration.get()?.handle();
        Some(handle.call_later(timeout, move || {
            if let Some(connection) = late.connection.upgrade() {
                connection.refuse(Cause::TimedOut(timeout));
            }
        }))
    }

    /// Checks that the protocol has used all plaintext bytes. If it has not, the loop refuses the handshake,
    /// so that the result is delivered while the protocol is free.
    fn check_unread(&self, unread: Option<Vec<u8>>) {
        let refused = match unread {
            Some(bytes) if !bytes.is_empty() => Cause::Plaintext(bytes.len()),
            None if self.is(Flags::BUFFERED) => Cause::Unreachable,
            _ => return,
        };
        self.with_io(|io| io.outgoing.as_mut()?.securing.as_mut()?.refused.replace(refused));
    }

    /// Continues the handshake.
    #[cold]
    pub(super) fn shake_hands(&self, transport: &Transport) {
        let unread = if self.is(Flags::INHERITED_DATA) { self.forget_unread() } else { Vec::new() };
        let most = self.sendable_in_the_clear(transport);
        let (outcome, count, starved) = self.with_io(|io| {
            let Some(securing) = io.outgoing.as_mut().and_then(|outgoing| outgoing.securing.as_mut()) else {
                return (Ok(Handshaking::Waiting), 0, false);
            };
            let before = securing.clear.len();
            let outcome = securing.go_on(&mut io.socket, most, unread);
            (outcome, before - securing.clear.len(), io.socket.is_starved())
        });
        if count > 0 {
            self.spend(Flags::WRITE_LIMITED, count);
            self.count_sent(count);
        }
        if starved {
            self.starve();
        }
        match outcome {
            Ok(Handshaking::Waiting) => {}
            Ok(Handshaking::More) => self.wake(Ready::READABLE | Ready::WRITABLE),
            Ok(Handshaking::Done) => self.secured(),
            Err(Cause::Io(error)) if has_no_buffers(&error) => self.starve(),
            Err(cause) => self.refuse(cause),
        }
    }

    /// Returns how many bytes may be sent in plaintext now.
    fn sendable_in_the_clear(&self, transport: &Transport) -> usize {
        if self.with_io(|io| io.outgoing.as_ref().is_none_or(|outgoing| outgoing.clear() == 0)) {
            return 0;
        }
        match self.share(SENT_PER_TURN) {
            0 => {
                self.wake(Ready::WRITABLE);
                0
            }
            share => self.most(transport, Flags::WRITE_LIMITED, share),
        }
    }

    fn secured(&self) {
        let securing = self.with_io(|io| io.outgoing.as_mut()?.securing.take());
        let Some(securing) = securing else { return };
        self.clear(Flags::SECURING);
        self.set(Flags::SECURED.or(Flags::END_ANNOUNCED));
        // For plaintext that arrived with the handshake's last record, and for bytes written meanwhile.
        self.wake(Ready::READABLE | Ready::WRITABLE);
        if let Some(timer) = securing.timer {
            let _ = timer.cancel();
        }
        securing.trigger.callback(());
    }

    /// Fails the handshake and ends the connection, which must not continue in plaintext.
    #[cold]
    fn refuse(&self, cause: Cause) {
        let securing = self.with_io(|io| io.outgoing.as_mut()?.securing.take());
        let Some(securing) = securing else { return };
        let (failure, trigger) = securing.failed(cause);
        let reason = failure.duplicate();
        // SECURING stays set during the callbacks, so that nothing they write is sent.
        trigger.errback(failure);
        if !self.is(Flags::LOST.or(Flags::DOOMED)) {
            self.forget_queue();
            self.doom(reason.into());
        }
    }
}
