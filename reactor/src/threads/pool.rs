//! A pool of threads.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::panic::Location;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use twistor_deferred::{Panicked, guarded};

/// Work for a thread.
pub(crate) struct QueuedWork {
    pub(crate) run: Box<dyn FnOnce() + Send>,
    pub(crate) place: &'static Location<'static>,
}

/// The reactor's side of a pool. Threads start when there is work for them, and end with the run.
pub(super) struct ThreadPool {
    name: &'static str,
    most: usize,
    /// The state of this run's threads. A thread that is left behind keeps the old state, and ends when it asks it
    /// for work.
    crew: RefCell<Arc<Crew>>,
    threads: RefCell<Vec<JoinHandle<()>>>,
}

/// The state shared by the threads of one run.
#[derive(Default)]
struct Crew {
    state: Mutex<PoolState>,
    changed: Condvar,
}

#[derive(Default)]
struct PoolState {
    queue: VecDeque<QueuedWork>,
    /// One entry for each thread that was started.
    workers: Vec<Worker>,
    closing: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worker {
    Idle,
    /// Running work that was submitted at this place.
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

    /// Queues the work. Starts another thread if none is idle and the limit allows it. Returns the work and the
    /// error if not even one thread could be started.
    pub(super) fn submit(&self, work: QueuedWork) -> Result<(), (QueuedWork, io::Error)> {
        let crew = self.crew();
        let number = {
            let mut state = crew.state();
            state.queue.push_back(work);
            // A thread stays `Busy` until it asks for work, and `Idle` until it has taken some, so queued work
            // counts against `Idle`.
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

    /// Begins no more work.
    pub(super) fn close(&self) {
        let crew = self.crew();
        crew.state().closing = true;
        crew.changed.notify_all();
    }

    /// Takes the work that has not begun.
    pub(super) fn take_queue(&self) -> VecDeque<QueuedWork> {
        std::mem::take(&mut self.crew().state().queue)
    }

    /// Waits for the threads, at most for `grace`, and then forgets them. Call it after `close`. Returns the places
    /// that submitted the work still in progress.
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
                // Only the thread's own end is left. A worker catches panics of its work.
                Worker::Ended => _ = thread.join(),
                Worker::Busy(place) => left.push(place),
                Worker::Idle => {}
            }
        }
        left
    }

    /// Forgets the threads, which end when their work does. Call it after `close`.
    pub(super) fn leave(&self) {
        drop((self.crew.take(), self.threads.take()));
    }
}

impl Crew {
    fn state(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs work until the pool closes: the body of a thread.
    fn work(&self, number: usize) {
        while let Some(QueuedWork { run, place }) = self.next(number) {
            // Dropping the captures may panic, too.
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
    fn a_thread_is_started_only_if_none_is_idle() {
        let pool = ThreadPool::new("test", 2);
        let started = || pool.threads.borrow().len();
        for _ in 0..10 {
            submit(&pool, || ());
            assert_eq!(started(), 1);
            // A thread that has finished its work asks for more.
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
