//! A socket that moves from one handler of the loop to the next, such as from connecting to the TLS handshake
//! to the connection.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use twistor_reactor::{EventHandler, Handle, Progress, Ready, Registration};

use super::socket::Socket;

/// A socket, and its registration with the loop once it has one. The registration is kept from handler to
/// handler, so that the operating system registers the socket only once.
///
/// Dropping it deregisters and closes the socket.
pub(crate) struct WatchedSocket {
    registration: Option<Registration>,
    pub(crate) socket: Socket,
    /// The readiness that the last handler was notified of and did not use.
    pub(crate) left: Ready,
    parked: Option<Rc<Parked>>,
}

/// Collects readiness while no handler runs, because the operating system does not report it again.
#[derive(Default)]
struct Parked(Cell<Ready>);

impl EventHandler for Parked {
    fn ready(self: Rc<Self>, ready: Ready) -> Progress {
        self.0.set(self.0.get() | ready);
        Progress::Drained
    }
}

/// A socket that is not registered yet.
impl From<Socket> for WatchedSocket {
    fn from(socket: Socket) -> WatchedSocket {
        WatchedSocket { registration: None, socket, left: Ready::NONE, parked: None }
    }
}

impl WatchedSocket {
    /// Collects readiness until the next handler takes the socket.
    pub(crate) fn park(&mut self) {
        if let Some(registration) = &self.registration {
            let parked: &Rc<Parked> = self.parked.insert(Rc::default());
            registration.hand_over(parked.clone());
        }
    }

    /// Sets the handler. `left` is the readiness that no earlier handler has used.
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
            // This fails if the reactor is gone. The socket is closed either way.
            let _ = registration.deregister(&mut self.socket);
        }
    }
}
