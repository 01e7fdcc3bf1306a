//! Deadlines of one connection, checked in the site's rounds, and its part in the end of the site.

use ::http::StatusCode;
use twistor_net::Transport;

use super::pace::NEVER;
use super::{Exchange, ExchangePhase, Work};

impl Exchange {
    /// Checks the deadline and the progress of sending in round `now`, and ends an overdue phase.
    pub(in crate::server) fn look_after(&mut self, transport: &Transport, now: u64) {
        let waiting = transport.buffered() as u64;
        let written = match &self.phase {
            ExchangePhase::Answering(Work::Stream(body, _), _) => self.pace.written + body.written(),
            _ => self.pace.written,
        };
        // Over TLS, more bytes may wait than were written.
        let sent = written.saturating_sub(waiting);
        let took = sent != self.pace.sent;
        if waiting == 0 || took {
            (self.pace.sent, self.pace.since) = (sent, now);
        } else if now - self.pace.since >= self.shared.limits.write {
            return self.abort(transport);
        }
        self.hold_deadline(took);
        let reads = match self.phase {
            ExchangePhase::Head
            | ExchangePhase::Collecting(_)
            | ExchangePhase::Rest
            | ExchangePhase::Lingering => true,
            _ => waiting == 0,
        };
        if reads && self.deadline_by_now(now) <= now {
            self.overdue(transport);
        }
    }

    /// Extends the deadline by a round in which the delay was not the client's.
    fn hold_deadline(&mut self, took: bool) {
        match &self.phase {
            ExchangePhase::Answering(_, Some(incoming)) if incoming.is_paused() => {
                self.pace.deadline = self.pace.deadline.saturating_add(1);
            }
            ExchangePhase::Answering(..) if took && self.half_closed => self.await_sign_of_life(),
            _ => {}
        }
    }

    fn deadline_by_now(&self, now: u64) -> u64 {
        let deadline = self.pace.deadline;
        let body = match self.phase {
            ExchangePhase::Collecting(_) | ExchangePhase::Rest => true,
            ExchangePhase::Answering(..) => !self.half_closed,
            _ => false,
        };
        if deadline > now || !body {
            return deadline;
        }
        deadline.saturating_add(self.shared.limits.earned_by(self.pace.received))
    }

    fn overdue(&mut self, transport: &Transport) {
        match self.phase {
            ExchangePhase::Idle => self.close(transport, false),
            ExchangePhase::Head | ExchangePhase::Collecting(_) => {
                self.refuse(transport, StatusCode::REQUEST_TIMEOUT, &mut Vec::new());
            }
            ExchangePhase::Rest => self.close(transport, true),
            ExchangePhase::Answering(..) if self.half_closed => self.abandon(transport),
            ExchangePhase::Answering(..) => {
                self.pace.deadline = NEVER;
                self.cut_body();
            }
            ExchangePhase::Lingering => {
                self.phase = ExchangePhase::Closed;
                transport.lose_connection();
            }
            ExchangePhase::Opening | ExchangePhase::Closed => {}
        }
    }

    /// Starts the deadline of a body, once for each body. While its reader is paused, the rounds extend the
    /// deadline by that time only: a restart at each resumption would let a client send one byte at a time
    /// for ever.
    pub(super) fn await_body(&mut self) {
        self.pace.received = 0;
        self.pace.deadline = self.shared.deadline(self.shared.limits.body);
    }

    /// Starts the time in which a half-closed client must take data to show that it is still there.
    pub(super) fn await_sign_of_life(&mut self) {
        self.pace.deadline = self.shared.deadline(self.shared.limits.half_closed);
    }

    /// Reacts to the client's half-close. `status` is the refusal of a head that was cut.
    pub(in crate::server) fn half_closed(&mut self, transport: &Transport, status: Option<StatusCode>) {
        self.half_closed = true;
        match self.phase {
            ExchangePhase::Answering(..) => {
                if !self.facts.complete {
                    self.cut_body();
                }
                if self.shared.limits.half_closed == 0 {
                    self.abandon(transport);
                } else {
                    self.await_sign_of_life();
                }
            }
            ExchangePhase::Head | ExchangePhase::Collecting(_) => {
                self.refuse(transport, status.unwrap_or(StatusCode::BAD_REQUEST), &mut Vec::new());
            }
            ExchangePhase::Opening
            | ExchangePhase::Idle
            | ExchangePhase::Rest
            | ExchangePhase::Lingering
            | ExchangePhase::Closed => {
                self.phase = ExchangePhase::Closed;
                transport.lose_connection();
            }
        }
    }

    /// Gives up the answer, which cannot reach the client. A body that is being read is still delivered to its end.
    pub(in crate::server) fn cannot_write(&mut self, transport: &Transport) {
        if matches!(self.phase, ExchangePhase::Answering(..)) && self.facts.complete {
            self.abandon(transport);
        }
    }

    /// Cancels the work and closes the connection: the client counts as gone.
    fn abandon(&mut self, transport: &Transport) {
        self.give_up();
        transport.lose_connection();
    }

    /// Resets the connection.
    pub(in crate::server) fn abort(&mut self, transport: &Transport) {
        self.give_up();
        transport.abort_connection();
    }

    /// Closes a connection between two requests, because the site stops.
    pub(in crate::server) fn drain(&mut self, transport: &Transport) {
        match self.phase {
            ExchangePhase::Idle => self.close(transport, false),
            ExchangePhase::Rest => self.close(transport, true),
            _ => {}
        }
    }
}
