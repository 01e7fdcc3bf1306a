//! The path of a result, as a picture: the two ladders that a result climbs down.

use std::fmt::Write;
use std::panic::Location;

use super::record::{Record, Side, Stage};
use super::{Kind, Path};

const WIDTH: i32 = 560;
const ROW: i32 = 96;
const TOP: i32 = 132;
const BOX: (i32, i32) = (188, 46);
const COLUMN: [i32; 2] = [150, 410];

const GREEN: &str = "#2a9d6f";
const RED: &str = "#d1495b";
const INK: &str = "#2b2d42";
const PALE: &str = "#9aa0ac";
const LINE: &str = "#d9dce3";

impl Path {
    /// A picture of it, an SVG document: callbacks on the left, errbacks on the right, and the way the result
    /// took between them. Boxes that are filled have run.
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

fn x(side: Side) -> i32 {
    COLUMN[usize::from(side == Side::Failure)]
}

fn color(side: Side) -> &'static str {
    if side == Side::Value { GREEN } else { RED }
}

/// The middle of a stage's boxes.
fn y(index: usize) -> i32 {
    TOP + ROW * i32::try_from(index).unwrap_or(0)
}

impl Picture<'_> {
    fn draw(&mut self) -> std::fmt::Result {
        let record = self.record;
        let story = record.story.borrow();
        let height = y(story.stages.len()) + 24;
        write!(
            self.svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" font-family=\"system-ui, sans-serif\" text-anchor=\"middle\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
        )?;
        let title = story.name.clone().unwrap_or_else(|| format!("Deferred #{}", record.id));
        self.text((WIDTH / 2, 30), 17, INK, "600", &title)?;
        self.text((WIDTH / 2, 49), 11, PALE, "400", &format!("made at {}", record.made_at))?;
        for (side, heading) in [(Side::Value, "callbacks"), (Side::Failure, "errbacks")] {
            self.text((x(side), 76), 12, color(side), "600", heading)?;
            let (from, to) = (TOP - 44, height - 40);
            writeln!(
                self.svg,
                "<path d=\"M{0} {from}V{to}\" stroke=\"{LINE}\" stroke-width=\"2\" stroke-dasharray=\"2 6\" \
                 stroke-linecap=\"round\"/>",
                x(side)
            )?;
        }
        self.way(&story.stages, story.fired)?;
        for (index, stage) in story.stages.iter().enumerate() {
            for side in [Side::Value, Side::Failure] {
                if stage.handles(side) {
                    self.stage(index, stage, side)?;
                }
            }
            if let Some(waited_on) = &stage.waited_on {
                let what = waited_on.name.clone().unwrap_or_else(|| format!("#{}", waited_on.id));
                let verb = if record.came_out(index).is_some() { "waited for" } else { "waits for" };
                let at = (WIDTH / 2, y(index) + BOX.1 / 2 + 17);
                self.text(
                    at,
                    11,
                    INK,
                    "400",
                    &format!("{verb} {what}, made at {}", place(waited_on.made_at)),
                )?;
            }
        }
        self.svg.push_str("</svg>\n");
        Ok(())
    }

    /// The line from stage to stage, as far as the result has come.
    fn way(&mut self, stages: &[Stage], fired: Option<Side>) -> std::fmt::Result {
        let Some(mut side) = fired else {
            return self.text((WIDTH / 2, TOP - 40), 11, PALE, "400", "not fired");
        };
        let mut from = TOP - 46;
        self.dot(side, from)?;
        for (index, stage) in stages.iter().enumerate() {
            let Some(entered) = stage.entered else { break };
            self.line(side, from, entered, y(index))?;
            from = y(index);
            match self.record.came_out(index) {
                Some(out) => side = out,
                // It waits here.
                None => return Ok(()),
            }
            // A change of sides is drawn below the stage that made it.
            if side != entered {
                let below = from + ROW - BOX.1 / 2 - 6;
                self.line(entered, from, side, below)?;
                from = below;
            }
        }
        if stages.last().is_none_or(|stage| stage.entered.is_some()) {
            let end = y(stages.len()) - 16;
            self.line(side, from, side, end)?;
            self.dot(side, end)?;
        }
        Ok(())
    }

    fn line(&mut self, from: Side, top: i32, to: Side, bottom: i32) -> std::fmt::Result {
        let (x0, x1) = (x(from), x(to));
        let start = if x0 == x1 { top } else { top + BOX.1 / 2 };
        let middle = (start + bottom) / 2;
        write!(self.svg, "<path d=\"M{x0} {top}V{start}C{x0} {middle} {x1} {middle} {x1} {bottom}\" ")?;
        writeln!(
            self.svg,
            "fill=\"none\" stroke=\"{}\" stroke-width=\"4\" stroke-linecap=\"round\"/>",
            color(to)
        )
    }

    fn dot(&mut self, side: Side, at: i32) -> std::fmt::Result {
        writeln!(self.svg, "<circle cx=\"{}\" cy=\"{at}\" r=\"6\" fill=\"{}\"/>", x(side), color(side))
    }

    /// The box of a function, filled if it ran.
    fn stage(&mut self, index: usize, stage: &Stage, side: Side) -> std::fmt::Result {
        let ran = stage.entered == Some(side);
        let (fill, edge, ink, faint) = match (ran, side) {
            (true, Side::Value) => (GREEN, GREEN, "#ffffff", "#d8f3e6"),
            (true, Side::Failure) => (RED, RED, "#ffffff", "#fbdfe3"),
            (false, _) => ("#ffffff", LINE, PALE, PALE),
        };
        let (left, top) = (x(side) - BOX.0 / 2, y(index) - BOX.1 / 2);
        writeln!(
            self.svg,
            "<rect x=\"{left}\" y=\"{top}\" width=\"{}\" height=\"{}\" rx=\"9\" fill=\"{fill}\" \
             stroke=\"{edge}\" stroke-width=\"1.5\"/>",
            BOX.0, BOX.1
        )?;
        let kind = match stage.kind {
            Kind::Callback => "callback",
            Kind::Errback => "errback",
            Kind::Callbacks if side == Side::Value => "callback",
            Kind::Callbacks => "errback",
            Kind::Both => "both",
        };
        let name = stage.name.as_deref().unwrap_or(kind);
        self.text((x(side), y(index) - 3), 13, ink, "600", &short(name, 24))?;
        self.text((x(side), y(index) + 14), 10, faint, "400", &short(&place(stage.added_at), 32))
    }

    fn text(&mut self, at: (i32, i32), size: i32, fill: &str, weight: &str, text: &str) -> std::fmt::Result {
        let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        writeln!(
            self.svg,
            "<text x=\"{}\" y=\"{}\" font-size=\"{size}\" font-weight=\"{weight}\" fill=\"{fill}\">{escaped}</text>",
            at.0, at.1
        )
    }
}

/// The file's own name and the line.
fn place(location: &Location<'_>) -> String {
    let file = location.file();
    format!("{}:{}", file.rsplit(['/', '\\']).next().unwrap_or(file), location.line())
}

fn short(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    text.chars().take(length - 1).chain(['…']).collect()
}
