//! The handshake on a connected socket, before there is a connection for the protocol.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use twistor_deferred::{Deferred, Trigger};
use twistor_reactor::{EventHandler, Handle, Progress, Ready};

use super::errors::{Cause, Opening};
use super::stream::Handshaking;
use super::{HandshakeFailed, TlsStream};
use crate::Address;
use crate::transport::connection::STARVED_FOR;
use crate::transport::socket::Socket;
use crate::transport::watched::WatchedSocket;

/// One handshake under way. The loop owns it.
struct Handshake {
    peer: Address,
    socket: RefCell<Option<WatchedSocket>>,
    opening: Cell<Opening>,
    trigger: Cell<Option<Trigger<WatchedSocket>>>,
}

/// Shakes hands; gives the socket with the session on it. Cancelling closes it.
pub(crate) fn handshake(
    handle: &Handle,
    mut socket: WatchedSocket,
    session: rustls::Connection,
    peer: Address,
    timeout: Option<Duration>,
) -> Deferred<WatchedSocket> {
    let pending: Rc<OnceCell<Weak<Handshake>>> = Rc::default();
    let to_cancel = pending.clone();
    let (deferred, trigger) = Deferred::with_canceller(move |_| {
        if let Some(handshake) = to_cancel.get().and_then(Weak::upgrade) {
            drop(handshake.socket.take());
        }
    });
    socket.wrap(|socket| Socket::Tls(Box::new(TlsStream::new(socket, session, Vec::new()))));
    let handshake = Rc::new(Handshake {
        peer,
        socket: RefCell::new(None),
        opening: Cell::default(),
        trigger: Cell::new(None),
    });
    match socket.hand_to_speaker(handle, handshake.clone()) {
        Ok(()) => {
            let _ = pending.set(Rc::downgrade(&handshake));
            handshake.socket.replace(Some(socket));
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
        let mut opening = self.opening.get();
        let outcome = match &mut *self.socket.borrow_mut() {
            Some(watched) => watched.shake_hands(&mut opening),
            _ => return Progress::Drained,
        };
        self.opening.set(opening);
        match outcome {
            Ok(Handshaking::Waiting) => {}
            Ok(Handshaking::More) => return Progress::More,
            Ok(Handshaking::Done) => self.end(Ok(())),
            Err(cause) => self.end(Err(cause)),
        }
        Progress::Drained
    }
}

impl WatchedSocket {
    fn shake_hands(&mut self, opening: &mut Opening) -> Result<Handshaking, Cause> {
        let Socket::Tls(stream) = &mut self.socket else { return Ok(Handshaking::Waiting) };
        let outcome = stream.shake_hands(opening);
        if stream.is_starved() {
            self.wake_later(STARVED_FOR);
        }
        outcome
    }
}

impl Handshake {
    fn end(&self, outcome: Result<(), Cause>) {
        match (self.trigger.take(), self.socket.take(), outcome) {
            (Some(trigger), Some(socket), Ok(())) => trigger.callback(socket),
            (Some(trigger), socket, Err(cause)) => {
                drop(socket);
                trigger.errback(HandshakeFailed::new(self.peer.clone(), cause));
            }
            _ => {}
        }
    }
}
