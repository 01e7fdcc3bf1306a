//! What a site puts up with.

use std::time::Duration;

use crate::Limits;

/// Bounds on what clients may ask of a [`Site`](super::Site).
///
/// ```
/// use std::time::Duration;
/// use twistor_http::server::{Settings, Timeouts};
///
/// let timeouts = Timeouts { idle: Duration::from_secs(5), ..Timeouts::default() };
/// let settings = Settings { timeouts, max_connections: 100, ..Settings::default() };
/// # let _ = settings;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bounds on one request. Its [`body_size`](Limits::body_size) is that of bodies that are collected, here 16 MiB.
    pub limits: Limits,
    /// Bounds on waiting.
    pub timeouts: Timeouts,
    /// Connections at once; 16,384. Those that come when there are so many are closed at once.
    pub max_connections: usize,
    /// How long [`stop`](super::Site::stop) waits for the answers under way; 10 seconds. What then is left is reset.
    pub grace: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            limits: Limits { body_size: 16 << 20, ..Limits::default() },
            timeouts: Timeouts::default(),
            max_connections: 16_384,
            grace: Duration::from_secs(10),
        }
    }
}

/// How long a client may take. Measured in rounds of half a second at most, so each may take that much longer.
///
/// [`Duration::MAX`] is for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the connection, or from the first byte of a request, to the end of its head; 30 seconds. Then the client
    /// gets a 408.
    pub head: Duration,
    /// For the body of a request, and one second more for each KiB that came of it; 30 seconds. Then the client gets a
    /// 408. While a handler that reads the body holds it up, or has not asked for it of a client that waits for that
    /// (`Expect: 100-continue`), the time stands still. It does not start again.
    pub body: Duration,
    /// Between two requests; 60 seconds. Then the connection is closed.
    pub idle: Duration,
    /// For a client that reads nothing of what waits to be sent; 60 seconds. Then the connection is reset.
    pub write: Duration,
    /// For a handler whose client has ended its half of the connection: that client has left, or waits for its answer,
    /// and nothing tells which; 5 seconds. Then the handler is cancelled, or the body that is streamed. Each time a
    /// part of such a body has been sent, the time starts again. A reset cancels at once.
    pub half_closed: Duration,
    /// For a client that goes on sending after it got its last answer; 2 seconds.
    pub linger: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            head: Duration::from_secs(30),
            body: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            write: Duration::from_secs(60),
            half_closed: Duration::from_secs(5),
            linger: Duration::from_secs(2),
        }
    }
}

/// The timeouts in rounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rounds {
    /// How long a round is.
    pub(super) length: Duration,
    pub(super) head: u64,
    pub(super) body: u64,
    pub(super) idle: u64,
    pub(super) write: u64,
    pub(super) half_closed: u64,
    pub(super) linger: u64,
}

impl Rounds {
    /// Rounds short enough for the shortest timeout.
    pub(super) fn of(timeouts: &Timeouts) -> Rounds {
        let Timeouts { head, body, idle, write, half_closed, linger } = timeouts.clone();
        let shortest = head.min(body).min(idle).min(write).min(linger);
        let length = (shortest / 4).clamp(Duration::from_millis(5), Duration::from_millis(500));
        let rounds = |timeout: Duration| match u64::try_from(timeout.as_nanos().div_ceil(length.as_nanos())) {
            // The round under way does not count.
            Ok(rounds) => rounds.saturating_add(1),
            Err(_) => u64::MAX,
        };
        Rounds {
            length,
            head: rounds(head),
            body: rounds(body),
            idle: rounds(idle),
            write: rounds(write),
            half_closed: if half_closed.is_zero() { 0 } else { rounds(half_closed) },
            linger: rounds(linger),
        }
    }

    /// What so many bytes of a body put its end off by.
    pub(super) fn earned_by(&self, bytes: u64) -> u64 {
        let seconds = u128::from(bytes / 1024);
        u64::try_from(seconds * 1_000_000_000 / self.length.as_nanos()).unwrap_or(u64::MAX)
    }
}
