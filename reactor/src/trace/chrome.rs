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
    /// creation to the end of their chain. Each simulated host is a process.
    pub fn chrome_trace(&self) -> String {
        let entries = self.entries();
        let hosts: BTreeSet<_> = entries.iter().map(|entry| entry.host).chain([None]).collect();
        let pids: BTreeMap<_, u32> = hosts.into_iter().zip(1..).collect();
        let pid = |host| pids.get(&host).copied().unwrap_or(1);
        let mut events = Vec::new();
        for (host, pid) in &pids {
            let meta = |tid: u32, kind: &str, args: String| {
                format!(r#"{{"ph":"M","pid":{pid},"tid":{tid},"name":"{kind}","args":{{{args}}}}}"#)
            };
            let name = string(&host.map_or_else(|| "reactor".to_owned(), |host| host.to_string()));
            events.push(meta(0, "process_name", format!(r#""name":{name}"#)));
            for (tid, name) in ROWS {
                events.push(meta(tid, "thread_name", format!(r#""name":{}"#, string(name))));
                events.push(meta(tid, "thread_sort_index", format!(r#""sort_index":{tid}"#)));
            }
        }
        let slice = |host, tid: u32, name: &str, from, to: std::time::Duration, args: String| {
            let (name, ts, duration) = (string(name), micros(from), micros(to.saturating_sub(from)));
            let pid = pid(host);
            format!(
                r#"{{"ph":"X","pid":{pid},"tid":{tid},"name":{name},"ts":{ts},"dur":{duration},"args":{{{args}}}}}"#
            )
        };
        for turn in turns(&entries) {
            let args = format!(r#""ready sources":{}"#, turn.ready);
            let host = turn.host;
            events.push(slice(
                host,
                1,
                &format!("turn {}", turn.number),
                turn.began.time,
                turn.ended.time,
                args,
            ));
            if let Some((from, to)) = turn.wait {
                events.push(slice(host, 2, "wait", from.time, to.time, String::new()));
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
                events.push(slice(host, row(callback.kind), &callback.label(), from, to, args));
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
                    let (name, pid) = (string(&entry.to_string()), pid(entry.host));
                    events
                        .push(format!(r#"{{"ph":"i","pid":{pid},"tid":8,"s":"t","name":{name},"ts":{ts}}}"#));
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
