//! Connections with rate limits.

use twistor_reactor::Ready;

use super::{Connection, Flags};
use crate::transport::outgoing::Outgoing;
use crate::{Protocol, RateLimit, Transport};

impl Connection<dyn Protocol> {
    pub(crate) fn limit_reading(&self, limit: Option<RateLimit>) {
        self.set_limit(limit, |outgoing| &mut outgoing.read_limit, Flags::READ_LIMITED);
        self.clear(Flags::READ_HELD);
        self.wake(Ready::READABLE);
    }

    pub(crate) fn limit_writing(&self, limit: Option<RateLimit>) {
        self.set_limit(limit, |outgoing| &mut outgoing.write_limit, Flags::WRITE_LIMITED);
        self.clear(Flags::WRITE_HELD);
        self.wake(Ready::WRITABLE);
    }

    fn set_limit(
        &self,
        limit: Option<RateLimit>,
        place: impl FnOnce(&mut Outgoing) -> &mut Option<RateLimit>,
        flag: Flags,
    ) {
        if self.is(Flags::LOST) {
            return;
        }
        if limit.is_some() {
            self.set(flag);
        } else {
            self.clear(flag);
        }
        self.with_outgoing(|outgoing| *place(outgoing) = limit);
    }

    fn limit(&self, flag: Flags) -> Option<RateLimit> {
        self.with_io(|io| {
            let outgoing = io.outgoing.as_ref()?;
            if flag == Flags::READ_LIMITED {
                outgoing.read_limit.clone()
            } else {
                outgoing.write_limit.clone()
            }
        })
    }

    /// Returns how many of `wanted` bytes may be read or written now. If none, wakes the connection when some
    /// may.
    pub(super) fn allowed(&self, transport: &Transport, flag: Flags, wanted: usize) -> usize {
        let Some(limit) = self.limit(flag) else { return wanted };
        let allowed = limit.allowance().min(wanted);
        let (held, ready) = if flag == Flags::READ_LIMITED {
            (Flags::READ_HELD, Ready::READABLE)
        } else {
            (Flags::WRITE_HELD, Ready::WRITABLE)
        };
        if allowed == 0 && !self.is(held) {
            self.set(held);
            let connection = transport.connection.clone();
            limit.handle().call_later(limit.wait(), move || {
                if let Some(connection) = connection.upgrade() {
                    connection.clear(held);
                    connection.wake(ready);
                }
            });
        }
        allowed
    }

    /// Counts bytes that were read or written.
    pub(super) fn spend(&self, flag: Flags, bytes: usize) {
        if let Some(limit) = self.limit(flag) {
            limit.spend(bytes);
        }
    }
}
