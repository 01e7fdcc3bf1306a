//! The state of a connection, as one bit for each fact.
//!
//! # Phases
//!
//! These flags determine the phase of a connection. Where several rows apply, the lowest one counts.
//!
//! | Flags | Received data | Writes | The phase ends |
//! |---|---|---|---|
//! | none | delivered | accepted | |
//! | `SECURING` | waits | wait | with the TLS handshake: `SECURED`, or `DOOMED` |
//! | `PEER_EOF` | none | accepted | when this side closes |
//! | `WRITE_CLOSING` | delivered | of a registered producer | when all is sent: `WRITE_CLOSED` |
//! | `WRITE_CLOSING`, `WRITE_CLOSED` | delivered | refused | with `PEER_EOF`: `LOST` |
//! | `CLOSING` | discarded | of a registered producer | when all is sent: `LINGERING` or `LOST` |
//! | `CLOSING`, `LINGERING`, `WRITE_CLOSED` | discarded | refused | with `PEER_EOF`, which limits set too: `LOST` |
//! | `BROKEN` | delivered | refused | when everything is read: `LOST` |
//! | `DOOMED` | none | refused | when the loop calls the connection: `LOST` |
//! | `LOST` | none | refused | never |
//!
//! # Rules
//!
//! - `PAUSED` and `RESUMED` exclude each other. `LOSS_HELD` counts only with `PAUSED`. A close clears
//!   `PAUSED`.
//! - `READ_HELD` implies `READ_LIMITED`, and `WRITE_HELD` implies `WRITE_LIMITED`. A close clears both flags
//!   of reading.
//! - `UNREAD_DATA` and `PEER_SENDING` count only with `CLOSING`.
//! - `BREAK_UNREPORTED` implies `BROKEN`. An error announced while `LINGERING` sets `PEER_EOF` instead of
//!   both.
//! - `RELEASED` implies `LOST`. `INHERITED_DATA` is set on the connection of the next owner.
//! - `SECURED` is never cleared, and excludes `SECURING`.
//! - `OUTGOING` is set whenever there is an `Outgoing`, and always if the socket itself buffers bytes, as
//!   with TLS.

use crate::sockets::scratch::SCRATCH;

/// Requests and facts, one bit each.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Flags(pub(super) u32);

impl Flags {
    /// `connection_lost` was called or is about to be called. Nothing happens any more.
    pub(crate) const LOST: Flags = Flags(1);
    /// The connection ends now, with the recorded reason.
    pub(crate) const DOOMED: Flags = Flags(1 << 1);
    /// Nothing can be sent any more, such as after a reset. The connection ends when the data that the peer
    /// has sent is read.
    pub(crate) const BROKEN: Flags = Flags(1 << 2);
    /// The connection ends when everything is sent and the producer has unregistered. Received data is
    /// discarded.
    pub(crate) const CLOSING: Flags = Flags(1 << 3);
    /// The writing half ends when everything is sent and the producer has unregistered.
    pub(crate) const WRITE_CLOSING: Flags = Flags(1 << 4);
    /// The writing half has ended.
    pub(crate) const WRITE_CLOSED: Flags = Flags(1 << 5);
    /// The peer has ended its half, or is no longer waited for.
    pub(crate) const PEER_EOF: Flags = Flags(1 << 6);
    /// An end or an error was announced, so a short read must not stop the reading.
    pub(crate) const END_ANNOUNCED: Flags = Flags(1 << 7);
    /// Reading is paused.
    pub(crate) const PAUSED: Flags = Flags(1 << 8);
    /// The protocol must be notified that reading continues.
    pub(crate) const RESUMED: Flags = Flags(1 << 9);
    /// A pull producer has written since it was resumed.
    pub(crate) const PULLED: Flags = Flags(1 << 10);

    /// Everything is sent and the writing half has ended. The connection waits for the peer's end.
    pub(crate) const LINGERING: Flags = Flags(1 << 11);

