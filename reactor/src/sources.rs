//! The table of sources, by token, and the queue of ready ones.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::memory::{Table, pop_front};
use crate::ready::{EventHandler, Ready};

/// The name of a source: its slot and a generation. The generation keeps an event that was fetched for a closed
/// source from reaching the next source in its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SourceToken(usize);

#[cfg(target_pointer_width = "64")]
type Generation = u32;
#[cfg(not(target_pointer_width = "64"))]
type Generation = u16;

const INDEX_BITS: u32 = usize::BITS / 2;
const INDEX_MASK: usize = usize::MAX >> (usize::BITS - INDEX_BITS);
/// The maximum number of sources. The driver reserves the last index.
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

impl SourceToken {
    /// Returns the number of the source in a recording.
    #[inline]
    pub(crate) fn number(self) -> u64 {
        self.generation().into()
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
    /// The slot's index is not stored: every look-up starts from it, and without it a source takes 24 bytes.
    generation: Generation,
    /// The readiness to call the handler with.
    pending: Ready,
    /// Whether the source is in the queue.
    queued: bool,
}

/// The number of a source in a recording, its handler, and its readiness.
pub(crate) type ReadySource = (u64, Rc<dyn EventHandler>, Ready);

/// The table. It never calls or drops a handler: it returns removed handlers to the caller.
#[derive(Default)]
pub(crate) struct Sources {
    table: Table<SourceSlot>,
    generation: Generation,
    /// The ready sources, in the order in which they became ready.
    ready: VecDeque<SourceToken>,
}

impl Sources {
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Adds a handler. Returns it if every token is in use.
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

    /// Returns the ready sources, in the order in which they became ready.
    pub(crate) fn ready_now(&self) -> Vec<ReadySource> {
        let tokens = self.ready.iter().filter(|token| self.contains(**token));
        let sources = tokens.filter_map(|token| Some((token.number(), self.table.get(token.index())?)));
        sources.map(|(number, source)| (number, source.handler.clone(), source.pending)).collect()
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

    /// Replaces a source's handler. Returns the old handler, or the new one if the source is gone.
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

    pub(crate) fn take_all(&mut self) -> Table<SourceSlot> {
        self.ready = VecDeque::new();
        std::mem::take(&mut self.table)
    }

    /// Queues the source to be called in the next dispatch.
    pub(crate) fn wake(&mut self, token: SourceToken, ready: Ready) {
        let Some(source) = self.get(token) else { return };
        source.pending |= ready;
        if !source.queued {
            source.queued = true;
            self.ready.push_back(token);
        }
    }

    /// Draws an order for the sources that became ready after the first `settled` ones in the queue.
    pub(crate) fn shuffle(&mut self, settled: usize, random: impl Fn() -> u64) {
        let settled = settled.min(self.ready.len());
        let fresh = &mut self.ready.make_contiguous()[settled..];
        for last in (1..fresh.len()).rev() {
            fresh.swap(last, (random() % (last as u64 + 1)) as usize);
        }
    }

    pub(crate) fn any_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Returns the number of sources to call in this turn. Sources woken from now on wait for the next turn.
    pub(crate) fn batch(&self) -> usize {
        self.ready.len()
    }

    /// Takes the next source of the batch, with its handler and readiness. `None` if the source was removed in the
    /// meantime.
    #[inline]
    pub(crate) fn claim(&mut self) -> Option<(SourceToken, Rc<dyn EventHandler>, Ready)> {
        let token = pop_front(&mut self.ready)?;
        let source = self.get(token)?;
        source.queued = false;
        let ready = std::mem::take(&mut source.pending);
        Some((token, source.handler.clone(), ready))
    }
}
