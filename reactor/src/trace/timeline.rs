//! The turns of a recording as a picture.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::ops::Range;
use std::time::Duration;

use twistor_deferred::trace::Moment;
use twistor_deferred::trace::paint::{breadth_of, cut, cut_front, escape, style};

use super::runs::{CallbackRun, TurnRun, sentence, turns};
use super::{CallbackKind, Recording};
use crate::CallSite;

/// As wide as the text column of a README or a page, so that a browser does not shrink the text.
const WIDTH: f64 = 840.0;
/// The left end of the bars, right of the names of the rows.
const LEFT: f64 = 132.0;
const RIGHT: f64 = WIDTH - 10.0;
/// The top of the first strip, below the caption.
const TOP: f64 = 98.0;
const ROW: f64 = 36.0;
const BAR: f64 = 18.0;
/// The space above the rows of a strip, for the numbers of the turns, and below, for times.
const HEAD: f64 = 26.0;
const FOOT: f64 = 34.0;
/// The space left of the first bar of a turn.
const MARGIN: f64 = 6.0;
/// The number of callbacks that are drawn, counted from the end; with fewer than `LABELS`, each has its name.
const CALLBACKS: usize = 600;
const LABELS: usize = 80;
/// The heading of the rest of a turn, before its number.
const CONTINUED: &str = "more of ";
/// The breadth of a callback's name, at most.
const LABEL: f64 = 18.0;
/// The width of a name, at most, for each unit of its breadth: set normally, and set bold.
const EM: [f64; 2] = [9.1, 10.7];

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
    /// has a tooltip with its place and duration. Turns that do not fit beside each other continue in the next row of
    /// turns. A long recording is cut to its last 600 callbacks.
    pub fn timeline(&self) -> String {
        self.draw_timeline(false)
    }

    /// As [`timeline`](Recording::timeline); with `steps`, for a page, bars carry the steps at which they begin.
    pub(super) fn draw_timeline(&self, steps: bool) -> String {
        let entries = self.entries();
        let mut turns = without_idle(turns(&entries));
        let all = turns.iter().map(|turn| turn.callbacks.len()).sum();
        let skipped = skipped(&turns, all);
        turns.drain(..skipped);
        let mut picture = Timeline { svg: String::new(), turns, labels: all <= LABELS, steps };
        // Writing to a string cannot fail.
        let _ = picture.draw(self.forgotten() > 0 || skipped > 0);
        picture.svg
    }
}

/// The number of turns at the beginning that are not drawn.
fn skipped(turns: &[TurnRun], mut callbacks: usize) -> usize {
    let more = turns.iter().take_while(|turn| {
        let more = callbacks > CALLBACKS;
        callbacks -= turn.callbacks.len();
        more
    });
    // Of one turn with very many callbacks, all are drawn.
    more.count().min(turns.len().saturating_sub(1))
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
    turns: Vec<TurnRun>,
    labels: bool,
    steps: bool,
}

/// The part of a turn that is in one strip. Strips are the rows of turns, one below the other.
struct Piece {
    turn: usize,
    callbacks: Range<usize>,
    width: f64,
}

impl Piece {
    fn is_continued(&self) -> bool {
        self.callbacks.start > 0
    }
}

