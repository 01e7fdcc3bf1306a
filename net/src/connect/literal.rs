//! IP addresses as they are written, with the zone that an IPv6 address may have: `fe80::1%eth0`.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs};

/// The address that `host` is, with this port, unless it is a name. A zone is an interface of this machine, by its
/// name or number.
///
/// # Errors
///
/// When there is no such interface.
pub(crate) fn literal(host: &str, port: u16) -> Option<io::Result<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(Ok(SocketAddr::new(address, port)));
    }
    let (address, zone) = zoned(host)?;
    Some(scope(zone).map(|scope| SocketAddrV6::new(address, port, 0, scope).into()))
}

/// An IPv6 address and the zone behind it.
pub(crate) fn zoned(text: &str) -> Option<(Ipv6Addr, &str)> {
    let (address, zone) = text.split_once('%')?;
    Some((address.parse().ok()?, zone)).filter(|_| !zone.is_empty())
}

/// The number of an interface. By its name, getaddrinfo tells it for any address of a link; nothing is looked up.
fn scope(zone: &str) -> io::Result<u32> {
    if let Ok(number) = zone.parse() {
        return Ok(number);
    }
    let found = (format!("fe80::%{zone}"), 0).to_socket_addrs().ok().and_then(|mut found| found.next());
    match found {
        Some(SocketAddr::V6(address)) => Ok(address.scope_id()),
        _ => Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("there is no network interface {zone:?} here"),
        )),
    }
}
