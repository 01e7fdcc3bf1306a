//! Redirects, and the bodies that come with them.

use std::rc::Rc;
use std::time::Duration;

use super::skipping::{SKIPPED_BYTES, Skipping};
use super::{Fetch, FetchStage};
use crate::{BodyLength, Redirect, ResponseHead};

/// How long a redirect's body is read to keep its connection.
const SKIPPING_TIME: Duration = Duration::from_secs(1);

impl Fetch {
    /// Follows a redirect: at once, or after its body if that keeps the connection.
    pub(super) fn skip_or_follow(self: &Rc<Self>, redirect: Redirect, head: &ResponseHead<'_>) {
        let is_short = match head.body {
            BodyLength::Empty | BodyLength::Chunked => true,
            BodyLength::Known(length) => length <= SKIPPED_BYTES,
            BodyLength::ToEnd => false,
        };
        let is_kept = matches!(&*self.stage.borrow(), FetchStage::Exchanging(lease) if lease.is_kept());
        let is_sent = self.transport().is_some_and(|transport| transport.is_drained());
        if is_kept && is_sent && head.keep_alive && is_short {
            let weak = Rc::downgrade(self);
            let timer = self.handle.call_later(SKIPPING_TIME, move || {
                if let Some(fetch) = weak.upgrade() {
                    fetch.stop_skipping();
                }
            });
            self.skipping.replace(Some(Box::new(Skipping::new(redirect, timer))));
            return;
        }
        if let FetchStage::Exchanging(lease) = self.stage.replace(FetchStage::New) {
            lease.give_back(false);
        }
        self.follow(redirect);
    }

    /// Handles more bytes of a redirect's body.
    pub(super) fn skip(self: &Rc<Self>, count: usize) {
        let is_enough = self.skipping.borrow().as_ref().is_some_and(|skipping| skipping.is_enough(count));
        if is_enough {
            self.stop_skipping();
        }
    }

    /// Follows the redirect without the rest of its body, and closes the connection. Returns false if there
    /// is none.
    pub(super) fn stop_skipping(self: &Rc<Self>) -> bool {
        let Some(skipping) = self.skipping.take() else { return false };
        drop(self.stage.replace(FetchStage::New));
        self.follow(skipping.into_redirect());
        true
    }

    pub(super) fn follow(self: &Rc<Self>, redirect: Redirect) {
        {
            let settings = self.settings.borrow();
            self.parts.borrow_mut().redirect(redirect, &settings.sensitive);
        }
        self.retried.set(false);
        self.attempt(false);
    }
}
