//! T1, R9: random programs of calls and tasks that are cancelled, moved, sleep and panic, compared with a plain
//! model.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use twistor_deferred::{Canceller, Deferred, Failure, Panicked};
use twistor_reactor::{DelayedCall, Handle, Reactor, yield_now};

use crate::support::{keep_log, logged};

#[derive(Clone, Debug)]
enum Op {
    Call(u64, Box<Op>),
    Cancel(usize),
    Reset(usize, u64),
    Spawn(Vec<Step>),
    CancelTask(usize),
    Panic,
    Nothing,
}

/// The steps of a task.
#[derive(Clone, Debug)]
enum Step {
    Sleep(u64),
    Yield,
    Do(Op),
}

#[derive(Debug, PartialEq)]
enum Seen {
    Answer(bool),
    Ran(usize, u64),
    Resumed(usize, u64),
    Dropped(usize),
    Ended(usize, &'static str),
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % limit
    }

    /// Returns a delay: one of a few short ones, so that there are ties, or milliseconds, or hours.
    fn delay(&mut self) -> u64 {
        match self.below(10) {
            0..7 => self.below(6),
            7..9 => self.below(50) * 1_000_000,
            _ => self.below(5) * 3_600_000_000_000,
        }
    }

    fn op(&mut self, depth: u64) -> Op {
        match self.below(if depth == 0 { 6 } else { 10 }) {
            0 => Op::Cancel(self.below(20) as usize),
            1 => Op::Reset(self.below(20) as usize, self.delay()),
            2 => Op::CancelTask(self.below(10) as usize),
            3 => Op::Panic,
            4 | 5 => Op::Nothing,
            6 | 7 => Op::Call(self.delay(), Box::new(self.op(depth - 1))),
            _ => Op::Spawn((0..self.below(5)).map(|_| self.step(depth - 1)).collect()),
        }
    }

    fn step(&mut self, depth: u64) -> Step {
        match self.below(4) {
            0 | 1 => Step::Sleep(self.delay()),
            2 => Step::Yield,
            _ => Step::Do(self.op(depth)),
        }
    }
}

/// The program as the reactor runs it.
#[derive(Clone)]
struct Real {
    handle: Handle,
    start: Instant,
    calls: Rc<RefCell<Vec<DelayedCall>>>,
    tasks: Rc<RefCell<Vec<Option<Canceller>>>>,
    /// The task that is being polled. It does not cancel itself.
    running: Rc<Cell<Option<usize>>>,
    seen: Rc<RefCell<Vec<Seen>>>,
}

impl Real {
    fn see(&self, seen: Seen) {
        self.seen.borrow_mut().push(seen);
    }

    fn now(&self) -> u64 {
        (self.handle.now() - self.start).as_nanos() as u64
    }

    fn perform(&self, op: Op) {
        let call = |number: usize| self.calls.borrow().get(number).cloned();
        match op {
            Op::Call(delay, then) => {
                let (world, number) = (self.clone(), self.calls.borrow().len());
                let call = self.handle.call_later(Duration::from_nanos(delay), move || {
                    world.see(Seen::Ran(number, world.now()));
                    world.perform(*then);
                });
                self.calls.borrow_mut().push(call);
            }
            Op::Cancel(number) => {
                self.see(Seen::Answer(call(number).is_some_and(|call| call.cancel().is_ok())));
            }
            Op::Reset(number, delay) => {
                let reset = |call: DelayedCall| call.reset(Duration::from_nanos(delay)).is_ok();
                self.see(Seen::Answer(call(number).is_some_and(reset)));
            }
            Op::Spawn(script) => {
                let number = self.tasks.borrow().len();
                // The task exists before it is spawned, because a step of another may spawn it.
                self.tasks.borrow_mut().push(None);
                let task = self.handle.spawn(self.clone().play(number, script, OnDrop(self.clone(), number)));
                self.tasks.borrow_mut()[number] = Some(task.canceller());
                let world = self.clone();
                drop(task.add_both(move |result| world.see(Seen::Ended(number, how(&result)))));
            }
            Op::CancelTask(number) if self.running.get() != Some(number) => {
                let canceller = self.tasks.borrow().get(number).cloned().flatten();
                canceller.iter().for_each(Canceller::cancel);
            }
            Op::Panic => panic!("out of cheese"),
            Op::CancelTask(_) | Op::Nothing => {}
        }
    }

