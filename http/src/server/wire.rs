//! Heads, dates and bodies on the wire. This layer knows a connection's transport, and nothing above it.

pub(super) mod body_reader;
pub(super) mod body_writer;
pub(super) mod date;
pub(super) mod encode;
