//! The limits and timeouts of a site.

use std::time::Duration;

use crate::Limits;

/// Limits and timeouts of a [`Site`](super::Site).
///
/// This struct and [`Timeouts`] stay exhaustive, so that programs can use `..Settings::default()`.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use twistor::http::server::{Settings, Timeouts};
///
/// let timeouts = Timeouts { idle: Duration::from_secs(5), ..Timeouts::default() };
/// let settings = Settings { timeouts, max_connections: 100, ..Settings::default() };
/// # let _ = settings;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The limits of one request. Default: those of [`Limits`], with a [`body_size`](Limits::body_size) of 16
    /// MiB, which applies to collected bodies.
    pub limits: Limits,
    /// The timeouts.
    pub timeouts: Timeouts,
    /// The number of open connections. Default: 16,384. Connections above it are closed at once.
    pub max_connections: usize,
    /// How long [`stop`](super::Site::stop) waits for pending answers, before it resets their connections.
    /// Default: 10 seconds.
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

/// Timeouts for clients. A connection may be closed up to half a second after its timeout.
///
/// [`Duration::MAX`] means no timeout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// The time from the connection, or from the first byte of a request, to the end of its head. Then the
    /// client gets a 408. Default: 30 seconds.
    pub head: Duration,
    /// The time for the body of a request, plus one second for each received KiB. Then the client gets a 408.
    /// Default: 30 seconds.
    ///
    /// The time does not pass while the handler holds up the body, or has not requested it from a client that
    /// waits for that (`Expect: 100-continue`). It does not start again.
    pub body: Duration,
    /// The time between two requests. Then the connection is closed. Default: 60 seconds.
    pub idle: Duration,
    /// The time for a client that reads nothing of the waiting data. Then the connection is reset. Default:
    /// 60 seconds.
    pub write: Duration,
    /// The time for a handler, or a streamed body, whose client has ended its half of the connection: the
    /// client may have left, or may still wait for the answer. Then the handler or body is cancelled. The
    /// time starts again whenever a part of a streamed body is sent. A reset cancels at once. Default: 5
    /// seconds.
    pub half_closed: Duration,
    /// The time for a client that continues to send after its last answer. Default: 2 seconds.
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

/// The timeouts, converted to rounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rounds {
    /// The length of a round.
    pub(super) length: Duration,
    pub(super) head: u64,
    pub(super) body: u64,
    pub(super) idle: u64,
    pub(super) write: u64,
    pub(super) half_closed: u64,
    pub(super) linger: u64,
}

impl Rounds {
    /// Chooses rounds that are short enough for the shortest timeout.
    pub(super) fn of(timeouts: &Timeouts) -> Rounds {
        let Timeouts { head, body, idle, write, half_closed, linger } = timeouts.clone();
        let shortest = head.min(body).min(idle).min(write).min(linger);
        // A phase can end up to one round late.
        let length = (shortest / 4).clamp(Duration::from_millis(5), Duration::from_millis(500));
        let rounds = |timeout: Duration| match u64::try_from(timeout.as_nanos().div_ceil(length.as_nanos())) {
            // The current round is not a full one.
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

    /// Returns the rounds by which this many bytes of a body extend its deadline.
    pub(super) fn earned_by(&self, bytes: u64) -> u64 {
        let seconds = u128::from(bytes / 1024);
        u64::try_from(seconds * 1_000_000_000 / self.length.as_nanos()).unwrap_or(u64::MAX)
    }
}
