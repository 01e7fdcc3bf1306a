//! Securing a live connection by TLS, in place.
//!
//! Bytes written before are sent in plaintext. Then the session takes over the socket and reads everything
//! that the peer has sent since. Plaintext bytes that this side has read but not used may be injected by an
//! attacker, so they fail the handshake (RFC 3207, section 6). Nothing is read for the protocol until it
//! knows the result of the handshake.

use std::io;
use std::time::Duration;

use rustls::Connection as Session;
use twistor_deferred::{Deferred, Failure, Trigger, fail};
use twistor_reactor::{DelayedCall, Handle, Ready};

use super::{Connection, Flags, SENT_PER_TURN};
use crate::sockets::Socket;
use crate::sockets::calls::has_no_buffers;
use crate::stream::Stream;
use crate::tls::{Cause, HandshakeFailed, Handshaking, Opening, ServerTls, TlsStream};
use crate::transport::outgoing::Queue;
use crate::{Address, ConnectionLost, Protocol, Transport};

/// Secures a connection that no protocol runs on. Cancelling closes it.
#[track_caller]
pub(crate) fn secure(
    handle: &Handle,
    stream: Stream,
    begin: impl FnOnce(&Address) -> Result<Session, HandshakeFailed>,
    server: Option<&ServerTls>,
) -> Deferred<Stream> {
    let started = Connection::start(handle, stream, Handshake);
    let transport = match started {
        Ok(transport) => transport,
        Err(error) => return fail(ConnectionLost::new(error)),
    };
    match transport.connection.upgrade() {
        Some(connection) => connection
            .secure(&transport, begin, server, true)
            .add_callback(move |()| Ok(transport.release()?)),
        None => fail(ConnectionLost::new(io::ErrorKind::NotConnected.into())),
    }
}

/// The protocol of a connection that is only secured, and then released.
struct Handshake;

impl Protocol for Handshake {
    fn data_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
        Ok(())
    }
}

/// A handshake on a live connection.
pub(crate) struct Securing {
    peer: Address,
    /// Plaintext to be sent before the handshake.
    pub(crate) clear: Queue,
    /// `None` once the handshake has begun.
    session: Option<Session>,
    /// Whether bytes left by an earlier owner belong to the handshake.
    adopts_unread: bool,
    early: Vec<u8>,
    /// The reason to refuse the handshake.
    refused: Option<Cause>,
    opening: Opening,
    trigger: Trigger<()>,
    /// Set on a server.
    server: Option<ServerTls>,
    timer: Option<DelayedCall>,
}

impl Securing {
    fn failed(self: Box<Self>, cause: Cause) -> (HandshakeFailed, Trigger<()>) {
        if let Some(timer) = self.timer {
            let _ = timer.cancel();
        }
        let failure = HandshakeFailed::new(self.peer, cause);
        if let Some(server) = &self.server {
            server.failed(&failure);
        }
        (failure, self.trigger)
    }

    /// Fails the handshake because the connection is lost.
    pub(crate) fn lose(mut self: Box<Self>) {
        self.server = None;
        let (failure, trigger) = self.failed(Cause::Closed);
        trigger.errback(failure);
    }
}

impl Connection<dyn Protocol> {
    /// Starts a handshake with the session that `begin` creates.
    #[track_caller]
    pub(crate) fn secure(
        &self,
        transport: &Transport,
        begin: impl FnOnce(&Address) -> Result<Session, HandshakeFailed>,
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
                self.forget_queue();
                self.doom(failure.duplicate().into());
                return fail(failure);
            }
        };
        let target = transport.clone();
        let (deferred, trigger) = Deferred::with_canceller(move |_| target.abort_connection());
        let timer = server.map(ServerTls::timeout).and_then(|timeout| self.time_limit(transport, timeout));
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

impl Securing {
    /// Sends the plaintext, then sets up the session, and continues the handshake.
    fn go_on(&mut self, socket: &mut Socket, most: usize, unread: Vec<u8>) -> Result<Handshaking, Cause> {
        if let Some(cause) = self.refused.take() {
            return Err(cause);
        }
        if !unread.is_empty() && !self.adopts_unread {
            return Err(Cause::Plaintext(unread.len()));
        }
        self.early.extend(unread);
        if !self.clear.is_empty() {
            if most == 0 {
                return Ok(Handshaking::Waiting);
            }
            let emptied = self.clear.send(socket, most).map_err(Cause::Io)?;
            if !self.clear.is_empty() {
                return Ok(if emptied { Handshaking::Waiting } else { Handshaking::More });
            }
        }
        if let Some(session) = self.session.take() {
            let clear = std::mem::replace(socket, Socket::Closed);
            *socket = Socket::Tls(Box::new(TlsStream::new(clear, session, std::mem::take(&mut self.early))));
        }
        match socket {
            Socket::Tls(stream) => stream.shake_hands(&mut self.opening),
            _ => Ok(Handshaking::Waiting),
        }
    }
}
