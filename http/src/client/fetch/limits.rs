//! The timeouts of a request.

use std::rc::Rc;
use std::time::Duration;

use super::timers::cancel;
use super::{Fetch, FetchStage};
use crate::client::errors::{RequestStage, RequestTimedOut, TimeoutKind};

/// How often progress is checked within an idle timeout while a request is being sent.
const LOOKS: u32 = 4;

impl Fetch {
    /// Starts the timeout of the whole request.
    pub(super) fn limit_whole(self: &Rc<Self>) {
        let Some(after) = self.settings.borrow().timeout else { return };
        // A timer that owned the request would keep it and its agent until it fires.
        let weak = Rc::downgrade(self);
        let call = self.handle.call_later(after, move || {
            if let Some(fetch) = weak.upgrade() {
                fetch.time_out(TimeoutKind::Total, after);
            }
        });
        self.watch.whole.replace(Some(call));
    }

    fn time_out(self: &Rc<Self>, kind: TimeoutKind, after: Duration) {
        let (target, stage) = self.awaited();
        self.fail(RequestTimedOut { kind, target, stage, after }.into());
    }

    /// Records that the server has sent data.
    pub(super) fn heard_now(&self) {
        self.watch.heard.set(Some(self.handle.now()));
    }

    /// Restarts the idle time, because this side held up the response until now.
    pub(super) fn silence_starts_anew(&self) {
        self.heard_now();
        self.watch.came.set(None);
    }

    /// Starts the idle timeout, once the request is passed to the connection.
    pub(super) fn watch_the_server(self: &Rc<Self>, is_large: bool) {
        if is_large {
            self.watch.unsent.set(self.unsent());
        }
        let Some(after) = self.settings.borrow().idle_timeout else { return };
        if self.watch.idle.borrow().is_none() || is_large {
            cancel(&self.watch.idle);
            self.look_after(after, after);
        }
    }

    fn unsent(&self) -> usize {
        self.transport().map_or(0, |transport| transport.buffered())
    }

    /// Checks for silence after `delay`. The timer is not moved for each byte: when it fires, it checks when
    /// the last one arrived.
    fn look_after(self: &Rc<Self>, delay: Duration, after: Duration) {
        let delay = if self.watch.unsent.get() > 0 { delay.min(after / LOOKS) } else { delay };
        let weak = Rc::downgrade(self);
        let call = self.handle.call_later(delay, move || {
            if let Some(fetch) = weak.upgrade().filter(|fetch| !fetch.done.get()) {
                fetch.look(after);
            }
        });
        self.watch.idle.replace(Some(call));
    }

    fn look(self: &Rc<Self>, after: Duration) {
        let is_waiting = !matches!(*self.stage.borrow(), FetchStage::Exchanging(_));
        let unsent = self.unsent();
        let was_taken = unsent < self.watch.unsent.replace(unsent);
        if is_waiting || was_taken || self.is_held_up() {
            self.heard_now();
        }
        let now = self.handle.now();
        let silence = now.saturating_duration_since(self.watch.heard.get().unwrap_or(now));
        match after.checked_sub(silence) {
            Some(left) if !left.is_zero() => self.look_after(left, after),
            _ if self.stop_skipping() => {}
            _ => {
                self.time_out(TimeoutKind::Idle, after);
            }
        }
    }

    /// Starts the first period of the minimum rate, when the head has arrived.
    pub(super) fn watch_the_rate(self: &Rc<Self>) {
        let Some((least, per)) = self.settings.borrow().min_rate else { return };
        self.watch.came.set(Some(0));
        let weak = Rc::downgrade(self);
        let call = self.handle.call_later(per, move || {
            let Some(fetch) = weak.upgrade().filter(|fetch| !fetch.done.get()) else { return };
            match fetch.watch.came.get() {
                Some(received) if received < least && !fetch.is_held_up() => {
                    fetch.time_out(TimeoutKind::Rate { received, least }, per);
                }
                _ => fetch.watch_the_rate(),
            }
        });
        self.watch.rate.replace(Some(call));
    }

    /// Returns the server or proxy that the request waits for, and the stage it has reached.
    fn awaited(&self) -> (String, RequestStage) {
        if let FetchStage::Waiting(_, connecting) = &*self.stage.borrow() {
            let stage = connecting.stage().map_or(RequestStage::Queue, RequestStage::Connect);
            return (connecting.target(), stage);
        }
        let origin = self.parts.borrow().url.origin();
        let target =
            self.route.borrow().as_ref().map_or_else(|| origin.to_string(), |route| route.to(&origin));
        let stage = if self.answered.get() || self.skipping.borrow().is_some() {
            RequestStage::Body
        } else if self.unsent() > 0 {
            RequestStage::Send
        } else {
            RequestStage::Head
        };
        (target, stage)
    }
}
