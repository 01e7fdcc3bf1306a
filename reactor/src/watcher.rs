//! A thread that watches the selector for a host that cannot.
//!
//! The thread waits on a separate selector, in which the reactor's selector is the only source, so it takes no
//! events from the reactor. It watches only between turns: the end of each turn arms it, and it calls the hook at
//! most once before the next turn.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::delayed_call::HostHook;

const SELECTOR: Token = Token(0);
const STOP: Token = Token(1);

/// The reactor's side. Dropping it ends the thread without waiting for it, because the hook may wait for this thread.
pub(crate) struct Watcher {
    shared: Arc<WatcherShared>,
    stop: Waker,
}

#[derive(Default)]
struct WatcherShared {
    state: Mutex<WatcherState>,
    changed: Condvar,
}

#[derive(Default)]
struct WatcherState {
    in_turn: bool,
    /// The number of turns that have ended.
    turns: u64,
    /// Whether the thread waits for a turn to end.
    waits: bool,
    stopped: bool,
}

impl Watcher {
    pub(crate) fn start(selector: BorrowedFd<'_>, hook: HostHook) -> io::Result<Watcher> {
        let poll = Poll::new()?;
        // A duplicate, so that its number cannot pass to another descriptor when the reactor is dropped.
        let selector = selector.try_clone_to_owned()?;
        poll.registry().register(&mut SourceFd(&selector.as_raw_fd()), SELECTOR, Interest::READABLE)?;
        let stop = Waker::new(poll.registry(), STOP)?;
        let shared = Arc::<WatcherShared>::default();
        let theirs = shared.clone();
        let watch = move || {
            if let Err(error) = theirs.watch(poll, &selector, &hook) {
                log::error!("the watcher thread could not wait for the reactor's descriptor: {error}");
            }
        };
        std::thread::Builder::new().name("twistor-watcher".to_owned()).spawn(watch)?;
        Ok(Watcher { shared, stop })
    }
}

/// The reactor's view of its watcher. A trait object, so that a program without a watcher does not contain its
/// code.
pub(crate) trait WatchTurns {
    fn begin_turn(&self);
    fn end_turn(&self);
}

impl WatchTurns for Watcher {
    fn begin_turn(&self) {
        self.shared.state().in_turn = true;
    }

    fn end_turn(&self) {
        let mut state = self.shared.state();
        state.in_turn = false;
        state.turns = state.turns.wrapping_add(1);
        let waits = state.waits;
        drop(state);
        // Each notification is a system call.
        if waits {
            self.shared.changed.notify_one();
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.state().stopped = true;
        self.shared.changed.notify_one();
        if let Err(error) = self.stop.wake() {
            log::error!("could not end the watcher thread: {error}");
        }
    }
}

impl WatcherShared {
    fn state(&self) -> MutexGuard<'_, WatcherState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while(&self, hold: impl Fn(&WatcherState) -> bool) -> MutexGuard<'_, WatcherState> {
        let waited = self.changed.wait_while(self.state(), |state| {
            state.waits = !state.stopped && hold(state);
            state.waits
        });
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self, mut poll: Poll, selector: &OwnedFd, hook: &HostHook) -> io::Result<()> {
        let mut events = Events::with_capacity(2);
        loop {
            let turns = {
                let state = self.wait_while(|state| state.in_turn);
                if state.stopped {
                    return Ok(());
                }
                state.turns
            };
            // Registering it again reports readiness that already exists.
            let fd = selector.as_raw_fd();
            poll.registry().reregister(&mut SourceFd(&fd), SELECTOR, Interest::READABLE)?;
            match poll.poll(&mut events, None) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            {
                let state = self.state();
                // A turn fetches the events itself, and its end arms this thread again.
                if state.in_turn || state.turns != turns || state.stopped {
                    continue;
                }
            }
            hook();
            drop(self.wait_while(|state| state.turns == turns));
        }
    }
}
