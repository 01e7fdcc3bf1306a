//! The parts of a picture beside and below a ladder: awaited Deferreds, the members of a list, the legend.

use std::fmt::Write;

use super::super::Side;
use super::super::ladder::{LadderStage, StageResult};
use super::super::paint::{breadth_of, place};
use super::{
    ALWAYS, Anchor, BESIDE, BOX, COLUMN, LINE, MEMBERS, Picture, Row, Span, Style, WIDTH, beside_height, by,
    x,
};

impl Picture<'_> {
    /// The Deferred that a stage waits for, beside it.
    pub(super) fn awaited(&mut self, stage: &LadderStage, row: Row) -> std::fmt::Result {
        let (Some(wait), Some((side, _))) = (&stage.wait, stage.entered) else { return Ok(()) };
        let inner = wait.inner.as_deref();
        let height = beside_height(inner);
        let (left, span) = (WIDTH - 4, (wait.at, None));
        let (y, from) = (row.top + 14, x(side) + BOX.0 / 2);
        self.panel((left, row.top), (BESIDE - 12, height), span)?;
        let at = self.span(span);
        writeln!(
            self.svg,
            "<path class=\"tw-line\"{at} d=\"M{from} {y}H{left}\" stroke-width=\"2\" stroke-dasharray=\"5 4\"/>"
        )?;
        let left_at = stage.left.as_ref().and_then(|left| left.at);
        if stage.left.is_none() || self.steps {
            let (class, at) = (by(side, "tw-v", "tw-f"), self.span((wait.at, left_at)));
            writeln!(self.svg, "<path class=\"{class} tw-arrow\"{at} d=\"M{left} {y}l-11 -7v14Z\"/>")?;
        }
        if let Some(result) = &stage.left {
            // The result has come back.
            let (class, at) = (by(result.side(), "tw-v", "tw-f"), self.span((left_at, None)));
            writeln!(self.svg, "<path class=\"{class} tw-arrow\"{at} d=\"M{from} {y}l11 -7v14Z\"/>")?;
        }
        let (text, mut y) = (left + 14, row.top + 20);
        let start = Anchor::Start;
        let Some(inner) = inner else {
            return self.text((text, y), 220, Style(12, "tw-ink", 600, start), &wait.title(), span);
        };
        self.text((text, y), 220, Style(12, "tw-ink", 600, start), &inner.title(), span)?;
        y += LINE;
        if let Some(made_at) = inner.made_at {
            let made_at = format!("made at {}", place(made_at));
            self.text((text, y), 236, Style(11, "tw-mut", 400, start), &made_at, span)?;
            y += LINE;
        }
        if inner.forgotten > 0 {
            let more = format!("{} stages before", inner.forgotten);
            self.text((text, y), 230, Style(11, "tw-mut", 400, start), &more, span)?;
            y += LINE;
        }
        for stage in &inner.stages {
            let name = stage.name.as_deref().unwrap_or(stage.kind.word());
            let ran = stage.entered.filter(|_| stage.ran());
            self.mark(
                (text + 5, y - 4),
                span,
                ran.map(|(side, _)| side),
                ran.map_or(span, |(_, at)| (at, None)),
            )?;
            self.text((text + 18, y), 200, Style(11, "tw-ink", 400, start), name, span)?;
            y += LINE;
        }
        let outcome = inner.outcome();
        let at = outcome.and_then(|outcome| outcome.at);
        if outcome.is_none() || self.steps && at > wait.at {
            self.text((text, y), 230, Style(11, "tw-mut", 600, start), "not fired", (wait.at, at))?;
        }
        let Some(outcome) = outcome else { return Ok(()) };
        let class = by(outcome.side(), "tw-vt", "tw-ft");
        let told = outcome.text().unwrap_or(outcome.side().word());
        self.text((text, y), 230, Style(11, class, 600, start), told, (at.max(wait.at), None))
    }

    /// The members of a list, beside the start, and a line from there to the start. The text of the start is beside
    /// it, so the line arrives from above.
    pub(super) fn members(&mut self, top: i32, height: i32, start: i32) -> std::fmt::Result {
        let ladder = self.ladder;
        let left = WIDTH - 4;
        self.panel((left, top), (BESIDE - 12, height), ALWAYS)?;
        let (x, class) = match &ladder.fired {
            Some(fired) => (x(fired.side()), by(fired.side(), "tw-v", "tw-f")),
            None => (WIDTH / 2, "tw-mut"),
        };
        let (y, tip) = (start - 24, start - 9);
        let fired_at = ladder.fired.as_ref().and_then(|fired| fired.at);
        let span = self.span((fired_at, None));
        writeln!(
            self.svg,
            "<path class=\"tw-line\" d=\"M{left} {y}H{x}V{tip}\" stroke-width=\"2\" stroke-dasharray=\"5 4\"/>\n\
             <path class=\"{class} tw-arrow\"{span} d=\"M{} {top}H{}L{x} {tip}Z\"/>",
            x - 6,
            x + 6,
            top = tip - 8,
        )?;
        let (text, mut y) = (left + 14, top + 20);
        let heading = format!("{} members", ladder.member_count);
        self.text((text, y), 220, Style(12, "tw-ink", 600, Anchor::Start), &heading, ALWAYS)?;
        for member in ladder.members.iter().take(MEMBERS) {
            y += LINE;
            let outcome = member.outcome.as_ref();
            let at = outcome.and_then(|outcome| outcome.at);
            self.mark((text + 5, y - 4), ALWAYS, outcome.map(StageResult::side), (at, None))?;
            let style = Style(11, "tw-ink", 400, Anchor::Start);
            if outcome.is_none() || self.steps {
                let waiting = format!("{} (waiting)", member.title());
                self.text((text + 18, y), 214, style, &waiting, (None, at))?;
            }
            let Some(outcome) = outcome else { continue };
            let told = match outcome.text() {
                Some(text) => format!("{}: {text}", member.title()),
                None => member.title(),
            };
            self.text((text + 18, y), 214, style, &told, (at, None))?;
        }
        match ladder.member_count.saturating_sub(MEMBERS.min(ladder.members.len())) {
            0 => Ok(()),
            more => {
                let style = Style(11, "tw-mut", 400, Anchor::Start);
                self.text((text, y + LINE), 220, style, &format!("and {more} more"), ALWAYS)
            }
        }
    }

    fn panel(&mut self, (x, y): (i32, i32), (width, height): (i32, i32), span: Span) -> std::fmt::Result {
        let span = self.span(span);
        writeln!(
            self.svg,
            "<rect class=\"tw-panel\"{span} x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>"
        )
    }

    /// A small dot that appears with `appears`, empty, and is filled for a side with `span`.
    fn mark(
        &mut self,
        (x, y): (i32, i32),
        appears: Span,
        side: Option<Side>,
        span: Span,
    ) -> std::fmt::Result {
        if side.is_none() || self.steps {
            let appears = self.span(appears);
            writeln!(
                self.svg,
                "<circle class=\"tw-box\"{appears} cx=\"{x}\" cy=\"{y}\" r=\"4.5\" stroke-width=\"1.5\"/>"
            )?;
        }
        let Some(side) = side else { return Ok(()) };
        let (class, span) = (by(side, "tw-v", "tw-f"), self.span(span));
        writeln!(
            self.svg,
            "<circle class=\"{class}\"{span} cx=\"{x}\" cy=\"{y}\" r=\"4.5\" stroke-width=\"1.5\"/>"
        )
    }

    /// The meaning of the marks.
    pub(super) fn legend(&mut self, y: i32, rings: bool) -> std::fmt::Result {
        let middle = y - 4;
        let box_at = |x: i32, class: &str| {
            format!(
                "<rect class=\"{class}\" x=\"{x}\" y=\"{}\" width=\"18\" height=\"11\" rx=\"3\" stroke-width=\"1.5\"/>",
                middle - 6
            )
        };
        let mut x = COLUMN[0] - BOX.0 / 2;
        let texts = ["fired", "end", "waits here", "ran", "skipped, or not reached"];
        for (index, text) in texts.into_iter().enumerate().filter(|(index, _)| *index != 2 || rings) {
            let mark = match index {
                0 => format!("<circle class=\"tw-mut\" cx=\"{}\" cy=\"{middle}\" r=\"5.5\"/>", x + 6),
                1 => format!(
                    "<rect class=\"tw-mut\" x=\"{x}\" y=\"{}\" width=\"11\" height=\"11\"/>",
                    middle - 6
                ),
                2 => format!(
                    "<circle class=\"tw-box\" cx=\"{}\" cy=\"{middle}\" r=\"5\" stroke-width=\"2.5\"/>",
                    x + 6
                ),
                3 => box_at(x, "tw-mut"),
                _ => box_at(x, "tw-box"),
            };
            writeln!(self.svg, "{mark}")?;
            x += if index < 3 { 17 } else { 24 };
            self.text((x, y), WIDTH, Style(11, "tw-mut", 400, Anchor::Start), text, ALWAYS)?;
            x += (breadth_of(text) * 10.0) as i32 + 14;
        }
        Ok(())
    }
}
