//! The path of a result, as a picture: the two ladders that a result climbs down.

use std::fmt::Write;
use std::panic::Location;

use super::record::{Record, Side, Stage};
use super::{Path, StageKind};

const WIDTH: i32 = 640;
const TOP: i32 = 109;
const GAP: i32 = 50;
const BOX: (i32, i32) = (248, 46);
/// What the two lines about a wait add to a box.
const WAIT: i32 = 36;
const COLUMN: [i32; 2] = [168, 472];

const GREEN: &str = "#2a9d6f";
const RED: &str = "#d1495b";
const INK: &str = "#2b2d42";
const PALE: &str = "#9aa0ac";
const LINE: &str = "#d9dce3";

impl Path {
    /// A picture of it, an SVG document: callbacks on the left, errbacks on the right, and the way the result
    /// took between them. Boxes that are filled have run, those that a line joins are of one stage, and a
    /// ring stands where the result waits. What is too long for its place is cut, and whole in the tooltip.
    pub fn svg(&self) -> String {
        let mut picture = Picture { svg: String::new(), record: &self.0 };
        // Writing to a string cannot fail.
        let _ = picture.draw();
        picture.svg
    }
}

struct Picture<'a> {
    svg: String,
    record: &'a Record,
}

/// Where a stage is.
#[derive(Clone, Copy)]
struct Row {
    top: i32,
    bottom: i32,
}

/// Top to bottom, and where the next one would begin.
fn rows(stages: &[Stage]) -> (Vec<Row>, i32) {
    let mut top = TOP;
    let rows = stages.iter().map(|stage| {
        let bottom = top + BOX.1 + if stage.waited_on.is_some() { WAIT } else { 0 };
        let row = Row { top, bottom };
        top = bottom + GAP;
        row
    });
    (rows.collect(), top)
}

fn x(side: Side) -> i32 {
    COLUMN[usize::from(side == Side::Failure)]
}

fn color(side: Side) -> &'static str {
    if side == Side::Value { GREEN } else { RED }
}

