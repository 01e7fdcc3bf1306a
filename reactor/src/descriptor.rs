//! Watches over descriptors of any kind.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use crate::{Handle, Progress, Ready, Watch};

/// Anything with a descriptor, as a source for mio. A descriptor that the selector refuses because it never blocks,
/// such as a plain file on Linux, counts as always ready: its owner wakes the handler instead.
pub(crate) struct Descriptor<F> {
    pub(crate) io: F,
    always_ready: bool,
}

impl<F: AsFd> Descriptor<F> {
    pub(crate) fn new(io: F) -> Descriptor<F> {
        Descriptor { io, always_ready: false }
    }

    /// Returns the readiness that the selector will not report. Call it after registering.
    pub(crate) fn unreported(&self, interest: Interest) -> Ready {
        let mut ready = Ready::NONE;
        if self.always_ready && interest.is_readable() {
            ready |= Ready::READABLE;
        }
        if self.always_ready && interest.is_writable() {
            ready |= Ready::WRITABLE;
        }
        ready
    }
}

impl<F: AsFd> Source for Descriptor<F> {
    fn register(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        match SourceFd(&self.io.as_fd().as_raw_fd()).register(registry, token, interest) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.always_ready = true;
                Ok(())
            }
            result => result,
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        match self.always_ready {
            true => Ok(()),
            false => SourceFd(&self.io.as_fd().as_raw_fd()).reregister(registry, token, interest),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self.always_ready {
            true => Ok(()),
            false => SourceFd(&self.io.as_fd().as_raw_fd()).deregister(registry),
        }
    }
}

impl Handle {
    /// Watches anything that has a descriptor, for reading, writing, or both at once, and calls `callback` with it
    /// whenever it is ready. Apart from that, works as [`add_source`](Handle::add_source). Twisted: `addReader` and
    /// `addWriter`.
    ///
    /// ```
    /// use std::fs::File;
    /// use std::io::Read;
    /// use twistor::prelude::*;
    /// use twistor::reactor::{Interest, Progress};
    ///
    /// let reactor = Reactor::new()?;
    /// let handle = reactor.handle();
    /// reactor.add_descriptor(File::open("/etc/passwd")?, Interest::READABLE, move |file, _ready| {
    ///     let length = file.read(&mut [0; 512])?;
    ///     if length == 0 {
    ///         handle.stop();
    ///         return Ok(Progress::Drained);
    ///     }
    ///     Ok(Progress::More)
    /// })?;
    /// reactor.run()?;
    /// # Ok::<(), Failure>(())
    /// ```
    ///
    /// The descriptor has to be non-blocking; otherwise a callback that reads until "would block" holds the loop.
    /// For a blocking descriptor, such as a terminal, use [`readable`](Handle::readable), which reports each
    /// readiness.
    ///
    /// A descriptor that never blocks, such as a plain file or `/dev/null`, is always ready: the callback is called
    /// in the next turn, and again as long as it returns [`Progress::More`].
    ///
    /// # Errors
    ///
    /// As [`register`](Handle::register); `AlreadyExists` for a descriptor that is already watched.
    ///
    /// # Panics
    ///
    /// A panic in the callback is logged and ends the watch.
    #[track_caller]
    pub fn add_descriptor<F: AsFd + 'static>(
        &self,
        io: F,
        interest: Interest,
        mut callback: impl FnMut(&mut F, Ready) -> io::Result<Progress> + 'static,
    ) -> io::Result<Watch> {
        let callback = move |source: &mut Descriptor<F>, ready| callback(&mut source.io, ready);
        self.watch(Descriptor::new(io), interest, callback, |source| source.unreported(interest))
    }
}
