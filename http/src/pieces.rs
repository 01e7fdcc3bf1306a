//! A body between the connection that it comes on and the one who reads it.

use std::cell::{Cell, RefCell};

use twistor_deferred::{Deferred, Failure, Trigger, fail, succeed};
use twistor_net::guarded;

pub(super) type Consumer = Box<dyn FnMut(&[u8]) -> Result<(), Failure>>;

/// A panic is the consumer's failure, wherever it is called: from the loop, or for what was kept by whoever hands it over.
fn give(consumer: &mut Consumer, piece: &[u8]) -> Result<(), Failure> {
    guarded("the consumer", || consumer(piece))
}

/// The pieces of a body, until somebody takes them.
#[derive(Default)]
pub(super) struct Pieces {
    /// What nobody has asked for yet. In one piece: chunks of a byte are not to cost an allocation each.
    kept: RefCell<Vec<u8>>,
    /// Who waits for the next one.
    waiting: Cell<Option<Trigger<Option<Vec<u8>>>>>,
    /// Who takes them all, and who waits for the end of that.
    consumer: Cell<Option<Consumer>>,
    delivered: Cell<Option<Trigger<()>>>,
    ended: Cell<bool>,
    /// Why it ended, until that is told; none: in order.
    cut: Cell<Option<Failure>>,
}

/// Who takes the next piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taker {
    /// Nobody: it is kept.
    Nobody,
    /// One who has asked for it.
    Asker,
    /// One who takes each as it comes.
    Consumer,
}

impl Pieces {
    /// A body that has come already.
    pub(super) fn whole(bytes: Vec<u8>) -> Pieces {
        Pieces { kept: RefCell::new(bytes), ended: Cell::new(true), ..Pieces::default() }
    }

    /// How many bytes are kept.
    pub(super) fn kept(&self) -> usize {
        self.kept.borrow().len()
    }

    pub(super) fn have_ended(&self) -> bool {
        self.ended.get()
    }

    pub(super) fn taker(&self) -> Taker {
        let (waiting, consumer) = (self.waiting.take(), self.consumer.take());
        let taker = match (&consumer, &waiting) {
            (Some(_), _) => Taker::Consumer,
            (None, Some(waiting)) if waiting.is_live() => Taker::Asker,
            _ => Taker::Nobody,
        };
        self.waiting.set(waiting);
        self.consumer.set(consumer);
        taker
    }

    /// The next piece, or the end. If neither is there, it is waited for, and `resume` is to see to it that it comes.
    #[track_caller]
    pub(super) fn next(&self, resume: impl FnOnce()) -> Deferred<Option<Vec<u8>>> {
        let kept = self.kept.take();
        if !kept.is_empty() {
            return succeed(Some(kept));
        }
        if self.ended.get() {
            return self.cut.take().map_or_else(|| succeed(None), fail);
        }
        let (deferred, trigger) = Deferred::new();
        drop(self.waiting.replace(Some(trigger)));
        resume();
        deferred
    }

    /// Gives the consumer what is kept, and from now on each piece as it comes. Fires at the end, or with the failure
    /// of the consumer. `give_up` is called when it fails here, and when the Deferred is cancelled.
    #[track_caller]
    pub(super) fn deliver(
        &self,
        mut consumer: Consumer,
        resume: impl FnOnce(),
        give_up: impl FnOnce() + 'static,
    ) -> Deferred<()> {
        let kept = self.kept.take();
        if !kept.is_empty() {
            if let Err(failure) = give(&mut consumer, &kept) {
                give_up();
                return fail(failure);
            }
        }
        if self.ended.get() {
            return self.cut.take().map_or_else(|| succeed(()), fail);
        }
        let (deferred, trigger) = Deferred::with_canceller(move |_| give_up());
        self.consumer.set(Some(consumer));
        self.delivered.set(Some(trigger));
        resume();
        deferred
    }

    /// The next piece has come. Gives the failure of the consumer back, who gets no more then.
    pub(super) fn push(&self, data: &[u8]) -> Result<(), Failure> {
        if let Some(mut consumer) = self.consumer.take() {
            give(&mut consumer, data)?;
            if !self.ended.get() {
                self.consumer.set(Some(consumer));
            }
            return Ok(());
        }
        match self.waiting.take().filter(Trigger::is_live) {
            Some(waiting) => waiting.callback(Some(data.to_vec())),
            None => self.kept.borrow_mut().extend_from_slice(data),
        }
        Ok(())
    }

    /// Nothing more comes.
    pub(super) fn end(&self, end: Result<(), Failure>) {
        if self.ended.replace(true) {
            return;
        }
        drop(self.consumer.take());
        if let Some(delivered) = self.delivered.take() {
            delivered.fire(end);
        } else if let Some(waiting) = self.waiting.take().filter(Trigger::is_live) {
            waiting.fire(end.map(|()| None));
        } else {
            self.cut.set(end.err());
        }
    }

    /// Nobody is to get any more of it.
    pub(super) fn discard(&self) {
        drop((self.consumer.take(), self.kept.take()));
    }
}
