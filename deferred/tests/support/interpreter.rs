//! The expected behaviour of a program. Each chain is a list, and each promise of BEHAVIOUR.md is a line or two.

use std::collections::VecDeque;

use super::program::{Act, CHAINS, Canceller, On, Op, Stage};

type Outcome = Result<usize, String>;

/// The message of a panic whose payload is not a string.
const NOT_TEXT: &str = "a payload that is not a string";

pub(crate) fn run(program: &[Op]) -> Vec<String> {
    let mut model = Model::default();
    for op in program {
        model.perform(op);
    }
    model.events
}

#[derive(Default)]
struct Model {
    chains: Vec<Chain>,
    /// For each slot of the program: the chain whose handle, trigger or canceller is in it.
    handles: [Option<usize>; CHAINS],
    triggers: [Option<usize>; CHAINS],
    cancellers: [Option<usize>; CHAINS],
    /// The nesting depth of library calls, and whether a panic unwinds.
    frames: usize,
    unwinding: bool,
    parked: VecDeque<Parked>,
    events: Vec<String>,
}

/// Objects that a panic dropped, with their chains.
enum Parked {
    Trigger(usize),
    Bomb,
    Awaited(usize),
}

struct Chain {
    name: usize,
    source: Source,
    canceller: Canceller,
    result: Option<Outcome>,
    stages: VecDeque<Pending>,
    running: bool,
    waits_on: Option<usize>,
    waited_by: Option<usize>,
    dropped: bool,
    /// Whether the handle was polled, and whether it was dropped after that.
    polled: bool,
    given_up: bool,
}

#[derive(PartialEq)]
enum Source {
    Live,
    Cancelling,
    Fired,
}

/// A stage, and the chains whose handles its functions captured.
struct Pending {
    stage: Stage,
    captured: [Option<usize>; 2],
}

enum Given {
    Now(Outcome),
    Handle(usize),
}

impl Model {
    fn perform(&mut self, op: &Op) {
        match op {
            Op::New(slot, canceller) => {
                // The contents of the slot are dropped first, the trigger before the handle. So is anything that their drop
                // puts into the slot.
                while self.triggers[*slot].is_some() || self.handles[*slot].is_some() {
                    self.perform(&Op::DropTrigger(*slot));
                    self.perform(&Op::DropHandle(*slot));
                }
                self.chains.push(Chain {
                    name: *slot,
                    source: Source::Live,
                    canceller: *canceller,
                    result: None,
                    stages: VecDeque::new(),
                    running: false,
                    waits_on: None,
                    waited_by: None,
                    dropped: false,
                    polled: false,
                    given_up: false,
                });
                let chain = self.chains.len() - 1;
                self.triggers[*slot] = Some(chain);
                self.handles[*slot] = Some(chain);
                self.cancellers[*slot] = Some(chain);
            }
            Op::Add(slot, stage) => {
                let Some(chain) = self.handles[*slot].take() else { return };
                let captured = match &stage.on {
                    On::Value(a) | On::Failure(a) | On::Both(a) => [self.capture(a), None],
                    On::Either(a, b) => [self.capture(a), self.capture(b)],
                };
                self.chains[chain].polled = false;
                self.chains[chain].stages.push_back(Pending { stage: stage.clone(), captured });
                self.run(chain);
                self.put_back(*slot, chain);
            }
            Op::Fire(slot, ok) => {
                if let Some(chain) = self.triggers[*slot].take() {
                    self.fire(chain, if *ok { Ok(1) } else { Err(format!("oops {slot}")) });
                }
            }
            Op::DropTrigger(slot) => {
                if let Some(chain) = self.triggers[*slot].take() {
                    self.drop_trigger(chain);
                }
            }
            Op::Cancel(slot) => {
                if let Some(chain) = self.cancellers[*slot] {
                    self.cancel(chain);
                }
            }
            Op::CancelHandle(slot) => {
                if let Some(chain) = self.handles[*slot].take() {
                    self.cancel(chain);
                    self.put_back(*slot, chain);
                }
            }
            Op::DropHandle(slot) => {
                if let Some(chain) = self.handles[*slot].take() {
                    self.drop_handle(chain);
                }
            }
            Op::DropCanceller(slot) => self.cancellers[*slot] = None,
            Op::Poll(slot) => {
                let Some(chain) = self.handles[*slot] else { return };
                match self.chains[chain].result.take() {
                    Some(result) => {
                        self.handles[*slot] = None;
                        self.events.push(format!("read {}", show(&result)));
                    }
                    None => self.chains[chain].polled = true,
                }
            }
            // D10.2
            Op::Detach(slot) => {
                if let Some(chain) = self.handles[*slot].take() {
                    self.detach(chain);
                }
            }
            Op::Unwind(slot, cancel) => {
                self.parked.push_back(Parked::Bomb);
                self.unwind(*slot);
                self.unwinding = false;
                // D9.2: the next call
                if *cancel {
                    self.perform(&Op::Cancel(*slot));
                }
                self.enter();
                self.leave();
            }
        }
    }