impl Picture<'_> {
    fn draw(&mut self) -> std::fmt::Result {
        let record = self.record;
        let story = record.story.borrow();
        let (rows, end) = rows(&story.stages);
        let height = end + 40;
        write!(
            self.svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" font-family=\"system-ui, sans-serif\" text-anchor=\"middle\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
        )?;
        let title = story.name.clone().unwrap_or_else(|| format!("Deferred #{}", record.id));
        self.text((WIDTH / 2, 30), WIDTH - 40, Style(17, INK, 600), &title)?;
        let made_at = format!("made at {}", place(record.made_at.get()));
        self.text((WIDTH / 2, 49), WIDTH - 40, Style(11, PALE, 400), &made_at)?;
        for (side, heading) in [(Side::Value, "callbacks"), (Side::Failure, "errbacks")] {
            self.text((x(side), 71), BOX.0, Style(12, color(side), 600), heading)?;
            let from = TOP - 21;
            writeln!(
                self.svg,
                "<path d=\"M{0} {from}V{end}\" stroke=\"{LINE}\" stroke-width=\"2\" stroke-dasharray=\"2 6\" \
                 stroke-linecap=\"round\"/>",
                x(side)
            )?;
        }
        let waits_at = self.way(&story.stages, &rows, end, story.fired)?;
        for (index, (stage, row)) in story.stages.iter().zip(&rows).enumerate() {
            if stage.handles(Side::Value) && stage.handles(Side::Failure) {
                let at = row.top + BOX.1 / 2;
                writeln!(
                    self.svg,
                    "<path d=\"M{} {at}H{}\" stroke=\"{LINE}\" stroke-width=\"2\"/>",
                    x(Side::Value),
                    x(Side::Failure)
                )?;
            }
            for side in [Side::Value, Side::Failure] {
                if stage.handles(side) {
                    self.stage(index, stage, *row, side)?;
                }
            }
        }
        if let Some((side, at)) = waits_at {
            self.dot(side, at, "#ffffff")?;
        }
        self.svg.push_str("</svg>\n");
        Ok(())
    }

    /// The line from stage to stage, as far as the result has come; where it waits, if it does.
    fn way(
        &mut self,
        stages: &[Stage],
        rows: &[Row],
        end: i32,
        fired: Option<Side>,
    ) -> Result<Option<(Side, i32)>, std::fmt::Error> {
        let Some(mut side) = fired else {
            self.text((WIDTH / 2, TOP - 17), BOX.0, Style(11, PALE, 400), "not fired")?;
            return Ok(None);
        };
        let mut from = TOP - 23;
        self.dot(side, from, color(side))?;
        for (index, (stage, row)) in stages.iter().zip(rows).enumerate() {
            let Some(entered) = stage.entered else { return Ok(None) };
            self.line(entered, from, row.bottom)?;
            from = row.bottom;
            match self.record.came_out(index) {
                Some(out) => side = out,
                None => return Ok(Some((entered, row.bottom))),
            }
            // A change of sides is drawn below the stage that made it.
            if side != entered {
                from = row.bottom + GAP - 6;
                self.crossing(entered, row.bottom, side, from)?;
            }
        }
        self.line(side, from, end)?;
        self.dot(side, end, color(side))?;
        Ok(None)
    }

    fn line(&mut self, side: Side, top: i32, bottom: i32) -> std::fmt::Result {
        let (x, color) = (x(side), color(side));
        writeln!(self.svg, "<path d=\"M{x} {top}V{bottom}\" stroke=\"{color}\" stroke-width=\"4\"/>")
    }

    fn crossing(&mut self, from: Side, top: i32, to: Side, bottom: i32) -> std::fmt::Result {
        let (x0, x1, color) = (x(from), x(to), color(to));
        let middle = (top + bottom) / 2;
        writeln!(
            self.svg,
            "<path d=\"M{x0} {top}C{x0} {middle} {x1} {middle} {x1} {bottom}\" fill=\"none\" stroke=\"{color}\" \
             stroke-width=\"4\"/>"
        )
    }

    fn dot(&mut self, side: Side, at: i32, fill: &str) -> std::fmt::Result {
        let (x, color) = (x(side), color(side));
        writeln!(
            self.svg,
            "<circle cx=\"{x}\" cy=\"{at}\" r=\"6\" fill=\"{fill}\" stroke=\"{color}\" stroke-width=\"3\"/>"
        )
    }

    /// The box of a function, filled if it ran.
    fn stage(&mut self, index: usize, stage: &Stage, row: Row, side: Side) -> std::fmt::Result {
        let ran = stage.entered == Some(side);
        let (fill, edge, ink, faint) = match (ran, side) {
            (true, Side::Value) => (GREEN, GREEN, "#ffffff", "#d8f3e6"),
            (true, Side::Failure) => (RED, RED, "#ffffff", "#fbdfe3"),
            (false, _) => ("#ffffff", LINE, PALE, PALE),
        };
        let (center, left, width) = (x(side), x(side) - BOX.0 / 2, BOX.0 - 16);
        let waited_on = stage.waited_on.as_ref().filter(|_| ran);
        let height = if waited_on.is_some() { BOX.1 + WAIT } else { BOX.1 };
        writeln!(
            self.svg,
            "<rect x=\"{left}\" y=\"{}\" width=\"{}\" height=\"{height}\" rx=\"9\" fill=\"{fill}\" \
             stroke=\"{edge}\" stroke-width=\"1.5\"/>",
            row.top, BOX.0
        )?;
        let kind = match stage.kind {
            StageKind::Callback => "callback",
            StageKind::Errback => "errback",
            StageKind::Callbacks if side == Side::Value => "callback",
            StageKind::Callbacks => "errback",
            StageKind::Both => "both",
        };
        let name = stage.name.as_deref().unwrap_or(kind);
        self.text((center, row.top + 20), width, Style(13, ink, 600), name)?;
        self.text((center, row.top + 37), width, Style(10, faint, 400), &place(stage.added_at))?;
        let Some(waited_on) = waited_on else { return Ok(()) };
        let verb = if self.record.came_out(index).is_some() { "waited for" } else { "waits for" };
        let what = waited_on.name.clone().unwrap_or_else(|| format!("#{}", waited_on.id));
        let made_at = format!("made at {}", place(waited_on.made_at));
        self.text((center, row.top + 57), width, Style(11, ink, 400), &format!("{verb} {what}"))?;
        self.text((center, row.top + 72), width, Style(10, faint, 400), &made_at)
    }

    /// A line of text, cut to a width.
    fn text(&mut self, at: (i32, i32), width: i32, style: Style, text: &str) -> std::fmt::Result {
        let Style(size, fill, weight) = style;
        let ems = f64::from(width) / f64::from(size) * if weight > 400 { 1.0 } else { 1.1 };
        let shown = cut(text, ems);
        let title = if shown == text { String::new() } else { format!("<title>{}</title>", escape(text)) };
        writeln!(
            self.svg,
            "<text x=\"{}\" y=\"{}\" font-size=\"{size}\" font-weight=\"{weight}\" fill=\"{fill}\">{title}{}</text>",
            at.0,
            at.1,
            escape(&shown)
        )
    }
}

/// Size, color, weight.
struct Style(i32, &'static str, i32);

/// What XML can hold of it, with its marks made harmless.
fn escape(text: &str) -> String {
    let visible: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    visible.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The file's own name and the line.
fn place(location: &Location<'_>) -> String {
    let file = location.file();
    format!("{}:{}", file.rsplit(['/', '\\']).next().unwrap_or(file), location.line())
}

/// As much of it as fits a width, in units of the font's size.
fn cut(text: &str, width: f64) -> String {
    let mut left = width;
    let fits = |c: char| {
        left -= breadth(c);
        left >= 0.0
    };
    if text.chars().all(fits) {
        return text.to_owned();
    }
    left = width - 1.0;
    text.chars()
        .take_while(|c| {
            left -= breadth(*c);
            left >= 0.0
        })
        .chain(['…'])
        .collect()
}

/// How wide a character is in the broadest of the usual fonts, set bold.
fn breadth(c: char) -> f64 {
    match c {
        ' ' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | 'i' | 'j' | 'l' | '(' | ')' | '/' => 0.42,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 1.1,
        'A'..='Z' => 0.8,
        '\0'..='\u{10ff}' => 0.7,
        _ => 1.0,
    }
}
