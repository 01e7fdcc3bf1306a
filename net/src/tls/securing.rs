//! A handshake on a live connection.

use rustls::Connection as Session;
use twistor_deferred::Trigger;
use twistor_reactor::DelayedCall;

use super::{Cause, HandshakeFailed, Handshaking, Opening, ServerTls, TlsStream};
use crate::Address;
use crate::sockets::{Queue, Socket};

/// A handshake on a live connection.
pub(crate) struct Securing {
    pub(crate) peer: Address,
    /// Plaintext to be sent before the handshake.
    pub(crate) clear: Queue,
    /// `None` once the handshake has begun.
    pub(crate) session: Option<Session>,
    /// Whether bytes left by an earlier owner belong to the handshake.
    pub(crate) adopts_unread: bool,
    pub(crate) early: Vec<u8>,
    /// The reason to refuse the handshake.
    pub(crate) refused: Option<Cause>,
    pub(crate) opening: Opening,
    pub(crate) trigger: Trigger<()>,
    /// Set on a server.
    pub(crate) server: Option<ServerTls>,
    pub(crate) timer: Option<DelayedCall>,
}

impl Securing {
    pub(crate) fn failed(self: Box<Self>, cause: Cause) -> (HandshakeFailed, Trigger<()>) {
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
        // A lost connection is not a failed handshake to the observer of the server.
        self.server = None;
        let (failure, trigger) = self.failed(Cause::Closed);
        trigger.errback(failure);
    }

    /// Sends the plaintext, then sets up the session, and continues the handshake.
    pub(crate) fn go_on(
        &mut self,
        socket: &mut Socket,
        most: usize,
        unread: Vec<u8>,
    ) -> Result<Handshaking, Cause> {
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
