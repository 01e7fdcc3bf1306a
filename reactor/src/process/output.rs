//! The outputs of a process.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, Read};
use std::panic::Location;
use std::rc::{Rc, Weak};

use mio::Interest;
use mio::unix::pipe::Receiver;
use rustix::io::Errno;

use super::state::{OpenPipe, ProcessState};
use crate::ready::{EventHandler, Progress, Ready};
use crate::{CallSite, Handle, Registration};

/// A callback for the data of an output.
pub(super) type OnData = Box<dyn FnMut(&[u8])>;

/// The number of bytes in one read.
const PIECE: usize = 16 * 1024;
/// The number of reads in one turn: together, as much as a pipe holds.
const PIECES: usize = 4;

/// The pipe from a process's standard output or standard error. Owned by the reactor's table of sources.
pub(super) struct OutputPipe {
    /// `None` after it is closed. Declared before `open`, so that the pipe is closed before that is reported.
    pipe: RefCell<Option<Receiver>>,
    open: Cell<Option<OpenPipe>>,
    /// Taken out while it runs.
    callback: Cell<Option<OnData>>,
    paused: Cell<bool>,
    /// No more output is wanted.
    unwanted: Cell<bool>,
    /// The place that spawned the process.
    place: &'static Location<'static>,
    registration: RefCell<Option<Registration>>,
}

impl OutputPipe {
    #[track_caller]
    pub(super) fn open(
        handle: &Handle,
        pipe: Receiver,
        callback: OnData,
        state: &Rc<ProcessState>,
    ) -> io::Result<Weak<OutputPipe>> {
        pipe.set_nonblocking(true)?;
        let output = Rc::new(OutputPipe {
            pipe: RefCell::new(Some(pipe)),
            open: Cell::new(Some(OpenPipe::new(state))),
            callback: Cell::new(Some(callback)),
            paused: Cell::new(false),
            unwanted: Cell::new(false),
            place: Location::caller(),
            registration: RefCell::default(),
        });
        if let Some(pipe) = &mut *output.pipe.borrow_mut() {
            let registration = handle.register(pipe, Interest::READABLE, output.clone())?;
            output.registration.replace(Some(registration));
        }
        Ok(Rc::downgrade(&output))
    }

    pub(super) fn pause(&self) {
        self.paused.set(true);
    }

    pub(super) fn resume(&self) {
        if self.paused.replace(false) {
            self.wake();
        }
    }

    /// Makes the loop close the pipe.
    pub(super) fn give_up(&self) {
        self.unwanted.set(true);
        self.wake();
    }

    #[cfg(feature = "pty")]
    pub(super) fn resize(&self, size: super::terminal::TerminalSize) -> io::Result<()> {
        match &*self.pipe.borrow() {
            Some(pipe) => super::terminal::resize(pipe, size),
            None => Err(super::terminal::closed()),
        }
    }

    fn wake(&self) {
        if let Some(registration) = &*self.registration.borrow() {
            registration.wake(Ready::READABLE);
        }
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut *self.pipe.borrow_mut() {
            Some(pipe) => pipe.read(buffer),
            None => Ok(0),
        }
    }

    fn tell(&self, data: &[u8]) {
        if let Some(mut callback) = self.callback.take() {
            callback(data);
            self.callback.set(Some(callback));
        }
    }

    fn close(&self) {
        let held = (self.pipe.take(), self.registration.take(), self.callback.take());
        drop(held);
        drop(self.open.take());
    }
}

impl EventHandler for OutputPipe {
    fn ready(self: Rc<Self>, _: Ready) -> Progress {
        let mut buffer = [0; PIECE];
        for _ in 0..PIECES {
            if self.unwanted.get() {
                self.close();
                return Progress::Drained;
            }
            if self.paused.get() {
                // `resume` wakes it.
                return Progress::Drained;
            }
            match self.read(&mut buffer) {
                Ok(0) => {
                    self.close();
                    return Progress::Drained;
                }
                Ok(length) => self.tell(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Progress::Drained,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // On Linux, no process has the terminal open any more.
                Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
                    self.close();
                    return Progress::Drained;
                }
                Err(error) => {
                    log::warn!("could not read the output of a process: {error}");
                    self.close();
                    return Progress::Drained;
                }
            }
        }
        Progress::More
    }

    fn call_site(&self) -> CallSite {
        self.place.into()
    }
}
