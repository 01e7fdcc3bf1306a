//! The buffer between the connection of a body and its reader.

use std::cell::{Cell, RefCell};

use twistor_deferred::{Deferred, Failure, Trigger, fail, succeed};
use twistor_net::guarded;

pub(super) type Consumer = Box<dyn FnMut(&[u8]) -> Result<(), Failure>>;

/// Calls the consumer, from the loop or for kept data. A panic becomes its failure.
fn give(consumer: &mut Consumer, piece: &[u8]) -> Result<(), Failure> {
    guarded("the consumer", || consumer(piece))
}

/// The pieces of a body, until they are read.
#[derive(Default)]
pub(super) struct Pieces {
    /// Data that was not requested yet. It is one vector, so that chunks of one byte do not cost an
    /// allocation each.
    kept: RefCell<Vec<u8>>,
    /// The read that waits for the next piece.
    waiting: Cell<Option<Trigger<Option<Vec<u8>>>>>,
    /// The consumer of all pieces.
    consumer: Cell<Option<Consumer>>,
    delivered: Cell<Option<Trigger<()>>>,
    ended: Cell<bool>,
    /// The reason of the end, until it is reported. `None`: a clean end.
    cut: Cell<Option<Failure>>,
}

/// The receiver of the next piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taker {
    /// No receiver: the piece is kept.
    Nobody,
    /// A read that waits for a piece.
    Asker,
    /// The consumer of all pieces.
    Consumer,
}

impl Pieces {
    /// Creates a body that has arrived completely.
    pub(super) fn whole(bytes: Vec<u8>) -> Pieces {
        Pieces { kept: RefCell::new(bytes), ended: Cell::new(true), ..Pieces::default() }
    }

    /// Returns the number of kept bytes.
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

    /// Returns the next piece, or the end. If neither has arrived, waits for it and calls `resume` to make it
    /// arrive.
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

    /// Takes the kept data and the reason of the end, if the body has ended.
    pub(super) fn take_rest(&self) -> Option<(Vec<u8>, Result<(), Failure>)> {
        let end = || self.cut.take().map_or(Ok(()), Err);
        self.ended.get().then(|| (self.kept.take(), end()))
    }

    /// Passes the kept data, and every further piece, to the consumer. Fires at the end, or with the failure
    /// of the consumer. Calls `give_up` when the consumer fails here, and when the Deferred is cancelled.
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

    /// Accepts the next piece. Returns the failure of the consumer, which then gets no more.
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

    /// Marks the end of the body.
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

    /// Discards the rest of the body.
    pub(super) fn discard(&self) {
        drop((self.consumer.take(), self.kept.take()));
    }
}
