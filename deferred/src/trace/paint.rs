//! Colors and text for the pictures of this library: ladders, timelines and pages.

use std::panic::Location;
use std::time::Duration;

use crate::failure::is_ours;

/// The colors of one color scheme.
#[derive(Clone, Copy, Debug)]
pub struct Palette {
    /// The background.
    pub background: &'static str,
    /// The background of a box beside the picture.
    pub panel: &'static str,
    /// Text.
    pub ink: &'static str,
    /// Less important text.
    pub muted: &'static str,
    /// Lines and borders.
    pub line: &'static str,
    /// Text about values.
    pub value_text: &'static str,
    /// Text about failures.
    pub failure_text: &'static str,
    /// Lines and boxes of values.
    pub value: &'static str,
    /// Lines and boxes of failures, and what blocks the loop.
    pub failure: &'static str,
    /// Text on a box of a value or a failure.
    pub on: &'static str,
    /// Callbacks in a timeline.
    pub work: &'static str,
    /// Waiting in a timeline.
    pub wait: &'static str,
}

/// Dark on light.
pub const LIGHT: Palette = Palette {
    background: "#ffffff",
    panel: "#f4f5f8",
    ink: "#22252e",
    muted: "#5b6170",
    line: "#858c9c",
    value_text: "#176e4c",
    failure_text: "#b3263c",
    value: "#1a7a54",
    failure: "#b3263c",
    on: "#ffffff",
    work: "#2f62b5",
    wait: "#7d8494",
};

/// Light on dark.
pub const DARK: Palette = Palette {
    background: "#14171f",
    panel: "#1d212c",
    ink: "#e6e8ee",
    muted: "#a2a9b8",
    line: "#6f778a",
    value_text: "#5fd3a2",
    failure_text: "#ff8fa0",
    value: "#1b7f58",
    failure: "#c23a4f",
    on: "#ffffff",
    work: "#6f9bf0",
    wait: "#7d8494",
};

/// A style sheet with a class for each color, for both color schemes.
pub fn style() -> String {
    format!("<style>{}@media(prefers-color-scheme:dark){{{}}}</style>\n", classes(LIGHT), classes(DARK))
}

fn classes(p: Palette) -> String {
    let Palette {
        background,
        panel,
        ink,
        muted,
        line,
        value_text,
        failure_text,
        value,
        failure,
        on,
        work,
        wait,
    } = p;
    format!(
        ".tw-bg{{fill:{background}}}.tw-panel{{fill:{panel};stroke:{line}}}.tw-ink{{fill:{ink}}}\
         .tw-mut{{fill:{muted}}}.tw-on{{fill:{on}}}.tw-vt{{fill:{value_text}}}.tw-ft{{fill:{failure_text}}}\
         .tw-halo{{stroke:{background};stroke-width:5px;stroke-linejoin:round;paint-order:stroke}}\
         .tw-line{{stroke:{line};fill:none}}.tw-box{{fill:{background};stroke:{line}}}\
         .tw-v{{fill:{value};stroke:{value}}}.tw-f{{fill:{failure};stroke:{failure}}}\
         .tw-vl{{stroke:{value};fill:none}}.tw-fl{{stroke:{failure};fill:none}}\
         .tw-vr{{stroke:{value};fill:{background}}}.tw-fr{{stroke:{failure};fill:{background}}}\
         .tw-work{{fill:{work}}}.tw-bad{{fill:{failure}}}.tw-wait{{fill:{wait}}}"
    )
}

/// Escapes text for XML and HTML. Control characters become spaces.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

/// The file's own name and the line. Of a file of this library, whose lines say nothing to a user, only the name.
pub fn place(location: &Location<'_>) -> String {
    let name = file_name(location.file());
    if is_ours(location.file()) { name.to_owned() } else { format!("{name}:{}", location.line()) }
}

/// The whole place. Of a file of this library, only the name.
pub fn full_place(location: &Location<'_>) -> String {
    if is_ours(location.file()) { place(location) } else { location.to_string() }
}

/// The last part of a path; of `mod.rs`, which says nothing alone, the last two.
pub fn file_name(path: &str) -> &str {
    let mut ends = path.rmatch_indices(['/', '\\']).map(|(at, _)| at + 1);
    match ends.next() {
        Some(at) if path[at..] == *"mod.rs" => &path[ends.next().unwrap_or(0)..],
        Some(at) => &path[at..],
        None => path,
    }
}

