//! Programs: steps that are applied to a few chains, as data.

pub(crate) const CHAINS: usize = 6;

#[derive(Debug, Clone)]
pub(crate) enum Op {
    New(usize, Canceller),
    /// Adds a stage to the chain whose handle is in the slot.
    Add(usize, Stage),
    Fire(usize, bool),
    DropTrigger(usize),
    Cancel(usize),
    CancelHandle(usize),
    DropHandle(usize),
    DropCanceller(usize),
    /// Polls the handle, once.
    Poll(usize),
    Detach(usize),
    /// Drops the trigger and the handle by a panic, which the program catches. Before them, drops the trigger of a chain
    /// whose value panics when it is dropped. Optionally cancels the chain afterwards.
    Unwind(usize, bool),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Canceller {
    Absent,
    Idle,
    Fires(bool),
    Panics,
}

#[derive(Debug, Clone)]
pub(crate) struct Stage {
    pub(crate) id: usize,
    pub(crate) on: On,
    /// Whether its functions return a `Result` where possible, or always a Deferred.
    pub(crate) plain: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum On {
    Value(Act),
    Failure(Act),
    Either(Act, Act),
    Both(Act),
}

/// The action of a callback.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Value,
    Fail,
    Panic,
    /// Takes the trigger and the handle of that slot, if present, and panics with a payload that panics when it is dropped.
    PanicOwning(usize),
    /// Returns the handle of that slot, if present when the callback runs.
    Return(usize),
    /// Captures the handle of that slot, if present when the callback is added, and returns it.
    Capture(usize),
    /// Does that, then returns a value.
    Do(Box<Op>),
}

/// Builds a program from choices: `choose(n)` returns a number below `n`.
pub(crate) fn random(choose: &mut dyn FnMut(usize) -> usize) -> Vec<Op> {
    let mut random = Random { choose, stages: 0 };
    let length = 5 + random.below(35);
    let mut program: Vec<Op> =
        (0..2 + random.below(CHAINS - 1)).map(|chain| random.new_chain(chain)).collect();
    program.extend((0..CHAINS).filter(|_| random.coin()).map(Op::DropCanceller));
    program.extend((0..length).map(|_| random.op(0)));
    // At the end everything is dropped, handles first or triggers first.
    let mut rest: Vec<Op> = (0..CHAINS).map(Op::DropHandle).collect();
    rest.extend((0..CHAINS).map(Op::DropTrigger));
    if random.coin() {
        rest.reverse();
    }
    program.extend(rest);
    program
}

struct Random<'a> {
    choose: &'a mut dyn FnMut(usize) -> usize,
    stages: usize,
}

impl Random<'_> {
    fn below(&mut self, limit: usize) -> usize {
        (self.choose)(limit)
    }

    fn coin(&mut self) -> bool {
        self.below(2) > 0
    }

    fn chain(&mut self) -> usize {
        self.below(CHAINS)
    }

    fn new_chain(&mut self, chain: usize) -> Op {
        Op::New(
            chain,
            match self.below(8) {
                0 => Canceller::Idle,
                1 => Canceller::Fires(true),
                2 => Canceller::Fires(false),
                3 => Canceller::Panics,
                _ => Canceller::Absent,
            },
        )
    }

    fn op(&mut self, depth: usize) -> Op {
        let chain = self.chain();
        match self.below(25) {
            0 => self.new_chain(chain),
            1..=9 => Op::Add(chain, self.stage(depth)),
            10..=13 => Op::Fire(chain, self.below(4) > 0),
            14 => Op::DropTrigger(chain),
            15 | 16 => Op::Cancel(chain),
            17 => Op::CancelHandle(chain),
            18 => Op::DropCanceller(chain),
            19..=21 => Op::Poll(chain),
            22 => Op::Detach(chain),
            23 => Op::Unwind(chain, self.coin()),
            _ => Op::DropHandle(chain),
        }
    }

    fn stage(&mut self, depth: usize) -> Stage {
        self.stages += 1;
        let id = self.stages;
        let on = match self.below(8) {
            0..=3 => On::Value(self.act(depth)),
            4 | 5 => On::Failure(self.act(depth)),
            6 => On::Either(self.act(depth), self.act(depth)),
            _ => On::Both(self.act(depth)),
        };
        Stage { id, on, plain: self.coin() }
    }

    fn act(&mut self, depth: usize) -> Act {
        match self.below(18) {
            0..=3 => Act::Value,
            4 => Act::Fail,
            5 => Act::Panic,
            6..=8 => Act::Return(self.chain()),
            9..=11 => Act::Capture(self.chain()),
            12 | 13 => Act::PanicOwning(self.chain()),
            _ if depth < 3 => Act::Do(Box::new(self.op(depth + 1))),
            _ => Act::Value,
        }
    }
}
