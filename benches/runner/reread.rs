//! The results of an earlier run, read from its JSON, to write its tables and charts again.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::case::{Case, Trouble};
use super::machine::Machine;
use super::report::Report;
use super::sample::Sample;
use super::table::{Row, Table};
use crate::workloads;

impl Report {
    /// Reads `NAME.json`. Titles and metrics are those of the cases today, which have to be the same in number and peers.
    pub fn read(name: &Path) -> Result<Report, String> {
        let path = name.with_extension("json");
        let error = |reason: &dyn std::fmt::Display| format!("{}: {reason}", path.display());
        let text = fs::read_to_string(&path).map_err(|reason| error(&reason))?;
        let json: Value = serde_json::from_str(&text).map_err(|reason| error(&reason))?;
        report(&json).ok_or_else(|| error(&"it does not have the cases and peers of this version"))
    }
}

fn report(json: &Value) -> Option<Report> {
    let quick = json["quick"].as_bool()?;
    let recorded = json["cases"].as_array()?;
    let mut tables: Vec<Table> = Vec::new();
    for workload in workloads::ALL {
        let recorded: Vec<&Value> =
            recorded.iter().filter(|case| case["workload"] == workload.name).collect();
        let cases = if recorded.is_empty() { Vec::new() } else { (workload.cases)(quick) };
        if cases.len() != recorded.len() {
            return None;
        }
        for (case, recorded) in cases.iter().zip(recorded) {
            tables.push(table(workload.name, case, recorded)?);
        }
    }
    let rounds = json["rounds"].as_u64()? as usize;
    Some(Report { machine: machine(json)?, rounds, quick, tables })
}

fn table(workload: &'static str, case: &Case, recorded: &Value) -> Option<Table> {
    let mut table = Table::new(workload, case);
    let peers = recorded["peers"].as_array()?;
    if peers.len() != table.rows.len() {
        return None;
    }
    for (Row { peer, samples }, recorded) in table.rows.iter_mut().zip(peers) {
        if recorded["peer"] != **peer {
            return None;
        }
        *samples = match (recorded["skipped"].as_str(), recorded["failed"].as_str()) {
            (Some(reason), _) => Err(Trouble::Missing(reason.to_owned())),
            (_, Some(reason)) => Err(Trouble::Failed(reason.to_owned())),
            (None, None) => Ok(recorded["samples"].as_array()?.iter().map(sample).collect::<Option<_>>()?),
        };
    }
    Some(table)
}

fn sample(recorded: &Value) -> Option<(usize, Sample)> {
    let values = recorded.as_object()?.iter().filter(|(key, _)| *key != "round");
    let values = values.map(|(key, value)| Some((key.clone(), value.as_f64()?)));
    Some((recorded["round"].as_u64()? as usize, Sample(values.collect::<Option<_>>()?)))
}

fn machine(json: &Value) -> Option<Machine> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let machine = &json["machine"];
    Some(Machine {
        processor: text(&machine["processor"])?,
        cores: machine["cores"].as_u64()? as usize,
        memory: text(&machine["memory"])?,
        kernel: text(&machine["kernel"])?,
        load: text(&machine["load"])?,
        date: text(&json["date"])?,
        command: text(&json["command"])?,
        profile: text(&json["profile"])?,
        compiler: text(&json["compiler"])?,
        peers: text(&json["peers"])?,
    })
}
