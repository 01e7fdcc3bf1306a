//! The HTTP server over real sockets: statements W1 to W6.

mod answers;
mod client;
mod connections;
mod curl;
mod files;
mod limits;
mod refusals;
mod resources;
mod stopping;
#[path = "../support/mod.rs"]
mod support;
