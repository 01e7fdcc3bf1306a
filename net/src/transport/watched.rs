//! A socket on its way from one handler of the loop to the next: connecting, digging a tunnel, shaking hands, and in
//! the end the connection have it in turn.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use twistor_reactor::{EventHandler, Handle, Progress, Ready, Registration};

use super::socket::Socket;

/// A socket, and its place in the loop once it has one. It keeps that place, so that the operating system is asked to
/// watch it once, whoever looks after it.
///
/// Dropped, it is taken out of the loop and closed.
pub(crate) struct WatchedSocket {
    registration: Option<Registration>,
    pub(crate) socket: Socket,
    /// What the last handler was told and has left to the next.
    pub(crate) left: Ready,
    parked: Option<Rc<Parked>>,
}

/// Collects readiness while nothing runs on a socket: the operating system does not report it twice.
#[derive(Default)]
struct Parked(Cell<Ready>);

impl EventHandler for Parked {
    fn ready(self: Rc<Self>, ready: Ready) -> Progress {
        self.0.set(self.0.get() | ready);
        Progress::Drained
    }
}

/// A socket that the loop does not know yet.
impl From<Socket> for WatchedSocket {
    fn from(socket: Socket) -> WatchedSocket {
        WatchedSocket { registration: None, socket, left: Ready::NONE, parked: None }
    }
}

impl WatchedSocket {
    /// Collects readiness until the socket is handed to the next handler.
    pub(crate) fn park(&mut self) {
        if let Some(registration) = &self.registration {
            let parked: &Rc<Parked> = self.parked.insert(Rc::default());
            registration.hand_over(parked.clone());
        }
    }

    /// Calls `handler` from now on. `left` is the readiness that no earlier handler has used up.
    pub(crate) fn hand_to(&mut self, handle: &Handle, handler: Rc<dyn EventHandler>) -> io::Result<()> {
        if let Some(parked) = self.parked.take() {
            self.left |= parked.0.get();
        }
        match &self.registration {
            Some(registration) => registration.hand_over(handler),
            None => self.registration = Some(self.socket.watch(handle, handler)?),
        }
        Ok(())
    }

    pub(crate) fn into_parts(mut self) -> (Socket, Option<Registration>) {
        (std::mem::replace(&mut self.socket, Socket::Closed), self.registration.take())
    }
}

impl Drop for WatchedSocket {
    fn drop(&mut self) {
        if let Some(registration) = self.registration.take() {
            // It fails when the reactor is gone; the socket is closed either way.
            let _ = registration.deregister(&mut self.socket);
        }
    }
}
