//! Reaching the reactor from other threads.

use std::collections::VecDeque;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
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

/// What the reactor's thread and the others share.
///
/// Whoever puts something into the queue sets `pending`, and then looks at `asleep`; the loop sets `asleep`, and then
/// looks at `pending`. These four steps, being sequentially consistent, happen in one order for all threads, and in it
/// one of the two looks comes last: so the loop sees that something is pending, or the other that the loop may be
/// asleep, and wakes it. Whoever finds `pending` set leaves the waking to the one that set it. Waking up is told
/// without such care: who sees it late writes the waker for nothing. So a turn that nobody calls into costs one
/// locked instruction.
pub(crate) struct Shared {
    /// There may be something in the queue.
    pending: AtomicBool,
    /// The loop is not inside a turn, or may wait in it: it will not look at the queue before it is woken.
    asleep: AtomicBool,
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
            pending: AtomicBool::new(false),
            asleep: AtomicBool::new(true),
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
        if !self.pending.swap(true, Ordering::SeqCst) && self.asleep.load(Ordering::SeqCst) {
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
        self.pending.load(Ordering::SeqCst)
    }

    /// From here on, and until the turn ends, the queue is seen without a wake-up. Moves what is in it behind what
    /// was fetched before.
    pub(crate) fn fetch(&self, calls: &mut VecDeque<RemoteCall>, tasks: &mut VecDeque<Arc<Ring>>) {
        self.asleep.store(false, Ordering::Relaxed);
        // Cleared before the queue is looked at, so that what comes behind that look sets it again.
        if self.is_pending() && self.pending.swap(false, Ordering::SeqCst) {
            let mut queue = self.queue();
            move_behind(calls, &mut queue.calls);
            move_behind(tasks, &mut queue.tasks);
        }
    }

    pub(crate) fn end_turn(&self) {
        self.asleep.store(true, Ordering::SeqCst);
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
        // Its memory goes with it: a burst may have made it large.
        these.append(&mut std::mem::take(those));
    }
}
