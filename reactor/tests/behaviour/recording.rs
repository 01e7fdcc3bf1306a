//! R20: recordings of a reactor, and their views.

use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::{Deferred, gather_results};
use twistor_reactor::trace::{CallbackKind, Entry, Happening, Recording};
use twistor_reactor::{AddTimeout, EventHandler, Phase, Progress, Reactor, Ready, defer_later};

/// A source without a descriptor.
struct Bell;

impl EventHandler for Bell {
    fn ready(self: Rc<Self>, _: Ready) -> Progress {
        Progress::Drained
    }
}

/// Runs a program with one of each kind of event.
fn busy(reactor: &Reactor) -> Recording {
    let recording = reactor.record();
    reactor.on_startup(Phase::Before, || ());
    let bell = reactor.attach(Rc::new(Bell)).unwrap();
    let waker = bell.waker();
    let moved = reactor.call_later(Duration::from_millis(1), move || waker.wake(Ready::READABLE));
    moved.delay(Duration::from_millis(1)).unwrap();
    let cancelled = reactor.call_later(Duration::from_secs(1), || ());
    reactor.call_later(Duration::from_millis(3), move || cancelled.cancel().unwrap());
    reactor.call_later(Duration::from_millis(4), || panic!("out of cheese"));
    reactor.call_later(Duration::MAX, || ());
    reactor.remote().call_from_thread(|reactor| reactor.mark(|| "a call has arrived".to_owned())).unwrap();
    let job = reactor.defer_to_thread(|| Ok(6));
    let handle = reactor.handle();
    let task = reactor.spawn(async move {
        handle.sleep(Duration::from_millis(5)).await?;
        job.await
    });
    let (never, _trigger) = Deferred::<u64>::new();
    let late = never.named("never").add_timeout(Duration::from_millis(8), reactor).add_errback(|_| Ok(7));
    let handle = reactor.handle();
    let page = defer_later(reactor, Duration::from_millis(6), || Ok("forty-two"))
        .named("page")
        .shown()
        .add_callback(|text| Ok(text.parse::<u64>()?))
        .named("parse")
        .add_errback(move |_| defer_later(&handle, Duration::from_millis(2), || Ok(42)))
        .named("ask again")
        .shown();
    reactor.run_until(gather_results([task, page, late]).named("all")).unwrap();
    drop(bell);
    recording
}

fn has(recording: &Recording, wanted: impl Fn(&Entry) -> bool) -> bool {
    recording.entries().iter().any(wanted)
}

// R20.1, R20.9
#[test]
fn a_recording_has_each_kind_of_event() {
    let recording = busy(&Reactor::simulated(1));
    let kinds = [
        CallbackKind::Source,
        CallbackKind::RemoteCall,
        CallbackKind::Timer,
        CallbackKind::Task,
        CallbackKind::Phase,
    ];
    for kind in kinds {
        assert!(
            has(&recording, |entry| matches!(entry.what, Happening::Began { kind: k, .. } if k == kind)),
            "{kind:?}"
        );
    }
    let text = recording.to_string();
    for line in [
        "turn 1\n",
        "wait over",
        "(readable): the handler ",
        "     0.000ms  timer 1 set at reactor/tests/behaviour/recording.rs:",
        ", due at 1.000ms\n",
        "timer 1 moved, due at 2.000ms\n",
        ", never due\n",
        "\n     2.000ms    timer 1: the callback added at",
        "timer 2 cancelled",
        "timer 4: the callback added at",
        "panicked: out of cheese",
        "mark: a call has arrived",
        "job 1 done",
        "task 1 ended",
        "named \"parse\"",
        " stage 2 \"parse\" reached by a value\n",
        " stage 3 \"ask again\" waits for #7\n",
        "returned a failure: invalid digit found in string",
        "has the value \"forty-two\"",
        "gathers 3 members",
        "waits for #",
    ] {
        assert!(text.contains(line), "{line:?} is missing in\n{text}");
    }
    let began = recording.entries().iter().filter(|e| matches!(e.what, Happening::Began { .. })).count();
    let ended = recording.entries().iter().filter(|e| matches!(e.what, Happening::Ended)).count();
    assert_eq!(began, ended);
}

