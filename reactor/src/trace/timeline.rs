//! The turns of a recording as a picture.

use std::fmt::Write;
use std::time::Duration;

use twistor_deferred::trace::paint::{breadth_of, cut, escape, style};

use super::runs::{CallbackRun, TurnRun, sentence, turns};
use super::{CallbackKind, Recording};

const WIDTH: f64 = 1120.0;
/// The left end of the bars, right of the names of the rows.
const LEFT: f64 = 150.0;
const ROW: f64 = 34.0;
const BAR: f64 = 18.0;
/// The space above the rows of a strip, for the numbers of the turns, and below, for times.
const HEAD: f64 = 26.0;
const FOOT: f64 = 34.0;
/// The number of callbacks that are drawn, counted from the end; with fewer than `LABELS`, each has its name.
const CALLBACKS: usize = 600;
const LABELS: usize = 80;

const ROWS: [(Option<CallbackKind>, &str); 6] = [
    (None, "wait"),
    (Some(CallbackKind::Source), "sources"),
    (Some(CallbackKind::RemoteCall), "calls from threads"),
    (Some(CallbackKind::Timer), "timers"),
    (Some(CallbackKind::Task), "tasks"),
    (Some(CallbackKind::Phase), "startup, shutdown"),
];

impl Recording {
    /// Returns the turns as an SVG document: a row for each kind of callback, in the order in which a turn runs
    /// them, with a bar for each callback, and the waits in between.
    ///
    /// The length of a bar is logarithmic, so that a microsecond and a second both show. A bar is red if the
    /// callback took a millisecond or longer and the next one began without a wait: others waited for it. Each bar
    /// has a tooltip with its place and duration. A long recording is cut to its last 600 callbacks.
    pub fn timeline(&self) -> String {
        let entries = self.entries();
        let turns = without_idle(turns(&entries));
        let mut picture = Timeline { svg: String::new(), strips: Vec::new(), labels: true };
        // Writing to a string cannot fail.
        let _ = picture.draw(&turns, self.forgotten() > 0);
        picture.svg
    }
}

/// The turns in which something ran, and the last one. Waits of the others count for the next turn.
fn without_idle(turns: Vec<TurnRun>) -> Vec<TurnRun> {
    let mut kept: Vec<TurnRun> = Vec::new();
    let (mut wait, last) = (None, turns.len().saturating_sub(1));
    for (index, mut turn) in turns.into_iter().enumerate() {
        let began = wait.take().or(turn.wait.map(|(from, _)| from));
        if turn.callbacks.is_empty() && index < last {
            wait = began;
            continue;
        }
        turn.wait = began.zip(turn.wait).map(|(from, (_, to))| (from, to));
        kept.push(turn);
    }
    kept
}

struct Timeline {
    svg: String,
    strips: Vec<Strip>,
    labels: bool,
}

/// A row of turns that fits the width.
struct Strip {
    turns: std::ops::Range<usize>,
}

/// Returns the length of a bar for a duration.
fn length(duration: Duration) -> f64 {
    let micros = duration.as_secs_f64() * 1e6;
    5.0 + 11.0 * (1.0 + micros).log10()
}

