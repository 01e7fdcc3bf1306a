//! The sources, by token, and the queue of those that are to be called.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::memory::{Table, pop_front};
use crate::ready::{EventHandler, Ready};

/// Names a source: its slot, and a generation so that an event fetched for a closed source never reaches the one that
/// took its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SourceToken(usize);

#[cfg(target_pointer_width = "64")]
type Generation = u32;
#[cfg(not(target_pointer_width = "64"))]
type Generation = u16;

const INDEX_BITS: u32 = usize::BITS / 2;
const INDEX_MASK: usize = usize::MAX >> (usize::BITS - INDEX_BITS);
/// As many sources as an index can name, less one: the driver keeps the last index for itself.
const MOST: usize = INDEX_MASK;

impl SourceToken {
    fn new(index: usize, generation: Generation) -> SourceToken {
        SourceToken((generation as usize) << INDEX_BITS | index)
    }

    fn index(self) -> usize {
        self.0 & INDEX_MASK
    }

    fn generation(self) -> Generation {
        (self.0 >> INDEX_BITS) as Generation
    }
}

impl From<SourceToken> for mio::Token {
    fn from(token: SourceToken) -> mio::Token {
        mio::Token(token.0)
    }
}

impl From<mio::Token> for SourceToken {
    fn from(token: mio::Token) -> SourceToken {
        SourceToken(token.0)
    }
}

pub(crate) struct SourceSlot {
    pub(crate) handler: Rc<dyn EventHandler>,
    /// The slot's index is known to whoever looks it up; kept without it, a source takes 24 bytes.
    generation: Generation,
    /// What it is to be called with.
    pending: Ready,
    /// Whether it stands in the queue.
    queued: bool,
}

/// The table. Nothing in here calls or drops a handler: what is taken out is handed to the caller.
#[derive(Default)]
pub(crate) struct Sources {
    table: Table<SourceSlot>,
    generation: Generation,
    /// Those to call, in the order in which they became ready.
    ready: VecDeque<SourceToken>,
}

impl Sources {
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// `None`, with the handler given up, when every token is taken.
    pub(crate) fn insert(
        &mut self,
        handler: Rc<dyn EventHandler>,
    ) -> Result<SourceToken, Rc<dyn EventHandler>> {
        if self.table.len() >= MOST {
            return Err(handler);
        }
        self.generation = self.generation.wrapping_add(1);
        let token = SourceToken::new(self.table.vacant_key(), self.generation);
        self.table.insert(SourceSlot {
            handler,
            generation: self.generation,
            pending: Ready::NONE,
            queued: false,
        });
        Ok(token)
    }

    pub(crate) fn handlers(&self) -> Vec<Rc<dyn EventHandler>> {
        self.table.values().map(|source| source.handler.clone()).collect()
    }

    pub(crate) fn contains(&self, token: SourceToken) -> bool {
        self.table.get(token.index()).is_some_and(|source| source.generation == token.generation())
    }

    fn get(&mut self, token: SourceToken) -> Option<&mut SourceSlot> {
        self.table.get_mut(token.index()).filter(|source| source.generation == token.generation())
    }

    pub(crate) fn remove(&mut self, token: SourceToken) -> Option<SourceSlot> {
        if self.contains(token) { self.table.remove(token.index()) } else { None }
    }

    /// Gives the source another handler; what is not in place any more is given back: the old one, or the new one if the
    /// source has gone.
    pub(crate) fn replace(
        &mut self,
        token: SourceToken,
        handler: Rc<dyn EventHandler>,
    ) -> Rc<dyn EventHandler> {
        match self.get(token) {
            Some(source) => std::mem::replace(&mut source.handler, handler),
            None => handler,
        }
    }

    pub(crate) fn take_all(&mut self) -> Vec<SourceSlot> {
        self.ready = VecDeque::new();
        self.table.take_all().collect()
    }

    /// Has the source called in the next dispatch.
    pub(crate) fn wake(&mut self, token: SourceToken, ready: Ready) {
        let Some(source) = self.get(token) else { return };
        source.pending |= ready;
        if !source.queued {
            source.queued = true;
            self.ready.push_back(token);
        }
    }

    pub(crate) fn any_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// How many there are to call in this turn; what is woken from here on is for the next.
    pub(crate) fn batch(&self) -> usize {
        self.ready.len()
    }

    /// The next of the batch, its handler, and what to call that with; `None` if the source has gone since.
    pub(crate) fn claim(&mut self) -> Option<(SourceToken, Rc<dyn EventHandler>, Ready)> {
        let token = pop_front(&mut self.ready)?;
        let source = self.get(token)?;
        source.queued = false;
        let ready = std::mem::take(&mut source.pending);
        Some((token, source.handler.clone(), ready))
    }
}
