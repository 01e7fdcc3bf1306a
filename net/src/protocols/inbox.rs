//! The receiving half of a connection that is read from outside its protocol: step by step in a
//! [`Conversation`](super::Conversation), or by a task that polls.

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::rc::Rc;

use twistor_deferred::Failure;

use crate::framing::Pending;
use crate::{ConnectionDone, ConnectionLost, Protocol, Transport};

/// Without a read that waits for more, this many bytes are read ahead before the peer is held up.
const READ_AHEAD: usize = 64 * 1024;

/// The bytes that have arrived and are not read yet, and how the stream has ended.
#[derive(Default)]
pub(crate) struct Inbox {
    pub(crate) bytes: RefCell<Pending>,
    transport: OnceCell<Transport>,
    ended: Cell<bool>,
    lost: Cell<bool>,
    /// The reason of the loss, for the first read that fails.
    reason: Cell<Option<Failure>>,
}

impl Inbox {
    /// Returns the transport; `None` until the connection is made.
    pub(crate) fn transport(&self) -> Option<&Transport> {
        self.transport.get()
    }

    /// Returns whether no bytes follow those that have arrived: the peer has ended its half.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.get()
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.get()
    }

    /// Takes the reason of the loss. Later calls return `NotConnected`.
    pub(crate) fn take_reason(&self) -> Failure {
        let reason = self.reason.take();
        reason.unwrap_or_else(|| ConnectionLost::new(io::ErrorKind::NotConnected.into()).into())
    }

    /// Lets the peer send again.
    pub(crate) fn resume(&self) {
        if let Some(transport) = self.transport.get().filter(|transport| transport.is_paused()) {
            transport.resume_producing();
        }
    }
}

/// The reader of an [`Inbox`].
pub(crate) trait Reader: Default + 'static {
    fn inbox(&self) -> &Inbox;

    /// Called when bytes, the end of the stream or the loss have arrived.
    fn arrived(self: &Rc<Self>);

    /// Returns whether a read waits for more bytes than have arrived.
    fn wants_more(&self) -> bool;
}

/// The protocol that fills an inbox.
pub(crate) struct Receiving<R, F> {
    reader: Rc<R>,
    /// Called when the connection is established.
    begin: Option<F>,
}

impl<R: Reader, F: FnOnce(Rc<R>, Transport)> Receiving<R, F> {
    /// Creates a protocol that passes the reader and the transport to `begin`.
    pub(crate) fn begin_with(begin: F) -> Receiving<R, F> {
        Receiving { reader: Rc::default(), begin: Some(begin) }
    }
}

impl<R: Reader> Receiving<R, fn(Rc<R>, Transport)> {
    /// Creates a protocol, and returns it with its reader.
    pub(crate) fn new() -> (Self, Rc<R>) {
        let reader = Rc::<R>::default();
        (Receiving { reader: reader.clone(), begin: None }, reader)
    }
}

impl<R: Reader, F: FnOnce(Rc<R>, Transport) + 'static> Protocol for Receiving<R, F> {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        // A wrapper that does not pass `unread` on must not hide these bytes from `start_tls` and `release`.
        transport.keeps_bytes();
        let _ = self.reader.inbox().transport.set(transport.clone());
        if let Some(begin) = self.begin.take() {
            begin(self.reader.clone(), transport.clone());
        }
        Ok(())
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        let inbox = self.reader.inbox();
        inbox.bytes.borrow_mut().feed(data);
        // Before the check, because it may take everything.
        self.reader.arrived();
        if inbox.bytes.borrow().len() >= READ_AHEAD && !self.reader.wants_more() {
            transport.pause_producing();
        }
        Ok(())
    }

    fn read_connection_lost(&mut self, _: &Transport) -> Result<(), Failure> {
        self.reader.inbox().ended.set(true);
        self.reader.arrived();
        Ok(())
    }

    fn unread(&mut self) -> Option<Vec<u8>> {
        Some(self.reader.inbox().bytes.borrow_mut().take_rest())
    }

    fn connection_lost(&mut self, reason: Failure) {
        let inbox = self.reader.inbox();
        inbox.lost.set(true);
        if reason.is::<ConnectionDone>() {
            inbox.ended.set(true);
        } else {
            inbox.reason.set(Some(reason));
        }
        self.reader.arrived();
    }
}
