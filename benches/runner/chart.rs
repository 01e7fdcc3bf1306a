//! Charts: each peer's ratio to the floor in one case, with its spread; and twistor in all cases.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::report::Standing;
use super::table::Table;

const WIDTH: i32 = 760;
const ROW: i32 = 26;
/// The left and right ends of the bars.
const LEFT: i32 = 210;
const RIGHT: i32 = 610;
const TOP: i32 = 52;
/// Ratios above this are cut off.
const WIDEST: f64 = 5.0;

const OURS: RGBColor = RGBColor(0xc2, 0x41, 0x0c);
const OTHERS: RGBColor = RGBColor(0x94, 0xa3, 0xb8);
const INK: RGBColor = RGBColor(0x1e, 0x29, 0x3b);

/// Draws the ratios of the first metric. Returns false if there are none.
pub fn draw(table: &Table, path: &Path) -> Result<bool, String> {
    let Some(metric) = table.metrics.first() else { return Ok(false) };
    let bars: Vec<_> =
        (0..table.rows.len()).filter_map(|row| Some((row, table.ratio(metric, row)?))).collect();
    let most = bars.iter().map(|(_, ratio)| ratio.most).fold(1.0, f64::max);
    if bars.len() < 2 {
        return Ok(false);
    }
    let height = TOP + ROW * bars.len() as i32 + 12;
    // Slow peers are cut off at the edge. Otherwise the others could not be told apart.
    let most = most.min(WIDEST);
    let at = |ratio: f64| LEFT + (ratio.min(most) / most * f64::from(RIGHT - LEFT)) as i32;
    let text = |size: i32, anchor: HPos| {
        ("sans-serif", size).into_font().color(&INK).pos(Pos::new(anchor, VPos::Center))
    };
    let error = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let root = SVGBackend::new(path, (WIDTH as u32, height as u32)).into_drawing_area();
    let draw = || -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
        root.fill(&WHITE)?;
        root.draw(&Text::new(table.title.clone(), (8, 16), text(14, HPos::Left)))?;
        let scale = format!("{}, as a ratio to the floor (median, least and most)", metric.title);
        root.draw(&Text::new(scale, (8, 36), text(12, HPos::Left)))?;
        for (place, (row, ratio)) in bars.iter().enumerate() {
            let (name, middle) = (&table.rows[*row].peer, TOP + ROW * place as i32 + ROW / 2);
            let color = if name.starts_with("twistor") { OURS } else { OTHERS };
            let bar = [(LEFT, middle - 8), (at(ratio.median), middle + 8)];
            root.draw(&Rectangle::new(bar, color.filled()))?;
            let spread = [(at(ratio.least), middle), (at(ratio.most), middle)];
            root.draw(&PathElement::new(spread, INK.stroke_width(1)))?;
            root.draw(&Text::new(name.clone(), (LEFT - 8, middle), text(13, HPos::Right)))?;
            let figure = table.shown_ratio(metric, *row);
            root.draw(&Text::new(figure, (RIGHT + 8, middle), text(12, HPos::Left)))?;
        }
        root.draw(&PathElement::new([(at(1.0), TOP), (at(1.0), height - 8)], INK.stroke_width(1)))?;
        root.present()
    };
    draw().map_err(|reason| error(&reason))?;
    Ok(true)
}

/// The summary has room for the names of the cases on the left.
const SUMMARY_WIDTH: i32 = 840;
const SUMMARY_LEFT: i32 = 380;
const SUMMARY_RIGHT: i32 = 760;
const SUMMARY_ROW: i32 = 20;

/// Draws twistor and the best other peer of each case on one logarithmic scale. Returns false if there are no cases.
pub fn draw_summary(standings: &[Standing], path: &Path) -> Result<bool, String> {
    if standings.is_empty() {
        return Ok(false);
    }
    let height = TOP + SUMMARY_ROW * standings.len() as i32 + 12;
    let (least, most) = (0.4_f64.ln(), WIDEST.ln());
    let at = |ratio: f64| {
        let share = (ratio.ln().clamp(least, most) - least) / (most - least);
        SUMMARY_LEFT + (share * f64::from(SUMMARY_RIGHT - SUMMARY_LEFT)) as i32
    };
    let text = |size: i32, anchor: HPos| {
        ("sans-serif", size).into_font().color(&INK).pos(Pos::new(anchor, VPos::Center))
    };
    let root = SVGBackend::new(path, (SUMMARY_WIDTH as u32, height as u32)).into_drawing_area();
    let draw = || -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
        root.fill(&WHITE)?;
        let title =
            "twistor (orange) and the best other peer (grey), as ratios to the floor. Left is better.";
        root.draw(&Text::new(title, (8, 16), text(14, HPos::Left)))?;
        for mark in [0.5, 1.0, 2.0, 4.0] {
            let line = [(at(mark), TOP - 8), (at(mark), height - 8)];
            root.draw(&PathElement::new(line, OTHERS.stroke_width(1)))?;
            root.draw(&Text::new(format!("{mark}"), (at(mark), TOP - 16), text(12, HPos::Center)))?;
        }
        for (place, standing) in standings.iter().enumerate() {
            let middle = TOP + SUMMARY_ROW * place as i32 + SUMMARY_ROW / 2;
            let label = format!("{}: {}", standing.workload, standing.title);
            root.draw(&Text::new(label, (SUMMARY_LEFT - 12, middle), text(11, HPos::Right)))?;
            if let Some((_, ratio)) = standing.best {
                root.draw(&PathElement::new([(at(ratio), middle), (at(standing.ours), middle)], OTHERS))?;
                root.draw(&Circle::new((at(ratio), middle), 4, OTHERS.filled()))?;
            }
            root.draw(&Circle::new((at(standing.ours), middle), 5, OURS.filled()))?;
            let figure = format!("{:.2}", standing.ours);
            root.draw(&Text::new(figure, (SUMMARY_RIGHT + 40, middle), text(12, HPos::Right)))?;
        }
        root.present()
    };
    draw().map_err(|reason| format!("{}: {reason}", path.display()))?;
    Ok(true)
}
