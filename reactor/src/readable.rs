//! Readiness of descriptors as Deferreds.

use std::cell::Cell;
use std::os::fd::AsFd;
use std::panic::Location;
use std::rc::Rc;

use mio::Interest;
use twistor_deferred::{Deferred, Trigger, fail};

use crate::descriptor::Descriptor;
use crate::{CallSite, EventHandler, Handle, Progress, Ready, Registration};

impl Handle {
    /// Returns a Deferred that fires with `io` when a read from it will not block.
    ///
    /// `io` may be anything with a descriptor that is not already registered, or an `Rc` or `Arc` of it. A
    /// descriptor that never blocks, such as a plain file or `/dev/null`, is always ready: the Deferred fires in
    /// the next turn.
    ///
    /// ```
    /// use std::io::Write;
    /// use std::os::unix::net::UnixStream;
    /// use twistor::prelude::*;
    ///
    /// let reactor = Reactor::new()?;
    /// let (here, mut there) = UnixStream::pair()?;
    /// there.write_all(b"hello")?;
    /// let _here = reactor.run_until(reactor.readable(here))?;
    /// # Ok::<(), Failure>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Errors of the operating system; `AlreadyExists` for a descriptor that is already registered.
    ///
    /// # Cancel safety
    ///
    /// Cancelling, as when an awaiting task is dropped or loses a `select`, ends the watch and drops `io`. No data
    /// is lost, because nothing is read.
    #[track_caller]
    pub fn readable<F: AsFd + 'static>(&self, io: F) -> Deferred<F> {
        self.once_ready(io, Interest::READABLE, Location::caller())
    }

    /// Returns a Deferred that fires with `io` when a write to it will not block. Apart from that, works as
    /// [`readable`](Handle::readable).
    ///
    /// # Errors
    ///
    /// As [`readable`](Handle::readable).
    ///
    /// # Cancel safety
    ///
    /// As [`readable`](Handle::readable).
    #[track_caller]
    pub fn writable<F: AsFd + 'static>(&self, io: F) -> Deferred<F> {
        self.once_ready(io, Interest::WRITABLE, Location::caller())
    }

    #[track_caller]
    fn once_ready<F: AsFd + 'static>(
        &self,
        io: F,
        interest: Interest,
        place: &'static Location<'static>,
    ) -> Deferred<F> {
        let waiter = Rc::new(ReadinessWaiter { waiting: Cell::new(None), place });
        let mut source = Descriptor::new(io);
        let registration = match self.register(&mut source, interest, waiter.clone()) {
            Ok(registration) => registration,
            Err(error) => return fail(error),
        };
        let ready = source.unreported(interest);
        if !ready.is_none() {
            registration.wake(ready);
        }
        let this = Rc::downgrade(&waiter);
        let (deferred, trigger) = Deferred::with_canceller(move |_| {
            if let Some(waiter) = this.upgrade() {
                drop(waiter.end());
            }
        });
        waiter.waiting.set(Some((source, trigger, registration)));
        deferred
    }
}

type Waiting<F> = (Descriptor<F>, Trigger<F>, Registration);

struct ReadinessWaiter<F: AsFd + 'static> {
    waiting: Cell<Option<Waiting<F>>>,
    place: &'static Location<'static>,
}

impl<F: AsFd + 'static> ReadinessWaiter<F> {
    /// Ends the watch, and returns the descriptor and its trigger.
    fn end(&self) -> Option<(F, Trigger<F>)> {
        let (mut source, trigger, registration) = self.waiting.take()?;
        if let Err(error) = registration.deregister(&mut source) {
            log::debug!("could not remove a descriptor from the selector: {error}");
        }
        Some((source.io, trigger))
    }
}

impl<F: AsFd + 'static> EventHandler for ReadinessWaiter<F> {
    fn ready(self: Rc<Self>, _: Ready) -> Progress {
        if let Some((io, trigger)) = self.end() {
            trigger.callback(io);
        }
        Progress::Drained
    }

    fn call_site(&self) -> CallSite {
        self.place.into()
    }
}

impl<F: AsFd + 'static> Drop for ReadinessWaiter<F> {
    fn drop(&mut self) {
        self.end();
    }
}