    /// Reading has a rate limit.
    pub(crate) const READ_LIMITED: Flags = Flags(1 << 12);
    /// The limit allows no reading for the moment.
    pub(crate) const READ_HELD: Flags = Flags(1 << 13);
    /// Writing has a rate limit.
    pub(crate) const WRITE_LIMITED: Flags = Flags(1 << 14);
    /// The limit allows no writing for the moment.
    pub(crate) const WRITE_HELD: Flags = Flags(1 << 15);

    /// There may be data to send or other state. Clear for nearly every message, which then skips the check.
    pub(crate) const OUTGOING: Flags = Flags(1 << 16);

    /// The size of one read, as a number of two bits. Zero means [`SCRATCH`].
    pub(super) const READ_64K: Flags = Flags(1 << 17);
    pub(super) const READ_16K: Flags = Flags(2 << 17);
    pub(super) const READ_4K: Flags = Flags(3 << 17);

    /// The peer has sent data since this side closed, or may have unread data.
    pub(crate) const PEER_SENDING: Flags = Flags(1 << 19);
    /// Data held up by a pause or a limit must be read before the close.
    pub(crate) const UNREAD_DATA: Flags = Flags(1 << 20);

    /// The producer, the waiters and the protocol have not been notified that writing is broken.
    pub(crate) const BREAK_UNREPORTED: Flags = Flags(1 << 21);

    /// The paused protocol keeps data that it has not passed on, which delays a loss.
    pub(crate) const LOSS_HELD: Flags = Flags(1 << 22);

    /// The operating system had no memory for a message. A timer tries again.
    pub(crate) const STARVED: Flags = Flags(1 << 23);

    /// Visits wait for the protocol.
    pub(crate) const VISITS: Flags = Flags(1 << 24);

    /// The connection was released, and its protocol has not been notified.
    pub(crate) const RELEASED: Flags = Flags(1 << 25);
    /// Bytes that an earlier owner has read must be delivered first.
    pub(crate) const INHERITED_DATA: Flags = Flags(1 << 26);

    /// A TLS handshake on the live connection is in progress. Nothing is read for the protocol, and its
    /// writes wait.
    pub(crate) const SECURING: Flags = Flags(1 << 27);
    /// The live connection was secured by TLS.
    #[cfg(feature = "tls")]
    pub(crate) const SECURED: Flags = Flags(1 << 28);
    /// The protocol, or one that it wraps, keeps bytes that it has not used.
    pub(crate) const BUFFERED: Flags = Flags(1 << 29);

    /// A check of the protocol waits until its running method returns.
    pub(crate) const CHECK: Flags = Flags(1 << 30);

    /// Nothing is read for the protocol.
    pub(super) const NOT_READ: Flags = Flags::LOST
        .or(Flags::PAUSED)
        .or(Flags::PEER_EOF)
        .or(Flags::DOOMED)
        .or(Flags::READ_HELD)
        .or(Flags::VISITS)
        .or(Flags::SECURING);

    /// The protocol must be called, or visits run, without any event.
    pub(super) const TO_CATCH_UP: Flags = Flags::RESUMED
        .or(Flags::BREAK_UNREPORTED)
        .or(Flags::VISITS)
        .or(Flags::INHERITED_DATA)
        .or(Flags::SECURING);

    /// Something must be checked after reading and sending. `DOOMED` is covered, because its reason sets
    /// `OUTGOING`.
    pub(super) const TO_SETTLE: Flags =
        Flags::OUTGOING.or(Flags::CLOSING).or(Flags::WRITE_CLOSING).or(Flags::BROKEN);

    pub(crate) const fn or(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Returns the flags that are in both.
    pub(super) const fn and(self, other: Flags) -> Flags {
        Flags(self.0 & other.0)
    }

    /// Returns the largest number of bytes that one read delivers.
    #[inline]
    pub(super) fn read_size(self) -> usize {
        SCRATCH >> (2 * ((self.0 >> 17) & 3))
    }

    #[inline]
    pub(super) fn holds(self, any: Flags) -> bool {
        self.0 & any.0 != 0
    }
}
