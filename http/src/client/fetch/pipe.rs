//! The content of a response on its way to the sink: decoded if requested, and limited.

use std::cell::Cell;
#[cfg(feature = "compression")]
use std::cell::RefCell;

use twistor_deferred::Failure;

#[cfg(feature = "compression")]
use crate::client::inflate::{Inflater, Step};
#[cfg(feature = "compression")]
use crate::client::sink::Demand;
use crate::client::sink::{BodySink, Ending};
use crate::{BodyLength, LimitExceeded, LimitKind, ResponseHead};

/// The number of bytes that decompressing may produce, over all codings, before the loop continues.
#[cfg(feature = "compression")]
const SHARE: usize = 256 << 10;

pub(super) struct ContentPipe {
    limit: u64,
    handed_on: Cell<u64>,
    #[cfg(feature = "compression")]
    inflater: RefCell<Option<Box<Inflater>>>,
    /// The content has ended, or is no longer wanted.
    #[cfg(feature = "compression")]
    is_over: Cell<bool>,
}

impl ContentPipe {
    pub(super) fn new(limit: u64) -> ContentPipe {
        ContentPipe {
            limit,
            handed_on: Cell::new(0),
            #[cfg(feature = "compression")]
            inflater: RefCell::new(None),
            #[cfg(feature = "compression")]
            is_over: Cell::new(false),
        }
    }

    /// Prepares for a compressed body. Returns its head, without the length.
    #[cfg(feature = "compression")]
    pub(super) fn decoded<'a>(&self, head: &ResponseHead<'a>) -> Option<ResponseHead<'a>> {
        if head.body == BodyLength::Empty {
            return None;
        }
        let inflater = Inflater::new(head.headers.get_all("content-encoding"), self.limit)?;
        self.inflater.replace(Some(inflater));
        Some(ResponseHead { body: BodyLength::Chunked, ..*head })
    }

    /// Checks the announced length. An error page is read up to the limit, so that its status is reported.
    pub(super) fn check(&self, head: &ResponseHead<'_>) -> Result<(), Failure> {
        match head.body {
            BodyLength::Known(length) if length > self.limit && head.status.is_success() => {
                Err(LimitExceeded::new(LimitKind::BodySize, self.limit).into())
            }
            _ => Ok(()),
        }
    }

    /// Passes on decoded content. The part within the limit comes first.
    pub(super) fn hand_on(&self, data: &[u8], sink: &dyn BodySink) -> Result<(), Failure> {
        let handed_on = self.handed_on.get();
        let fits = data.len().min(usize::try_from(self.limit - handed_on).unwrap_or(usize::MAX));
        self.handed_on.set(handed_on + fits as u64);
        if fits > 0 {
            sink.data(&data[..fits])?;
        }
        if fits < data.len() {
            return Err(LimitExceeded::new(LimitKind::BodySize, self.limit).into());
        }
        Ok(())
    }

    pub(super) fn discard(&self) {
        #[cfg(feature = "compression")]
        {
            self.is_over.set(true);
            drop(self.inflater.take());
        }
    }

    /// Converts the end of the exchange to that of the decoded content.
    pub(super) fn end(&self, ending: Ending) -> Ending {
        #[cfg(feature = "compression")]
        {
            self.is_over.set(true);
            match (ending, self.inflater.take()) {
                (Ending::Complete, Some(inflater)) => {
                    inflater.finish().map_or_else(Ending::Failed, |()| Ending::Complete)
                }
                // The announced length is that of the compressed body, but the received bytes count
                // decompressed ones.
                (Ending::Cut { cause, .. }, Some(_)) => Ending::Cut { expected: None, cause },
                (ending, _) => ending,
            }
        }
        #[cfg(not(feature = "compression"))]
        ending
    }
}

#[cfg(not(feature = "compression"))]
impl ContentPipe {
    pub(super) fn is_holding(&self) -> bool {
        false
    }
}

#[cfg(feature = "compression")]
impl ContentPipe {
    /// Accepts received bytes of a compressed body. Returns false if the body is not decoded.
    pub(super) fn feed(&self, data: &[u8]) -> bool {
        self.inflater.borrow_mut().as_mut().map(|inflater| inflater.feed(data)).is_some()
    }

    /// Decodes the received bytes and passes the result on, as long as it is wanted and the share lasts.
    /// Returns whether decoding has to continue in a later turn.
    pub(super) fn decode(&self, sink: &dyn BodySink) -> Result<bool, Failure> {
        // Taken out, because the consumer may call anything.
        let Some(mut inflater) = self.inflater.take() else { return Ok(false) };
        let mut share = SHARE;
        let mut outcome = Ok(false);
        while outcome.is_ok() && !self.is_over.get() && sink.demand() != Demand::None {
            outcome = match inflater.next(&mut share) {
                Ok(Step::Piece(piece)) => self.hand_on(piece, sink).map(|()| false),
                Ok(Step::UsedUp) => break,
                Ok(Step::Later) => {
                    outcome = Ok(true);
                    break;
                }
                Err(failure) => Err(failure),
            };
        }
        if !self.is_over.get() {
            self.inflater.replace(Some(inflater));
        }
        outcome
    }

    /// Returns whether bytes are held back until the sink wants them, or until the next share.
    pub(super) fn is_holding(&self) -> bool {
        self.inflater.borrow().as_ref().is_some_and(|inflater| !inflater.is_used_up())
    }
}
