//! The load for all echo servers: one program, on a separate core.

mod bulk;
mod connect;
mod echo;
mod hoard;
mod idle;
mod ping;

use crate::runner::child::Arguments;

pub fn find(peer: &str, role: &str) -> Option<fn(&Arguments<'_>)> {
    match (peer, role) {
        ("load", "echo") => Some(echo::run),
        ("load", "bulk") => Some(bulk::run),
        ("load", "flood") => Some(bulk::flood),
        ("load", "hoard") => Some(hoard::run),
        ("load", "idle") => Some(idle::run),
        ("load", "ping") => Some(ping::run),
        _ => None,
    }
}
