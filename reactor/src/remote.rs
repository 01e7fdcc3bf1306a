//! Reaching the reactor from other threads.

use std::collections::VecDeque;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::{self, ThreadId};

use crate::Handle;
use crate::delayed_call::HostHook;
use crate::tasks::Ring;

/// The reactor that was called from another thread is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReactorGone;

impl fmt::Display for ReactorGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reactor is gone, and runs no more calls")
    }
}

impl std::error::Error for ReactorGone {}

/// The way to a reactor from any thread: the one handle that is `Send`.
///
/// ```
/// # use std::time::Duration;
/// use twistor_reactor::Reactor;
///
/// let reactor = Reactor::new()?;
/// let remote = reactor.remote();
/// let worker = std::thread::spawn(move || {
///     let sum = (1..=10).sum::<u32>();
///     remote.call_from_thread(move |reactor| {
///         println!("the sum is {sum}");
///         reactor.stop();
///     })
/// });
/// reactor.run()?;
/// # worker.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Remote {
    pub(crate) shared: Arc<Shared>,
}

impl Remote {
    /// The way to a reactor that is gone.
    pub(crate) fn dead() -> Remote {
        let shared = Shared::new(Weak::new());
        shared.close();
        Remote { shared }
    }

    /// Has the reactor's thread call `f`, with a handle to the reactor. Twisted's `callFromThread`.
    ///
    /// # Ordering
    ///
    /// Calls run in the order in which they were made, always in a later turn, also when they are made from the
    /// reactor's own thread. Those made before `run` wait for it.
    ///
    /// # Errors
    ///
    /// [`ReactorGone`] when the reactor was dropped; `f` is dropped without being called, in this thread.
    #[track_caller]
    pub fn call_from_thread(&self, f: impl FnOnce(&Handle) + Send + 'static) -> Result<(), ReactorGone> {
        self.shared.post(RemoteCall { run: Box::new(f), place: Location::caller() })
    }

    /// Stops the reactor, as [`Handle::stop`] does.
    ///
    /// # Errors
    ///
    /// [`ReactorGone`] when the reactor was dropped.
    #[track_caller]
    pub fn stop(&self) -> Result<(), ReactorGone> {
        self.call_from_thread(Handle::stop)
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

pub(crate) struct RemoteCall {
    pub(crate) run: Box<dyn FnOnce(&Handle) + Send>,
    pub(crate) place: &'static Location<'static>,
}

/// The reactor is inside a turn, and looks at the queue again before it sleeps.
const AWAKE: u8 = 1;
/// There may be something in the queue.
const PENDING: u8 = 2;

/// What the reactor's thread and the others share.
///
/// All that decides whether a wake-up is needed is one atomic byte, so that no two loads can be seen in different
/// orders: whoever finds both bits clear when it sets `PENDING` knows that the loop may be asleep and that nobody
/// else has woken it, and alone writes the waker.
pub(crate) struct Shared {
    state: AtomicU8,
    queue: Mutex<Queue>,
    owner: ThreadId,
    /// Weak, so that a `Remote` that outlives its reactor keeps no descriptor open.
    waker: Weak<mio::Waker>,
    pub(crate) hook: OnceLock<HostHook>,
}

#[derive(Default)]
struct Queue {
    calls: VecDeque<RemoteCall>,
    /// Tasks whose wakers were called.
    tasks: VecDeque<Arc<Ring>>,
    closed: bool,
}

impl Shared {
    pub(crate) fn new(waker: Weak<mio::Waker>) -> Arc<Shared> {
        Arc::new(Shared {
            state: AtomicU8::new(0),
            queue: Mutex::default(),
            owner: thread::current().id(),
            waker,
            hook: OnceLock::new(),
        })
    }

    /// The queue is whole whatever panicked while it was locked.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn post(&self, call: RemoteCall) -> Result<(), ReactorGone> {
        {
            let mut queue = self.queue();
            if queue.closed {
                drop(queue);
                drop(call);
                return Err(ReactorGone);
            }
            queue.calls.push_back(call);
        }
        self.announce();
        Ok(())
    }

    pub(crate) fn wake_task(&self, task: Arc<Ring>) {
        {
            let mut queue = self.queue();
            if queue.closed {
                return;
            }
            queue.tasks.push_back(task);
        }
        self.announce();
    }

    /// Has the loop look at the queue.
    fn announce(&self) {
        if self.state.fetch_or(PENDING, Ordering::AcqRel) == 0 {
            self.wake();
        }
    }

    fn wake(&self) {
        // The reactor's own thread is not asleep: it is here.
        if thread::current().id() != self.owner {
            if let Some(Err(error)) = self.waker.upgrade().map(|waker| waker.wake()) {
                log::error!("cannot wake the reactor: {error}");
            }
        }
        if let Some(hook) = self.hook.get() {
            hook();
        }
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.state.load(Ordering::Acquire) & PENDING != 0
    }

    /// From here on, and until the turn ends, the queue is seen without a wake-up. Moves what is in it behind what
    /// was fetched before.
    pub(crate) fn fetch(&self, calls: &mut VecDeque<RemoteCall>, tasks: &mut VecDeque<Arc<Ring>>) {
        if self.state.swap(AWAKE, Ordering::AcqRel) & PENDING != 0 {
            let mut queue = self.queue();
            move_behind(calls, &mut queue.calls);
            move_behind(tasks, &mut queue.tasks);
        }
    }

    pub(crate) fn end_turn(&self) {
        self.state.fetch_and(!AWAKE, Ordering::AcqRel);
    }

    /// Refuses calls from here on, and gives back those that will not run.
    pub(crate) fn close(&self) -> VecDeque<RemoteCall> {
        let mut queue = self.queue();
        queue.closed = true;
        queue.tasks.clear();
        std::mem::take(&mut queue.calls)
    }
}

fn move_behind<T>(these: &mut VecDeque<T>, those: &mut VecDeque<T>) {
    if these.is_empty() {
        std::mem::swap(these, those);
    } else {
        these.append(those);
    }
}
