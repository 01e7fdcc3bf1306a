//! What the site's rounds do with a connection that takes too long, and its end with one that is idle.

use ::http::StatusCode;

use super::channel::{Channel, NEVER, Phase};

impl Channel {
    /// Whether something has lasted too long. Keeps watch over what is being sent, too.
    pub(super) fn is_overdue(&self, now: u64) -> bool {
        if self.phase.get() == Phase::Opening {
            return false;
        }
        let waiting = self.transport().buffered() as u64;
        // Over TLS more may wait than was written.
        let sent = self.written.get().saturating_sub(waiting);
        let (before, since) = self.progress.get();
        if waiting == 0 || sent != before {
            self.progress.set((sent, now));
        } else if now - since >= self.site.limits.write {
            return true;
        }
        self.hold_deadline(sent != before);
        let read = waiting == 0
            || matches!(self.phase.get(), Phase::Head | Phase::Body | Phase::Rest | Phase::Lingering);
        read && self.deadline_by_now(now) <= now
    }

    /// Puts the deadline off where it is not the client who lets time pass.
    fn hold_deadline(&self, took: bool) {
        if self.incoming.borrow().as_ref().is_some_and(|incoming| incoming.is_paused()) {
            self.deadline.set(self.deadline.get().saturating_add(1));
        } else if took && self.half_closed.get() && self.phase.get() == Phase::Answering {
            self.await_sign_of_life();
        }
    }

    fn deadline_by_now(&self, now: u64) -> u64 {
        let deadline = self.deadline.get();
        if deadline > now {
            return deadline;
        }
        match self.phase.get() {
            Phase::Body | Phase::Rest => self.deadline_of_body(),
            Phase::Answering if !self.half_closed.get() => self.deadline_of_body(),
            _ => deadline,
        }
    }

    fn deadline_of_body(&self) -> u64 {
        self.deadline.get().saturating_add(self.site.limits.earned_by(self.received.get()))
    }

    /// Ends what has lasted too long.
    pub(super) fn overdue(&self, now: u64) {
        if now.saturating_sub(self.progress.get().1) >= self.site.limits.write {
            return self.abort();
        }
        match self.phase.get() {
            Phase::Idle => self.close(false),
            Phase::Head | Phase::Body => self.refuse(StatusCode::REQUEST_TIMEOUT, &mut Vec::new()),
            Phase::Rest => self.close(true),
            Phase::Answering if self.half_closed.get() => self.leave(),
            Phase::Answering => {
                self.deadline.set(NEVER);
                self.cut_body();
            }
            Phase::Lingering => {
                self.phase.set(Phase::Closed);
                self.transport().lose_connection();
            }
            Phase::Opening | Phase::Closed => {}
        }
    }

    /// The client has ended its half while its request is being answered.
    pub(super) fn client_may_have_left(&self) {
        if self.site.limits.half_closed == 0 {
            self.leave();
        } else {
            self.await_sign_of_life();
        }
    }

    /// Takes the client for gone.
    fn leave(&self) {
        self.give_up();
        self.transport().lose_connection();
    }

    /// Resets the connection.
    pub(super) fn abort(&self) {
        self.give_up();
        self.transport().abort_connection();
    }

    /// The site is coming to its end.
    pub(super) fn drain(&self) {
        match self.phase.get() {
            Phase::Opening => {
                // Nobody has asked for anything yet, and the handshake may take its time: it is not waited for.
                self.phase.set(Phase::Closed);
                self.site.gone(self);
            }
            Phase::Idle => self.close(false),
            Phase::Rest => self.close(true),
            _ => {}
        }
    }
}
