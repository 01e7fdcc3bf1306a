//! The load generators: the same for all servers, on a separate core.

mod bulk;
mod connect;
mod echo;
mod hoard;
mod idle;
mod latency;
mod ping;
mod tls;

use crate::runner::child::Arguments;

pub fn find(peer: &str, role: &str) -> Option<fn(&Arguments<'_>)> {
    match (peer, role) {
        ("load", "echo") => Some(echo::run),
        ("load", "bulk") => Some(bulk::run),
        ("load", "flood") => Some(bulk::flood),
        ("load", "hoard") => Some(hoard::run),
        ("load", "idle") => Some(idle::run),
        ("load", "latency") => Some(latency::run),
        ("load", "ping") => Some(ping::run),
        ("load", "tls-bulk") => Some(tls::bulk),
        ("load", "tls-handshakes") => Some(tls::handshakes),
        _ => None,
    }
}
