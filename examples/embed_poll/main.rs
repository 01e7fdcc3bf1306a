//! cargo run --example embed_poll
//!
//! A program that has a loop already, a plain `poll(2)` over its descriptors, embeds a reactor: the reactor's descriptor
//! joins the list, and its next deadline limits the wait.
//!
//! The host's own work is a socket that receives a line from a thread twice a second. The reactor runs an echo server, a
//! client of it, and a timer.

#[cfg(unix)]
mod host;

#[cfg(unix)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    host::run()
}

#[cfg(not(unix))]
fn main() {
    println!("this program needs poll(2), which Windows does not have");
}
