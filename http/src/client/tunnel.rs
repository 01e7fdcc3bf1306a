//! A tunnel through a proxy: `CONNECT` (RFC 9110, section 9.3.6), on a connection that then
//! belongs to the next protocol.

use std::cell::Cell;
use std::rc::Rc;

use ::http::Method;
use twistor_deferred::{Deferred, Failure, Trigger, fail};
use twistor_net::{Protocol, Stream, Transport};
use twistor_reactor::Handle;

use super::AGENT;
use super::errors::{ProxyFault, ProxyMisbehaved, ProxyRefused};
use super::via::Via;
use crate::{EncodeError, HeadWriter, Limits, Origin, ResponseDecoder, ResponseEvent};

/// A request for a tunnel.
pub(super) struct Tunnel {
    via: Rc<Via>,
    target: String,
    request: Vec<u8>,
}

impl Tunnel {
    pub(super) fn new(origin: &Origin, via: &Rc<Via>) -> Result<Tunnel, EncodeError> {
        let (open, close) = if origin.host.contains(':') { ("[", "]") } else { ("", "") };
        let target = format!("{open}{}{close}:{}", origin.host, origin.port);
        let mut request = Vec::new();
        let mut head = HeadWriter::request(&mut request, &Method::CONNECT, &target)?;
        head.field("Host", &target)?;
        if let Some(authorization) = &via.authorization {
            head.field("Proxy-Authorization", authorization)?;
        }
        head.field("User-Agent", AGENT)?;
        head.finish();
        Ok(Tunnel { via: via.clone(), target, request })
    }

    /// Opens the tunnel. Returns the same stream, which then leads to the origin. Cancelling closes it.
    pub(super) fn dig(self, handle: &Handle, stream: Stream) -> Deferred<Stream> {
        let connection: Rc<Cell<Option<Transport>>> = Rc::default();
        let to_cancel = connection.clone();
        let (deferred, trigger) = Deferred::with_canceller(move |_| {
            if let Some(transport) = to_cancel.take() {
                transport.abort_connection();
            }
        });
        let mut decoder = ResponseDecoder::new(Limits::default());
        decoder.start(&Method::CONNECT);
        match stream.run(handle, ConnectTunnel { tunnel: self, decoder, trigger: Some(trigger) }) {
            Ok(transport) => {
                connection.set(Some(transport));
                deferred
            }
            Err(error) => fail(error),
        }
    }

    /// Decodes the proxy's answer. Returns true when the tunnel is open.
    fn understand(&self, decoder: &mut ResponseDecoder, mut input: &[u8]) -> Result<bool, Failure> {
        while let Some(event) =
            decoder.decode(&mut input).map_err(|error| self.misbehaved(ProxyFault::Answer(error)))?
        {
            match event {
                ResponseEvent::Head(head) if !head.status.is_success() => {
                    return Err(ProxyRefused {
                        proxy: self.via.name.clone(),
                        target: self.target.clone(),
                        status: head.status,
                        reason: head.reason_phrase(),
                        headers: head.headers.to_headers(),
                    }
                    .into());
                }
                // TLS begins with the client, so there must be no more data.
                ResponseEvent::End(_) if !input.is_empty() => {
                    return Err(self.misbehaved(ProxyFault::UnaskedBytes));
                }
                ResponseEvent::End(_) => return Ok(true),
                _ => {}
            }
        }
        Ok(false)
    }

    #[track_caller]
    fn misbehaved(&self, fault: ProxyFault) -> Failure {
        ProxyMisbehaved { proxy: self.via.name.clone(), target: self.target.clone(), fault }.into()
    }
}

/// The conversation with the proxy, which ends with the release of the connection.
struct ConnectTunnel {
    tunnel: Tunnel,
    decoder: ResponseDecoder,
    trigger: Option<Trigger<Stream>>,
}

impl ConnectTunnel {
    fn fail(&mut self, transport: &Transport, failure: Failure) {
        transport.abort_connection();
        if let Some(trigger) = self.trigger.take() {
            trigger.errback(failure);
        }
    }
}

impl Protocol for ConnectTunnel {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        transport.write(&self.tunnel.request);
        Ok(())
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        match self.tunnel.understand(&mut self.decoder, data) {
            Ok(false) => {}
            Ok(true) => match (transport.release(), self.trigger.take()) {
                (Ok(stream), Some(trigger)) => trigger.callback(stream),
                (Err(error), trigger) => {
                    self.trigger = trigger;
                    let failure = self.tunnel.misbehaved(ProxyFault::Lost(error.to_string()));
                    self.fail(transport, failure);
                }
                // Cancelled: the stream is dropped.
                (Ok(_), None) => {}
            },
            Err(failure) => self.fail(transport, failure),
        }
        Ok(())
    }

    fn read_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        let failure = self.tunnel.misbehaved(ProxyFault::Closed);
        self.fail(transport, failure);
        Ok(())
    }

    fn connection_lost(&mut self, reason: Failure) {
        if let Some(trigger) = self.trigger.take() {
            trigger.errback(self.tunnel.misbehaved(ProxyFault::Lost(reason.to_string())));
        }
    }
}
