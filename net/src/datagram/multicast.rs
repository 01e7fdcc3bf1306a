//! Multicast groups and other options of a UDP port's socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use socket2::SockRef;

use super::DatagramTransport;

/// An interface of this machine, for multicast: its number, as in `if_nametoindex` and the zones of IPv6
/// addresses, or one of its IPv4 addresses, as in Twisted.
///
/// This enum stays exhaustive: operating systems know no third way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MulticastInterface {
    /// The number of the interface, from 1.
    Index(u32),
    /// An IPv4 address of the interface. Valid for IPv4 groups only.
    Address(Ipv4Addr),
}

impl From<u32> for MulticastInterface {
    fn from(index: u32) -> MulticastInterface {
        MulticastInterface::Index(index)
    }
}

impl From<Ipv4Addr> for MulticastInterface {
    fn from(address: Ipv4Addr) -> MulticastInterface {
        MulticastInterface::Address(address)
    }
}

/// Joins or leaves an IPv4 group.
#[cfg(not(any(target_os = "illumos", target_os = "netbsd", target_os = "openbsd", target_os = "solaris")))]
fn change_group_v4(
    socket: &SockRef<'_>,
    group: Ipv4Addr,
    interface: MulticastInterface,
    join: bool,
) -> io::Result<()> {
    use socket2::InterfaceIndexOrAddress;
    let interface = match interface {
        MulticastInterface::Index(index) => InterfaceIndexOrAddress::Index(index),
        MulticastInterface::Address(address) => InterfaceIndexOrAddress::Address(address),
    };
    if join {
        socket.join_multicast_v4_n(&group, &interface)
    } else {
        socket.leave_multicast_v4_n(&group, &interface)
    }
}

/// Joins or leaves an IPv4 group. These systems have no `ip_mreqn`, and know an interface by its address only.
#[cfg(any(target_os = "illumos", target_os = "netbsd", target_os = "openbsd", target_os = "solaris"))]
fn change_group_v4(
    socket: &SockRef<'_>,
    group: Ipv4Addr,
    interface: MulticastInterface,
    join: bool,
) -> io::Result<()> {
    let interface = match interface {
        MulticastInterface::Index(0) => Ipv4Addr::UNSPECIFIED,
        MulticastInterface::Index(_) => return Err(io::ErrorKind::Unsupported.into()),
        MulticastInterface::Address(address) => address,
    };
    if join {
        socket.join_multicast_v4(&group, &interface)
    } else {
        socket.leave_multicast_v4(&group, &interface)
    }
}

/// Multicast and socket options.
impl DatagramTransport {
    /// Joins a multicast group on the operating system's default interface. Twisted: `joinGroup`.
    ///
    /// # Errors
    ///
    /// The error of the operating system.
    pub fn join_group(&self, group: IpAddr) -> io::Result<()> {
        self.with_group(group, MulticastInterface::Index(0), true)
    }

    /// Joins a multicast group on one interface. Twisted: `joinGroup(addr, interface)`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for an IPv6 group on an interface given by its IPv4 address, `Unsupported` for an IPv4 group
    /// on an interface given by its number where the system has no such option (illumos, Solaris, NetBSD,
    /// OpenBSD), or the error of the operating system.
    pub fn join_group_on(&self, group: IpAddr, interface: impl Into<MulticastInterface>) -> io::Result<()> {
        self.with_group(group, interface.into(), true)
    }

    /// Leaves a multicast group. Twisted: `leaveGroup`.
    ///
    /// # Errors
    ///
    /// The error of the operating system.
    pub fn leave_group(&self, group: IpAddr) -> io::Result<()> {
        self.with_group(group, MulticastInterface::Index(0), false)
    }

    /// Leaves a multicast group on one interface.
    ///
    /// # Errors
    ///
    /// The same as of [`join_group_on`](DatagramTransport::join_group_on).
    pub fn leave_group_on(&self, group: IpAddr, interface: impl Into<MulticastInterface>) -> io::Result<()> {
        self.with_group(group, interface.into(), false)
    }

