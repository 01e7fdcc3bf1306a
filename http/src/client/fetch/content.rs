//! The content of a response: from the connection to the sink, and held up if the sink is.

use std::rc::Rc;
#[cfg(feature = "compression")]
use std::time::Duration;

use twistor_deferred::Failure;
#[cfg(feature = "compression")]
use twistor_reactor::defer_later;

use super::Fetch;
use crate::ResponseHead;

impl Fetch {
    /// Passes on the head, and prepares for the content.
    pub(super) fn begin_content(self: &Rc<Self>, head: &ResponseHead<'_>) -> Result<(), Failure> {
        #[cfg(feature = "compression")]
        let decoded = {
            let is_wanted = self.parts.borrow().is_decoded(self.settings.borrow().decodes());
            if is_wanted { self.content.decoded(head) } else { None }
        };
        #[cfg(feature = "compression")]
        let head = decoded.as_ref().unwrap_or(head);
        self.content.check(head)?;
        self.watch_the_rate();
        let url = self.parts.borrow().url.clone();
        self.sink.clone().head(head, url)
    }

    pub(super) fn is_holding(&self) -> bool {
        self.content.is_holding()
    }
}

#[cfg(not(feature = "compression"))]
impl Fetch {
    pub(super) fn take(self: &Rc<Self>, data: &[u8]) -> Result<(), Failure> {
        self.content.hand_on(data, &*self.sink)
    }

    pub(super) fn decode_soon(self: &Rc<Self>) {}
}

#[cfg(feature = "compression")]
impl Fetch {
    /// Handles received bytes of the body.
    pub(super) fn take(self: &Rc<Self>, data: &[u8]) -> Result<(), Failure> {
        if self.content.feed(data) { self.decode() } else { self.content.hand_on(data, &*self.sink) }
    }

    fn decode(self: &Rc<Self>) -> Result<(), Failure> {
        if self.content.decode(&*self.sink)? {
            self.decode_soon();
        }
        Ok(())
    }

    /// Continues from the loop, so that a sink that requests more is not called inside itself.
    pub(super) fn decode_soon(self: &Rc<Self>) {
        if self.decodes_soon.replace(true) {
            return;
        }
        let (fetch, failing) = (self.clone(), self.clone());
        let soon = defer_later(&self.handle, Duration::ZERO, || Ok(()));
        drop(soon.add_callbacks(move |()| fetch.decode_on(), move |failure| failing.fail(failure)));
    }

    fn decode_on(self: &Rc<Self>) {
        self.decodes_soon.set(false);
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
