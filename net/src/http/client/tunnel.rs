//! A tunnel through a proxy: `CONNECT` (RFC 9110, section 9.3.6), on a socket, before there is a connection for the
//! protocol.

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::rc::{Rc, Weak};

use ::http::Method;
use twistor_deferred::{Deferred, Failure, Trigger};
use twistor_reactor::{EventHandler, Handle, Progress, Ready};

use super::AGENT;
use super::errors::{ProxyFault, ProxyMisbehaved, ProxyRefused};
use super::proxy::Via;
use crate::http::{EncodeError, HeadWriter, Limits, Origin, ResponseDecoder, ResponseEvent};
use crate::transport::watched::WatchedSocket;

/// What to ask a proxy for.
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

    /// The same socket, when what is written to it reaches the origin. Cancelling closes it.
    pub(super) fn dig(self, handle: &Handle, mut socket: WatchedSocket) -> Deferred<WatchedSocket> {
        let pending: Rc<OnceCell<Weak<Digging>>> = Rc::default();
        let to_cancel = pending.clone();
        let (deferred, trigger) = Deferred::with_canceller(move |_| {
            if let Some(digging) = to_cancel.get().and_then(Weak::upgrade) {
                drop(digging.dialogue.take());
            }
        });
        let mut decoder = ResponseDecoder::new(Limits::default());
        decoder.start(&Method::CONNECT);
        let digging =
            Rc::new(Digging { tunnel: self, dialogue: RefCell::new(None), trigger: Cell::new(None) });
        match socket.hand_to_speaker(handle, digging.clone()) {
            Ok(()) => {
                let _ = pending.set(Rc::downgrade(&digging));
                digging.dialogue.replace(Some(Dialogue { socket, sent: 0, decoder }));
                digging.trigger.set(Some(trigger));
            }
            Err(error) => trigger.errback(digging.tunnel.misbehaved(ProxyFault::Lost(error.to_string()))),
        }
        deferred
    }

    #[track_caller]
    fn misbehaved(&self, fault: ProxyFault) -> Failure {
        ProxyMisbehaved { proxy: self.via.name(), target: self.target.clone(), fault }.into()
    }
}

/// One tunnel on its way. The loop owns it.
struct Digging {
    tunnel: Tunnel,
    dialogue: RefCell<Option<Dialogue>>,
    trigger: Cell<Option<Trigger<WatchedSocket>>>,
}

struct Dialogue {
    socket: WatchedSocket,
    /// How much of the request.
    sent: usize,
    decoder: ResponseDecoder,
}

impl EventHandler for Digging {
    fn ready(self: Rc<Self>, _: Ready) -> Progress {
        let outcome = match &mut *self.dialogue.borrow_mut() {
            None => return Progress::Drained,
            Some(dialogue) => dialogue.go_on(&self.tunnel),
        };
        match outcome {
            Ok(false) => {}
            Ok(true) => self.end(Ok(())),
            Err(failure) => self.end(Err(failure)),
        }
        Progress::Drained
    }
}

impl Digging {
    fn end(&self, outcome: Result<(), Failure>) {
        match (self.trigger.take(), self.dialogue.take(), outcome) {
            (Some(trigger), Some(dialogue), Ok(())) => trigger.callback(dialogue.socket),
            (Some(trigger), dialogue, Err(failure)) => {
                drop(dialogue);
                trigger.errback(failure);
            }
            _ => {}
        }
    }
}

impl Dialogue {
    /// Sends and reads what there is; whether the tunnel is there.
    fn go_on(&mut self, tunnel: &Tunnel) -> Result<bool, Failure> {
        let lost = |error: io::Error| tunnel.misbehaved(ProxyFault::Lost(error.to_string()));
        let socket = &mut self.socket.socket;
        while self.sent < tunnel.request.len() {
            match socket.write(&tunnel.request[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(lost(error)),
            }
        }
        socket.flush().map_err(lost)?;
        // The heads that may come are bounded, and so is this.
        let mut buffer = [0; 4096];
        loop {
            match self.socket.socket.read(&mut buffer) {
                Ok(0) => return Err(tunnel.misbehaved(ProxyFault::Closed)),
                Ok(count) => {
                    if self.understand(&buffer[..count], tunnel)? {
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(lost(error)),
            }
        }
    }

    fn understand(&mut self, mut input: &[u8], tunnel: &Tunnel) -> Result<bool, Failure> {
        while let Some(event) =
            self.decoder.decode(&mut input).map_err(|error| tunnel.misbehaved(ProxyFault::Answer(error)))?
        {
            match event {
                ResponseEvent::Head(head) if !head.status.is_success() => {
                    return Err(ProxyRefused {
                        proxy: tunnel.via.name(),
                        target: tunnel.target.clone(),
                        status: head.status,
                        reason: head.words(),
                        headers: head.headers.to_headers(),
                    }
                    .into());
                }
                // TLS waits for the client to speak first.
                ResponseEvent::End(_) if !input.is_empty() => {
                    return Err(tunnel.misbehaved(ProxyFault::UnaskedBytes));
                }
                ResponseEvent::End(_) => return Ok(true),
                _ => {}
            }
        }
        Ok(false)
    }
}
