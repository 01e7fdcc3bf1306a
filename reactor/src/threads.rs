//! Blocking work on a small pool of threads.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use twistor_deferred::{Deferred, Failure, Panicked};

use crate::core::Core;
use crate::delayed_call::Call;
use crate::remote::{RemoteCall, Shared};

/// Something to do on a thread.
pub(crate) struct Work {
    pub(crate) run: Box<dyn FnOnce() + Send>,
    pub(crate) place: &'static Location<'static>,
}

/// The reactor's side of the pool. Threads start when there is work for them, and end with the run.
pub(crate) struct Threads {
    most: usize,
    shared: Arc<Shared>,
    pool: Arc<Pool>,
    workers: RefCell<Vec<JoinHandle<()>>>,
    /// What to do on this thread when a job is done. A job's number is never used twice.
    jobs: RefCell<BTreeMap<u64, Job>>,
    next_job: Cell<u64>,
}

pub(crate) struct Job {
    finish: Box<dyn FnOnce()>,
    pub(crate) place: &'static Location<'static>,
}

/// What the threads share.
#[derive(Default)]
struct Pool {
    state: Mutex<PoolState>,
    changed: Condvar,
}

#[derive(Default)]
struct PoolState {
    queue: VecDeque<Work>,
    idle: usize,
    closing: bool,
}

impl Threads {
    pub(crate) fn new(most: usize, shared: Arc<Shared>) -> Threads {
        Threads {
            most: most.max(1),
            shared,
            pool: Arc::default(),
            workers: RefCell::default(),
            jobs: RefCell::default(),
            next_job: Cell::new(0),
        }
    }

    #[track_caller]
    pub(crate) fn defer<T: Send + 'static>(
        &self,
        core: &Core,
        f: impl FnOnce() -> Result<T, Failure> + Send + 'static,
        place: &'static Location<'static>,
    ) -> Deferred<T> {
        let result = Arc::new(Mutex::new(None));
        let cancelled = Arc::new(AtomicBool::new(false));
        let (deferred, trigger) = Deferred::with_canceller({
            let cancelled = cancelled.clone();
            move |_| cancelled.store(true, Ordering::Relaxed)
        });

        let id = self.next_job.replace(self.next_job.get() + 1);
        let finish = {
            let result = result.clone();
            Box::new(move || {
                let result = result.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(result) = result {
                    trigger.fire(result);
                }
            })
        };
        self.jobs.borrow_mut().insert(id, Job { finish, place });

        let shared = self.shared.clone();
        let run = Box::new(move || {
            if !cancelled.load(Ordering::Relaxed) {
                let done = catch_unwind(AssertUnwindSafe(f))
                    .unwrap_or_else(|payload| Err(Failure::new(Panicked::new(payload, place))));
                *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
            }
            drop(result);
            // With the reactor gone, nobody waits for it.
            let _ = shared.post(RemoteCall { run: Box::new(move |handle| handle.finish_job(id)), place });
        });

        match core.driver.simulated() {
            // A simulation has no threads: the work is done at some moment of its own drawing.
            Some(simulated) => {
                let delay = Duration::from_nanos(simulated.random() % 10_000_000);
                core.timers.call_later(delay, Call { run, place });
            }
            None => self.submit(Work { run, place }, id),
        }
        deferred
    }

    fn submit(&self, work: Work, id: u64) {
        let short_of_hands = {
            let mut state = self.pool.state();
            state.queue.push_back(work);
            state.queue.len() > state.idle
        };
        self.pool.changed.notify_one();
        let count = self.workers.borrow().len();
        if !short_of_hands || count >= self.most {
            return;
        }
        let pool = self.pool.clone();
        match thread::Builder::new().name(format!("twistor-worker-{count}")).spawn(move || pool.work()) {
            Ok(worker) => self.workers.borrow_mut().push(worker),
            Err(error) if count > 0 => log::warn!("no thread for the pool, {count} have to do: {error}"),
            Err(error) => {
                log::error!("no thread for the pool: {error}");
                let abandoned = (self.pool.state().queue.pop_back(), self.jobs.borrow_mut().remove(&id));
                drop(abandoned);
            }
        }
    }

    /// A job's work is done: has its Deferred fire.
    pub(crate) fn finish(&self, id: u64) {
        let job = self.jobs.borrow_mut().remove(&id);
        if let Some(job) = job {
            (job.finish)();
        }
    }

    /// Waits for the work under way and ends the threads. Gives back what has not begun.
    pub(crate) fn join(&self) -> VecDeque<Work> {
        let workers = self.workers.take();
        let given_up = {
            let mut state = self.pool.state();
            state.closing = true;
            std::mem::take(&mut state.queue)
        };
        self.pool.changed.notify_all();
        for worker in workers {
            // A worker catches what its work throws.
            let _ = worker.join();
        }
        self.pool.state().closing = false;
        given_up
    }

    pub(crate) fn take_jobs(&self) -> Vec<Job> {
        self.jobs.take().into_values().collect()
    }
}

impl Pool {
    fn state(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of a worker.
    fn work(&self) {
        while let Some(Work { run, place }) = self.next() {
            // What it captured is dropped with it, which may panic, too.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
                log::error!("{}", Panicked::new(payload, place));
            }
        }
    }

    fn next(&self) -> Option<Work> {
        let mut state = self.state();
        loop {
            if state.closing {
                return None;
            }
            if let Some(work) = state.queue.pop_front() {
                return Some(work);
            }
            state.idle += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Weak, mpsc};

    use super::*;

    #[track_caller]
    fn work(run: impl FnOnce() + Send + 'static) -> Work {
        Work { run: Box::new(run), place: Location::caller() }
    }

    #[test]
    fn a_thread_that_waits_for_work_gets_it_and_another_is_started_only_where_none_waits() {
        let threads = Threads::new(2, Shared::new(Weak::new()));
        let started = || threads.workers.borrow().len();
        for _ in 0..10 {
            threads.submit(work(|| ()), 0);
            assert_eq!(started(), 1);
            // Done, it comes back for more by itself.
            let is_idle = |state: MutexGuard<'_, PoolState>| state.queue.is_empty() && state.idle == 1;
            while !is_idle(threads.pool.state()) {
                thread::yield_now();
            }
        }
        let (go, may_end) = mpsc::channel::<()>();
        threads.submit(work(move || _ = may_end.recv()), 0);
        assert_eq!(started(), 1);
        for _ in 0..3 {
            threads.submit(work(|| ()), 0);
            assert_eq!(started(), 2);
        }
        drop(go);
        threads.join();
        assert_eq!(started(), 0);
    }
}
