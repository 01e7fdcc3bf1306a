//! Who makes data, and stops when told.

use std::fmt;
use std::rc::Rc;

use crate::Transport;

/// Something that writes to a transport faster than the peer may read, and can be told to wait. Twisted:
/// `IPushProducer`, `IPullProducer`.
///
/// It is registered at the transport it writes to: [`Transport::register_producer`],
/// [`Transport::register_pull_producer`]. A [`Transport`] is itself a producer, of what its peer sends: to copy from
/// one to the other without piling up, register the one that is read at the one that is written.
///
/// # Re-entrancy
///
/// `pause_producing` is called from inside the `write` that fills the buffer, so that a loop of writes can see it; and
/// from inside the registering, or the lowering of the mark, that finds it too full already. The other two are called
/// from the loop only. None is called once the producer was unregistered.
pub trait Producer: 'static {
    /// Too much is waiting to be sent: produce no more until resumed.
    fn pause_producing(&self);

    /// All was sent: produce again; one registered as a pull producer writes one piece of a size it likes.
    fn resume_producing(&self);

    /// Nobody wants more: the connection is gone.
    fn stop_producing(&self);
}

impl Producer for Transport {
    fn pause_producing(&self) {
        Transport::pause_producing(self);
    }

    fn resume_producing(&self) {
        Transport::resume_producing(self);
    }

    /// Closes the connection whose data nobody wants.
    fn stop_producing(&self) {
        self.lose_connection();
    }
}

impl<P: Producer + ?Sized> Producer for Rc<P> {
    fn pause_producing(&self) {
        (**self).pause_producing();
    }

    fn resume_producing(&self) {
        (**self).resume_producing();
    }

    fn stop_producing(&self) {
        (**self).stop_producing();
    }
}

/// Why a producer was not registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProducerRefused {
    /// There is one already; unregister that first.
    AlreadyRegistered,
    /// The connection is closing or closed.
    Closed,
}

impl fmt::Display for ProducerRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProducerRefused::AlreadyRegistered => "the transport has a producer already",
            ProducerRefused::Closed => "the connection is closing or closed",
        })
    }
}

impl std::error::Error for ProducerRefused {}
