//! Signals. The tests start this program as a child, and send it signals.

#![allow(clippy::unwrap_used)]

#[cfg(unix)]
mod signals {
    mod child;
    #[path = "../support/child.rs"]
    mod children;
    mod parent;

    pub(crate) fn main() {
        match std::env::args().nth(1).as_deref() {
            Some("child") => child::main(&std::env::args().nth(2).unwrap()),
            // Test runners ask for a list.
            Some("--list") => {}
            _ => parent::main(),
        }
    }
}

fn main() {
    #[cfg(unix)]
    signals::main();
}
