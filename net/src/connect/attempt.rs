//! Connecting one socket to one address.

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr};
#[cfg(unix)]
use std::path::PathBuf;
use std::rc::{Rc, Weak};

use twistor_deferred::{Deferred, Trigger, fail};
use twistor_reactor::{EventHandler, Handle, Progress, Ready};

use crate::errors::connect_failure;
use crate::network;
use crate::sockets::Socket;
use crate::sockets::WatchedSocket;
use crate::{Address, Stream};

/// The wait before another attempt when a UNIX socket's queue of connections is full. The system does not
/// report when there is space again.
#[cfg(unix)]
const UNIX_RETRY: std::time::Duration = std::time::Duration::from_millis(10);

/// Connects a socket to `address`. Cancelling closes the socket.
pub(crate) fn attempt(handle: &Handle, address: SocketAddr, bind: Option<IpAddr>) -> Deferred<Stream> {
    match network::connect(handle, address, bind) {
        Ok(socket) => watch(handle, socket.into(), address.into()),
        Err(error) => fail(connect_failure(address.into(), error)),
    }
}

/// Connects a UNIX socket to `path`, like [`attempt`].
#[cfg(unix)]
pub(crate) fn attempt_unix(handle: &Handle, path: PathBuf) -> Deferred<Stream> {
    match network::connect_unix(handle, &path) {
        Ok(socket) => watch(handle, socket.into(), Address::Unix(Some(path))),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let (waited, trigger) = Deferred::new();
            handle.call_later(UNIX_RETRY, move || trigger.callback(()));
            let handle = handle.clone();
            waited.add_callback(move |()| attempt_unix(&handle, path))
        }
        Err(error) => fail(connect_failure(Address::Unix(Some(path)), error)),
    }
}

/// A socket that is connecting.
struct Attempt {
    address: Address,
    socket: RefCell<Option<WatchedSocket>>,
    trigger: Cell<Option<Trigger<Stream>>>,
}

/// Waits until the socket is connected. Waits for the event even if it is connected already, so that all
/// callbacks run from the loop.
fn watch(handle: &Handle, mut socket: WatchedSocket, address: Address) -> Deferred<Stream> {
    let pending: Rc<OnceCell<Weak<Attempt>>> = Rc::default();
    let to_cancel = pending.clone();
    let (deferred, trigger) = Deferred::with_canceller(move |_| {
        if let Some(attempt) = to_cancel.get().and_then(Weak::upgrade) {
            drop(attempt.socket.take());
        }
    });
    let attempt = Rc::new(Attempt { address, socket: RefCell::new(None), trigger: Cell::new(None) });
    match socket.hand_to(handle, attempt.clone()) {
        Ok(()) => {
            let _ = pending.set(Rc::downgrade(&attempt));
            attempt.socket.replace(Some(socket));
            attempt.trigger.set(Some(trigger));
        }
        Err(error) => trigger.errback(connect_failure(attempt.address.clone(), error)),
    }
    deferred
}

impl EventHandler for Attempt {
    fn ready(self: Rc<Self>, ready: Ready) -> Progress {
        if !ready.writable() {
            return Progress::Drained;
        }
        let outcome = match &mut *self.socket.borrow_mut() {
            None => return Progress::Drained,
            Some(watched) => match connected(&watched.socket) {
                // The event came early. Another one will report the connection.
                Err(error) if error.kind() == io::ErrorKind::NotConnected && !ready.is_error() => {
                    return Progress::Drained;
                }
                outcome => {
                    watched.left = ready;
                    outcome
                }
            },
        };
        match (self.trigger.take(), self.socket.take(), outcome) {
            (Some(trigger), Some(socket), Ok(())) => trigger.callback(socket.into()),
            (Some(trigger), _, Err(error)) => trigger.errback(connect_failure(self.address.clone(), error)),
            _ => {}
        }
        Progress::Drained
    }
}

/// Returns the socket's error unless it is connected.
fn connected(socket: &Socket) -> io::Result<()> {
    // The error is read last, so that success costs one system call less.
    socket.check_connected().map_err(|error| socket.take_error().unwrap_or(error))
}

#[cfg(test)]
mod tests {
    use mio::net::TcpStream;
    use socket2::{Domain, Type};

    use super::*;

    // P6.3
    #[test]
    fn a_socket_connected_to_itself_counts_as_refused() {
        let socket = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let own = socket.local_addr().unwrap();
        socket.connect(&own).unwrap();
        let address = own.as_socket().unwrap();
        let socket = Socket::tcp(TcpStream::from_std(socket.into()), address);
        assert_eq!(connected(&socket).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        drop(socket);
        // The port is free at once.
        std::net::TcpListener::bind(address).unwrap();
    }
}
