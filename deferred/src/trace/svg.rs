//! A ladder as a picture: the two ladders that a result climbs down.

use std::fmt::Write;

use super::ladder::{Ladder, LadderStage, StageResult};
use super::paint::{breadth_of, cut, escape, place, short, style};
use super::{Moment, Side, StageKind};

mod beside;

const WIDTH: i32 = 592;
/// What a column for awaited Deferreds and members adds.
const BESIDE: i32 = 270;
const TOP: i32 = 116;
const GAP: i32 = 54;
const BOX: (i32, i32) = (248, 46);
/// The distance from the start mark to the first box.
const START: i32 = 30;
/// The height of each further line of text in a box.
const LINE: i32 = 16;
const COLUMN: [i32; 2] = [150, 442];
/// The height below the end mark: its word, and the legend.
const FOOT: i32 = 70;
/// Members of a list that are drawn.
const MEMBERS: usize = 12;

impl Ladder {
    /// Draws the ladder as an SVG document: callbacks on the left, errbacks on the right, and the way of the result
    /// between them.
    ///
    /// A dot marks the start and a square the end of the way; a ring marks where the result waits. Filled boxes have
    /// run. A legend below explains these. Boxes that a line joins are the two functions of one stage. The Deferred
    /// that a stage waits for, and the members of a list, stand beside the ladder. Text that is too long is cut, and
    /// complete in a tooltip. The colors follow the reader's light or dark color scheme.
    pub fn svg(&self) -> String {
        self.draw(false)
    }

    /// As [`svg`](Ladder::svg), for a page that plays a recording: elements carry the steps at which they appear and go.
    /// The page has the style sheet.
    #[doc(hidden)]
    pub fn svg_with_steps(&self) -> String {
        self.draw(true)
    }

    fn draw(&self, steps: bool) -> String {
        let mut picture = Picture { svg: String::new(), ladder: self, steps };
        // Writing to a string cannot fail.
        let _ = picture.draw();
        picture.svg
    }
}

struct Picture<'a> {
    svg: String,
    ladder: &'a Ladder,
    steps: bool,
}

/// Where a stage is: its boxes, and what stands beside it.
#[derive(Clone, Copy)]
struct Row {
    top: i32,
    bottom: i32,
}

/// Size, class, weight and anchor of a text.
#[derive(Clone, Copy)]
struct Style(i32, &'static str, i32, Anchor);

#[derive(Clone, Copy)]
enum Anchor {
    Start,
    Middle,
    End,
}

/// When something appears and when it goes.
type Span = (Option<Moment>, Option<Moment>);

const ALWAYS: Span = (None, None);

fn x(side: Side) -> i32 {
    COLUMN[usize::from(side == Side::Errbacks)]
}

/// One of two classes, by side.
fn by(side: Side, value: &'static str, failure: &'static str) -> &'static str {
    if side == Side::Callbacks { value } else { failure }
}

fn box_height(stage: &LadderStage) -> i32 {
    let panicked = stage.left.as_ref().is_some_and(|left| left.came.panicked);
    BOX.1 + LINE * (i32::from(stage.wait.is_some()) + i32::from(panicked))
}

/// The height of the box for an awaited Deferred.
fn beside_height(inner: Option<&Ladder>) -> i32 {
    let lines = inner.map_or(1, |inner| 3 + inner.stages.len() + usize::from(inner.forgotten > 0));
    14 + LINE * i32::try_from(lines).unwrap_or(1)
}