type Row = (Option<CallbackKind>, &'static str);

/// Returns the length of a bar for a duration.
fn length(duration: Duration) -> f64 {
    let micros = duration.as_secs_f64() * 1e6;
    5.0 + 11.0 * (1.0 + micros).log10()
}

impl Timeline {
    fn draw(&mut self, is_cut: bool) -> std::fmt::Result {
        let rows: Vec<Row> = ROWS.iter().filter(|(kind, _)| self.uses(*kind)).copied().collect();
        let strips = self.strips();
        let strip_height = HEAD + ROW * rows.len() as f64 + FOOT;
        let height = TOP + strip_height * strips.len().max(1) as f64;
        let summary = escape(&self.summary(is_cut));
        write!(
            self.svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"tw-timeline\" role=\"img\" viewBox=\"0 0 {WIDTH} {height}\" \
             width=\"{WIDTH}\" height=\"{height}\" font-family=\"system-ui, sans-serif\" font-size=\"11\">\n\
             <title>The turns of a reactor</title>\n<desc>{summary}</desc>\n"
        )?;
        self.svg.push_str(&style());
        self.svg.push_str("<rect class=\"tw-bg\" width=\"100%\" height=\"100%\"/>\n");
        writeln!(
            self.svg,
            "<text class=\"tw-ink\" x=\"16\" y=\"26\" font-size=\"15\" font-weight=\"600\">{summary}</text>\n\
             <text class=\"tw-mut\" x=\"16\" y=\"46\">Time runs from left to right, row by row. Below each turn is the time \
             at which it began. Turns in which nothing ran are left out.</text>\n\
             <text class=\"tw-mut\" x=\"16\" y=\"62\">A longer bar took longer, on a logarithmic scale: 10 times the time \
             adds the same length.</text>"
        )?;
        self.legend()?;
        for (index, strip) in strips.iter().enumerate() {
            self.strip(strip, TOP + strip_height * index as f64, &rows)?;
        }
        self.svg.push_str("</svg>\n");
        Ok(())
    }

    fn callbacks(&self) -> impl Iterator<Item = &CallbackRun> {
        self.turns.iter().flat_map(|turn| &turn.callbacks)
    }

    fn uses(&self, kind: Option<CallbackKind>) -> bool {
        kind.is_none_or(|kind| self.callbacks().any(|callback| callback.kind == kind))
    }

    fn summary(&self, is_cut: bool) -> String {
        let (Some(first), Some(last)) = (self.turns.first(), self.turns.last()) else {
            return "No turn was recorded.".to_owned();
        };
        let hosts: BTreeSet<_> = self.turns.iter().filter_map(|turn| turn.host).collect();
        let turns = match (first.number, last.number) {
            _ if !hosts.is_empty() => format!("Turns of {} reactors", hosts.len() + 1),
            (first, last) if first == last => format!("Turn {first}"),
            (first, last) => format!("Turns {first} to {last}"),
        };
        let (cut, began) = if is_cut { (", the last ones", first.began.time) } else { ("", Duration::ZERO) };
        let time = short(last.ended.time.saturating_sub(began));
        let blocked = match self.callbacks().filter(|callback| callback.blocks).count() {
            0 => String::new(),
            1 => "; 1 callback kept others waiting".to_owned(),
            count => format!("; {count} callbacks kept others waiting"),
        };
        let callbacks = match self.callbacks().count() {
            1 => "1 callback".to_owned(),
            count => format!("{count} callbacks"),
        };
        format!("{turns}{cut}: {callbacks} in {time}{blocked}.")
    }

    fn legend(&mut self) -> std::fmt::Result {
        let mut x = 16.0;
        let legend = [
            ("tw-wait", "wait"),
            ("tw-work", "callback"),
            ("tw-bad", "callback of 1ms or longer that kept others waiting"),
        ];
        for (class, text) in legend {
            writeln!(
                self.svg,
                "<rect class=\"{class}\" x=\"{x}\" y=\"74\" width=\"12\" height=\"12\" rx=\"2\"/>\
                 <text class=\"tw-ink\" x=\"{}\" y=\"84\">{text}</text>",
                x + 17.0
            )?;
            x += 40.0 + 6.6 * text.len() as f64;
        }
        Ok(())
    }

    /// Distributes the turns over strips. A turn that is too wide for one is continued in the next.
    fn strips(&self) -> Vec<Vec<Piece>> {
        let (mut strips, mut strip, mut x) = (Vec::new(), Vec::new(), LEFT);
        for (index, turn) in self.turns.iter().enumerate() {
            let mut from = 0;
            loop {
                let (piece, fits) = self.piece(index, turn, from, RIGHT - x);
                if !fits && !strip.is_empty() {
                    strips.push(std::mem::take(&mut strip));
                    x = LEFT;
                    continue;
                }
                (from, x) = (piece.callbacks.end, x + piece.width);
                strip.push(piece);
                if from >= turn.callbacks.len() {
                    break;
                }
            }
        }
        if !strip.is_empty() {
            strips.push(strip);
        }
        strips
    }

    /// Returns the part of a turn from a callback on, and whether it fits. Only a part that begins a strip is cut.
    fn piece(&self, index: usize, turn: &TurnRun, from: usize, space: f64) -> (Piece, bool) {
        let heading = if from > 0 { CONTINUED.len() } else { 0 };
        let heading = (heading + turn.name().len()) as f64 * 6.6 + 10.0;
        let mut width = MARGIN + if from > 0 { 0.0 } else { self.wait_slot(turn) };
        let mut end = from;
        for callback in &turn.callbacks[from..] {
            let wider = width + self.slot(callback);
            if wider + MARGIN > RIGHT - LEFT && end > from {
                break;
            }
            (width, end) = (wider, end + 1);
        }
        let width = (width + MARGIN).max(heading).max(58.0);
        (Piece { turn: index, callbacks: from..end, width }, width <= space)
    }

    fn wait_slot(&self, turn: &TurnRun) -> f64 {
        let label = self.wait_label(turn).map_or(0.0, |label| label.len() as f64 * 6.8 + 6.0);
        (length(turn.waited()) + 3.0).max(label)
    }

    /// The duration of a wait, if there is room for it and it is not a moment.
    fn wait_label(&self, turn: &TurnRun) -> Option<String> {
        (self.labels && turn.waited() >= Duration::from_millis(1)).then(|| short(turn.waited()))
    }

    /// Returns the width of a callback: the larger of its bar and its name.
    fn slot(&self, callback: &CallbackRun) -> f64 {
        let bar = length(callback.took()) + 3.0;
        let em = EM[usize::from(callback.blocks)];
        self.label(callback).map_or(bar, |label| bar.max(breadth_of(&label) * em + 8.0))
    }

    fn step(&self, at: Moment) -> String {
        if self.steps { format!(" data-at=\"{}\"", at.step) } else { String::new() }
    }

    /// The text below a bar. One that kept others waiting always has its duration, because its color may not be seen.
    fn label(&self, callback: &CallbackRun) -> Option<String> {
        match (self.labels, callback.blocks) {
            (true, _) => Some(name_of(callback)),
            (false, true) => Some(short(callback.took())),
            (false, false) => None,
        }
    }

    fn strip(&mut self, pieces: &[Piece], top: f64, rows: &[Row]) -> std::fmt::Result {
        let first = top + HEAD;
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
        let turns = std::mem::take(&mut self.turns);
        let mut x = LEFT;
        for piece in pieces {
            self.draw_piece(&turns[piece.turn], piece, x, top, rows)?;
            x += piece.width;
        }
        self.turns = turns;
        Ok(())
    }

    fn draw_piece(
        &mut self,
        turn: &TurnRun,
        piece: &Piece,
        x: f64,
        top: f64,
        rows: &[Row],
    ) -> std::fmt::Result {
        let (first, bottom) = (top + HEAD, top + HEAD + ROW * rows.len() as f64);
        let (heading, began) = match piece.is_continued() {
            true => (format!("{CONTINUED}{}", turn.name()), String::new()),
            false => (turn.name(), clock(turn.began.time)),
        };
        writeln!(
            self.svg,
            "<path class=\"tw-line\" d=\"M{x:.1} {}V{}\" stroke-width=\"1\" stroke-dasharray=\"2 3\"/>\
             <text class=\"tw-mut\" x=\"{left:.1}\" y=\"{}\">{heading}</text>\
             <text class=\"tw-mut\" x=\"{left:.1}\" y=\"{}\">{began}</text>",
            top + 8.0,
            bottom + 8.0,
            top + 17.0,
            bottom + 12.0,
            left = x + 4.0,
        )?;
        let mut at = x + MARGIN;
        if !piece.is_continued() {
            self.wait(turn, at, first)?;
            at += self.wait_slot(turn);
        }
        for callback in &turn.callbacks[piece.callbacks.clone()] {
            let row = rows.iter().position(|(kind, _)| *kind == Some(callback.kind)).unwrap_or(0);
            self.callback(callback, at, first + ROW * row as f64)?;
            at += self.slot(callback);
        }
        Ok(())
    }

    fn wait(&mut self, turn: &TurnRun, x: f64, y: f64) -> std::fmt::Result {
        let Some((from, _)) = turn.wait.filter(|_| turn.waited() > Duration::ZERO) else { return Ok(()) };
        let ready = match turn.ready {
            1 => "1 source was ready".to_owned(),
            count => format!("{count} sources were ready"),
        };
        writeln!(
            self.svg,
            "<rect class=\"tw-wait\"{} x=\"{x:.1}\" y=\"{}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"3\">\
             <title>waited {}, then {ready}</title></rect>",
            self.step(from),
            y + 2.0,
            length(turn.waited()),
            short(turn.waited()),
        )?;
        if let Some(label) = self.wait_label(turn) {
            writeln!(
                self.svg,
                "<text class=\"tw-mut\" x=\"{x:.1}\" y=\"{}\">{label}</text>",
                y + BAR + 14.0
            )?;
        }
        Ok(())
    }

    fn callback(&mut self, callback: &CallbackRun, x: f64, y: f64) -> std::fmt::Result {
        // Bold text marks it for readers who do not see red.
        let (class, text) = match callback.blocks {
            true => ("tw-bad", "class=\"tw-ft\" font-weight=\"700\""),
            false => ("tw-work", "class=\"tw-mut\""),
        };
        let number = if callback.number > 0 { format!(" {}", callback.number) } else { String::new() };
        let panicked = if callback.panicked { ", panicked" } else { "" };
        let blocks = if callback.blocks { ", and kept others waiting" } else { "" };
        writeln!(
            self.svg,
            "<rect class=\"{class}\"{} x=\"{x:.1}\" y=\"{}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"3\">\
             <title>{}{number}: {}, took {}{panicked}{blocks}</title></rect>",
            self.step(callback.began),
            y + 2.0,
            length(callback.took()),
            callback.kind,
            escape(&sentence(&callback.call_site)),
            short(callback.took()),
        )?;
        if callback.panicked {
            writeln!(
                self.svg,
                "<text class=\"tw-ft tw-halo\" x=\"{x:.1}\" y=\"{}\">\u{26a0} panicked</text>",
                y - 2.0
            )?;
        }
        if let Some(name) = self.label(callback) {
            let name = escape(&name);
            writeln!(self.svg, "<text {text} x=\"{x:.1}\" y=\"{}\">{name}</text>", y + BAR + 14.0)?;
        }
        Ok(())
    }
}

/// Returns the time since the beginning, precise enough to tell turns apart.
fn clock(time: Duration) -> String {
    if time < Duration::from_secs(1) { short(time) } else { format!("{:.4}s", time.as_secs_f64()) }
}

fn name_of(callback: &CallbackRun) -> String {
    let label = callback.label();
    // Of a place, the line is worth more than the beginning.
    let is_place = callback.name.is_none() && !matches!(callback.call_site, CallSite::Handler(_));
    let name = if is_place { cut_front(&label, LABEL) } else { cut(&label, LABEL) };
    match callback.took() {
        took if took >= Duration::from_millis(1) => format!("{name} {}", short(took)),
        _ => name,
    }
}

/// Returns a duration with three significant digits.
pub(super) fn short(duration: Duration) -> String {
    twistor_deferred::trace::paint::short(duration)
}