// R20.2
#[test]
fn the_same_seed_gives_the_same_recording() {
    let views = |seed| {
        let recording = busy(&Reactor::simulated(seed));
        let ladders: String = recording.ladders().iter().map(|ladder| ladder.svg()).collect();
        (
            recording.to_string(),
            recording.page("busy"),
            recording.timeline(),
            recording.chrome_trace(),
            ladders,
        )
    };
    assert!(views(1) == views(1));
    assert_ne!(views(1).0, views(2).0);
}

// R20.3
#[test]
fn a_recording_keeps_the_last_events_in_bounded_memory() {
    let reactor = Reactor::simulated(0);
    let recording = reactor.record().keep(50);
    for _ in 0..100 {
        reactor.run_until(defer_later(&reactor, Duration::from_millis(1), || ())).unwrap();
    }
    let entries = recording.entries();
    assert_eq!(entries.len(), 50);
    assert_eq!(entries[0].at.step, recording.forgotten() + 1);
    assert!(recording.to_string().starts_with(&format!("{} events before", recording.forgotten())));
    // Views of a recording whose beginning was dropped.
    assert!(recording.timeline().ends_with("</svg>\n") && !recording.ladders().is_empty());
    assert!(recording.page("the end").contains("events before these are not on this page"));
    recording.stop();
    reactor.run_until(defer_later(&reactor, Duration::from_millis(1), || ())).unwrap();
    assert_eq!(recording.entries(), entries);
    // A second recording starts its numbers of Deferreds again.
    let second = reactor.record();
    reactor.run_until(defer_later(&reactor, Duration::from_millis(1), || ())).unwrap();
    assert_eq!(second.ladders()[0].id(), 1);
    drop(reactor);
    assert!(!second.entries().is_empty());
}

// R20.5
#[test]
fn the_timeline_shows_which_callback_keeps_others_waiting() {
    let reactor = Reactor::new().unwrap();
    let recording = reactor.record();
    let spin = || {
        // It holds the loop until that much time has passed, on a machine of any speed.
        let start = std::time::Instant::now();
        while start.elapsed() < Duration::from_millis(3) {}
    };
    let last = defer_later(&reactor, Duration::ZERO, spin);
    drop(last.add_callback(|()| ()));
    reactor.run_until(defer_later(&reactor, Duration::ZERO, || ())).unwrap();
    let svg = recording.timeline();
    // One in the legend, and one bar.
    assert_eq!(svg.matches("<rect class=\"tw-bad\"").count(), 2, "{svg}");
    assert_eq!(svg.matches(", and kept others waiting</title>").count(), 1, "{svg}");
    assert!(svg.contains("1 callback kept others waiting."), "{svg}");
    assert!(svg.contains(">wait</text>") && svg.contains(">timers</text>"), "{svg}");
    // Only rows with callbacks are drawn.
    assert!(!svg.contains(">calls from threads</text>"), "{svg}");
    // Bold text marks it for readers who do not see its color, also where names do not fit.
    let bold = "<text class=\"tw-ft\" font-weight=\"700\"";
    assert_eq!(svg.matches(bold).count(), 1, "{svg}");
    let many = (0..90).map(|_| defer_later(&reactor, Duration::ZERO, || ()).named("one of many"));
    reactor.run_until(gather_results(many.collect::<Vec<_>>())).unwrap();
    let svg = recording.timeline();
    assert!(svg.contains(bold) && !svg.contains(">one of many<"), "{svg}");
}

/// The right ends of the bars of a timeline, and the width of the picture.
fn right_ends(svg: &str) -> (Vec<f64>, f64) {
    let number = |tag: &str, name: &str| {
        let (_, rest) = tag.split_once(&format!(" {name}=\"")).unwrap();
        rest.split('"').next().unwrap().parse::<f64>().unwrap()
    };
    let bars = svg.lines().filter(|line| line.starts_with("<rect") && line.contains(" rx=\"3\""));
    (bars.map(|bar| number(bar, "x") + number(bar, "width")).collect(), number(svg, "width"))
}

