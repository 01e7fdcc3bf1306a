//! Watching a source with a closure.

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::io;
use std::panic::Location;
use std::rc::Rc;

use mio::Interest;
use mio::event::Source;

use crate::{CallSite, EventHandler, Handle, Progress, Ready, Registration};

impl Handle {
    /// Has the reactor own a source and call `callback` with it whenever it is ready; the friendly face of
    /// [`register`](Handle::register). The nearest to Twisted's `addReader` and `addWriter`.
    ///
    /// The callback does some of what there is to do and returns [`Progress::More`], to be called again next turn; or
    /// goes on until the operating system says "would block", and returns that error, which `?` does, or
    /// [`Progress::Drained`]. Any other error is logged, and ends the watch.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// use std::io::{Read, Write};
    /// use mio::Interest;
    /// use twistor_reactor::{Progress, Reactor};
    ///
    /// let reactor = Reactor::new()?;
    /// let (mut sender, receiver) = mio::unix::pipe::new()?;
    /// sender.write_all(b"hello")?;
    /// let handle = reactor.clone();
    /// reactor.add_source(receiver, Interest::READABLE, move |receiver, _ready| {
    ///     let mut buffer = [0; 64];
    ///     let length = receiver.read(&mut buffer)?; // "would block" ends here, and means: all is read
    ///     println!("{}", String::from_utf8_lossy(&buffer[..length]));
    ///     handle.stop();
    ///     Ok(Progress::More)
    /// })?;
    /// reactor.run()?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`register`](Handle::register).
    ///
    /// # Panics
    ///
    /// A panic in the callback is logged, and ends the watch.
    #[track_caller]
    pub fn add_source<S: Source + 'static>(
        &self,
        source: S,
        interest: Interest,
        callback: impl FnMut(&mut S, Ready) -> io::Result<Progress> + 'static,
    ) -> io::Result<Watch> {
        self.watch(source, interest, callback, |_| Ready::NONE)
    }

    /// As `add_source`. `unreported` is called after the registration, and returns readiness that the operating system
    /// will not report.
    #[track_caller]
    pub(crate) fn watch<S: Source + 'static>(
        &self,
        mut source: S,
        interest: Interest,
        callback: impl FnMut(&mut S, Ready) -> io::Result<Progress> + 'static,
        unreported: impl FnOnce(&S) -> Ready,
    ) -> io::Result<Watch> {
        let place = Location::caller();
        // The source goes in when it is registered: until then there is nothing to take out.
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

/// A watch over a source, as given by [`add_source`](Handle::add_source).
///
/// # Dropping
///
/// Dropping it leaves the source watched.
#[derive(Clone)]
pub struct Watch {
    watched: Rc<dyn Removable>,
}

impl Watch {
    /// Ends the watch: the callback is never called again, and the source is closed; if this is called from inside
    /// the callback, when that returns.
    pub fn remove(&self) {
        self.watched.remove();
    }

    /// Has the callback called with this readiness in the next turn.
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
    /// Taken out while the callback runs, and for good at the end.
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
                log::error!(
                    "the source added at {} failed, and is not watched any more: {error}",
                    self.place
                );
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
            // A source that cannot be taken out of the selector leaves it when it is closed, which is now.
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
