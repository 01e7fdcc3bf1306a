//! The content of a response on its way to the sink: decoded if requested, and limited.

use std::cell::Cell;
#[cfg(feature = "compression")]
use std::cell::RefCell;
use std::rc::Rc;
#[cfg(feature = "compression")]
use std::time::Duration;

use twistor_deferred::Failure;
#[cfg(feature = "compression")]
use twistor_reactor::defer_later;

use super::Fetch;
#[cfg(feature = "compression")]
use crate::client::inflate::{Inflater, Step};
#[cfg(feature = "compression")]
use crate::client::sink::Demand;
use crate::client::sink::Ending;
use crate::{BodyLength, LimitExceeded, LimitKind, ResponseHead};

/// The number of bytes that decompressing may produce, over all codings, before the loop continues.
#[cfg(feature = "compression")]
const SHARE: usize = 256 << 10;

pub(super) struct ContentPipe {
    limit: u64,
    handed_on: Cell<u64>,
    #[cfg(feature = "compression")]
    inflater: RefCell<Option<Box<Inflater>>>,
    /// A call from the loop will continue decoding.
    #[cfg(feature = "compression")]
    is_scheduled: Cell<bool>,
}

impl ContentPipe {
    pub(super) fn new(limit: u64) -> ContentPipe {
        ContentPipe {
            limit,
            handed_on: Cell::new(0),
            #[cfg(feature = "compression")]
            inflater: RefCell::new(None),
            #[cfg(feature = "compression")]
            is_scheduled: Cell::new(false),
        }
    }

    pub(super) fn discard(&self) {
        #[cfg(feature = "compression")]
        drop(self.inflater.take());
    }

    /// Converts the end of the exchange to that of the decoded content.
    pub(super) fn end(&self, ending: Ending) -> Ending {
        #[cfg(feature = "compression")]
        return match (ending, self.inflater.take()) {
            (Ending::Complete, Some(inflater)) => {
                inflater.finish().map_or_else(Ending::Failed, |()| Ending::Complete)
            }
            // The announced length is that of the compressed body, but the received bytes count decompressed
            // ones.
            (Ending::Cut { cause, .. }, Some(_)) => Ending::Cut { expected: None, cause },
            (ending, _) => ending,
        };
        #[cfg(not(feature = "compression"))]
        ending
    }
}

impl Fetch {
    /// Passes on the head, and prepares for the content.
    pub(super) fn begin_content(self: &Rc<Self>, head: &ResponseHead<'_>) -> Result<(), Failure> {
        #[cfg(feature = "compression")]
        let decoded = self.decoded(head);
        #[cfg(feature = "compression")]
        let head = decoded.as_ref().unwrap_or(head);
        let limit = self.content.limit;
        // An error page is read up to the limit, so that its status is reported.
        if matches!(head.body, BodyLength::Known(length) if length > limit) && head.status.is_success() {
            return Err(LimitExceeded::new(LimitKind::BodySize, limit).into());
        }
        self.watch_the_rate();
        let url = self.parts.borrow().url.clone();
        self.sink.clone().head(head, url)
    }

    /// Passes on decoded content. The part within the limit comes first.
    fn hand_on(&self, data: &[u8]) -> Result<(), Failure> {
        let limit = self.content.limit;
        let handed_on = self.content.handed_on.get();
        let fits = data.len().min(usize::try_from(limit - handed_on).unwrap_or(usize::MAX));
        self.content.handed_on.set(handed_on + fits as u64);
        if fits > 0 {
            self.sink.data(&data[..fits])?;
        }
        if fits < data.len() { Err(LimitExceeded::new(LimitKind::BodySize, limit).into()) } else { Ok(()) }
    }
}

#[cfg(not(feature = "compression"))]
impl Fetch {
    pub(super) fn take(self: &Rc<Self>, data: &[u8]) -> Result<(), Failure> {
        self.hand_on(data)
    }

    pub(super) fn is_holding(&self) -> bool {
        false
    }

    pub(super) fn decode_soon(self: &Rc<Self>) {}
}

#[cfg(feature = "compression")]
impl Fetch {
    /// Prepares for a compressed body. Returns its head, without the length.
    fn decoded<'a>(&self, head: &ResponseHead<'a>) -> Option<ResponseHead<'a>> {
        let is_wanted = self.parts.borrow().is_decoded(self.settings.borrow().decodes());
        if head.body == BodyLength::Empty || !is_wanted {
            return None;
        }
        let inflater = Inflater::new(head.headers.get_all("content-encoding"), self.content.limit)?;
        self.content.inflater.replace(Some(inflater));
        Some(ResponseHead { body: BodyLength::Chunked, ..*head })
    }

    /// Handles received bytes of the body.
    pub(super) fn take(self: &Rc<Self>, data: &[u8]) -> Result<(), Failure> {
        let fed = self.content.inflater.borrow_mut().as_mut().map(|inflater| inflater.feed(data));
        if fed.is_some() { self.decode() } else { self.hand_on(data) }
    }

    /// Decodes the received bytes and passes the result on, as long as it is wanted and the share lasts.
    fn decode(self: &Rc<Self>) -> Result<(), Failure> {
        // Taken out, because the consumer may call anything.
        let Some(mut inflater) = self.content.inflater.take() else { return Ok(()) };
        let mut share = SHARE;
        let mut outcome = Ok(());
        while outcome.is_ok() && !self.done.get() && self.sink.demand() != Demand::None {
            outcome = match inflater.next(&mut share) {
                Ok(Step::Piece(piece)) => self.hand_on(piece),
                Ok(Step::UsedUp) => break,
                Ok(Step::Later) => {
                    self.decode_soon();
                    break;
                }
                Err(failure) => Err(failure),
            };
        }
        if !self.done.get() {
            self.content.inflater.replace(Some(inflater));
        }
        outcome
    }

    /// Returns whether bytes are held back until the sink wants them, or until the next share.
    pub(super) fn is_holding(&self) -> bool {
        self.content.inflater.borrow().as_ref().is_some_and(|inflater| !inflater.is_used_up())
    }

    /// Continues from the loop, so that a sink that requests more is not called inside itself.
    pub(super) fn decode_soon(self: &Rc<Self>) {
        if self.content.is_scheduled.replace(true) {
            return;
        }
        let (fetch, failing) = (self.clone(), self.clone());
        let soon = defer_later(&self.handle, Duration::ZERO, || Ok(()));
        drop(soon.add_callbacks(move |()| fetch.decode_on(), move |failure| failing.fail(failure)));
    }

    fn decode_on(self: &Rc<Self>) {
        self.content.is_scheduled.set(false);
        if let Err(failure) = self.decode() {
            return self.fail(failure);
        }
        if !self.is_holding() {
            self.read_on();
            if let Some(ending) = self.ending.take() {
                self.conclude(ending);
            }
        }
    }
}
