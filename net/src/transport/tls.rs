//! Securing by TLS: a live connection with its protocol, or a stream without one.

use std::io;
use std::time::Duration;

use rustls::Connection as Session;
use twistor_deferred::{Deferred, Failure, fail};
use twistor_reactor::Handle;

use super::connection::{Connection, Flags};
use super::{Protocol, Transport};
use crate::tls::{ClientTls, HandshakeFailed, ServerTls, TlsInfo};
use crate::{Address, ConnectionLost, Stream};

impl Transport {
    /// Secures this connection by TLS, as the client: the same protocol continues to talk to `host`, but
    /// encrypted. This is for protocols that begin in plaintext, such as SMTP with STARTTLS. Twisted:
    /// `startTLS`.
    ///
    /// Returns a Deferred that fires when the handshake is complete. No data is delivered before.
    ///
    /// The handshake takes at most [`ClientTls::handshake_timeout`], by default 30 seconds. A connection can be secured in
    /// this way once.
    ///
    /// # Errors
    ///
    /// [`HandshakeFailed`] if the handshake fails. The connection then ends with
    /// the same reason, so that it never continues in plaintext. It also ends if the Deferred is cancelled.
    /// [`ConnectionLost`] if the connection is already lost.
    ///
    /// Plaintext bytes that have arrived but are unused may have been injected by an attacker, to be taken
    /// for encrypted ones. With such bytes, the handshake fails: see
    /// [`Protocol::unread`](crate::Protocol::unread). A protocol that keeps no received bytes has nothing to
    /// implement.
    ///
    /// # Ordering
    ///
    /// Bytes written before this call are sent first, in plaintext. Bytes written after it are sent after the
    /// handshake.
    ///
    /// # Examples
    ///
    /// ```
    /// use twistor::net::Conversation;
    /// use twistor::net::tls::ClientTls;
    /// use twistor::prelude::*;
    ///
    /// async fn secure(server: &Conversation, host: &str, tls: &ClientTls) -> Result<(), Failure> {
    ///     server.write(b"STARTTLS\r\n");
    ///     if !server.read_line(512).await?.starts_with(b"220") {
    ///         return Err(Failure::new("the server does not support TLS"));
    ///     }
    ///     server.transport().start_tls(host, tls).await
    /// }
    /// ```
    #[track_caller]
    pub fn start_tls(&self, host: &str, tls: &ClientTls) -> Deferred<()> {
        match self.connection.upgrade() {
            Some(connection) => {
                connection.secure(self, |peer| tls.session(host, peer), tls.timeout(), None, false)
            }
            None => fail(ConnectionLost::new(io::ErrorKind::NotConnected.into())),
        }
    }

    /// Secures this connection by TLS, as the server. Everything said of [`start_tls`](Transport::start_tls)
    /// applies, but the handshake has the timeout of `tls`, and a failure is also reported to
    /// [`on_failed_handshake`](ServerTls::on_failed_handshake).
    ///
    /// # Examples
    ///
    /// ```
    /// use twistor::net::tls::ServerTls;
    /// use twistor::prelude::*;
    ///
    /// struct Mail {
    ///     tls: ServerTls,
    ///     secured: bool,
    /// }
    ///
    /// impl FrameReceiver for Mail {
    ///     fn frame_received(&mut self, transport: &Transport, line: &[u8]) -> Result<(), Failure> {
    ///         if line == b"STARTTLS" && !self.secured {
    ///             transport.write(b"220 go ahead\r\n");
    ///             transport.deliver(transport.accept_tls(&self.tls), |mail: &mut Mail, _, secured| {
    ///                 mail.secured = secured.is_ok();
    ///                 secured
    ///             });
    ///         }
    ///         Ok(())
    ///     }
    /// }
    /// ```
    #[track_caller]
    pub fn accept_tls(&self, tls: &ServerTls) -> Deferred<()> {
        match self.connection.upgrade() {
            Some(connection) => {
                connection.secure(self, |peer| tls.session(peer), tls.timeout(), Some(tls), false)
            }
            None => fail(ConnectionLost::new(io::ErrorKind::NotConnected.into())),
        }
    }

    /// Returns the negotiated parameters of a connection secured by TLS; `None` without TLS, during the
    /// handshake, and after the loss.
    pub fn tls(&self) -> Option<TlsInfo> {
        let connection = self.connection.upgrade()?;
        if connection.is(Flags::SECURING) { None } else { connection.with_socket(|socket| socket.tls()) }
    }
}

impl ClientTls {
    /// Secures a connection to `host` by a TLS handshake, within the handshake timeout. The server needs a certificate for
    /// `host`.
    ///
    /// Bytes that an earlier protocol has left unused in `stream` are read as the beginning of the handshake.
    /// On a live connection, [`Transport::start_tls`](crate::Transport::start_tls) does the same for its
    /// protocol.
    ///
    /// # Errors
    ///
    /// [`HandshakeFailed`], or `ConnectionLost` if the connection is lost. The connection is then closed, as
    /// it is when the Deferred is cancelled.
    #[track_caller]
    pub fn secure(&self, handle: &Handle, host: &str, stream: Stream) -> Deferred<Stream> {
        secure(handle, stream, |peer| self.session(host, peer), self.timeout(), None)
    }
}

impl ServerTls {
    /// Secures a connection from a client by a TLS handshake, within the handshake timeout. This is for connections
    /// that no listener of this program has accepted, or that do not begin with TLS, such as with the PROXY protocol.
    ///
    /// Bytes that an earlier protocol has left unused in `stream` belong to the handshake. To secure a live
    /// connection under its protocol, use [`Transport::accept_tls`](crate::Transport::accept_tls).
    ///
    /// # Errors
    ///
    /// [`HandshakeFailed`], or `ConnectionLost` if the connection is lost. The connection is then closed, as it is when
    /// the Deferred is cancelled.
    #[track_caller]
    pub fn secure(&self, handle: &Handle, stream: Stream) -> Deferred<Stream> {
        secure(handle, stream, |peer| self.session(peer), self.timeout(), Some(self))
    }
}

/// Secures a connection that no protocol runs on. Cancelling closes it.
#[track_caller]
fn secure(
    handle: &Handle,
    stream: Stream,
    begin: impl FnOnce(&Address) -> Result<Session, HandshakeFailed>,
    timeout: Duration,
    server: Option<&ServerTls>,
) -> Deferred<Stream> {
    let started = Connection::start(handle, stream, Handshake);
    let transport = match started {
        Ok(transport) => transport,
        Err(error) => return fail(ConnectionLost::new(error)),
    };
    match transport.connection.upgrade() {
        Some(connection) => connection
            .secure(&transport, begin, timeout, server, true)
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
