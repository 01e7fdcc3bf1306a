//! The state of a connection.

use crate::transport::scratch::SCRATCH;

/// What has been asked for and what has come to pass, one bit each.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Flags(pub(super) u32);

impl Flags {
    /// `connection_lost` was called, or is about to be: nothing happens any more.
    pub(crate) const LOST: Flags = Flags(1);
    /// The connection ends now, with the reason that was written down.
    pub(crate) const DOOMED: Flags = Flags(1 << 1);
    /// Nothing can be sent any more, such as after a reset. The connection ends once the data that the peer has sent is
    /// read.
    pub(crate) const BROKEN: Flags = Flags(1 << 2);
    /// The connection ends once all is sent and the producer is done. What comes in is thrown away.
    pub(crate) const CLOSING: Flags = Flags(1 << 3);
    /// The writing half ends once all is sent and the producer is done.
    pub(crate) const WRITE_CLOSING: Flags = Flags(1 << 4);
    /// The writing half has ended.
    pub(crate) const WRITE_CLOSED: Flags = Flags(1 << 5);
    /// The peer has ended its half.
    pub(crate) const PEER_EOF: Flags = Flags(1 << 6);
    /// An end or an error was announced: a short read is no reason to stop reading.
    pub(crate) const END_ANNOUNCED: Flags = Flags(1 << 7);
    /// Reading is paused.
    pub(crate) const PAUSED: Flags = Flags(1 << 8);
    /// The protocol is to be told that reading goes on.
    pub(crate) const RESUMED: Flags = Flags(1 << 9);
    /// A pull producer has written since it was resumed.
    pub(crate) const PULLED: Flags = Flags(1 << 10);

    /// All is sent, the writing half has ended, and the peer's end is waited for.
    pub(crate) const LINGERING: Flags = Flags(1 << 11);

    /// Reading is limited to a rate.
    pub(crate) const READ_LIMITED: Flags = Flags(1 << 12);
    /// The limit allows no reading for the moment.
    pub(crate) const READ_HELD: Flags = Flags(1 << 13);
    /// Writing is limited to a rate.
    pub(crate) const WRITE_LIMITED: Flags = Flags(1 << 14);
    /// The limit allows no writing for the moment.
    pub(crate) const WRITE_HELD: Flags = Flags(1 << 15);

    /// There may be something to send or to remember. Clear for nearly every message, which then costs no look at it.
    pub(crate) const OUTGOING: Flags = Flags(1 << 16);

    /// The size of one read, as a number of two bits; none set: [`SCRATCH`].
    pub(super) const READ_64K: Flags = Flags(1 << 17);
    pub(super) const READ_16K: Flags = Flags(2 << 17);
    pub(super) const READ_4K: Flags = Flags(3 << 17);

    /// This side closes, and the peer sends, or may be sending.
    pub(crate) const PEER_SENDING: Flags = Flags(1 << 19);
    /// This side closes, and what a pause or a limit has held up is still to be read.
    pub(crate) const UNREAD_DATA: Flags = Flags(1 << 20);

    /// The producer, the waiters and the protocol have not been notified that writing is broken.
    pub(crate) const BREAK_UNREPORTED: Flags = Flags(1 << 21);

    /// The protocol is paused, and keeps data that it has not passed on.
    pub(crate) const LOSS_HELD: Flags = Flags(1 << 22);

    /// The operating system had no memory for a message; it is tried again by a timer.
    pub(crate) const STARVED: Flags = Flags(1 << 23);

    /// Visits wait for the protocol.
    pub(crate) const VISITS: Flags = Flags(1 << 24);

    /// The connection was released, and its protocol has not been notified.
    pub(crate) const RELEASED: Flags = Flags(1 << 25);
    /// Bytes that an earlier owner of the connection has read are still to be delivered.
    pub(crate) const INHERITED_DATA: Flags = Flags(1 << 26);

    /// A TLS handshake is under way on the live connection: nothing is read for the protocol, and its writes wait.
    pub(crate) const SECURING: Flags = Flags(1 << 27);
    /// The live connection was secured.
    pub(crate) const SECURED: Flags = Flags(1 << 28);
    /// The protocol, or one that it wraps, keeps bytes that it has not used.
    pub(crate) const BUFFERED: Flags = Flags(1 << 29);

    /// Nothing is read for the protocol.
    pub(super) const NOT_READ: Flags = Flags::LOST
        .or(Flags::PAUSED)
        .or(Flags::PEER_EOF)
        .or(Flags::DOOMED)
        .or(Flags::READ_HELD)
        .or(Flags::VISITS)
        .or(Flags::SECURING);

    /// The protocol is to be called, or visits to be run, apart from any event.
    pub(super) const TO_CATCH_UP: Flags = Flags::RESUMED
        .or(Flags::BREAK_UNREPORTED)
        .or(Flags::VISITS)
        .or(Flags::INHERITED_DATA)
        .or(Flags::SECURING);

    /// There is something to do once all has been read and sent. A doomed connection has its reason to remember.
    pub(super) const TO_SETTLE: Flags =
        Flags::OUTGOING.or(Flags::CLOSING).or(Flags::WRITE_CLOSING).or(Flags::BROKEN);

    pub(crate) const fn or(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Those of both.
    pub(super) const fn and(self, other: Flags) -> Flags {
        Flags(self.0 & other.0)
    }

    /// The most that one read delivers.
    #[inline]
    pub(super) fn read_size(self) -> usize {
        SCRATCH >> (2 * ((self.0 >> 17) & 3))
    }

    #[inline]
    pub(super) fn holds(self, any: Flags) -> bool {
        self.0 & any.0 != 0
    }
}