    fn with_group(&self, group: IpAddr, interface: MulticastInterface, join: bool) -> io::Result<()> {
        self.with_socket(|socket| {
            let socket = SockRef::from(socket);
            match (group, interface) {
                (IpAddr::V4(group), interface) => change_group_v4(&socket, group, interface, join),
                (IpAddr::V6(group), MulticastInterface::Index(index)) if join => {
                    socket.join_multicast_v6(&group, index)
                }
                (IpAddr::V6(group), MulticastInterface::Index(index)) => {
                    socket.leave_multicast_v6(&group, index)
                }
                (IpAddr::V6(_), MulticastInterface::Address(_)) => Err(wrong_interface()),
            }
        })
    }

    /// Sets the interface through which datagrams to groups are sent: an index on an IPv6 port, an address on
    /// an IPv4 port. Twisted: `setOutgoingInterface`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for the other kind of interface, or the error of the operating system.
    pub fn set_multicast_interface(&self, interface: impl Into<MulticastInterface>) -> io::Result<()> {
        let interface = interface.into();
        self.with_socket(|socket| match (self.address(), interface) {
            (SocketAddr::V4(_), MulticastInterface::Address(address)) => {
                SockRef::from(socket).set_multicast_if_v4(&address)
            }
            (SocketAddr::V6(_), MulticastInterface::Index(index)) => {
                SockRef::from(socket).set_multicast_if_v6(index)
            }
            _ => Err(wrong_interface()),
        })
    }

    /// Sets the time to live of datagrams to groups, in hops, at most 255. With 1, the operating system's
    /// default, they stay in the local network. Twisted: `setTTL`.
    ///
    /// # Errors
    ///
    /// The error of the operating system.
    pub fn set_multicast_ttl(&self, hops: u32) -> io::Result<()> {
        let hops = hops.min(255);
        self.with_socket(|socket| match self.address() {
            SocketAddr::V4(_) => socket.set_multicast_ttl_v4(hops),
            SocketAddr::V6(_) => SockRef::from(socket).set_multicast_hops_v6(hops),
        })
    }

    /// Sets whether datagrams to groups are looped back to this machine. Twisted: `setLoopbackMode`.
    ///
    /// # Errors
    ///
    /// The error of the operating system.
    pub fn set_multicast_loop(&self, on: bool) -> io::Result<()> {
        self.with_socket(|socket| match self.address() {
            SocketAddr::V4(_) => socket.set_multicast_loop_v4(on),
            SocketAddr::V6(_) => socket.set_multicast_loop_v6(on),
        })
    }

    /// Sets the number of received bytes that the operating system keeps for this port, up to its own limit.
    ///
    /// # Errors
    ///
    /// The error of the operating system.
    pub fn set_receive_buffer(&self, bytes: usize) -> io::Result<()> {
        self.with_socket(|socket| SockRef::from(socket).set_recv_buffer_size(bytes.min(LARGEST_BUFFER)))
    }

    /// Duplicates the descriptor of the socket, to inspect it or to set an option that has no method here.
    ///
    /// # Errors
    ///
    /// `NotConnected` once the port is closed, `Unsupported` on a simulated reactor, or the error of the
    /// operating system.
    #[cfg(unix)]
    pub fn try_clone_fd(&self) -> io::Result<std::os::fd::OwnedFd> {
        use std::os::fd::AsFd;
        self.with_socket(|socket| socket.as_fd().try_clone_to_owned())
    }
}

/// The option is an `int`, and Linux doubles its value.
const LARGEST_BUFFER: usize = (i32::MAX / 2) as usize;

fn wrong_interface() -> io::Error {
    let what = "give an IPv4 port an interface's address, and an IPv6 port its index";
    io::Error::new(io::ErrorKind::InvalidInput, what)
}
