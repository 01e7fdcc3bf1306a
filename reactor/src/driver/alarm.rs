//! Waits for a deadline that are more precise than `epoll_wait`, which counts in milliseconds and may be late by a
//! thousandth of the wait.

use std::time::Duration;

#[cfg(all(feature = "precise-timers", any(target_os = "linux", target_os = "android")))]
pub(crate) use timerfd::Alarm;

#[cfg(not(all(feature = "precise-timers", any(target_os = "linux", target_os = "android"))))]
pub(crate) use plain::Alarm;

/// Returns the timeout that ends at the deadline, as precisely as the selector counts.
fn plain_timeout(now: u64, deadline: u64) -> Duration {
    Duration::from_nanos(deadline.saturating_sub(now))
}

#[cfg(all(feature = "precise-timers", any(target_os = "linux", target_os = "android")))]
mod timerfd {
    use std::io;
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::time::Duration;

    use mio::unix::SourceFd;
    use mio::{Interest, Registry, Token};
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };

    /// For deadlines at least this far away, the selector's own timeout comes first. Most timeouts are postponed or
    /// cancelled long before they are due, and so cost no system call.
    const FAR: u64 = 50_000_000;
    const MILLISECOND: u64 = 1_000_000;

    /// A timerfd among the selector's sources. It is never read: setting it again makes it ready again.
    #[derive(Debug)]
    pub(crate) struct Alarm {
        /// `None` if the system refuses a timerfd. Timers are then precise to a millisecond.
        timer: Option<OwnedFd>,
        /// The time for which it is set. It may fire once before the deadline of a later wait: preventing that
        /// would cost a system call.
        rings: u64,
    }

    impl Alarm {
        pub(crate) fn new(registry: &Registry, token: Token) -> Alarm {
            let timer = create(registry, token).inspect_err(|error| {
                log::debug!("could not create a timerfd: timers are precise to a millisecond: {error}")
            });
            Alarm { timer: timer.ok(), rings: 0 }
        }

        /// Returns the timeout for a wait that should end at the deadline.
        pub(crate) fn timeout(&mut self, now: u64, deadline: u64) -> Option<Duration> {
            let Some(timer) = self.timer.as_ref().filter(|_| deadline > now) else {
                return Some(super::plain_timeout(now, deadline));
            };
            let left = deadline - now;
            if left >= FAR {
                // Short by more than the kernel may be late. The next wait covers the rest.
                return Some(Duration::from_millis((left - left / 1000) / MILLISECOND - 1));
            }
            let rings_in_time = now < self.rings && self.rings <= deadline;
            if !rings_in_time {
                if let Err(error) = set(timer, left) {
                    log::debug!("could not set the timerfd: {error}");
                    return Some(super::plain_timeout(now, deadline));
                }
                self.rings = deadline;
            }
            None
        }

        /// Returns the time for which it was set, if the wait until `deadline` ended because it fired.
        pub(crate) fn rang(&self, deadline: u64, event: bool, nothing: bool) -> Option<u64> {
            match self.timer {
                Some(_) => event.then_some(self.rings),
                None => nothing.then_some(deadline),
            }
        }
    }

    fn create(registry: &Registry, token: Token) -> io::Result<OwnedFd> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(timer)
    }

    fn set(timer: &OwnedFd, nanos: u64) -> io::Result<()> {
        let once = Timespec { tv_sec: 0, tv_nsec: 0 };
        // The time left is less than FAR, so it contains no whole seconds.
        let rings = Timespec { tv_sec: 0, tv_nsec: nanos as _ };
        timerfd_settime(
            timer,
            TimerfdTimerFlags::empty(),
            &Itimerspec { it_interval: once, it_value: rings },
        )?;
        Ok(())
    }
}

#[cfg(not(all(feature = "precise-timers", any(target_os = "linux", target_os = "android"))))]
mod plain {
    use std::time::Duration;

    use mio::{Registry, Token};

    /// The selector's own timeout.
    #[derive(Debug)]
    pub(crate) struct Alarm;

    impl Alarm {
        pub(crate) fn new(_: &Registry, _: Token) -> Alarm {
            Alarm
        }

        pub(crate) fn timeout(&mut self, now: u64, deadline: u64) -> Option<Duration> {
            Some(super::plain_timeout(now, deadline))
        }

        /// Returns the deadline, if the wait ended because it was reached.
        pub(crate) fn rang(&self, deadline: u64, _: bool, nothing: bool) -> Option<u64> {
            nothing.then_some(deadline)
        }
    }
}