impl Timeline {
    fn draw(&mut self, turns: &[TurnRun], forgotten: bool) -> std::fmt::Result {
        let total: usize = turns.iter().map(|turn| turn.callbacks.len()).sum();
        self.labels = total <= LABELS;
        let (mut skipped, mut left_out) = (0, 0);
        for turn in turns {
            if total - left_out <= CALLBACKS {
                break;
            }
            skipped += 1;
            left_out += turn.callbacks.len();
        }
        let used = |kind: Option<CallbackKind>| match kind {
            None => true,
            Some(kind) => {
                turns.iter().any(|turn| turn.callbacks.iter().any(|callback| callback.kind == kind))
            }
        };
        let rows: Vec<_> = ROWS.iter().filter(|(kind, _)| used(*kind)).copied().collect();
        self.lay_out(turns, skipped);
        let strip_height = HEAD + ROW * rows.len() as f64 + FOOT;
        let height = 66.0 + strip_height * self.strips.len().max(1) as f64;
        let first = turns.get(skipped).map_or(0, |turn| turn.number);
        let last = turns.last();
        let time = last.map_or(Duration::ZERO, |turn| turn.ended.time);
        let last = last.map_or(0, |turn| turn.number);
        let blocking =
            turns.iter().flat_map(|turn| &turn.callbacks).filter(|callback| callback.blocks).count();
        let blocked = match blocking {
            0 => String::new(),
            1 => "; 1 callback kept others waiting".to_owned(),
            count => format!("; {count} callbacks kept others waiting"),
        };
        let lost = if forgotten || skipped > 0 { " (the last ones)" } else { "" };
        let summary =
            format!("Turns {first} to {last}{lost}: {total} callbacks in {}{blocked}.", short(time));
        write!(
            self.svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"tw-timeline\" role=\"img\" viewBox=\"0 0 {WIDTH} {height}\" \
             width=\"{WIDTH}\" height=\"{height}\" font-family=\"system-ui, sans-serif\" font-size=\"11\">\n\
             <title>The turns of a reactor</title>\n<desc>{}</desc>\n",
            escape(&summary)
        )?;
        self.svg.push_str(&style());
        self.svg.push_str("<rect class=\"tw-bg\" width=\"100%\" height=\"100%\"/>\n");
        writeln!(
            self.svg,
            "<text class=\"tw-ink\" x=\"16\" y=\"26\" font-size=\"15\" font-weight=\"600\">{}</text>\n\
             <text class=\"tw-mut\" x=\"16\" y=\"44\">Time goes from left to right. The length of a bar is the logarithm \
             of its time.</text>",
            escape(&summary)
        )?;
        let legend = [("tw-work", "callback"), ("tw-bad", "keeps others waiting"), ("tw-wait", "wait")];
        let mut x = WIDTH - 300.0;
        for (class, text) in legend {
            writeln!(
                self.svg,
                "<rect class=\"{class}\" x=\"{x}\" y=\"34\" width=\"12\" height=\"12\" rx=\"2\"/>\
                 <text class=\"tw-ink\" x=\"{}\" y=\"44\">{text}</text>",
                x + 17.0
            )?;
            x += 34.0 + 6.2 * text.len() as f64;
        }
        for (index, strip) in std::mem::take(&mut self.strips).into_iter().enumerate() {
            self.strip(&turns[strip.turns], 60.0 + strip_height * index as f64, &rows)?;
        }
        self.svg.push_str("</svg>\n");
        Ok(())
    }

    /// Distributes the turns over strips.
    fn lay_out(&mut self, turns: &[TurnRun], skipped: usize) {
        let (mut from, mut x) = (skipped, LEFT);
        for (index, turn) in turns.iter().enumerate().skip(skipped) {
            let width = self.turn_width(turn);
            if x + width > WIDTH - 10.0 && index > from {
                self.strips.push(Strip { turns: from..index });
                (from, x) = (index, LEFT);
            }
            x += width;
        }
        if from < turns.len() {
            self.strips.push(Strip { turns: from..turns.len() });
        }
    }

    fn turn_width(&self, turn: &TurnRun) -> f64 {
        let callbacks: f64 = turn.callbacks.iter().map(|callback| self.slot(callback)).sum();
        (length(turn.waited()) + callbacks + 14.0).max(58.0)
    }

    /// Returns the width of a callback: the larger of its bar and its name.
    fn slot(&self, callback: &CallbackRun) -> f64 {
        let bar = length(callback.took()) + 3.0;
        if self.labels { bar.max(breadth_of(&name_of(callback)) * 7.6 + 8.0) } else { bar }
    }