    fn capture(&mut self, act: &Act) -> Option<usize> {
        match act {
            Act::Capture(slot) => self.handles[*slot].take(),
            _ => None,
        }
    }

    /// Puts a handle back after use. A handle that took its place meanwhile is dropped.
    fn put_back(&mut self, slot: usize, chain: usize) {
        if let Some(other) = self.handles[slot].replace(chain) {
            self.drop_handle(other);
        }
    }

    /// D9, D9.1
    fn drop_trigger(&mut self, chain: usize) {
        if self.chains[chain].source != Source::Live {
            return;
        }
        match self.unwinding {
            true => self.parked.push_back(Parked::Trigger(chain)),
            false => self.fire(chain, Err("abandoned".into())),
        }
    }

    /// D10.1, D10.3
    fn drop_handle(&mut self, chain: usize) {
        let this = &mut self.chains[chain];
        if this.polled && this.result.is_none() {
            this.given_up = true;
            match self.unwinding {
                true => self.parked.push_back(Parked::Awaited(chain)),
                false => self.cancel(chain),
            }
        }
        self.detach(chain);
    }

    fn detach(&mut self, chain: usize) {
        self.chains[chain].dropped = true;
        self.settle(chain);
    }

    /// Starts a panic, which drops the trigger and the handle of a slot.
    fn unwind(&mut self, slot: usize) {
        self.unwinding = true;
        let (trigger, handle) = (self.triggers[slot].take(), self.handles[slot].take());
        if let Some(chain) = trigger {
            self.drop_trigger(chain);
        }
        if let Some(chain) = handle {
            self.drop_handle(chain);
        }
    }

    fn enter(&mut self) {
        self.frames += 1;
    }

    /// D9.2: runs the parked calls in order, as the outermost call does.
    fn leave(&mut self) {
        while self.frames == 1 {
            match self.parked.pop_front() {
                Some(Parked::Trigger(chain)) => self.drop_trigger(chain),
                // D9.4
                Some(Parked::Bomb) => self.events.push(format!("logged: {NOT_TEXT}")),
                Some(Parked::Awaited(chain)) => self.cancel(chain),
                None => break,
            }
        }
        self.frames -= 1;
    }

    fn fire(&mut self, chain: usize, result: Outcome) {
        // C1
        if self.chains[chain].source != Source::Fired {
            self.chains[chain].source = Source::Fired;
            self.chains[chain].result = Some(result);
            self.run(chain);
        }
    }

    fn cancel(&mut self, chain: usize) {
        match self.chains[chain].source {
            Source::Cancelling => {}
            // C3, C4
            Source::Fired => {
                if let Some(inner) = self.chains[chain].waits_on {
                    self.cancel(inner);
                }
            }
            // C1, C2
            Source::Live => {
                self.enter();
                self.chains[chain].source = Source::Cancelling;
                let name = self.chains[chain].name;
                let canceller = self.chains[chain].canceller;
                if canceller != Canceller::Absent {
                    self.events.push(format!("canceller {name}"));
                }
                match canceller {
                    Canceller::Absent | Canceller::Idle => {}
                    Canceller::Fires(true) => self.fire(chain, Ok(2)),
                    Canceller::Fires(false) => self.fire(chain, Err(format!("oops {name}"))),
                    // C5
                    Canceller::Panics => self.events.push(format!("logged: boom {name}")),
                }
                if self.chains[chain].source == Source::Cancelling {
                    self.fire(chain, Err("cancelled".into()));
                }
                self.leave();
            }
        }
    }

