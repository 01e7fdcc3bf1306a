//! Calls into the reactor from other threads.

use std::collections::VecDeque;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::{self, ThreadId};
use std::time::Instant;

use crate::delayed_call::HostHook;
use crate::mailbox::{self, Mailbox};
use crate::tasks::TaskWaker;
use crate::time::Time;
use crate::{Handle, ReactorGone};

/// A handle to a reactor for other threads. It is the only handle that is `Send`.
///
/// ```
/// use twistor::prelude::*;
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
/// # Ok::<(), Failure>(())
/// ```
#[derive(Clone)]
pub struct Remote {
    pub(crate) shared: Arc<RemoteShared>,
}

impl Remote {
    /// Creates a handle to a reactor that is gone.
    pub(crate) fn dead() -> Remote {
        let shared = RemoteShared::new(Weak::new(), Time::system());
        shared.close(&mut VecDeque::new());
        Remote { shared }
    }

    /// Schedules `f` to run in the reactor's thread, with a handle to the reactor. Twisted: `callFromThread`.
    ///
    /// # Ordering
    ///
    /// Calls run in the order in which they were made, always in a later turn, even if made from the reactor's own
    /// thread. Calls made before `run` wait for it.
    ///
    /// Calls that have not run after the last shutdown phase are dropped without being called. So a thread that waits
    /// for its call learns that it will not run, for example because a channel's sender was dropped with the call.
    ///
    /// # Errors
    ///
    /// [`ReactorGone`] if the reactor was dropped, or if its run is ending: between the last shutdown phase and the
    /// return of `run`. `f` is then dropped in this thread without being called.
    #[track_caller]
    pub fn call_from_thread(&self, f: impl FnOnce(&Handle) + Send + 'static) -> Result<(), ReactorGone> {
        self.shared.post(RemoteCall { run: Box::new(f), place: Location::caller() })
    }

    /// Returns the current time of the reactor's clock, as [`Handle::now`] does. After a simulated reactor is gone, its
    /// clock stands still.
    pub fn now(&self) -> Instant {
        self.shared.time.now_instant()
    }

    /// Stops the reactor, as [`Handle::stop`] does.
    ///
    /// # Errors
    ///
    /// As [`call_from_thread`](Remote::call_from_thread).
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

/// The state that the reactor's thread shares with other threads.
pub(crate) struct RemoteShared {
    word: AtomicU8,
    queue: Mutex<RemoteQueue>,
    pub(crate) owner: ThreadId,
    time: Time,
    /// Weak, so that a `Remote` that outlives its reactor keeps no descriptor open.
    waker: Weak<mio::Waker>,
    pub(crate) hook: OnceLock<HostHook>,
}

#[derive(Default)]
struct RemoteQueue {
    calls: VecDeque<RemoteCall>,
    /// Tasks whose wakers were called.
    tasks: VecDeque<Arc<TaskWaker>>,
    closed: bool,
}

pub(crate) enum Message {
    Call(RemoteCall),
    Task(Arc<TaskWaker>),
}

impl RemoteShared {
    pub(crate) fn new(waker: Weak<mio::Waker>, time: Time) -> Arc<RemoteShared> {
        Arc::new(RemoteShared {
            word: AtomicU8::new(mailbox::INITIAL),
            queue: Mutex::default(),
            owner: thread::current().id(),
            time,
            waker,
            hook: OnceLock::new(),
        })
    }

    /// A panic while the queue is locked cannot leave it incomplete, so poisoning is ignored.
    fn queue(&self) -> MutexGuard<'_, RemoteQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a call. Fails with [`ReactorGone`] after dropping the call in this thread.
    pub(crate) fn post(&self, call: RemoteCall) -> Result<(), ReactorGone> {
        self.put(Message::Call(call)).map_err(|_refused| ReactorGone)
    }

    pub(crate) fn wake_task(&self, task: Arc<TaskWaker>) {
        // The queue is closed only while all tasks are being dropped.
        let _ = self.put(Message::Task(task));
    }

    /// Closes the queue to new calls, and appends the calls that will not run to `calls`.
    pub(crate) fn close(&self, calls: &mut VecDeque<RemoteCall>) {
        let mut queue = self.queue();
        queue.closed = true;
        queue.tasks = VecDeque::new();
        append(calls, &mut queue.calls);
    }

    /// Accepts calls again, for the next run.
    pub(crate) fn reopen(&self) {
        self.queue().closed = false;
    }
}

impl Mailbox for RemoteShared {
    type Message = Message;
    type Inbox<'a> = (&'a mut VecDeque<RemoteCall>, &'a mut VecDeque<Arc<TaskWaker>>);

    fn load(&self) -> u8 {
        self.word.load(Ordering::Acquire)
    }

    fn swap(&self, word: u8) -> u8 {
        self.word.swap(word, Ordering::AcqRel)
    }

    fn set(&self, bits: u8) -> u8 {
        self.word.fetch_or(bits, Ordering::AcqRel)
    }

    fn push(&self, message: Message) -> Result<(), Message> {
        let mut queue = self.queue();
        match message {
            message if queue.closed => return Err(message),
            Message::Call(call) => queue.calls.push_back(call),
            Message::Task(task) => queue.tasks.push_back(task),
        }
        Ok(())
    }

    fn take(&self, (calls, tasks): Self::Inbox<'_>) {
        let mut queue = self.queue();
        append(calls, &mut queue.calls);
        append(tasks, &mut queue.tasks);
    }

    fn wake(&self) {
        // If this is the reactor's own thread, it is not asleep.
        if thread::current().id() != self.owner {
            if let Some(Err(error)) = self.waker.upgrade().map(|waker| waker.wake()) {
                log::error!("could not wake the reactor: {error}");
            }
        }
        if let Some(hook) = self.hook.get() {
            hook();
        }
    }
}

fn append<T>(these: &mut VecDeque<T>, those: &mut VecDeque<T>) {
    if these.is_empty() {
        std::mem::swap(these, those);
    } else {
        // The memory is returned as well: a burst may have made the queue large. A plain loop adds less to the
        // size of a program than `append`.
        for one in std::mem::take(those) {
            these.push_back(one);
        }
    }
}