// R20.8
#[test]
fn a_turn_that_is_wider_than_the_timeline_is_continued() {
    for count in [20, 200] {
        let reactor = Reactor::simulated(1);
        let recording = reactor.record();
        let name = "a long name of a timer";
        let timers = (0..count).map(|_| defer_later(&reactor, Duration::from_millis(1), || ()).named(name));
        reactor.run_until(gather_results(timers.collect::<Vec<_>>())).unwrap();
        let svg = recording.timeline();
        let (ends, width) = right_ends(&svg);
        assert!(ends.len() > count && ends.iter().all(|end| *end < width), "{svg}");
        assert!(svg.contains(">turn 1</text>") && svg.contains(">more of turn 1</text>"), "{svg}");
        assert_eq!(svg.contains(">a long name of a t"), count == 20, "{svg}");
    }
}

// R20.8
#[test]
fn the_timeline_of_a_long_recording_has_the_last_turns() {
    let reactor = Reactor::simulated(1);
    let recording = reactor.record();
    for _ in 0..700 {
        reactor.run_until(defer_later(&reactor, Duration::from_millis(1), || ())).unwrap();
    }
    let svg = recording.timeline();
    let last = recording.entries().iter().rev().find_map(|entry| match entry.what {
        Happening::TurnBegan { number } => Some(number),
        _ => None,
    });
    let summary = format!(" to {}, the last ones: ", last.unwrap());
    let (_, rest) = svg.split_once(&summary).unwrap();
    let callbacks: usize = rest.split(' ').next().unwrap().parse().unwrap();
    let bars = svg.matches("<rect class=\"tw-work\"").count() - 1;
    assert!(callbacks == bars && (500..=600).contains(&bars), "{callbacks} and {bars}");
}

fn chromium() -> Option<&'static str> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = names.into_iter().find(|name| Command::new(name).arg("--version").output().is_ok());
    if found.is_none() {
        println!("skipped: Chromium, which opens the page, is missing");
    }
    found
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("twistor-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

// R20.6
#[test]
fn the_page_plays_in_a_browser_without_a_network() {
    let recording = busy(&Reactor::simulated(1));
    let folder = Folder::new("page");
    recording.write_views(&folder.0, "a busy <program>").unwrap();
    for file in ["page.html", "timeline.svg", "recording.txt", "chrome.json", "ladder-1.svg"] {
        assert!(folder.0.join(file).exists(), "{file}");
    }
    let page = std::fs::read_to_string(folder.0.join("page.html")).unwrap();
    assert!(page.contains("<title>a busy &lt;program&gt;</title>"));
    assert!(page.contains("stage 3 \\\"ask again\\\" waits for #7\",4,\"waits\"]"), "{page}");
    assert!(page.contains("\"ladders\":{\"1\":[\"\",\"") && page.contains("\"4\":[\"page\",\""), "{page}");
    for outside in ["src=\"http", "href=\"http", "url(", "@import", "fetch("] {
        assert!(!page.contains(outside), "{outside}");
    }
    let Some(chromium) = chromium() else { return };
    // In the middle: a timer is pending, and a Deferred has been created.
    let step =
        1 + recording.entries().iter().position(|e| matches!(e.what, Happening::TaskSpawned { .. })).unwrap();
    let output = Command::new(chromium)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--virtual-time-budget=2000"])
        .arg(format!("--user-data-dir={}", folder.0.join("profile").display()))
        .arg("--dump-dom")
        .arg(format!("file://{}#step={step}", folder.0.join("page.html").display()))
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || dom.is_empty() {
        println!("skipped: Chromium does not run here: {}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    assert!(dom.contains("data-played=\"yes\""), "{dom}");
    assert!(dom.contains(&format!("data-step=\"{step}\"")));
    assert!(dom.contains("<li>in 1s: timer 2, recording.rs:"), "{dom}");
    assert!(dom.contains("<li>never due: timer 5, recording.rs:"), "{dom}");
    assert!(dom.contains("<li>task 1, recording.rs:"), "{dom}");
}
