//! The standard input of a process.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::panic::Location;
use std::rc::Rc;

use mio::Interest;
use mio::unix::pipe::Sender;
use twistor_deferred::{Deferred, DeferredEvent, fail, succeed};

use super::state::{OpenPipe, ProcessState};
use crate::ready::{EventHandler, Progress, Ready};
use crate::{CallSite, Handle, Registration};

/// The pipe to a process's standard input. Owned by the reactor's table of sources.
pub(super) struct StdinPipe {
    /// `None` after it is closed. Declared before `open`, so that the pipe is closed before that is reported.
    pipe: RefCell<Option<Sender>>,
    open: Cell<Option<OpenPipe>>,
    /// Data that the pipe has not accepted yet.
    rest: RefCell<VecDeque<u8>>,
    /// Fires when that data is written, or the pipe is closed.
    written: RefCell<DeferredEvent<Result<(), Closed>>>,
    /// Close the pipe when all data is written.
    closing: Cell<bool>,
    /// Written before the pipe is closed. On a terminal, closing alone would not end the input.
    end: &'static [u8],
    registration: RefCell<Option<Registration>>,
    /// The place that started the process.
    place: &'static Location<'static>,
}

/// The pipe was closed before all data was written.
#[derive(Clone, Copy)]
struct Closed;

pub(super) fn closed() -> io::Error {
    io::Error::new(ErrorKind::BrokenPipe, "the standard input of the process is closed or was not piped")
}

impl StdinPipe {
    #[track_caller]
    pub(super) fn open(
        handle: &Handle,
        pipe: Sender,
        end: &'static [u8],
        state: &Rc<ProcessState>,
    ) -> io::Result<Rc<StdinPipe>> {
        pipe.set_nonblocking(true)?;
        let input = Rc::new(StdinPipe {
            pipe: RefCell::new(Some(pipe)),
            open: Cell::new(Some(OpenPipe::new(state))),
            rest: RefCell::default(),
            written: RefCell::default(),
            closing: Cell::new(false),
            end,
            registration: RefCell::default(),
            place: Location::caller(),
        });
        if let Some(pipe) = &mut *input.pipe.borrow_mut() {
            let registration = handle.register(pipe, Interest::WRITABLE, input.clone())?;
            input.registration.replace(Some(registration));
        }
        Ok(input)
    }

    pub(super) fn write(&self, data: &[u8]) -> bool {
        if self.closing.get() || self.pipe.borrow().is_none() {
            return false;
        }
        self.rest.borrow_mut().extend(data);
        // If older data already waits, this data waits after it.
        if self.rest.borrow().len() == data.len() {
            self.flush();
        }
        self.pipe.borrow().is_some()
    }

    #[track_caller]
    pub(super) fn written(&self) -> Deferred<()> {
        if self.pipe.borrow().is_none() {
            return fail(closed());
        }
        if self.rest.borrow().is_empty() {
            return succeed(());
        }
        let written = self.written.borrow().wait();
        written.add_callback(|written| Ok(written.map_err(|Closed| closed())?))
    }

    pub(super) fn close_when_written(&self) {
        if !self.closing.get() {
            self.write(self.end);
        }
        self.closing.set(true);
        if self.rest.borrow().is_empty() {
            self.close();
        }
    }

    /// Writes as much as the pipe accepts.
    fn flush(&self) {
        match self.write_rest() {
            Ok(false) => {}
            Ok(true) => {
                self.written.take().fire(Ok(()));
                // A callback may have written more.
                if self.closing.get() && self.rest.borrow().is_empty() {
                    self.close();
                }
            }
            // The process no longer reads. That is not an error.
            Err(_) => self.close(),
        }
    }

    /// Returns whether all data is written.
    fn write_rest(&self) -> io::Result<bool> {
        let mut rest = self.rest.borrow_mut();
        let mut pipe = self.pipe.borrow_mut();
        let Some(pipe) = &mut *pipe else { return Ok(true) };
        while !rest.is_empty() {
            match pipe.write(rest.as_slices().0) {
                Ok(length) => drop(rest.drain(..length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // An idle pipe holds no memory.
        *rest = VecDeque::new();
        Ok(true)
    }

    fn close(&self) {
        let held = (self.pipe.take(), self.registration.take(), self.rest.take());
        drop(held);
        self.written.take().fire(Err(Closed));
        drop(self.open.take());
    }
}

impl EventHandler for StdinPipe {
    fn ready(self: Rc<Self>, ready: Ready) -> Progress {
        // The other end is closed.
        if ready.is_error() || ready.is_write_closed() {
            self.close();
        } else {
            self.flush();
        }
        Progress::Drained
    }

    fn call_site(&self) -> CallSite {
        self.place.into()
    }
}
