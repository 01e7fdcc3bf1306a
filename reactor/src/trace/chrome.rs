//! A recording as trace-event JSON, the format of `chrome://tracing` and Perfetto.

use std::collections::{BTreeMap, BTreeSet};

use twistor_deferred::trace::What;

use super::json::{micros, string};
use super::runs::turns;
use super::{CallbackKind, Happening, Recording};

/// The rows: those of callbacks in the order of a turn, and the others around them.
const ROWS: [(u32, &str); 8] = [
    (1, "turns"),
    (2, "wait"),
    (3, "sources"),
    (4, "calls from threads"),
    (5, "timers"),
    (6, "tasks"),
    (7, "startup and shutdown"),
    (8, "marks and connections"),
];

fn row(kind: CallbackKind) -> u32 {
    match kind {
        CallbackKind::Source => 3,
        CallbackKind::RemoteCall => 4,
        CallbackKind::Timer => 5,
        CallbackKind::Task => 6,
        CallbackKind::Phase => 7,
    }
}

impl Recording {
    /// Returns the recording as trace-event JSON, for <https://ui.perfetto.dev> and `chrome://tracing`.
    ///
    /// Turns, waits and callbacks are slices, one row for each kind. Deferreds are asynchronous slices from their
    /// creation to the end of their chain.
    pub fn chrome_trace(&self) -> String {
        let entries = self.entries();
        let mut events =
            vec![r#"{"ph":"M","pid":1,"tid":0,"name":"process_name","args":{"name":"reactor"}}"#.to_owned()];
        for (tid, name) in ROWS {
            let name = string(name);
            events.push(format!(
                r#"{{"ph":"M","pid":1,"tid":{tid},"name":"thread_name","args":{{"name":{name}}}}}"#
            ));
            events.push(format!(
                r#"{{"ph":"M","pid":1,"tid":{tid},"name":"thread_sort_index","args":{{"sort_index":{tid}}}}}"#
            ));
        }
        let slice = |tid: u32, name: &str, from, to: std::time::Duration, args: String| {
            let (name, ts, duration) = (string(name), micros(from), micros(to.saturating_sub(from)));
            format!(
                r#"{{"ph":"X","pid":1,"tid":{tid},"name":{name},"ts":{ts},"dur":{duration},"args":{{{args}}}}}"#
            )
        };
        for turn in turns(&entries) {
            let args = format!(r#""ready sources":{}"#, turn.ready);
            events.push(slice(1, &format!("turn {}", turn.number), turn.began.time, turn.ended.time, args));
            if let Some((from, to)) = turn.wait {
                events.push(slice(2, "wait", from.time, to.time, String::new()));
            }
            for callback in &turn.callbacks {
                let (from, to) = (callback.began.time, callback.ended.time);
                let args = format!(
                    r#""from":{},"number":{},"panicked":{},"blocks others":{}"#,
                    string(&callback.call_site.to_string()),
                    callback.number,
                    callback.panicked,
                    callback.blocks
                );
                events.push(slice(row(callback.kind), &callback.label(), from, to, args));
            }
        }
        let mut deferreds: BTreeMap<u64, String> = BTreeMap::new();
        for ladder in self.ladders() {
            let name = ladder.label().map_or_else(String::new, |name| format!(" {name}"));
            let name = format!("Deferred #{}{name}", ladder.id());
            deferreds.insert(ladder.id(), string(&name));
        }
        let mut begun = BTreeSet::new();
        for entry in &entries {
            let ts = micros(entry.at.time);
            match &entry.what {
                Happening::Mark(_) | Happening::Connection { .. } | Happening::Network(_) => {
                    let name = string(&entry.to_string());
                    events.push(format!(r#"{{"ph":"i","pid":1,"tid":8,"s":"t","name":{name},"ts":{ts}}}"#));
                }
                Happening::Deferred(event) => {
                    let (id, detail) = (event.id, string(&entry.to_string()));
                    let ph = match event.what {
                        // A Deferred that is attributed to another place is made twice.
                        What::Made { .. } if begun.insert(id) => "b",
                        What::Dropped => "e",
                        _ => "n",
                    };
                    let name = deferreds.get(&id).cloned().unwrap_or_else(|| string("Deferred"));
                    events.push(format!(
                        r#"{{"ph":"{ph}","cat":"deferred","pid":1,"tid":9,"id":{id},"name":{name},"ts":{ts},"args":{{"event":{detail}}}}}"#
                    ));
                }
                _ => {}
            }
        }
        format!("{{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n{}\n]}}\n", events.join(",\n"))
    }
}