/// As much of the beginning of the text as fits a width, which is in units of the font's size.
pub fn cut(text: &str, width: f64) -> String {
    if breadth_of(text) <= width {
        return text.to_owned();
    }
    text.chars().take(fitting(text.chars(), width - 1.0)).chain(['…']).collect()
}

/// As much of the end of the text as fits a width, which is in units of the font's size.
pub fn cut_front(text: &str, width: f64) -> String {
    if breadth_of(text) <= width {
        return text.to_owned();
    }
    let skipped = text.chars().count() - fitting(text.chars().rev(), width - 1.0);
    ['…'].into_iter().chain(text.chars().skip(skipped)).collect()
}

/// The number of characters that fit a width.
fn fitting(text: impl Iterator<Item = char>, mut width: f64) -> usize {
    let fits = |c: &char| {
        width -= breadth(*c);
        width >= 0.0
    };
    text.take_while(fits).count()
}

/// The width of a text, in units of the font's size: as much as it may take.
pub fn breadth_of(text: &str) -> f64 {
    text.chars().map(breadth).sum()
}

/// The width of a character in the broadest of the usual fonts, set bold.
fn breadth(c: char) -> f64 {
    match c {
        ' ' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | 'i' | 'j' | 'l' | '(' | ')' | '/' => 0.42,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 1.1,
        'A'..='Z' => 0.8,
        '\0'..='\u{10ff}' => 0.7,
        _ => 1.0,
    }
}

/// A duration with three significant digits: `1.23ms`.
pub fn short(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let digits = nanos.checked_ilog10().unwrap_or(0);
    let unit = 10_u128.pow(digits.saturating_sub(2));
    let rounded = (nanos + unit / 2) / unit * unit;
    format!("{:?}", Duration::from_nanos(u64::try_from(rounded).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::{DARK, LIGHT, cut, cut_front, file_name};

    fn luminance(color: &str) -> f64 {
        let channel = |at: usize| {
            let value = f64::from(u8::from_str_radix(&color[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    }

    /// The contrast ratio of WCAG 2.
    fn contrast(one: &str, other: &str) -> f64 {
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    #[test]
    fn a_file_is_named_without_its_folders() {
        let names = [
            ("examples/a.rs", "a.rs"),
            ("src\\page\\mod.rs", "page\\mod.rs"),
            ("page/mod.rs", "page/mod.rs"),
            ("a/b/mod.rs", "b/mod.rs"),
            ("src/nomod.rs", "nomod.rs"),
            ("mod.rs", "mod.rs"),
        ];
        for (path, name) in names {
            assert_eq!(file_name(path), name);
        }
    }

    #[test]
    fn long_text_is_cut_at_the_end_or_at_the_front() {
        assert_eq!(
            (cut("a.rs:1", 9.0), cut_front("a.rs:1", 9.0)),
            ("a.rs:1".to_owned(), "a.rs:1".to_owned())
        );
        assert_eq!(cut("connection", 4.6), "conne…");
        assert_eq!(cut_front("semaphore.rs:29", 5.5), "…e.rs:29");
        assert_eq!((cut("é", 0.0), cut_front("é", 0.0)), ("…".to_owned(), "…".to_owned()));
    }

    #[test]
    fn the_colors_of_pictures_have_the_contrast_of_wcag_aa() {
        // D19.5
        assert!((contrast("#000000", "#ffffff") - 21.0).abs() < 1e-9);
        for p in [LIGHT, DARK] {
            let texts = [p.ink, p.muted, p.value_text, p.failure_text];
            for (text, ground) in texts.iter().flat_map(|text| [(text, p.background), (text, p.panel)]) {
                assert!(contrast(text, ground) >= 4.5, "{text} on {ground}: {:.2}", contrast(text, ground));
            }
            // A page sets text of the background's color on that of work.
            assert!(contrast(p.background, p.work) >= 4.5, "{} on {}", p.background, p.work);
            for ground in [p.value, p.failure] {
                assert!(contrast(p.on, ground) >= 4.5, "{} on {ground}", p.on);
            }
            for line in [p.line, p.value, p.failure, p.work, p.wait] {
                assert!(contrast(line, p.background) >= 3.0, "{line}: {:.2}", contrast(line, p.background));
            }
        }
    }
}
