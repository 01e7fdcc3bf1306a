//! One request, from finding a connection to the end of the response, over redirects and a retry.

mod attempt;
mod content;
mod follow;
mod limits;
mod pipe;
mod skipping;
mod timers;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use twistor_deferred::{Canceller, Failure};
use twistor_net::Transport;
use twistor_net::connect::Connecting;
use twistor_reactor::Handle;

use super::exchange::Exchanging;
use super::lease::Lease;
use super::pool::Pool;
use super::request::{Request, RequestParts, RequestSettings};
use super::route::Route;
use super::sink::{BodySink, Demand, Ending};
use crate::ResponseHead;
use pipe::ContentPipe;
use skipping::Skipping;
use timers::FetchTimers;

pub(super) struct Fetch {
    handle: Handle,
    pool: Option<Rc<Pool>>,
    settings: RefCell<RequestSettings>,
    parts: RefCell<RequestParts>,
    sink: Rc<dyn BodySink>,
    /// The route of the last attempt.
    route: RefCell<Option<Route>>,
    stage: RefCell<FetchStage>,
    /// The redirect whose own body is being skipped.
    skipping: RefCell<Option<Box<Skipping>>>,
    /// Whether a head was passed on. Then the response is final, whatever follows.
    answered: Cell<bool>,
    retried: Cell<bool>,
    /// How the exchange ended, while the rest of its content is held back.
    ending: Cell<Option<Ending>>,
    /// The sink was notified of the end, or will not be.
    done: Cell<bool>,
    content: ContentPipe,
    /// A call from the loop will continue decoding.
    #[cfg(feature = "compression")]
    decodes_soon: Cell<bool>,
    watch: FetchTimers,
}

enum FetchStage {
    New,
    /// Waiting for a connection, with the stage of connecting.
    Waiting(Canceller, Connecting),
    Exchanging(Lease),
}

impl Fetch {
    /// Prepares the request; [`attempt`](Fetch::attempt) starts it. Returns `None` if the request is invalid, after
    /// notifying the sink.
    pub(super) fn start(
        handle: &Handle,
        pool: Option<Rc<Pool>>,
        request: Request,
        sink: Rc<dyn BodySink>,
    ) -> Option<Rc<Fetch>> {
        let Request { parts, settings } = request;
        let parts = match parts {
            Ok(parts) => parts,
            Err(failure) => {
                sink.ended(Ending::Failed(failure));
                return None;
            }
        };
        let fetch = Rc::new(Fetch {
            handle: handle.clone(),
            pool,
            content: ContentPipe::new(settings.max_body.unwrap_or_else(|| sink.most())),
            settings: RefCell::new(settings),
            parts: RefCell::new(parts),
            sink,
            route: RefCell::new(None),
            stage: RefCell::new(FetchStage::New),
            skipping: RefCell::new(None),
            answered: Cell::new(false),
            retried: Cell::new(false),
            ending: Cell::new(None),
            done: Cell::new(false),
            #[cfg(feature = "compression")]
            decodes_soon: Cell::new(false),
            watch: FetchTimers::default(),
        });
        fetch.limit_whole();
        Some(fetch)
    }

    /// Resumes for a sink that wants more. Held-back data comes first.
    pub(super) fn resume(self: &Rc<Self>) {
        if !self.is_held_up() {
            return;
        }
        self.silence_starts_anew();
        if self.is_holding() {
            self.decode_soon();
        } else {
            self.read_on();
        }
    }

    /// Returns whether this side holds up the response, not the server.
    fn is_held_up(&self) -> bool {
        self.is_holding() || self.transport().is_some_and(|transport| transport.is_paused())
    }

    fn read_on(&self) {
        if let Some(transport) = self.transport() {
            transport.resume_producing();
        }
    }

    fn transport(&self) -> Option<Transport> {
        match &*self.stage.borrow() {
            FetchStage::Exchanging(lease) => lease.connection()?.transport().cloned(),
            _ => None,
        }
    }

    /// Notifies the sink of the end, after everything before it.
    fn conclude(&self, ending: Ending) {
        if self.done.replace(true) {
            return;
        }
        self.watch.stop();
        self.sink.ended(self.content.end(ending));
    }

    /// Fails the request for this reason.
    pub(super) fn fail(self: &Rc<Self>, failure: Failure) {
        if self.abandon() {
            self.sink.ended(Ending::Failed(failure));
        }
    }

    /// Closes the connection, or stops waiting for one. Returns false if there is none.
    pub(super) fn abandon(&self) -> bool {
        if self.done.replace(true) {
            return false;
        }
        self.watch.stop();
        self.content.discard();
        drop(self.skipping.take());
        // Taken out first, because cancelling calls back.
        let stage = self.stage.replace(FetchStage::New);
        match stage {
            FetchStage::New => {}
            FetchStage::Waiting(canceller, _) => canceller.cancel(),
            FetchStage::Exchanging(lease) => drop(lease),
        }
        true
    }
}

impl Exchanging for Fetch {
    fn touch(&self) {
        self.heard_now();
    }

    fn demand(&self) -> Demand {
        if !self.answered.get() {
            Demand::Little
        } else if self.is_holding() {
            Demand::None
        } else {
            self.sink.demand()
        }
    }

    fn head(self: Rc<Self>, head: &ResponseHead<'_>) {
        self.keep_cookies(head);
        let followed = {
            let (parts, mut settings) = (self.parts.borrow(), self.settings.borrow_mut());
            settings.redirects.follow(&parts.url, &parts.method, head.status, head.headers.get("location"))
        };
        match followed {
            Ok(None) => {
                self.answered.set(true);
                // It will not be sent again, and the body of the response may be kept for long.
                self.parts.borrow_mut().body = Vec::new();
                if let Err(failure) = self.begin_content(head) {
                    self.fail(failure);
                }
            }
            Ok(Some(redirect)) => self.skip_or_follow(redirect, head),
            Err(error) => self.fail(error.into()),
        }
    }

    fn data(self: Rc<Self>, data: &[u8]) {
        if !self.answered.get() {
            return self.skip(data.len());
        }
        self.watch.count(data.len());
        if let Err(failure) = self.take(data) {
            self.fail(failure);
        }
    }

    fn ended(self: Rc<Self>, ending: Ending, reusable: bool) {
        if let FetchStage::Exchanging(lease) = self.stage.replace(FetchStage::New) {
            lease.give_back(reusable && !self.parts.borrow().closes());
        }
        if self.done.get() {
            return;
        }
        let skipping = self.skipping.take();
        match (ending, skipping) {
            // The target is known, however the page that names it ends.
            (Ending::Complete | Ending::Cut { .. }, Some(skipping)) => self.follow(skipping.into_redirect()),
            (Ending::NoResponse { stale: true, .. }, _) if self.may_retry() => {
                self.retried.set(true);
                self.attempt(true);
            }
            (ending, _) => {
                self.watch.stop_watching_the_server();
                if self.is_holding() {
                    self.ending.set(Some(ending));
                } else {
                    self.conclude(ending);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Fetch;

    // Each request allocates one. Beyond 1,032 bytes, the GNU allocator takes twenty times as long.
    #[test]
    fn a_fetch_is_small() {
        let counts = 2 * size_of::<usize>();
        assert!(counts + size_of::<Fetch>() <= 1024, "{}", size_of::<Fetch>());
    }
}
