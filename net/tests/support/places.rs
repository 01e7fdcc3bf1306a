//! Checks that log lines name the user's line: P20.1.

use std::panic::Location;
use std::time::Duration;

use super::logged::{keep_log_from, logged};
use twistor_reactor::Reactor;

/// One entry of the table: its line, and what it does with a reactor that then runs for a while.
pub struct Entry {
    name: &'static str,
    place: &'static Location<'static>,
    run: fn(&Reactor),
}

#[track_caller]
pub fn entry(name: &'static str, run: fn(&Reactor)) -> Entry {
    Entry { name, place: Location::caller(), run }
}

impl Entry {
    /// Returns the log records of the thread, including debug ones.
    fn logs(&self) -> Vec<String> {
        keep_log_from(log::LevelFilter::Debug);
        let reactor = Reactor::simulated(0);
        (self.run)(&reactor);
        let handle = reactor.handle();
        reactor.call_later(Duration::from_secs(100), move || handle.stop());
        reactor.run().unwrap();
        drop(reactor);
        logged()
    }
}

/// Checks that each entry logs, that some record names a line of the entry, and that none names another file.
pub fn check(entries: &[Entry]) {
    let mut faults = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let end = entries.get(index + 1).map_or(u32::MAX, |next| next.place.line());
        let lines = entry.logs();
        let mut named = false;
        for line in &lines {
            for place in line.split([' ', '(', ')', ',']).filter(|word| word.contains(".rs:")) {
                let number = place
                    .strip_prefix(entry.place.file())
                    .and_then(|rest| rest.split(':').nth(1)?.parse().ok());
                match number {
                    Some(number) => named |= (entry.place.line()..end).contains(&number),
                    None => faults.push(format!("{}: {place} in: {line}", entry.name)),
                }
            }
        }
        if !named {
            faults.push(format!("{}: no place in {lines:#?}", entry.name));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}
