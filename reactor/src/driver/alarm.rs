//! Waiting for a deadline more finely than `epoll_wait`, which counts in whole milliseconds and is late by a
//! thousandth of the wait besides.

use std::time::Duration;

#[cfg(all(feature = "precise-timers", any(target_os = "linux", target_os = "android")))]
pub(crate) use timerfd::Alarm;

#[cfg(not(all(feature = "precise-timers", any(target_os = "linux", target_os = "android"))))]
pub(crate) use plain::Alarm;

/// The timeout that ends at the deadline, as finely as the system's selector counts.
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

    /// Deadlines further away are approached with the selector's own timeout first, so that timeouts which are
    /// pushed back or cancelled long before their time, as most are, cost no system call.
    const FAR: u64 = 50_000_000;
    const MILLISECOND: u64 = 1_000_000;

    /// A timerfd among the selector's sources. It is never read: setting it anew makes it ready anew.
    #[derive(Debug)]
    pub(crate) struct Alarm {
        /// `None` where the system refuses one; then milliseconds have to do.
        timer: Option<OwnedFd>,
        /// When it rings. It may ring before the deadline of a later wait, once; it is not set again to prevent that.
        rings: u64,
    }

    impl Alarm {
        pub(crate) fn new(registry: &Registry, token: Token) -> Alarm {
            let timer = create(registry, token)
                .inspect_err(|error| log::debug!("no timerfd, timers are precise to a millisecond: {error}"));
            Alarm { timer: timer.ok(), rings: 0 }
        }

        /// The timeout for a wait that is to end at the deadline.
        pub(crate) fn timeout(&mut self, now: u64, deadline: u64) -> Option<Duration> {
            let Some(timer) = self.timer.as_ref().filter(|_| deadline > now) else {
                return Some(super::plain_timeout(now, deadline));
            };
            let left = deadline - now;
            if left >= FAR {
                // Short by more than the kernel may be late; the rest is waited for when it is near.
                return Some(Duration::from_millis((left - left / 1000) / MILLISECOND - 1));
            }
            let rings_in_time = now < self.rings && self.rings <= deadline;
            if !rings_in_time {
                if let Err(error) = set(timer, left) {
                    log::debug!("cannot set the timerfd: {error}");
                    return Some(super::plain_timeout(now, deadline));
                }
                self.rings = deadline;
            }
            None
        }

        /// The time for which it was set, if the wait until `deadline` ended because it rang.
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
        // Less than FAR, so there are no whole seconds in it.
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

        /// The time for which it was set, if the wait until `deadline` ended because it rang.
        pub(crate) fn rang(&self, deadline: u64, _: bool, nothing: bool) -> Option<u64> {
            nothing.then_some(deadline)
        }
    }
}
