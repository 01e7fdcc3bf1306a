//! A recording as one HTML page that plays it.

use std::collections::BTreeSet;
use std::fmt::Write;

use twistor_deferred::trace::paint::{escape, full_place, place};
use twistor_deferred::trace::{Event, Ladder, Side, What};

use super::json::string;
use super::runs::label;
use super::text::Lines;
use super::{CallbackKind, ConnectionEvent, Entry, Happening, Recording};

/// The number of events and ladders on a page, counted from the end. The limit lets a browser open it quickly.
const EVENTS: usize = 20_000;
const LADDERS: usize = 500;

const HTML: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

impl Recording {
    /// Returns the recording as one HTML page that plays it: step by step, turn by turn or with a slider. It shows
    /// the events, the phase of the turn, the ready sources, the timer queue, tasks, connections and ladders at
    /// each moment.
    ///
    /// The page opens from a file and needs no network. A long recording is cut to its last 20,000 events.
    pub fn page(&self, title: &str) -> String {
        let entries = self.entries();
        let skipped = entries.len().saturating_sub(EVENTS);
        let shown = &entries[skipped..];
        let touched: BTreeSet<u64> = shown.iter().filter_map(deferred_of).collect();
        let mut ladders = self.ladders();
        ladders.retain(|ladder| touched.contains(&ladder.id()));
        let rest = ladders.split_off(ladders.len().saturating_sub(LADDERS));
        let not_drawn = ladders.len();
        let ladders = rest;
        let before = self.forgotten() + skipped as u64;
        let mut note = String::new();
        if before > 0 {
            note = format!("<p class=\"none\">{before} events before these are not on this page.</p>\n");
        }
        if not_drawn > 0 {
            // Writing to a string cannot fail.
            let _ = writeln!(note, "<p class=\"none\">{not_drawn} Deferreds are not drawn.</p>");
        }
        let pictures = ladders.iter().map(|ladder| {
            let (id, svg) = (ladder.id(), ladder.svg_with_steps());
            format!("<div class=\"ladder hidden\" data-id=\"{id}\">{svg}</div>\n")
        });
        let pictures: String = pictures.collect();
        let first = shown.first().map_or(1, |entry| entry.at.step);
        let data = data(shown, &ladders, first);
        let parts = [
            ("TITLE", escape(title)),
            ("STYLE", STYLE.to_owned()),
            ("LADDERS", pictures),
            ("TIMELINE", self.draw_timeline(true)),
            ("NOTE", note),
            ("DATA", data),
            ("SCRIPT", SCRIPT.to_owned()),
        ];
        fill(&parts)
    }
}

/// Inserts the parts into the page. Inserted text is not searched for further parts.
fn fill(parts: &[(&str, String)]) -> String {
    let mut page = String::new();
    let mut pieces = HTML.split("{{");
    page.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (name, rest) = piece.split_once("}}").unwrap_or(("", piece));
        if let Some((_, part)) = parts.iter().find(|(part, _)| *part == name) {
            page.push_str(part);
        }
        page.push_str(rest);
    }
    page
}

fn deferred_of(entry: &Entry) -> Option<u64> {
    match &entry.what {
        Happening::Deferred(event) => Some(event.id),
        _ => None,
    }
}

fn data(entries: &[Entry], ladders: &[Ladder], first: u64) -> String {
    let mut steps = Vec::with_capacity(entries.len());
    let mut lines = Lines::default();
    for entry in entries {
        let (depth, text) = lines.next(entry);
        let (time, text) = (entry.at.time.as_nanos(), string(&text));
        let (code, payload) = payload(entry);
        steps.push(format!("[{time},{depth},\"{code}\",{text}{payload}]"));
    }
    // Of a ladder that is on the page: its name, and the place that made its Deferred.
    let names = ladders.iter().map(|ladder| {
        let name = string(ladder.label().map(|name| &**name).unwrap_or_default());
        let made_at = string(&ladder.made_at().map(full_place).unwrap_or_default());
        format!("\"{}\":[{name},{made_at}]", ladder.id())
    });
    let names: Vec<String> = names.collect();
    let internal = ladders.iter().filter(|ladder| ladder.is_internal()).map(|ladder| ladder.id().to_string());
    let internal: Vec<String> = internal.collect();
    format!(
        "{{\"first\":{first},\"ladders\":{{{}}},\"internal\":[{}],\"steps\":[{}]}}",
        names.join(","),
        internal.join(","),
        steps.join(",\n")
    )
}

