//! IP addresses as text, with the zone that an IPv6 address may have: `fe80::1%eth0`.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs};

/// Returns the address that `host` represents, with `port`; `None` if `host` is a name. A zone is the name or
/// number of an interface of this machine.
///
/// # Errors
///
/// If this machine has no such interface.
pub(crate) fn literal(host: &str, port: u16) -> Option<io::Result<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(Ok(SocketAddr::new(address, port)));
    }
    let (address, zone) = zoned(host)?;
    Some(scope(zone).map(|scope| SocketAddrV6::new(address, port, 0, scope).into()))
}

/// Splits an IPv6 address from its zone.
pub(crate) fn zoned(text: &str) -> Option<(Ipv6Addr, &str)> {
    let (address, zone) = text.split_once('%')?;
    Some((address.parse().ok()?, zone)).filter(|_| !zone.is_empty())
}

/// Returns the number of an interface. getaddrinfo converts its name without any lookup on the network.
fn scope(zone: &str) -> io::Result<u32> {
    if let Ok(number) = zone.parse() {
        return Ok(number);
    }
    let found = (format!("fe80::%{zone}"), 0).to_socket_addrs().ok().and_then(|mut found| found.next());
    match found {
        Some(SocketAddr::V6(address)) => Ok(address.scope_id()),
        _ => Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("this machine has no network interface {zone:?}"),
        )),
    }
}
