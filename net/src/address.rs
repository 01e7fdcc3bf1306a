//! Addresses of the ends of a connection.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The address of one end of a connection: a socket address, or the path of a UNIX socket. Twisted:
/// `IPv4Address`, `IPv6Address`, `UNIXAddress`.
///
/// It displays as `127.0.0.1:80`, `[::1]:80`, `/run/x.sock`, `@name` (an abstract name) or `unnamed socket`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Address {
    /// An IP address and port.
    Ip(SocketAddr),
    /// The path of a UNIX socket. `None`: unnamed, like the client's end of most connections. A path that
    /// begins with a NUL byte is an abstract name of Linux.
    Unix(Option<PathBuf>),
}

impl Address {
    /// Returns the IP address and port; `None` for a UNIX socket.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Address::Ip(address) => Some(*address),
            Address::Unix(_) => None,
        }
    }

    /// Returns the port; `None` for a UNIX socket.
    pub fn port(&self) -> Option<u16> {
        self.ip().map(|address| address.port())
    }

    /// Returns the path of a UNIX socket that has a name.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Address::Unix(path) => path.as_deref(),
            Address::Ip(_) => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address::Ip(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(address) => address.fmt(f),
            Address::Unix(Some(path)) => match path.to_string_lossy().strip_prefix('\0') {
                Some(name) => write!(f, "@{}", name.escape_default()),
                None => path.display().fmt(f),
            },
            Address::Unix(None) => f.write_str("unnamed socket"),
        }
    }
}
