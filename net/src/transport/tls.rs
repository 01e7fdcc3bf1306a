//! TLS on a live connection.

use std::io;

use twistor_deferred::{Deferred, fail};

use super::Transport;
use super::connection::Flags;
use crate::ConnectionLost;
use crate::tls::{ClientTls, ServerTls, TlsInfo};

impl Transport {
    /// Secures this connection by TLS, as the client: from here on, the same protocol talks to `host` in confidence. For
    /// protocols that begin in the clear, such as SMTP with STARTTLS. Twisted: `startTLS`.
    ///
    /// It fires when the handshake is complete. No data is delivered before that.
    ///
    /// # Examples
    ///
    /// ```
    /// use twistor_net::tls::ClientTls;
    /// use twistor_net::{Conversation, Failure};
    ///
    /// async fn secure(server: &Conversation, host: &str, tls: &ClientTls) -> Result<(), Failure> {
    ///     server.write(b"STARTTLS\r\n");
    ///     if !server.read_line(512).await?.starts_with(b"220") {
    ///         return Err(Failure::new("the server has no TLS"));
    ///     }
    ///     server.transport().start_tls(host, tls).await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`HandshakeFailed`](crate::tls::HandshakeFailed), and then the connection ends with the same reason: it is never used in the clear again. So it
    /// does when the Deferred is cancelled. [`ConnectionLost`] if it is lost already.
    ///
    /// A third party may have injected bytes that arrived in the clear and are still unused, so that they are taken for
    /// secured ones. With such bytes the handshake fails: see [`Protocol::unread`](crate::Protocol::unread). A protocol
    /// that keeps no received bytes has nothing to implement.
    ///
    /// The handshake has no time limit, and a connection is secured in this way once.
    ///
    /// # Ordering
    ///
    /// Bytes written before are sent in the clear first. Bytes written from here on are sent after the handshake.
    #[track_caller]
    pub fn start_tls(&self, host: &str, tls: &ClientTls) -> Deferred<()> {
        match self.connection.upgrade() {
            Some(connection) => connection.secure(self, |peer| tls.session(host, peer), None, false),
            None => fail(ConnectionLost::new(io::ErrorKind::NotConnected.into())),
        }
    }

    /// As [`start_tls`](Transport::start_tls), as the server.
    ///
    /// The handshake has the time limit of `tls`. A failure is also reported to
    /// [`on_failed_handshake`](ServerTls::on_failed_handshake).
    ///
    /// ```
    /// use twistor_net::tls::ServerTls;
    /// use twistor_net::{Failure, FrameReceiver, Transport};
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
            Some(connection) => connection.secure(self, |peer| tls.session(peer), Some(tls), false),
            None => fail(ConnectionLost::new(io::ErrorKind::NotConnected.into())),
        }
    }

    /// Returns what the TLS handshake agreed upon; `None` if this connection is not secured, and after the loss.
    pub fn tls(&self) -> Option<TlsInfo> {
        let connection = self.connection.upgrade()?;
        if connection.is(Flags::SECURING) { None } else { connection.with_socket(|socket| socket.tls()) }
    }
}
