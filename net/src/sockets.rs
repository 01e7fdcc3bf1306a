//! Sockets of the operating system or of a simulated network: they move bytes and know no protocol.

mod acceptor;
mod calls;
mod datagram;
mod drained;
mod queue;
pub(crate) mod scratch;
mod socket;
#[cfg(unix)]
pub(crate) mod unix;
mod watched;

pub(crate) use acceptor::Acceptor;
#[cfg(unix)]
pub(crate) use acceptor::UnixAcceptor;
pub(crate) use datagram::DatagramSocket;
pub(crate) use drained::{Drained, drained};
pub(crate) use queue::{Queue, SHORT_WRITE_FILLS};
pub(crate) use socket::Socket;
pub(crate) use watched::WatchedSocket;
