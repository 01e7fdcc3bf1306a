//! The outputs of a process.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, Read};
use std::panic::Location;
use std::rc::{Rc, Weak};

use mio::Interest;
use mio::unix::pipe::Receiver;
use rustix::io::Errno;

use super::state::{OpenPipe, ProcessState};
use crate::line_buffer::{LONGEST, LineBuffer};
use crate::ready::{EventHandler, Progress, Ready};
use crate::{CallSite, Handle, Registration};

/// A callback for the data of an output, as it arrives.
type OnData = Box<dyn FnMut(&[u8])>;
/// A callback for the lines of an output.
type OnLine = Box<dyn FnMut(&str)>;

/// A callback for an output.
pub(super) enum OnOutput {
    Data(OnData),
    Lines(LineBuffer, OnLine),
}

impl OnOutput {
    pub(super) fn data(callback: impl FnMut(&[u8]) + 'static) -> OnOutput {
        OnOutput::Data(Box::new(callback))
    }

    pub(super) fn lines(callback: impl FnMut(&str) + 'static) -> OnOutput {
        OnOutput::Lines(LineBuffer::default(), Box::new(callback))
    }

    fn feed(&mut self, data: &[u8]) {
        match self {
            OnOutput::Data(callback) => callback(data),
            OnOutput::Lines(buffer, _) => buffer.feed(data),
        }
    }

    /// Delivers complete lines while `wanted` returns true.
    fn deliver_lines(&mut self, wanted: impl Fn() -> bool) {
        let OnOutput::Lines(buffer, callback) = self else { return };
        while wanted() {
            let Some(line) = buffer.next_piece(LONGEST) else { return };
            callback(&String::from_utf8_lossy(line));
        }
    }

    /// Delivers a last line that has no ending.
    fn end(&mut self) {
        if let OnOutput::Lines(buffer, callback) = self {
            if let Some(line) = buffer.take_rest() {
                callback(&String::from_utf8_lossy(&line));
            }
        }
    }
}

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
    callback: Cell<Option<OnOutput>>,
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
        callback: OnOutput,
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

    fn with_callback(&self, call: impl FnOnce(&mut OnOutput)) {
        if let Some(mut callback) = self.callback.take() {
            call(&mut callback);
            self.callback.set(Some(callback));
        }
    }

    /// Whether no callback has paused or closed the output.
    fn is_wanted(&self) -> bool {
        !self.paused.get() && !self.unwanted.get()
    }

    fn end(&self) {
        self.with_callback(OnOutput::end);
        self.close();
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
        // Lines that a pause has held back.
        self.with_callback(|callback| callback.deliver_lines(|| self.is_wanted()));
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
                    self.end();
                    return Progress::Drained;
                }
                Ok(length) => self.with_callback(|callback| {
                    callback.feed(&buffer[..length]);
                    callback.deliver_lines(|| self.is_wanted());
                }),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Progress::Drained,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // On Linux, no process has the terminal open any more.
                Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
                    self.end();
                    return Progress::Drained;
                }
                Err(error) => {
                    log::warn!("could not read the output of a process: {error}");
                    self.end();
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