impl Picture<'_> {
    fn draw(&mut self) -> std::fmt::Result {
        let ladder = self.ladder;
        let has_members = ladder.member_count > 0;
        let beside = has_members || ladder.stages.iter().any(|stage| stage.wait.is_some());
        let width = WIDTH + if beside { BESIDE } else { 0 };
        let members = ladder.members.len().min(MEMBERS);
        let members_height = 14 + LINE * (i32::try_from(members).unwrap_or(0) + 2);
        let (rows, end) = self.rows(if has_members { 60 + members_height + 14 } else { TOP });
        let height = end + FOOT;
        write!(
            self.svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"tw-ladder\" role=\"img\" viewBox=\"0 0 {width} {height}\" \
             width=\"{width}\" height=\"{height}\" font-family=\"system-ui, sans-serif\">\n\
             <title>The path of {}</title>\n<desc>{}</desc>\n",
            escape(&ladder.title()),
            escape(&ladder.to_string())
        )?;
        if !self.steps {
            self.svg.push_str(&style());
        }
        self.svg.push_str("<rect class=\"tw-bg\" width=\"100%\" height=\"100%\"/>\n");
        let middle = Anchor::Middle;
        self.text((WIDTH / 2, 30), WIDTH - 40, Style(17, "tw-ink", 600, middle), &ladder.title(), ALWAYS)?;
        let made_at =
            ladder.made_at.map_or_else(String::new, |made_at| format!("made at {}", place(made_at)));
        self.text((WIDTH / 2, 49), WIDTH - 40, Style(11, "tw-mut", 400, middle), &made_at, ALWAYS)?;
        for (side, heading) in [(Side::Callbacks, "callbacks"), (Side::Errbacks, "errbacks")] {
            let style = Style(12, by(side, "tw-vt", "tw-ft"), 600, middle);
            self.text((x(side), 71), BOX.0, style, heading, ALWAYS)?;
            let from = TOP - 26;
            writeln!(
                self.svg,
                "<path class=\"tw-line\" d=\"M{0} {from}V{end}\" stroke-width=\"2\" stroke-dasharray=\"1 6\" \
                 stroke-linecap=\"round\"/>",
                x(side)
            )?;
        }
        if ladder.forgotten > 0 {
            let text = format!("{} earlier stages are not shown", ladder.forgotten);
            self.text((WIDTH / 2, 90), BOX.0, Style(11, "tw-mut", 400, middle), &text, ALWAYS)?;
        }
        self.joins(&rows)?;
        if has_members {
            self.members(60, members_height, rows.first().map_or(end, |row| row.top) - START)?;
        }
        let rings = self.way(&rows, end)?;
        for (stage, row) in ladder.stages.iter().zip(&rows) {
            for side in [Side::Callbacks, Side::Errbacks] {
                if stage.kind.handles(side) {
                    self.stage(stage, *row, side)?;
                }
            }
        }
        for (stage, row) in ladder.stages.iter().zip(&rows) {
            self.awaited(stage, *row)?;
        }
        for (side, at, span) in &rings {
            self.ring(*side, *at, *span)?;
        }
        self.legend(height - 16, !rings.is_empty())?;
        self.svg.push_str("</svg>\n");
        Ok(())
    }

    /// The rows from the top down, and the place of the end mark.
    fn rows(&self, mut top: i32) -> (Vec<Row>, i32) {
        let rows = self.ladder.stages.iter().map(|stage| {
            let bottom = top + box_height(stage);
            let row = Row { top, bottom };
            let beside = stage.wait.as_ref().map_or(0, |wait| beside_height(wait.inner.as_deref()) + 10);
            top = (bottom + GAP).max(top + beside);
            row
        });
        let rows = rows.collect();
        (rows, top)
    }

    /// The lines between the two functions of one stage.
    fn joins(&mut self, rows: &[Row]) -> std::fmt::Result {
        for (stage, row) in self.ladder.stages.iter().zip(rows) {
            if stage.kind.handles(Side::Callbacks) && stage.kind.handles(Side::Errbacks) {
                let (at, [left, right]) = (row.top + BOX.1 / 2, COLUMN);
                let span = self.span((stage.added, None));
                writeln!(
                    self.svg,
                    "<path class=\"tw-line\"{span} d=\"M{left} {at}H{right}\" stroke-width=\"2\"/>"
                )?;
            }
        }
        Ok(())
    }

    /// The line from stage to stage, as far as the result has come. Returns the places where it waits; on a page that
    /// plays a recording, also those where it waited.
    fn way(&mut self, rows: &[Row], end: i32) -> Result<Vec<(Side, i32, Span)>, std::fmt::Error> {
        let ladder = self.ladder;
        let mut rings = Vec::new();
        let start = rows.first().map_or(end, |row| row.top) - START;
        let fired = ladder.fired.as_ref();
        let (first, at) = match (fired, ladder.stages.first().and_then(|stage| stage.entered)) {
            (Some(fired), _) => (fired.side(), fired.at),
            // The recording has forgotten the rest.
            (None, Some((side, at))) => (side, at),
            (None, None) => {
                let text = if ladder.member_count > 0 { "waits for its members" } else { "not fired" };
                let style = Style(11, "tw-mut", 400, Anchor::Middle);
                self.text((WIDTH / 2, start + 4), 180, style, text, ALWAYS)?;
                return Ok(rings);
            }
        };
        if self.steps {
            let style = Style(11, "tw-mut", 400, Anchor::Middle);
            self.text((WIDTH / 2, start + 4), 180, style, "not fired", (None, at))?;
        }
        let (mut side, mut from, mut at) = (first, start, at);
        self.start(first, start, at)?;
        if let Some(fired) = fired {
            let after = match (fired.at, ladder.made) {
                (Some(fired), Some(made)) if fired.time > made.time => {
                    format!("after {}", short(fired.time - made.time))
                }
                _ => String::new(),
            };
            let text = [fired.text().unwrap_or_default(), &after].join("  ");
            self.beside_rail(first, start + 4, text.trim(), fired.at)?;
        }
        for (index, (stage, row)) in ladder.stages.iter().zip(rows).enumerate() {
            let Some((entered, entered_at)) = stage.entered else { return Ok(rings) };
            at = entered_at;
            self.line(entered, from, row.bottom, at)?;
            if stage.kind.handles(entered) {
                self.arrow(entered, row.top, at)?;
            }
            from = row.bottom;
            let left = stage.left.as_ref();
            let left_at = left.and_then(|left| left.at);
            let waits_at = stage.wait.as_ref().and_then(|wait| wait.at);
            match ladder.came_out(index) {
                Some(out) => side = out,
                None => {
                    rings.push((entered, row.bottom, (waits_at.or(entered_at), None)));
                    return Ok(rings);
                }
            }
            if self.steps && waits_at.is_some() {
                rings.push((entered, row.bottom, (waits_at, left_at)));
            }
            let next = rows.get(index + 1).map_or(end, |next| next.top);
            let text = left.filter(|_| stage.ran()).and_then(StageResult::text).unwrap_or_default();
            // A change of sides is drawn below the stage that made it.
            if side != entered {
                from = next - 8;
                self.crossing(entered, row.bottom, side, from, left_at)?;
                self.on_crossing(side, (row.bottom + from) / 2, text, left_at)?;
            } else {
                self.beside_rail(side, row.bottom + GAP / 2 + 3, text, left_at)?;
            }
            at = left_at;
        }
        self.line(side, from, end, at)?;
        self.end(side, end, at)?;
        Ok(rings)
    }

    /// The value or the error that changes sides, on an opaque ground.
    fn on_crossing(&mut self, side: Side, y: i32, text: &str, at: Option<Moment>) -> std::fmt::Result {
        if text.is_empty() {
            return Ok(());
        }
        let (x, widest) = ((COLUMN[0] + COLUMN[1]) / 2, 280);
        let width = ((breadth_of(text) * 11.0) as i32 + 14).min(widest);
        let span = self.span((at, None));
        writeln!(
            self.svg,
            "<rect class=\"tw-bg\"{span} x=\"{}\" y=\"{}\" width=\"{width}\" height=\"24\" rx=\"4\"/>",
            x - width / 2,
            y - 12
        )?;
        let style = Style(11, by(side, "tw-vt", "tw-ft"), 600, Anchor::Middle);
        self.text((x, y + 4), widest - 10, style, text, (at, None))
    }

    /// The value or the error that is on its way, on the inner side of its rail.
    fn beside_rail(&mut self, side: Side, y: i32, text: &str, at: Option<Moment>) -> std::fmt::Result {
        let (x, anchor) = match side {
            Side::Callbacks => (x(side) + 13, Anchor::Start),
            Side::Errbacks => (x(side) - 13, Anchor::End),
        };
        let style = Style(11, by(side, "tw-vt tw-halo", "tw-ft tw-halo"), 600, anchor);
        self.text((x, y), 250, style, text, (at, None))
    }

    fn start(&mut self, side: Side, at: i32, moment: Option<Moment>) -> std::fmt::Result {
        let (x, span) = (x(side), self.span((moment, None)));
        writeln!(
            self.svg,
            "<circle class=\"{} tw-start\"{span} cx=\"{x}\" cy=\"{at}\" r=\"7\"/>",
            by(side, "tw-v", "tw-f")
        )
    }

    fn end(&mut self, side: Side, at: i32, moment: Option<Moment>) -> std::fmt::Result {
        let (x, span) = (x(side), self.span((moment, None)));
        self.arrow(side, at, moment)?;
        writeln!(
            self.svg,
            "<rect class=\"{} tw-end\"{span} x=\"{}\" y=\"{at}\" width=\"14\" height=\"14\"/>",
            by(side, "tw-v", "tw-f"),
            x - 7
        )?;
        let word = if side == Side::Callbacks { "a value" } else { "a failure" };
        let style = Style(11, by(side, "tw-vt", "tw-ft"), 600, Anchor::Middle);
        self.text((x, at + 30), BOX.0, style, word, (moment, None))
    }

    fn ring(&mut self, side: Side, at: i32, span: Span) -> std::fmt::Result {
        let (x, span) = (x(side), self.span(span));
        writeln!(
            self.svg,
            "<circle class=\"{} tw-ring\"{span} cx=\"{x}\" cy=\"{at}\" r=\"7\" stroke-width=\"3\"/>",
            by(side, "tw-vr", "tw-fr")
        )
    }

    fn line(&mut self, side: Side, top: i32, bottom: i32, at: Option<Moment>) -> std::fmt::Result {
        let (x, class, span) = (x(side), by(side, "tw-vl", "tw-fl"), self.span((at, None)));
        writeln!(self.svg, "<path class=\"{class}\"{span} d=\"M{x} {top}V{bottom}\" stroke-width=\"4\"/>")
    }

    /// An arrowhead that points down at this place.
    fn arrow(&mut self, side: Side, tip: i32, at: Option<Moment>) -> std::fmt::Result {
        let (x, class, span) = (x(side), by(side, "tw-v", "tw-f"), self.span((at, None)));
        writeln!(
            self.svg,
            "<path class=\"{class} tw-arrow\"{span} d=\"M{} {top}L{} {top}L{x} {tip}Z\"/>",
            x - 8,
            x + 8,
            top = tip - 11
        )
    }

    fn crossing(
        &mut self,
        from: Side,
        top: i32,
        to: Side,
        bottom: i32,
        at: Option<Moment>,
    ) -> std::fmt::Result {
        let (x0, x1, class, span) = (x(from), x(to), by(to, "tw-vl", "tw-fl"), self.span((at, None)));
        let middle = (top + bottom) / 2;
        writeln!(
            self.svg,
            "<path class=\"{class}\"{span} d=\"M{x0} {top}C{x0} {middle} {x1} {middle} {x1} {bottom}\" stroke-width=\"4\"/>"
        )
    }

    /// The box of a function, filled if it ran.
    fn stage(&mut self, stage: &LadderStage, row: Row, side: Side) -> std::fmt::Result {
        let entered = stage.entered.filter(|(entered, _)| *entered == side);
        let appears = if self.steps { stage.added } else { None };
        if entered.is_none() || self.steps {
            self.stage_box(stage, row, side, false, (appears, None))?;
        }
        if let Some((_, at)) = entered {
            self.stage_box(stage, row, side, true, (at, None))?;
        }
        Ok(())
    }

    fn stage_box(
        &mut self,
        stage: &LadderStage,
        row: Row,
        side: Side,
        ran: bool,
        span: Span,
    ) -> std::fmt::Result {
        let class = if ran { by(side, "tw-v", "tw-f") } else { "tw-box" };
        let (strong, faint) = if ran { ("tw-on", "tw-on") } else { ("tw-mut", "tw-mut") };
        let (center, left, width) = (x(side), x(side) - BOX.0 / 2, BOX.0 - 16);
        let panicked = ran && stage.left.as_ref().is_some_and(|left| left.came.panicked);
        writeln!(
            self.svg,
            "<rect class=\"{class}\"{} x=\"{left}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"9\" stroke-width=\"1.5\"/>",
            self.span(span),
            row.top,
            BOX.0,
            row.bottom - row.top
        )?;
        let kind = match stage.kind {
            StageKind::Callbacks if side == Side::Errbacks => "errback",
            StageKind::Callbacks => "callback",
            kind => kind.word(),
        };
        let name = stage.name.as_deref().unwrap_or(kind);
        let middle = Anchor::Middle;
        self.text((center, row.top + 20), width, Style(13, strong, 600, middle), name, span)?;
        let added_at = place(stage.added_at);
        self.text((center, row.top + 37), width, Style(11, faint, 400, middle), &added_at, span)?;
        let mut y = row.top + 37 + LINE;
        if let Some(wait) = stage.wait.as_ref().filter(|_| ran) {
            let left_at = stage.left.as_ref().and_then(|left| left.at);
            let style = Style(11, strong, 600, middle);
            let done = self.ladder.stages.iter().position(|other| std::ptr::eq(other, stage));
            let done = done.and_then(|index| self.ladder.came_out(index)).is_some();
            if !done || self.steps {
                self.text(
                    (center, y),
                    width,
                    style,
                    &format!("waits for {}", wait.title()),
                    (wait.at, left_at),
                )?;
            }
            if done {
                let waited = match stage.waited() {
                    Some(waited) => format!("waited {} for {}", short(waited), wait.title()),
                    None => format!("waited for {}", wait.title()),
                };
                self.text((center, y), width, style, &waited, (left_at, None))?;
            }
            y += LINE;
        }
        if panicked {
            let at = stage.left.as_ref().and_then(|left| left.at);
            self.text((center, y), width, Style(11, strong, 700, middle), "\u{26a0} panicked", (at, None))?;
        }
        Ok(())
    }

    /// A line of text, cut to a width.
    fn text(&mut self, at: (i32, i32), width: i32, style: Style, text: &str, span: Span) -> std::fmt::Result {
        if text.is_empty() {
            return Ok(());
        }
        let Style(size, class, weight, anchor) = style;
        let ems = f64::from(width) / f64::from(size) * if weight > 400 { 1.0 } else { 1.1 };
        let shown = cut(text, ems);
        let title = if shown == text { String::new() } else { format!("<title>{}</title>", escape(text)) };
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        writeln!(
            self.svg,
            "<text class=\"{class}\"{} x=\"{}\" y=\"{}\" font-size=\"{size}\" font-weight=\"{weight}\" \
             text-anchor=\"{anchor}\">{title}{}</text>",
            self.span(span),
            at.0,
            at.1,
            escape(&shown)
        )
    }

    /// The attributes that tell a page when to show an element.
    fn span(&self, (from, until): Span) -> String {
        let attribute = |name: &str, moment: Option<Moment>| {
            moment.map_or_else(String::new, |moment| format!(" data-{name}=\"{}\"", moment.step))
        };
        if self.steps { attribute("at", from) + &attribute("until", until) } else { String::new() }
    }
}
