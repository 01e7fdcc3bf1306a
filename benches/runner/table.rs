//! The table of one case.

use super::case::Case;
use super::sample::{Metric, Sample, Unit};

pub struct Table<'a> {
    case: &'a Case,
    /// By peer: its samples with their rounds, or why there are none.
    rows: Vec<Result<Vec<(usize, Sample)>, String>>,
}

impl<'a> Table<'a> {
    pub fn new(case: &'a Case) -> Table<'a> {
        Table { case, rows: case.peers.iter().map(|_| Ok(Vec::new())).collect() }
    }

    pub fn is_skipped(&self, peer: usize) -> bool {
        self.rows[peer].is_err()
    }

    pub fn add(&mut self, peer: usize, round: usize, result: Result<Sample, String>) {
        match (result, &mut self.rows[peer]) {
            (Ok(sample), Ok(samples)) => samples.push((round, sample)),
            (Err(reason), row) => *row = Err(reason),
            (Ok(_), Err(_)) => {}
        }
    }

    pub fn print(&self) {
        println!("\n  {}", self.case.title);
        print!("  {:<26}", "");
        for metric in self.case.metrics {
            print!("{:>14} {:>7} {:>21}", metric.title, "ratio", "min–max");
        }
        println!();
        for (peer, row) in self.case.peers.iter().zip(&self.rows) {
            match row {
                Ok(samples) if samples.is_empty() => continue,
                Ok(samples) => {
                    print!("  {:<26}", peer.name);
                    for metric in self.case.metrics {
                        self.print_cell(metric, samples);
                    }
                    println!();
                }
                Err(reason) => println!("  {:<26}skipped: {reason}", peer.name),
            }
        }
    }

    fn print_cell(&self, metric: &Metric, samples: &[(usize, Sample)]) {
        let mut values: Vec<f64> = samples.iter().filter_map(|(_, sample)| sample.get(metric.key)).collect();
        if values.is_empty() {
            print!("{:>14} {:>7} {:>21}", "-", "-", "-");
            return;
        }
        let median = median(&mut values);
        let (least, most) = (values[0], values[values.len() - 1]);
        let ratio = self.ratio(metric, samples).map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
        let range = format!("{}–{}", shown(metric.unit, least), shown(metric.unit, most));
        print!("{:>14} {ratio:>7} {range:>21}", shown(metric.unit, median));
    }

    /// The median over the rounds of this peer's figure to the baseline's of the same round.
    fn ratio(&self, metric: &Metric, samples: &[(usize, Sample)]) -> Option<f64> {
        let baseline = self.rows[0].as_ref().ok()?;
        let in_round = |wanted: usize| {
            baseline.iter().find(|(round, _)| *round == wanted).and_then(|(_, sample)| sample.get(metric.key))
        };
        let mut ratios: Vec<f64> = samples
            .iter()
            .filter_map(|(round, sample)| Some(sample.get(metric.key)? / in_round(*round)?))
            .collect();
        (!ratios.is_empty()).then(|| median(&mut ratios))
    }
}

/// Sorts them, too.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

fn shown(unit: Unit, value: f64) -> String {
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
