//! The threads themselves.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::panic::Location;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use twistor_deferred::{Panicked, guarded};

/// Something to do on a thread.
pub(crate) struct QueuedWork {
    pub(crate) run: Box<dyn FnOnce() + Send>,
    pub(crate) place: &'static Location<'static>,
}

/// The reactor's side of a pool. Threads start when there is work for them, and end with the run.
pub(super) struct ThreadPool {
    name: &'static str,
    most: usize,
    /// Of this run. A thread that is left behind keeps the old one, and ends when it comes back for more.
    crew: RefCell<Arc<Crew>>,
    threads: RefCell<Vec<JoinHandle<()>>>,
}

/// Shared by the threads of one run.
#[derive(Default)]
struct Crew {
    state: Mutex<PoolState>,
    changed: Condvar,
}

#[derive(Default)]
struct PoolState {
    queue: VecDeque<QueuedWork>,
    /// One for each thread that was started.
    workers: Vec<Worker>,
    closing: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worker {
    Idle,
    /// With work that was given at this place.
    Busy(&'static Location<'static>),
    Ended,
}

impl PoolState {
    fn count(&self, worker: Worker) -> usize {
        self.workers.iter().filter(|other| **other == worker).count()
    }
}

impl ThreadPool {
    pub(super) fn new(name: &'static str, most: usize) -> ThreadPool {
        ThreadPool { name, most, crew: RefCell::default(), threads: RefCell::default() }
    }

    fn crew(&self) -> Arc<Crew> {
        self.crew.borrow().clone()
    }

    /// Queues the work, and starts another thread if none is idle and the limit allows it. Returns the work, and why, if
    /// not even one thread could be started.
    pub(super) fn submit(&self, work: QueuedWork) -> Result<(), (QueuedWork, io::Error)> {
        let crew = self.crew();
        let number = {
            let mut state = crew.state();
            state.queue.push_back(work);
            // Between two pieces of work a thread counts as busy, or as idle with the piece it is about to take.
            let enough = state.queue.len() <= state.count(Worker::Idle);
            if enough || state.closing || state.workers.len() >= self.most {
                drop(state);
                crew.changed.notify_one();
                return Ok(());
            }
            state.workers.push(Worker::Idle);
            state.workers.len() - 1
        };
        let name = format!("twistor-{}-{number}", self.name);
        let theirs = crew.clone();
        match thread::Builder::new().name(name).spawn(move || theirs.work(number)) {
            Ok(thread) => {
                self.threads.borrow_mut().push(thread);
                Ok(())
            }
            Err(error) => {
                let mut state = crew.state();
                state.workers.pop();
                if number > 0 {
                    drop(state);
                    log::warn!("could not start another pool thread; continuing with {number}: {error}");
                    return Ok(());
                }
                let refused = state.queue.pop_back();
                drop(state);
                refused.map_or(Ok(()), |work| Err((work, error)))
            }
        }
    }

    /// No work begins any more.
    pub(super) fn close(&self) {
        let crew = self.crew();
        crew.state().closing = true;
        crew.changed.notify_all();
    }

    /// The work that has not begun.
    pub(super) fn take_queue(&self) -> VecDeque<QueuedWork> {
        std::mem::take(&mut self.crew().state().queue)
    }

    /// After `close`: waits for the threads, at most for this long, and then forgets them all. Returns where the work
    /// was given that is still under way.
    pub(super) fn join(&self, grace: Duration) -> Vec<&'static Location<'static>> {
        let (crew, threads) = (self.crew.take(), self.threads.take());
        let ended = |state: &PoolState| state.count(Worker::Ended) == state.workers.len();
        let state = crew.state();
        let (state, _) = crew
            .changed
            .wait_timeout_while(state, grace, |state| !ended(state))
            .unwrap_or_else(PoisonError::into_inner);
        let workers = state.workers.clone();
        drop(state);
        let mut left = Vec::new();
        for (thread, worker) in threads.into_iter().zip(workers) {
            match worker {
                // Done but for the thread's own end. A worker catches what its work throws.
                Worker::Ended => _ = thread.join(),
                Worker::Busy(place) => left.push(place),
                Worker::Idle => {}
            }
        }
        left
    }

    /// After `close`: forgets the threads, which end when their work does.
    pub(super) fn leave(&self) {
        drop((self.crew.take(), self.threads.take()));
    }
}

impl Crew {
    fn state(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of a thread.
    fn work(&self, number: usize) {
        while let Some(QueuedWork { run, place }) = self.next(number) {
            // Dropping its captures may panic, too.
            if let Err(message) = guarded(run) {
                log::error!("{}", Panicked::new(message, place));
            }
        }
        self.state().workers[number] = Worker::Ended;
        self.changed.notify_all();
    }

    fn next(&self, number: usize) -> Option<QueuedWork> {
        let mut state = self.state();
        loop {
            if state.closing {
                return None;
            }
            if let Some(work) = state.queue.pop_front() {
                state.workers[number] = Worker::Busy(work.place);
                return Some(work);
            }
            state.workers[number] = Worker::Idle;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[track_caller]
    fn work(run: impl FnOnce() + Send + 'static) -> QueuedWork {
        QueuedWork { run: Box::new(run), place: Location::caller() }
    }

    fn submit(pool: &ThreadPool, run: impl FnOnce() + Send + 'static) {
        assert!(pool.submit(work(run)).is_ok());
    }

    #[test]
    fn a_thread_is_started_only_where_none_is_idle() {
        let pool = ThreadPool::new("test", 2);
        let started = || pool.threads.borrow().len();
        for _ in 0..10 {
            submit(&pool, || ());
            assert_eq!(started(), 1);
            // Done, it comes back for more by itself.
            let is_idle = || {
                let crew = pool.crew();
                let state = crew.state();
                state.queue.is_empty() && state.workers == [Worker::Idle]
            };
            while !is_idle() {
                thread::yield_now();
            }
        }
        let (go, may_end) = mpsc::channel::<()>();
        submit(&pool, move || _ = may_end.recv());
        assert_eq!(started(), 1);
        for _ in 0..3 {
            submit(&pool, || ());
            assert_eq!(started(), 2);
        }
        drop(go);
        pool.close();
        assert!(pool.join(Duration::MAX).is_empty());
        assert_eq!(started(), 0);
    }
}
