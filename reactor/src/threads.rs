//! Blocking work on threads, and its results in the loop.

mod pool;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use twistor_deferred::{Deferred, Failure, Panicked, guarded};

use crate::ScheduledCall;
use crate::core::Core;
use crate::remote::RemoteCall;
pub(crate) use pool::QueuedWork;
use pool::ThreadPool;

/// The number of threads for name lookups. A lookup mostly waits, and cannot be interrupted.
const LOOKUPS: usize = 8;

/// The settings of the threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadLimits {
    pub(crate) most: usize,
    /// How long the end of a run waits for jobs in progress.
    pub(crate) grace: Duration,
}

/// The reactor's jobs, and the threads that run them. The first job makes this trait object, so that a program without
/// jobs contains none of its code.
pub(crate) trait JobThreads {
    /// Adds a job, and returns its number, which is never reused.
    fn add(&self, job: Job) -> u64;
    /// Gives the work of a job to a thread.
    fn submit(&self, kind: JobKind, work: QueuedWork, id: u64);
    /// Fires the Deferred of a job whose work is done.
    fn finish(&self, id: u64);
    /// Begins no more jobs until `join` returns.
    fn close(&self);
    /// Returns the places that started the unfinished jobs, in the order of starting.
    fn places(&self) -> Vec<&'static Location<'static>>;
    /// Drops or leaks the work that has not begun, and then all unfinished jobs. Returns whether there were any.
    fn clear(&self, core: &Core, leaks: bool) -> bool;
    /// Waits for work in progress, at most for the grace period. Leaves longer work behind with a warning, and all
    /// lookups without one. The next job starts new threads.
    fn join(&self);
}

struct Threads {
    pool: ThreadPool,
    lookups: ThreadPool,
    grace: Duration,
    /// The unfinished jobs by number.
    jobs: RefCell<BTreeMap<u64, Job>>,
    next_job: Cell<u64>,
}

/// The kind of threads that run a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobKind {
    /// Joined at the end of the run.
    Work,
    /// Left running at the end of the run.
    Lookup,
}

/// The reactor's side of an unfinished job.
pub(crate) struct Job {
    /// Fires the job's Deferred. Called with a failure if no thread could run the job.
    finish: Box<dyn FnOnce(Option<Failure>)>,
    _over: OnDrop,
    pub(crate) place: &'static Location<'static>,
}

#[derive(Default)]
struct GivenUp {
    /// The Deferred was cancelled, so the job need not begin.
    cancelled: AtomicBool,
    /// The run has ended, so the result is not needed.
    run_over: AtomicBool,
}

/// Notifies the thread, when dropped, that the run has ended.
struct OnDrop(Arc<GivenUp>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.run_over.store(true, Ordering::Relaxed);
    }
}

impl Core {
    /// The jobs and their threads, from the first job on.
    pub(crate) fn job_threads(&self) -> &dyn JobThreads {
        &**self.threads.get_or_init(|| {
            let threads = Threads::new(self.thread_limits);
            if self.lifecycle.is_ending() {
                threads.close();
            }
            Box::new(threads)
        })
    }

    #[track_caller]
    pub(crate) fn defer_to_thread<T: Send + 'static>(
        &self,
        kind: JobKind,
        f: impl FnOnce() -> Result<T, Failure> + Send + 'static,
        place: &'static Location<'static>,
    ) -> Deferred<T> {
        let result = Arc::new(Mutex::new(None));
        let given_up = Arc::<GivenUp>::default();
        let (deferred, trigger) = Deferred::with_canceller({
            let given_up = given_up.clone();
            move |_| given_up.cancelled.store(true, Ordering::Relaxed)
        });

        let finish = {
            let result = result.clone();
            Box::new(move |refused: Option<Failure>| {
                let result = result.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(result) = refused.map(Err).or(result) {
                    trigger.fire(result);
                }
            })
        };
        let threads = self.job_threads();
        let id = threads.add(Job { finish, _over: OnDrop(given_up.clone()), place });

        self.recorder().job_given(id + 1, place);
        let shared = self.shared.clone();
        let run = Box::new(move || {
            if !given_up.cancelled.load(Ordering::Relaxed) {
                let done =
                    guarded(f).unwrap_or_else(|message| Err(Failure::new(Panicked::new(message, place))));
                *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
            }
            drop(result);
            if !given_up.run_over.load(Ordering::Relaxed) {
                // A reactor that refuses the call has dropped the job, or is about to.
                let _ = shared.post(RemoteCall { run: Box::new(move |handle| handle.finish_job(id)), place });
            }
        });

        match self.driver.simulated() {
            // A simulation has no threads: the work runs in the loop, at a random time.
            Some(simulated) => {
                let delay = Duration::from_nanos(simulated.random() % 10_000_000);
                self.timers.call_later(delay, ScheduledCall::at(place, run));
            }
            None => threads.submit(kind, QueuedWork { run, place }, id),
        }
        deferred
    }
}

impl Threads {
    fn new(limits: ThreadLimits) -> Threads {
        Threads {
            pool: ThreadPool::new("worker", limits.most.max(1)),
            lookups: ThreadPool::new("lookup", LOOKUPS),
            grace: limits.grace,
            jobs: RefCell::default(),
            next_job: Cell::new(0),
        }
    }
}

impl JobThreads for Threads {
    fn add(&self, job: Job) -> u64 {
        let id = self.next_job.replace(self.next_job.get() + 1);
        self.jobs.borrow_mut().insert(id, job);
        id
    }

    fn submit(&self, kind: JobKind, work: QueuedWork, id: u64) {
        let pool = match kind {
            JobKind::Work => &self.pool,
            JobKind::Lookup => &self.lookups,
        };
        if let Err((refused, error)) = pool.submit(work) {
            drop(refused);
            let job = self.jobs.borrow_mut().remove(&id);
            if let Some(job) = job {
                let why = format!("could not start a thread: {error}");
                (job.finish)(Some(io::Error::new(error.kind(), why).into()));
            }
        }
    }

    fn finish(&self, id: u64) {
        let job = self.jobs.borrow_mut().remove(&id);
        if let Some(job) = job {
            (job.finish)(None);
        }
    }

    fn close(&self) {
        self.pool.close();
        self.lookups.close();
    }

    fn places(&self) -> Vec<&'static Location<'static>> {
        self.jobs.borrow().values().map(|job| job.place).collect()
    }

    fn clear(&self, core: &Core, leaks: bool) -> bool {
        let mut work = self.pool.take_queue();
        work.append(&mut self.lookups.take_queue());
        let jobs = self.jobs.take();
        let any = !(work.is_empty() && jobs.is_empty());
        if leaks {
            std::mem::forget((work, jobs));
            return any;
        }
        for QueuedWork { run, place } in work {
            core.discard(place, run);
        }
        for job in jobs.into_values() {
            core.discard(job.place, job);
        }
        any
    }

    fn join(&self) {
        for place in self.pool.join(self.grace) {
            log::warn!(
                "left a job running that did not finish within {:?} of the end of the run: it was started at {place}",
                self.grace
            );
        }
        self.lookups.leave();
    }
}
