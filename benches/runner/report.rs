//! The files of a run: Markdown, JSON with every sample, and a chart for each case.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::case::Trouble;
use super::chart;
use super::machine::Machine;
use super::table::{Row, Table};
use crate::workloads::REASONS;

pub struct Report {
    pub machine: Machine,
    pub rounds: usize,
    pub quick: bool,
    pub tables: Vec<Table>,
}

impl Report {
    /// Facts about all tables.
    pub fn head(&self) -> String {
        let kind = if self.quick { " A quick run shows that all works and measures little." } else { "" };
        format!(
            "{}- {}, the peers in turn.{kind}\n\n\
             The first row of each table is the floor. A ratio is the median, over the rounds, of the peer's figure to the\n\
             floor's in the same round, with the least and the most. The floor runs twice, and the difference of the two is\n\
             the noise: a ratio that is not further from 1 is a tie.\n",
            self.machine.markdown(),
            match self.rounds {
                1 => "1 round".to_owned(),
                rounds => format!("{rounds} rounds"),
            },
        )
    }

    /// Writes `NAME.md`, `NAME.json` and the folder `NAME` of charts.
    pub fn write(&self, name: &Path) -> Result<(), String> {
        let error = |error: std::io::Error| format!("{}: {error}", name.display());
        fs::create_dir_all(name).map_err(error)?;
        fs::write(name.with_extension("json"), format!("{:#}\n", self.json())).map_err(error)?;
        let folder = name.file_name().unwrap_or_default().to_string_lossy();
        let mut text = format!("# Results\n\n{}\n## Summary\n\n", self.head());
        if chart::draw_summary(&self.standings(), &name.join("summary.svg"))? {
            text += &format!("![twistor and the best other peer of each case]({folder}/summary.svg)\n\n");
        }
        text += &self.summary();
        let mut workload = "";
        for (index, table) in self.tables.iter().enumerate() {
            if table.workload != workload {
                workload = table.workload;
                text += &format!("\n## {workload}\n");
            }
            let chart = format!("{workload}-{index}.svg");
            if chart::draw(table, &name.join(&chart))? {
                text += &format!("\n![{}]({folder}/{chart})\n", table.title);
            }
            text += &format!("\n{}", table.markdown());
        }
        text += &self.losses();
        fs::write(name.with_extension("md"), text).map_err(error)
    }

    /// twistor beside the best other peer of each case.
    fn standings(&self) -> Vec<Standing> {
        self.tables.iter().filter_map(standing).collect()
    }

    /// One row for each case: twistor, and the best other peer.
    fn summary(&self) -> String {
        let mut text = "| workload | case | twistor | best other peer |\n|---|---|---:|---|\n".to_owned();
        for standing in self.standings() {
            let best =
                standing.best.as_ref().map_or("-".to_owned(), |(peer, ratio)| format!("{ratio:.2} {peer}"));
            text +=
                &format!("| {} | {} | {:.2} | {best} |\n", standing.workload, standing.title, standing.ours);
        }
        text
    }

    /// Lists the cases in which another peer's figure is better than twistor's by more than the noise.
    fn losses(&self) -> String {
        let mut text = "\n## Where twistor loses, and why\n\n".to_owned();
        let mut workload = "";
        for standing in self.standings().iter().filter(|standing| standing.is_lost()) {
            if workload != standing.workload {
                workload = standing.workload;
                let why = REASONS.iter().find(|(name, _)| *name == workload).map_or("", |(_, why)| why);
                text += &format!("- **{workload}**: {why}\n");
            }
            let (peer, ratio) =
                standing.best.as_ref().map_or(("", 0.0), |(peer, ratio)| (peer.as_str(), *ratio));
            text += &format!("  - {}: twistor {:.2}, {peer} {ratio:.2}\n", standing.title, standing.ours);
        }
        text
    }

    fn json(&self) -> Value {
        let machine = &self.machine;
        json!({
            "command": machine.command,
            "date": machine.date,
            "machine": {
                "processor": machine.processor,
                "cores": machine.cores,
                "memory": machine.memory,
                "kernel": machine.kernel,
                "load": machine.load,
            },
            "profile": machine.profile,
            "compiler": machine.compiler,
            "peers": machine.peers,
            "rounds": self.rounds,
            "quick": self.quick,
            "cases": self.tables.iter().map(case).collect::<Vec<_>>(),
        })
    }
}

/// twistor's place in a case. Figures are ratios of the first metric to the floor; less is better.
pub struct Standing {
    pub workload: &'static str,
    pub title: String,
    pub ours: f64,
    /// The best peer except the floor and twistor.
    pub best: Option<(String, f64)>,
    noise: f64,
}

impl Standing {
    fn is_lost(&self) -> bool {
        self.best.as_ref().is_some_and(|(_, ratio)| self.ours - ratio > self.noise)
    }
}

fn standing(table: &Table) -> Option<Standing> {
    let metric = table.metrics.first()?;
    let ratio = |row: usize| table.ratio(metric, row).map(|ratio| ratio.median);
    let is_ours = |row: usize| table.rows[row].peer.starts_with("twistor");
    let ours = (1..table.rows.len() - 1).find(|&row| is_ours(row))?;
    let best = (1..table.rows.len() - 1)
        .filter(|&row| !is_ours(row))
        .filter_map(|row| Some((table.rows[row].peer.clone(), ratio(row)?)))
        .min_by(|(_, one), (_, other)| one.total_cmp(other));
    Some(Standing {
        workload: table.workload,
        title: table.title.clone(),
        ours: ratio(ours)?,
        best,
        noise: table.noise(metric).unwrap_or(0.0),
    })
}

fn case(table: &Table) -> Value {
    json!({
        "workload": table.workload,
        "title": table.title,
        "metrics": table.metrics.iter().map(|metric| metric.key).collect::<Vec<_>>(),
        "peers": table.rows.iter().map(peer).collect::<Vec<_>>(),
    })
}

fn peer(row: &Row) -> Value {
    match &row.samples {
        Ok(samples) => {
            let samples = samples.iter().map(|(round, sample)| {
                let mut values = Map::new();
                values.insert("round".to_owned(), json!(round));
                values.extend(sample.0.iter().map(|(key, value)| (key.clone(), json!(value))));
                Value::Object(values)
            });
            json!({ "peer": row.peer, "samples": samples.collect::<Vec<_>>() })
        }
        Err(Trouble::Missing(reason)) => json!({ "peer": row.peer, "skipped": reason }),
        Err(Trouble::Failed(reason)) => json!({ "peer": row.peer, "failed": reason }),
    }
}
