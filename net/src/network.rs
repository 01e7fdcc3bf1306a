//! The functions that depend on the network of a reactor: the operating system's or a simulated one.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
#[cfg(unix)]
use std::path::{Path, PathBuf};

use mio::net::{TcpListener, TcpStream, UdpSocket};
use socket2::{Domain, SockAddr, Type};
use twistor_deferred::Deferred;
use twistor_reactor::Handle;

use crate::simulation::Network;
use crate::sockets::Acceptor;
use crate::sockets::DatagramSocket;
use crate::sockets::Socket;
#[cfg(unix)]
use crate::sockets::UnixAcceptor;
#[cfg(unix)]
use crate::sockets::unix;
use crate::{Address, DnsLookupError};

/// Starts connecting a TCP socket.
pub(crate) fn connect(handle: &Handle, address: SocketAddr, bind: Option<IpAddr>) -> io::Result<Socket> {
    if let Some(network) = Network::of(handle) {
        return network.connect(handle, address.into(), bind).map(Socket::Simulated);
    }
    let stream = match bind {
        None => TcpStream::connect(address)?,
        Some(bind) => connect_from(bind, address)?,
    };
    Ok(Socket::tcp(stream, address))
}

fn connect_from(bind: IpAddr, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let mut local = SocketAddr::new(bind, 0);
    if let (SocketAddr::V6(local), SocketAddr::V6(address)) = (&mut local, address) {
        local.set_scope_id(address.scope_id());
    }
    socket.bind(&SockAddr::from(local))?;
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if in_progress(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

/// Returns whether the error only means that a non-blocking connect has started.
fn in_progress(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(libc::EINPROGRESS) {
        return true;
    }
    error.kind() == io::ErrorKind::WouldBlock
}

/// Starts connecting a UNIX socket. Fails with `WouldBlock` if the listener's queue is full.
#[cfg(unix)]
pub(crate) fn connect_unix(handle: &Handle, path: &Path) -> io::Result<Socket> {
    if let Some(network) = Network::of(handle) {
        let target = Address::Unix(Some(path.to_owned()));
        return network.connect(handle, target, None).map(Socket::Simulated);
    }
    mio::net::UnixStream::connect_addr(&unix::address(path)?).map(Socket::Unix)
}

/// The address and options of a listening stream socket.
#[derive(Clone, Debug)]
pub(crate) enum StreamBinding {
    Tcp {
        address: SocketAddr,
        reuse_port: bool,
        /// `None`: the operating system's setting.
        only_v6: Option<bool>,
    },
    #[cfg(unix)]
    Unix { path: PathBuf, mode: Option<u32> },
}

impl StreamBinding {
    /// Returns the address as it was given. Port 0 selects any free port.
    pub(crate) fn address(&self) -> Address {
        match self {
            StreamBinding::Tcp { address, .. } => Address::Ip(*address),
            #[cfg(unix)]
            StreamBinding::Unix { path, .. } => Address::Unix(Some(path.clone())),
        }
    }
}

/// Opens a listening socket, and returns it with its address.
pub(crate) fn listen(
    handle: &Handle,
    binding: &StreamBinding,
    backlog: u32,
) -> io::Result<(Box<dyn Acceptor>, Address)> {
    if let Some(network) = Network::of(handle) {
        let shared = matches!(binding, StreamBinding::Tcp { reuse_port: true, .. });
        let (listener, address) = network.listen(handle, &binding.address(), backlog, shared)?;
        return Ok((Box::new(listener), address));
    }
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    match binding {
        StreamBinding::Tcp { address, reuse_port, only_v6 } => {
            let socket = socket2::Socket::new(Domain::for_address(*address), Type::STREAM, None)?;
            // Lets a restarted server bind while old connections are in TIME_WAIT. On Windows, the option
            // would let other processes take over the port.
            #[cfg(unix)]
            socket.set_reuse_address(true)?;
            if *reuse_port {
                share_port(&socket)?;
            }
            if let (Some(only), true) = (only_v6, address.is_ipv6()) {
                socket.set_only_v6(*only)?;
            }
            socket.set_nonblocking(true)?;
            socket.bind(&(*address).into())?;
            socket.listen(backlog)?;
            let listener = TcpListener::from_std(socket.into());
            let address = listener.local_addr()?;
            Ok((Box::new(listener), Address::Ip(address)))
        }
        #[cfg(unix)]
        StreamBinding::Unix { path, mode } => {
            let (listener, file) = unix::listen(path, *mode, backlog)?;
            Ok((Box::new(UnixAcceptor::new(listener, file)), binding.address()))
        }
    }
}

/// Sets SO_REUSEPORT. Does nothing on systems without that option.
fn share_port(socket: &socket2::Socket) -> io::Result<()> {
    #[cfg(all(unix, not(any(target_os = "illumos", target_os = "solaris"))))]
    socket.set_reuse_port(true)?;
    let _ = socket;
    Ok(())
}

/// The address and options of a UDP port.
#[derive(Clone, Debug)]
pub(crate) struct UdpBinding {
    pub(crate) address: SocketAddr,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) broadcast: bool,
    pub(crate) reuse_port: bool,
    /// `None`: the operating system's setting.
    pub(crate) only_v6: Option<bool>,
}

/// Opens a UDP port.
pub(crate) fn open_datagrams(handle: &Handle, binding: &UdpBinding) -> io::Result<DatagramSocket> {
    if let Some(network) = Network::of(handle) {
        let socket = network.open_datagrams(handle, binding.address, binding.peer);
        return socket.map(DatagramSocket::Simulated);
    }
    let socket = socket2::Socket::new(Domain::for_address(binding.address), Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    if binding.reuse_port {
        socket.set_reuse_address(true)?;
        share_port(&socket)?;
    }
    if binding.broadcast {
        socket.set_broadcast(true)?;
    }
    if let (Some(only), true) = (binding.only_v6, binding.address.is_ipv6()) {
        socket.set_only_v6(only)?;
    }
    socket.bind(&binding.address.into())?;
    if let Some(peer) = binding.peer {
        socket.connect(&peer.into())?;
    }
    Ok(DatagramSocket::System(UdpSocket::from_std(socket.into())))
}

/// Looks up the addresses of a name.
pub(crate) fn resolve(handle: &Handle, host: &str, port: u16) -> Deferred<Vec<SocketAddr>> {
    if let Some(network) = Network::of(handle) {
        return network.resolve(handle, host, port);
    }
    let (name, host) = (host.to_owned(), host.to_owned());
    let found = handle.defer_to_lookup_thread(move || match (name.as_str(), port).to_socket_addrs() {
        Ok(found) => Ok(found.collect()),
        Err(source) => Err(DnsLookupError::new(name, Some(source)).into()),
    });
    found.add_errback(move |failure| {
        // The failure of the lookup itself is mapped above. This one means that no thread could be started.
        let source = failure.trap::<io::Error>()?;
        Err(DnsLookupError::new(host, Some(source)).into())
    })
}
