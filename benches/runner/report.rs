//! The files of a run: Markdown, JSON with every sample, and a chart for each case.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::case::Trouble;
use super::chart;
use super::machine::Machine;
use super::table::{Row, Table};

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
            "{}- {} rounds, the peers in turn.{kind}\n\n\
             The first row of each table is the floor. A ratio is the median, over the rounds, of the peer's figure to the\n\
             floor's in the same round, with the least and the most. The floor runs twice, and the difference of the two is\n\
             the noise: a ratio that is not further from 1 is a tie.\n",
            self.machine.markdown(),
            self.rounds,
        )
    }

    /// Writes `NAME.md`, `NAME.json` and the folder `NAME` of charts.
    pub fn write(&self, name: &Path) -> Result<(), String> {
        let error = |error: std::io::Error| format!("{}: {error}", name.display());
        fs::create_dir_all(name).map_err(error)?;
        fs::write(name.with_extension("json"), format!("{:#}\n", self.json())).map_err(error)?;
        let folder = name.file_name().unwrap_or_default().to_string_lossy();
        let mut text = format!("# Results\n\n{}", self.head());
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

    /// Lists the cases in which another peer's figure is better than twistor's by more than the noise.
    fn losses(&self) -> String {
        let mut text = "\n## Where twistor loses\n\n".to_owned();
        for table in &self.tables {
            let Some(metric) = table.metrics.first() else { continue };
            let ratio = |row: usize| table.ratio(metric, row).map(|ratio| ratio.median);
            let ours = (0..table.rows.len()).find(|&row| table.rows[row].peer.starts_with("twistor"));
            let Some((ours, ratio_of_ours)) = ours.and_then(|row| Some((row, ratio(row)?))) else { continue };
            let noise = table.noise(metric).unwrap_or(0.0);
            let better: Vec<String> = (1..table.rows.len() - 1)
                .filter(|&row| row != ours)
                .filter_map(|row| Some((row, ratio(row)?)))
                .filter(|(_, ratio)| ratio_of_ours - ratio > noise)
                .map(|(row, ratio)| format!("{} {ratio:.2}", table.rows[row].peer))
                .collect();
            if !better.is_empty() {
                let (title, better) = (&table.title, better.join(", "));
                text += &format!(
                    "- {}: {title}: {}: twistor {ratio_of_ours:.2}; {better}\n",
                    table.workload, metric.title
                );
            }
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