/// The data of an event that a page needs in addition to its text.
fn payload(entry: &Entry) -> (&'static str, String) {
    // Each host counts from 1.
    let host = entry.host.map_or_else(|| "null".to_owned(), |host| format!("\"{host}\""));
    let key = |number: &u64| match entry.host {
        Some(host) => format!("\"{number} of {host}\""),
        None => number.to_string(),
    };
    match &entry.what {
        Happening::TurnBegan { number } => ("T", format!(",{},{host}", key(number))),
        Happening::WaitBegan => ("W", String::new()),
        Happening::WaitEnded => ("w", String::new()),
        Happening::Ready { source, call_site, .. } => {
            ("R", format!(",{},{},{host}", key(source), string(&label(call_site))))
        }
        Happening::Began { kind, number, .. } => {
            let kind = match kind {
                CallbackKind::Source => 0,
                CallbackKind::RemoteCall => 1,
                CallbackKind::Timer => 2,
                CallbackKind::Task => 3,
                CallbackKind::Phase => 4,
            };
            ("B", format!(",{kind},{}", key(number)))
        }
        Happening::Ended => ("E", String::new()),
        Happening::Panicked(_) => ("P", String::new()),
        Happening::TimerSet { timer, due, place: at } => {
            ("S", format!(",{},{},{}", key(timer), deadline(*due), string(&place(at))))
        }
        Happening::TimerMoved { timer, due } => ("M", format!(",{},{}", key(timer), deadline(*due))),
        Happening::TimerCancelled { timer } => ("C", format!(",{}", key(timer))),
        Happening::TaskSpawned { task, place: at } => ("K", format!(",{},{}", key(task), string(&place(at)))),
        Happening::TaskEnded { task } => ("k", format!(",{}", key(task))),
        Happening::JobGiven { job, place: at } => ("J", format!(",{},{}", key(job), string(&place(at)))),
        Happening::JobDone { job } => ("j", format!(",{}", key(job))),
        Happening::Connection { number, event } => {
            let peer = match event {
                ConnectionEvent::Made { peer } => string(peer),
                ConnectionEvent::Lost(_) => "null".to_owned(),
                _ => "\"\"".to_owned(),
            };
            ("N", format!(",{},{peer}", key(number)))
        }
        Happening::Network(_) => ("n", String::new()),
        Happening::Deferred(Event { id, what }) => {
            let side = match what {
                What::Fired(came) | What::Left { came, .. } => word(came.side),
                What::Entered { side, .. } => word(*side),
                What::Waits { .. } => "waits",
                _ => "",
            };
            ("D", format!(",{id},\"{side}\""))
        }
        Happening::Mark(_) => ("X", String::new()),
        Happening::TurnEnded => ("t", format!(",{host}")),
    }
}

/// A deadline as JSON. A timer that is never due has none.
fn deadline(nanos: u64) -> String {
    if nanos == u64::MAX { "null".to_owned() } else { nanos.to_string() }
}

fn word(side: Side) -> &'static str {
    match side {
        Side::Callbacks => "value",
        Side::Errbacks => "failure",
    }
}

#[cfg(test)]
mod tests {
    use twistor_deferred::trace::paint::{DARK, LIGHT, Palette};

    use super::STYLE;

    /// Their contrast is tested there: D19.5.
    #[test]
    fn the_page_has_the_colors_of_the_pictures() {
        let colors = |p: Palette| {
            format!(
                "--bg:{};--panel:{};--ink:{};--mut:{};--value:{};--failure:{};--work:{};--on:{}",
                p.background, p.panel, p.ink, p.muted, p.value_text, p.failure_text, p.work, p.background
            )
        };
        for palette in [LIGHT, DARK] {
            assert!(STYLE.contains(&colors(palette)), "{} is not in\n{STYLE}", colors(palette));
        }
    }
}
