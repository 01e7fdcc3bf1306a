//! The handshake on a connected socket, before there is a connection for the protocol.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use twistor_deferred::{Deferred, Trigger};
use twistor_reactor::{EventHandler, Handle, Progress, Ready, Registration};

use super::errors::Cause;
use super::{HandshakeFailed, TlsStream};
use crate::Address;
use crate::transport::socket::Socket;

/// One handshake under way. The loop owns it.
struct Handshake {
    peer: Address,
    stream: RefCell<Option<Box<TlsStream>>>,
    registration: OnceCell<Registration>,
    trigger: Cell<Option<Trigger<Socket>>>,
}

/// Shakes hands; the socket is not registered before, nor after. Cancelling closes it.
pub(crate) fn handshake(
    handle: &Handle,
    stream: TlsStream,
    peer: Address,
    timeout: Option<Duration>,
) -> Deferred<Socket> {
    let pending: Rc<OnceCell<Weak<Handshake>>> = Rc::default();
    let to_cancel = pending.clone();
    let (deferred, trigger) = Deferred::with_canceller(move |_| {
        if let Some(handshake) = to_cancel.get().and_then(Weak::upgrade) {
            handshake.close();
        }
    });
    let mut stream = Box::new(stream);
    let handshake = Rc::new(Handshake {
        peer,
        stream: RefCell::new(None),
        registration: OnceCell::new(),
        trigger: Cell::new(None),
    });
    match stream.watch(handle, handshake.clone()) {
        Ok(registration) => {
            let _ = handshake.registration.set(registration);
            let _ = pending.set(Rc::downgrade(&handshake));
            handshake.stream.replace(Some(stream));
            handshake.trigger.set(Some(trigger));
        }
        Err(error) => {
            trigger.errback(HandshakeFailed::new(handshake.peer.clone(), Cause::Io(error)));
            return deferred;
        }
    }
    let Some(timeout) = timeout else { return deferred };
    let late = Rc::downgrade(&handshake);
    let timer = handle.call_later(timeout, move || {
        if let Some(handshake) = late.upgrade() {
            handshake.end(Err(Cause::TimedOut(timeout)));
        }
    });
    deferred.add_both(move |result| {
        let _ = timer.cancel();
        result
    })
}

impl EventHandler for Handshake {
    fn ready(self: Rc<Self>, _: Ready) -> Progress {
        let outcome = match &mut *self.stream.borrow_mut() {
            None => return Progress::Drained,
            Some(stream) => stream.shake_hands(),
        };
        match outcome {
            Ok(false) => {}
            Ok(true) => self.end(Ok(())),
            Err(cause) => self.end(Err(cause)),
        }
        Progress::Drained
    }
}

impl Handshake {
    fn end(&self, outcome: Result<(), Cause>) {
        let trigger = self.trigger.take();
        let stream = self.close();
        match (trigger, stream, outcome) {
            (Some(trigger), Some(stream), Ok(())) => trigger.callback(Socket::Tls(stream)),
            (Some(trigger), stream, Err(cause)) => {
                drop(stream);
                trigger.errback(HandshakeFailed::new(self.peer.clone(), cause));
            }
            _ => {}
        }
    }

    /// Takes the socket out of the loop.
    fn close(&self) -> Option<Box<TlsStream>> {
        let mut stream = self.stream.borrow_mut().take()?;
        if let Some(registration) = self.registration.get() {
            // It fails when the reactor is gone; the socket is closed either way.
            let _ = registration.deregister(&mut *stream);
        }
        Some(stream)
    }
}
