//! Producers: sources of data that pause while the peer does not read.

use std::fmt;
use std::rc::Rc;

/// A source of data for a transport that can be paused while the peer does not read. Twisted:
/// `IPushProducer`, `IPullProducer`.
///
/// It is registered with the transport that it writes to: [`Transport::register_producer`](crate::Transport::register_producer),
/// [`Transport::register_pull_producer`](crate::Transport::register_pull_producer). A [`Transport`](crate::Transport) is itself a producer of the data that its peer
/// sends. To copy from one connection to another with bounded memory, register the transport that is read
/// with the transport that is written.
///
/// # Re-entrancy
///
/// `pause_producing` is called inside the `write` that fills the buffer, so that a loop of writes can see it.
/// It is also called inside the registration, or inside the lowering of the high-water mark, if too many
/// bytes wait already. The other two methods are called from the loop only. None is called after the producer
/// was unregistered.
pub trait Producer: 'static {
    /// Pauses: too many bytes wait to be sent. The producer must not write until it is resumed.
    fn pause_producing(&self);

    /// Resumes: everything was sent. A pull producer writes one piece, of any size.
    fn resume_producing(&self);

    /// Stops for good: the connection is lost.
    fn stop_producing(&self);
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

/// The reason why a producer was not registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProducerRefused {
    /// Another producer is registered. Unregister it first.
    AlreadyRegistered,
    /// The connection is closing or closed.
    Closed,
}

impl fmt::Display for ProducerRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProducerRefused::AlreadyRegistered => "the transport already has a producer",
            ProducerRefused::Closed => "the connection is closing or closed",
        })
    }
}

impl std::error::Error for ProducerRefused {}
