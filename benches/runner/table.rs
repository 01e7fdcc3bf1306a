//! The figures of one case, as a Markdown table.

use super::case::{Case, Trouble};
use super::sample::{Metric, Sample, Unit};

pub struct Table {
    pub workload: &'static str,
    pub title: String,
    pub metrics: &'static [Metric],
    /// The floor comes first, and again last: the difference between the two is noise.
    pub rows: Vec<Row>,
}

pub struct Row {
    pub peer: String,
    /// Samples with their rounds, or the reason why there are none.
    pub samples: Result<Vec<(usize, Sample)>, Trouble>,
}

/// A median, with the minimum and the maximum.
#[derive(Clone, Copy)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Spread> {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let (&least, &most) = (values.first()?, values.last()?);
        let median = match values.len() % 2 {
            1 => values[middle],
            _ => (values[middle - 1] + values[middle]) / 2.0,
        };
        Some(Spread { median, least, most })
    }
}

impl Table {
    pub fn new(workload: &'static str, case: &Case) -> Table {
        let floor = case.peers.first().map(|floor| format!("{}, again", floor.name));
        let names = case.peers.iter().map(|peer| peer.name.to_owned()).chain(floor);
        let rows = names.map(|peer| Row { peer, samples: Ok(Vec::new()) }).collect();
        Table { workload, title: case.title.clone(), metrics: case.metrics, rows }
    }

    pub fn has_trouble(&self, row: usize) -> bool {
        self.rows[row].samples.is_err()
    }

    pub fn add(&mut self, row: usize, round: usize, result: Result<Sample, Trouble>) {
        match (result, &mut self.rows[row].samples) {
            (Ok(sample), Ok(samples)) => samples.push((round, sample)),
            (Err(trouble), row) => *row = Err(trouble),
            (Ok(_), Err(_)) => {}
        }
    }

    /// Returns the first peer that failed, with the reason.
    pub fn failure(&self) -> Option<String> {
        self.rows.iter().find_map(|row| match &row.samples {
            Err(Trouble::Failed(reason)) => Some(format!("{}: {}: {reason}", self.title, row.peer)),
            _ => None,
        })
    }

    /// Returns a peer's figure.
    pub fn figure(&self, metric: &Metric, row: usize) -> Option<Spread> {
        let samples = self.rows[row].samples.as_ref().ok()?;
        Spread::of(samples.iter().filter_map(|(_, sample)| sample.get(metric.key)).collect())
    }

    /// Returns the ratio of a peer's figure to the floor's of the same round, over the rounds.
    pub fn ratio(&self, metric: &Metric, row: usize) -> Option<Spread> {
        let floor = self.rows.first()?.samples.as_ref().ok()?;
        let in_round = |wanted: usize| {
            floor.iter().find(|(round, _)| *round == wanted).and_then(|(_, sample)| sample.get(metric.key))
        };
        let samples = self.rows[row].samples.as_ref().ok()?;
        let ratios = samples
            .iter()
            .filter_map(|(round, sample)| Some(sample.get(metric.key)? / in_round(*round)?))
            .filter(|ratio| ratio.is_finite());
        Spread::of(ratios.collect())
    }

    /// Returns how far the floor differs from itself. A smaller difference is a tie.
    pub fn noise(&self, metric: &Metric) -> Option<f64> {
        self.ratio(metric, self.rows.len() - 1).map(|again| (again.median - 1.0).abs())
    }

    /// Returns the ratio as text: `tie` if it differs from 1 by less than the noise.
    pub fn shown_ratio(&self, metric: &Metric, row: usize) -> String {
        match (self.ratio(metric, row), self.noise(metric)) {
            (None, _) => "-".to_owned(),
            (Some(_), _) if row == 0 => "1".to_owned(),
            (Some(ratio), Some(noise))
                if (ratio.median - 1.0).abs() <= noise && row + 1 < self.rows.len() =>
            {
                format!("{:.2}, a tie", ratio.median)
            }
            (Some(ratio), _) => format!("{:.2} ({:.2}–{:.2})", ratio.median, ratio.least, ratio.most),
        }
    }

    pub fn markdown(&self) -> String {
        let mut text = format!("**{}**\n\n| |", self.title);
        for metric in self.metrics {
            text += &format!(" {} | ratio |", metric.title);
        }
        text += "\n|---|";
        text += &"---:|---:|".repeat(self.metrics.len());
        for (index, row) in self.rows.iter().enumerate() {
            match &row.samples {
                Ok(samples) if samples.is_empty() => continue,
                Ok(_) => {
                    text += &format!("\n| {} |", row.peer);
                    for metric in self.metrics {
                        let figure = self.figure(metric, index);
                        let figure =
                            figure.map_or("-".to_owned(), |figure| shown(metric.unit, figure.median));
                        text += &format!(" {figure} | {} |", self.shown_ratio(metric, index));
                    }
                }
                Err(Trouble::Missing(reason)) => text += &format!("\n| {} | skipped: {reason} |", row.peer),
                Err(Trouble::Failed(reason)) => text += &format!("\n| {} | FAILED: {reason} |", row.peer),
            }
        }
        text + "\n"
    }
}

pub fn shown(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Nanoseconds if value < 1e3 => format!("{value:.1} ns"),
        Unit::Nanoseconds if value < 1e6 => format!("{:.2} µs", value / 1e3),
        Unit::Nanoseconds => format!("{:.2} ms", value / 1e6),
        Unit::PerSecond if value < 1e6 => format!("{:.1}k", value / 1e3),
        Unit::PerSecond => format!("{:.2}M", value / 1e6),
        Unit::Bytes => format!("{value:.0} B"),
        Unit::MebibytesPerSecond => format!("{value:.0} MiB/s"),
        Unit::Count if value < 1e4 => format!("{value:.1}"),
        Unit::Count => format!("{:.1}k", value / 1e3),
    }
}