    fn strip(
        &mut self,
        turns: &[TurnRun],
        top: f64,
        rows: &[(Option<CallbackKind>, &str)],
    ) -> std::fmt::Result {
        let (first, bottom) = (top + HEAD, top + HEAD + ROW * rows.len() as f64);
        for (index, (_, name)) in rows.iter().enumerate() {
            let y = first + ROW * index as f64;
            writeln!(
                self.svg,
                "<text class=\"tw-ink\" x=\"16\" y=\"{}\" font-size=\"12\">{name}</text>\
                 <path class=\"tw-line\" d=\"M{LEFT} {base}H{}\" stroke-width=\"0.5\"/>",
                y + 15.0,
                WIDTH - 8.0,
                base = y + 2.0 + BAR,
            )?;
        }
        let mut x = LEFT;
        for turn in turns {
            let width = self.turn_width(turn);
            // A turn with a long name may be wider than a strip.
            writeln!(
                self.svg,
                "<path class=\"tw-line\" d=\"M{x} {}V{}\" stroke-width=\"1\" stroke-dasharray=\"2 3\"/>\
                 <text class=\"tw-mut\" x=\"{}\" y=\"{}\">turn {}</text>",
                top + 8.0,
                bottom + 8.0,
                x + 4.0,
                top + 17.0,
                turn.number
            )?;
            let wait = length(turn.waited());
            if let Some((from, _)) = turn.wait.filter(|_| turn.waited() > Duration::ZERO) {
                writeln!(
                    self.svg,
                    "<rect class=\"tw-wait\" data-at=\"{}\" x=\"{}\" y=\"{}\" width=\"{wait:.1}\" height=\"{BAR}\" rx=\"3\">\
                     <title>waited {}, then {} sources were ready</title></rect>",
                    from.step,
                    x + 4.0,
                    first + 2.0,
                    short(turn.waited()),
                    turn.ready
                )?;
            }
            writeln!(
                self.svg,
                "<text class=\"tw-mut\" x=\"{}\" y=\"{}\">{}</text>",
                x + 4.0,
                bottom + 12.0,
                short(turn.began.time)
            )?;
            let mut at = x + 6.0 + wait;
            for callback in &turn.callbacks {
                let row = rows.iter().position(|(kind, _)| *kind == Some(callback.kind)).unwrap_or(0);
                self.callback(callback, at, first + ROW * row as f64)?;
                at += self.slot(callback);
            }
            x += width;
        }
        Ok(())
    }

    fn callback(&mut self, callback: &CallbackRun, x: f64, y: f64) -> std::fmt::Result {
        let class = if callback.blocks { "tw-bad" } else { "tw-work" };
        let number = if callback.number > 0 { format!(" {}", callback.number) } else { String::new() };
        let panicked = if callback.panicked { ", panicked" } else { "" };
        let blocks = if callback.blocks { ", and kept others waiting" } else { "" };
        writeln!(
            self.svg,
            "<rect class=\"{class}\" data-at=\"{}\" x=\"{x:.1}\" y=\"{}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"3\">\
             <title>{}{number}: {}, took {}{panicked}{blocks}</title></rect>",
            callback.began.step,
            y + 2.0,
            length(callback.took()),
            callback.kind,
            escape(&sentence(&callback.call_site)),
            short(callback.took()),
        )?;
        if callback.panicked {
            let middle = x + length(callback.took()) / 2.0;
            writeln!(
                self.svg,
                "<text class=\"tw-ft tw-halo\" x=\"{middle:.1}\" y=\"{}\" text-anchor=\"middle\">\u{26a0} panicked</text>",
                y - 2.0
            )?;
        }
        if self.labels {
            writeln!(
                self.svg,
                "<text class=\"tw-mut\" x=\"{x:.1}\" y=\"{}\" font-size=\"9.5\">{}</text>",
                y + BAR + 12.0,
                escape(&name_of(callback))
            )?;
        }
        Ok(())
    }
}

fn name_of(callback: &CallbackRun) -> String {
    let name = cut(&callback.label(), 18.0);
    match callback.took() {
        took if took >= Duration::from_millis(1) => format!("{name} {}", short(took)),
        _ => name,
    }
}

/// Returns a duration with three significant digits.
pub(super) fn short(duration: Duration) -> String {
    twistor_deferred::trace::paint::short(duration)
}
