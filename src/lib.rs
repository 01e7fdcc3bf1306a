//! Twisted's core in Rust.