    async fn play(self, number: usize, script: Vec<Step>, _held: OnDrop) -> Result<(), Failure> {
        for step in script {
            match step {
                Step::Sleep(delay) => self.handle.sleep(Duration::from_nanos(delay)).await?,
                Step::Yield => yield_now().await,
                Step::Do(op) => {
                    let _running = Running::new(&self, number);
                    self.perform(op);
                }
            }
            self.see(Seen::Resumed(number, self.now()));
        }
        Ok(())
    }
}

struct OnDrop(Real, usize);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.see(Seen::Dropped(self.1));
    }
}

struct Running(Rc<Cell<Option<usize>>>);

impl Running {
    fn new(real: &Real, number: usize) -> Running {
        real.running.set(Some(number));
        Running(real.running.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.set(None);
    }
}

fn how(result: &Result<(), Failure>) -> &'static str {
    match result {
        Ok(()) => "done",
        Err(failure) if failure.is::<Panicked>() => "panicked",
        Err(_) => "cancelled",
    }
}

/// An entry of the model's queue.
#[derive(Clone, Copy)]
enum Waiting {
    Call(usize),
    Sleep(usize),
}

#[derive(Default)]
struct Task {
    script: VecDeque<Step>,
    /// The awaited step has to be recorded when the task is polled next.
    resumes: bool,
    sleep: Option<(u64, u64)>,
    over: bool,
}

/// A plain reading of the promises: deadlines in order, ties in order, snapshots, tasks at the end of a turn.
#[derive(Default)]
struct Model {
    now: u64,
    scheduled: u64,
    queue: BTreeMap<(u64, u64), Waiting>,
    calls: Vec<(Op, Option<(u64, u64)>)>,
    tasks: Vec<Task>,
    woken: VecDeque<usize>,
    running: Option<usize>,
    panics: usize,
    seen: Vec<Seen>,
}

impl Model {
    fn schedule(&mut self, delay: u64, waiting: Waiting) -> (u64, u64) {
        let place = (self.now + delay, self.scheduled);
        self.scheduled += 1;
        self.queue.insert(place, waiting);
        place
    }

    /// Returns false if the operation panics.
    fn perform(&mut self, op: Op) -> bool {
        match op {
            Op::Call(delay, then) => {
                let place = self.schedule(delay, Waiting::Call(self.calls.len()));
                self.calls.push((*then, Some(place)));
            }
            Op::Cancel(number) => {
                let place = self.calls.get_mut(number).and_then(|call| call.1.take());
                self.seen.push(Seen::Answer(place.and_then(|place| self.queue.remove(&place)).is_some()));
            }
            Op::Reset(number, delay) => {
                let place = self.calls.get_mut(number).and_then(|call| call.1.take());
                self.seen.push(Seen::Answer(place.is_some()));
                if let Some(place) = place {
                    self.queue.remove(&place);
                    self.calls[number].1 = Some(self.schedule(delay, Waiting::Call(number)));
                }
            }
            Op::Spawn(script) => {
                self.woken.push_back(self.tasks.len());
                self.tasks.push(Task { script: script.into(), ..Task::default() });
            }
            Op::CancelTask(number) if self.running != Some(number) && number < self.tasks.len() => {
                self.end(number, "cancelled");
            }
            Op::Panic => {
                self.panics += 1;
                return false;
            }
            Op::CancelTask(_) | Op::Nothing => {}
        }
        true
    }

    fn end(&mut self, number: usize, how: &'static str) {
        let task = &mut self.tasks[number];
        if !std::mem::replace(&mut task.over, true) {
            if let Some(place) = task.sleep.take() {
                self.queue.remove(&place);
            }
            self.seen.extend([Seen::Dropped(number), Seen::Ended(number, how)]);
        }
    }