    fn run(&mut self, chain: usize) {
        if self.chains[chain].running {
            return;
        }
        self.enter();
        self.chains[chain].running = true;
        // D1, D2
        while self.chains[chain].waits_on.is_none() && !self.chains[chain].stages.is_empty() {
            let Some(result) = self.chains[chain].result.take() else { break };
            let Some(pending) = self.chains[chain].stages.pop_front() else { break };
            match self.call(pending, result) {
                Given::Now(result) => self.chains[chain].result = Some(result),
                Given::Handle(inner) => self.wait(chain, inner),
            }
        }
        self.chains[chain].running = false;
        self.settle(chain);
        self.leave();
    }

    /// D5: passes on the result of a chain at its end.
    fn settle(&mut self, chain: usize) {
        let this = &mut self.chains[chain];
        if this.running || this.waits_on.is_some() || !this.stages.is_empty() {
            return;
        }
        if let Some(outer) = this.waited_by {
            let Some(result) = this.result.take() else { return };
            this.waited_by = None;
            self.chains[outer].waits_on = None;
            self.chains[outer].result = Some(result);
            self.run(outer);
        } else if this.dropped {
            // D10, D10.1, D11
            let given_up = this.given_up;
            if let Some(Err(error)) = this.result.take() {
                if !given_up {
                    self.events.push(format!("logged: {error}"));
                }
            }
        }
    }

    /// D5
    fn wait(&mut self, chain: usize, inner: usize) {
        // D10.2
        self.chains[inner].polled = false;
        let mut at = Some(inner);
        while let Some(next) = at {
            if next == chain {
                self.chains[chain].result = Some(Err("circular".into()));
                return self.detach(inner);
            }
            at = self.chains[next].waits_on;
        }
        self.chains[chain].waits_on = Some(inner);
        self.chains[inner].waited_by = Some(chain);
        let inner = &mut self.chains[inner];
        if !inner.running && inner.waits_on.is_none() {
            if let Some(result) = inner.result.take() {
                inner.waited_by = None;
                self.chains[chain].waits_on = None;
                self.chains[chain].result = Some(result);
            }
        }
    }

    /// D3, D4
    fn call(&mut self, pending: Pending, result: Outcome) -> Given {
        let Pending { stage, captured: [first, second] } = pending;
        let (act, captured, passed_over) = match (&stage.on, &result) {
            (On::Value(act), Ok(_)) | (On::Failure(act), Err(_)) | (On::Both(act), _) => {
                (Some(act), first, None)
            }
            (On::Value(_), Err(_)) | (On::Failure(_), Ok(_)) => (None, None, first),
            (On::Either(act, _), Ok(_)) => (Some(act), first, second),
            (On::Either(_, act), Err(_)) => (Some(act), second, first),
        };
        let given = match act {
            None => Given::Now(result),
            Some(act) => {
                self.events.push(format!("{} {}", stage.id, show(&result)));
                let value = stage.id + result.unwrap_or(0);
                match act {
                    Act::Value => Given::Now(Ok(value)),
                    Act::Fail => Given::Now(Err(format!("oops {}", stage.id))),
                    Act::Panic => {
                        self.unwinding = true;
                        Given::Now(Err(format!("boom {}", stage.id)))
                    }
                    // D9.3
                    Act::PanicOwning(slot) => {
                        self.unwind(*slot);
                        Given::Now(Err(NOT_TEXT.into()))
                    }
                    Act::Return(slot) => match self.handles[*slot].take() {
                        Some(chain) => Given::Handle(chain),
                        None => Given::Now(Ok(value)),
                    },
                    Act::Capture(_) => match captured {
                        Some(chain) => Given::Handle(chain),
                        None => Given::Now(Ok(value)),
                    },
                    Act::Do(op) => {
                        self.perform(op);
                        Given::Now(Ok(value))
                    }
                }
            }
        };
        if let Some(handle) = passed_over {
            self.drop_handle(handle);
        }
        self.unwinding = false;
        given
    }
}

fn show(result: &Outcome) -> String {
    match result {
        Ok(n) => n.to_string(),
        Err(error) => error.clone(),
    }
}
