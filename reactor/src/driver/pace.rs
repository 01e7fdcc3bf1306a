//! Batches of dense timers. Without them, each timer would take a turn.

use std::cell::Cell;

/// The time by which each timer that ran since the last alarm postpones the next alarm, in nanoseconds. It is a few
/// times the cost of a turn, so that turns take a small part of the time that timers take.
const A_TIMER: u64 = 16_000;
/// The postponement after one timer. A timer this late still counts as on time.
const LEAST: u64 = 50_000;
/// The longest postponement, after many timers.
const MOST: u64 = 250_000;

/// Spaces out the alarms of a loop with dense timers: the more timers have run since the last alarm that fired, the
/// later the next alarm.
///
/// Turns that end for another reason also run due timers, and do not postpone the next alarm. An alarm that is set
/// but has not fired does not count.
#[derive(Debug, Default)]
pub(super) struct AlarmPace {
    rang: Cell<u64>,
    /// The number of timers that have run since then.
    ran: Cell<u64>,
}

impl AlarmPace {
    /// Records that the alarm set for this time has fired.
    pub(super) fn rang(&self, time: u64) {
        self.rang.set(time);
        self.ran.set(0);
    }

    /// Records that this many timers ran in this turn.
    pub(super) fn ran(&self, timers: u64) {
        self.ran.set(self.ran.get() + timers);
    }

    /// Returns the earliest time for the next alarm.
    pub(super) fn earliest(&self) -> u64 {
        match self.ran.get() {
            0 => 0,
            timers => self.rang.get().saturating_add(timers.saturating_mul(A_TIMER).clamp(LEAST, MOST)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{AlarmPace, LEAST, MOST};
    use crate::Reactor;
    use crate::driver::{Driver, Wait};

    /// Returns the next wait of a reactor in which a timer ran after an alarm a second from now, and the time of
    /// that alarm.
    fn next_wait(max_wait: Option<Duration>, schedule: impl FnOnce(&Reactor)) -> (Wait, u64) {
        let reactor = Reactor::new().unwrap();
        let core = reactor.core().unwrap();
        let Driver::Os(os) = &core.driver else { unreachable!() };
        let alarm = core.timers.time.now() + 1_000_000_000;
        os.pace.rang(alarm);
        os.pace.ran(1);
        schedule(&reactor);
        (core.longest_wait(max_wait), alarm)
    }

    #[test]
    fn only_alarms_for_later_calls_are_postponed() {
        // T1.1
        let (later, alarm) =
            next_wait(None, |reactor| drop(reactor.call_later(Duration::from_nanos(1), || ())));
        assert_eq!(later, Wait::Until(alarm + LEAST));
        let (far, alarm) = next_wait(None, |reactor| drop(reactor.call_later(Duration::from_secs(2), || ())));
        assert!(matches!(far, Wait::Until(time) if time > alarm + LEAST));
        let (at_once, _) = next_wait(None, |reactor| drop(reactor.call_later(Duration::ZERO, || ())));
        assert_eq!(at_once, Wait::Not);
        let (reset, _) = next_wait(None, |reactor| {
            let call = reactor.call_later(Duration::from_secs(2), || ());
            call.reset(Duration::ZERO).unwrap();
        });
        assert_eq!(reset, Wait::Not);
        let (limit, alarm) = next_wait(Some(Duration::from_nanos(1)), |reactor| {
            reactor.call_later(Duration::from_nanos(1), || ());
        });
        assert!(matches!(limit, Wait::Until(time) if time < alarm), "the caller's own limit");
    }

    #[test]
    fn an_overdue_deadline_counts_as_an_alarm() {
        // T1.1: otherwise a loop that has fallen behind runs only a few timers per turn.
        let reactor = Reactor::new().unwrap();
        let core = reactor.core().unwrap();
        let Driver::Os(os) = &core.driver else { unreachable!() };
        let now = core.timers.time.now();
        core.driver.wait(&core.timers.time, Wait::Until(now), |_, _| ()).unwrap();
        os.pace.ran(1);
        assert!(os.pace.earliest() >= now + LEAST);
    }

    #[test]
    fn an_alarm_that_has_not_fired_postpones_nothing() {
        // T1.1
        let reactor = Reactor::new().unwrap();
        let core = reactor.core().unwrap();
        let Driver::Os(os) = &core.driver else { unreachable!() };
        let now = || core.timers.time.now();
        let wait = |until| core.driver.wait(&core.timers.time, Wait::Until(until), |_, _| ()).unwrap();
        // The system may be late, and the alarm may fire as well, so this holds in some rounds only.
        let is_woken_early = || {
            os.waker().upgrade().unwrap().wake().unwrap();
            wait(now() + 40_000_000);
            os.pace.ran(1);
            // Counted from the start of the clock, because no alarm has fired.
            os.pace.earliest() <= MOST
        };
        assert!((0..100).any(|_| is_woken_early()));
        let rings = || {
            let alarm = now() + 1_000_000;
            wait(alarm);
            os.pace.ran(1);
            os.pace.earliest() == alarm + LEAST
        };
        assert!((0..1000).any(|_| rings()));
    }

    #[test]
    fn the_denser_the_timers_the_later_the_next_alarm() {
        // T1.1
        let pace = AlarmPace::default();
        assert_eq!(pace.earliest(), 0);
        pace.rang(1_000_000);
        assert_eq!(pace.earliest(), 0, "nothing ran");
        pace.ran(1);
        assert_eq!(pace.earliest(), 1_000_000 + LEAST);
        pace.ran(9);
        assert_eq!(pace.earliest(), 1_000_000 + 160_000, "all that ran since the alarm");
        pace.ran(u64::MAX - 10);
        assert_eq!(pace.earliest(), 1_000_000 + MOST);
        pace.rang(2_000_000);
        pace.ran(1);
        assert_eq!(pace.earliest(), 2_000_000 + LEAST, "counted anew");
    }
}