    fn poll(&mut self, number: usize) {
        while !self.tasks[number].over {
            if std::mem::take(&mut self.tasks[number].resumes) {
                self.seen.push(Seen::Resumed(number, self.now));
            }
            match self.tasks[number].script.pop_front() {
                Some(Step::Sleep(delay)) => {
                    let place = self.schedule(delay, Waiting::Sleep(number));
                    (self.tasks[number].sleep, self.tasks[number].resumes) = (Some(place), true);
                    return;
                }
                Some(Step::Yield) => {
                    self.tasks[number].resumes = true;
                    return self.woken.push_back(number);
                }
                Some(Step::Do(op)) => {
                    self.running = Some(number);
                    let fine = self.perform(op);
                    self.running = None;
                    if fine {
                        self.tasks[number].resumes = true;
                    } else {
                        // This panic is the task's failure, and is not logged as a callback's.
                        self.panics -= 1;
                        return self.end(number, "panicked");
                    }
                }
                None => return self.end(number, "done"),
            }
        }
    }

    /// Returns false when nothing is left to do.
    fn turn(&mut self) -> bool {
        if self.woken.is_empty() {
            let Some((&(deadline, _), _)) = self.queue.first_key_value() else { return false };
            self.now = self.now.max(deadline);
        }
        let mark = self.scheduled;
        while let Some((&place, &waiting)) = self.queue.first_key_value() {
            if place.0 > self.now || place.1 >= mark {
                break;
            }
            self.queue.remove(&place);
            match waiting {
                Waiting::Call(number) => {
                    self.calls[number].1 = None;
                    self.seen.push(Seen::Ran(number, self.now));
                    let then = self.calls[number].0.clone();
                    self.perform(then);
                }
                Waiting::Sleep(number) => {
                    self.tasks[number].sleep = None;
                    self.woken.push_back(number);
                }
            }
        }
        for _ in 0..self.woken.len() {
            if let Some(number) = self.woken.pop_front() {
                self.poll(number);
            }
        }
        true
    }
}

#[test]
fn random_calls_and_tasks_run_like_a_plain_model() {
    // T1, T3, R9, R13
    let (mut panics, mut cancelled, mut resumed) = (0, 0, 0);
    for seed in 0..400 {
        keep_log();
        let mut random = Random(seed);
        let program: Vec<Op> = (0..30).map(|_| random.op(4)).filter(|op| !matches!(op, Op::Panic)).collect();
        let reactor = Reactor::simulated(seed);
        let real = Real {
            handle: reactor.handle(),
            start: reactor.now(),
            calls: Rc::default(),
            tasks: Rc::default(),
            running: Rc::default(),
            seen: Rc::default(),
        };
        let mut model = Model::default();
        for op in program {
            real.perform(op.clone());
            model.perform(op);
        }
        for turn in 0.. {
            assert!(turn < 10_000, "seed {seed} does not end");
            let goes_on = reactor.next_deadline().is_some();
            if goes_on {
                assert!(reactor.turn(None).unwrap());
            }
            assert_eq!(
                (goes_on, &*real.seen.borrow()),
                (model.turn(), &model.seen),
                "seed {seed}, turn {turn}"
            );
            if !goes_on {
                break;
            }
        }
        assert_eq!(logged().len(), model.panics, "seed {seed}");
        panics += model.panics;
        cancelled += model.seen.iter().filter(|seen| matches!(seen, Seen::Ended(_, "cancelled"))).count();
        resumed += model.seen.iter().filter(|seen| matches!(seen, Seen::Resumed(..))).count();
    }
    assert!(panics > 100 && cancelled > 100 && resumed > 1_000, "{panics}, {cancelled}, {resumed}");
}

#[test]
fn a_task_receives_awaited_results_in_any_order() {
    // R9, D18: many results, some of them available before they are awaited, and some after.
    for seed in 0..50 {
        let reactor = Reactor::simulated(seed);
        let mut random = Random(seed);
        let (mut waits, mut sum) = (Vec::new(), 0);
        for number in 0..300_u64 {
            let (deferred, trigger) = Deferred::<u64>::new();
            reactor.call_later(Duration::from_nanos(random.delay()), move || trigger.callback(number));
            waits.push(deferred);
            sum += number;
        }
        let task = reactor.spawn(async move {
            let mut sum = 0;
            for deferred in waits {
                sum += deferred.await?;
            }
            Ok(sum)
        });
        assert_eq!(reactor.run_until(task).unwrap(), sum);
    }
}
