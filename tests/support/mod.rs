//! Helpers for tests of the whole: examples as child processes, and a time limit.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

#[path = "../../reactor/tests/support/child.rs"]
pub mod child;
#[path = "../../net/tests/support/folder.rs"]
pub mod folder;
#[path = "../../net/tests/support/peers.rs"]
pub mod peers;
pub mod service;

use std::process::{Command, Stdio};
use std::time::Duration;

use folder::Folder;
use twistor::prelude::*;

/// The time limit after which a test counts as hanging.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Runs the reactor until the Deferred has fired. A test that hangs fails.
pub fn run<O: Outcome>(reactor: &Reactor, outcome: O) -> Result<O::Value, Failure> {
    let handle = reactor.handle();
    reactor.call_later(DEADLINE, move || handle.stop());
    reactor.run_until(outcome)
}

/// The example as `cargo test` has built it.
pub fn example(name: &str) -> Command {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    let mut command = Command::new(path.join("examples").join(name));
    command.stdin(Stdio::null());
    command
}

/// Returns this many random bytes, which no other length begins with.
pub fn random_bytes(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ length as u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
    .take(length)
    .collect()
}

/// Writes a file of this many random bytes, and returns them.
pub fn random_file(folder: &Folder, name: &str, length: usize) -> Vec<u8> {
    let bytes = random_bytes(length);
    folder.write(name, &bytes);
    bytes
}
