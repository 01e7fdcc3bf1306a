//! Watches over sources, with a closure as the handler.

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::io;
use std::panic::Location;
use std::rc::Rc;

use mio::Interest;
use mio::event::Source;

use crate::{CallSite, EventHandler, Handle, Progress, Ready, Registration};

impl Handle {
    /// Watches a source of [`mio`](crate::mio), and calls `callback` with it whenever it is ready. The reactor owns
    /// the source. Twisted: `addReader` and `addWriter`.
    ///
    /// The callback has two ways to respond. It handles a part, and returns [`Progress::More`] to be called again
    /// in the next turn. Or it continues until the operating system reports "would block", and returns that error,
    /// as `?` does, or [`Progress::Drained`]. Any other error is logged and ends the watch.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// use std::io::{Read, Write};
    /// use twistor::prelude::*;
    /// use twistor::reactor::{Interest, Progress, mio};
    ///
    /// let reactor = Reactor::new()?;
    /// let (mut sender, receiver) = mio::unix::pipe::new()?;
    /// sender.write_all(b"hello")?;
    /// let handle = reactor.handle();
    /// reactor.add_source(receiver, Interest::READABLE, move |receiver, _ready| {
    ///     let mut buffer = [0; 64];
    ///     let length = receiver.read(&mut buffer)?; // returns "would block" when everything has been read
    ///     println!("{}", String::from_utf8_lossy(&buffer[..length]));
    ///     handle.stop();
    ///     Ok(Progress::More)
    /// })?;
    /// reactor.run()?;
    /// # }
    /// # Ok::<(), twistor::deferred::Failure>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`register`](Handle::register).
    ///
    /// # Panics
    ///
    /// A panic in the callback is logged and ends the watch.
    #[track_caller]
    pub fn add_source<S: Source + 'static>(
        &self,
        source: S,
        interest: Interest,
        callback: impl FnMut(&mut S, Ready) -> io::Result<Progress> + 'static,
    ) -> io::Result<Watch> {
        self.watch(source, interest, callback, |_| Ready::NONE)
    }

    /// Does what `add_source` does. `unreported` is called after the registration, and returns readiness that the
    /// operating system will not report.
    #[track_caller]
    pub(crate) fn watch<S: Source + 'static>(
        &self,
        mut source: S,
        interest: Interest,
        callback: impl FnMut(&mut S, Ready) -> io::Result<Progress> + 'static,
        unreported: impl FnOnce(&S) -> Ready,
    ) -> io::Result<Watch> {
        let place = Location::caller();
        // The source is added after it is registered: until then, there is nothing to deregister.
        let watched = Rc::new(WatchedSource {
            held: Cell::new(None),
            removed: Cell::new(false),
            registration: OnceCell::new(),
            place,
        });
        let registration = self.register(&mut source, interest, watched.clone())?;
        let ready = unreported(&source);
        if !ready.is_none() {
            registration.wake(ready);
        }
        let _ = watched.registration.set(registration);
        watched.held.set(Some((source, callback)));
        Ok(Watch { watched })
    }
}

/// A watch over a source, returned by [`add_source`](Handle::add_source).
///
/// # Dropping
///
/// Dropping it leaves the source watched.
#[derive(Clone)]
pub struct Watch {
    watched: Rc<dyn Removable>,
}

impl Watch {
    /// Ends the watch: the callback is never called again, and the source is closed. If called from inside the
    /// callback, this happens when the callback returns.
    pub fn remove(&self) {
        self.watched.remove();
    }

    /// Schedules the callback to be called with this readiness in the next turn.
    pub fn wake(&self, ready: Ready) {
        self.watched.wake(ready);
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

trait Removable {
    fn remove(&self);
    fn wake(&self, ready: Ready);
}

struct WatchedSource<S: Source, F> {
    /// Taken out while the callback runs, and at the end.
    held: Cell<Option<(S, F)>>,
    removed: Cell<bool>,
    registration: OnceCell<Registration>,
    place: &'static Location<'static>,
}

impl<S, F> EventHandler for WatchedSource<S, F>
where
    S: Source,
    F: FnMut(&mut S, Ready) -> io::Result<Progress>,
{
    fn ready(self: Rc<Self>, ready: Ready) -> Progress {
        let Some((mut source, mut callback)) = self.held.take() else { return Progress::Drained };
        let result = callback(&mut source, ready);
        self.held.set(Some((source, callback)));
        let progress = match result {
            Ok(progress) => progress,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Progress::Drained,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Progress::More,
            Err(error) => {
                log::error!("the source added at {} failed and is no longer watched: {error}", self.place);
                self.removed.set(true);
                Progress::Drained
            }
        };
        if self.removed.get() {
            self.remove();
        }
        progress
    }

    fn call_site(&self) -> CallSite {
        self.place.into()
    }
}

impl<S: Source, F> Removable for WatchedSource<S, F> {
    fn remove(&self) {
        self.removed.set(true);
        if let (Some((mut source, _callback)), Some(registration)) =
            (self.held.take(), self.registration.get())
        {
            // If the source cannot be deregistered, closing it removes it from the selector, and it is closed now.
            let _ = registration.deregister(&mut source);
        }
    }

    fn wake(&self, ready: Ready) {
        if let Some(registration) = self.registration.get() {
            registration.wake(ready);
        }
    }
}

impl<S: Source, F> Drop for WatchedSource<S, F> {
    fn drop(&mut self) {
        self.remove();
    }
}
