//! Seeing what happens: paths, pictures, and what has not fired. With the feature `trace`.
#![cfg(feature = "trace")]

mod support;

use support::value_of;
use twistor_deferred::trace::{Waiting, live};
use twistor_deferred::{Cancelled, Deferred, Failure, fail, gather_results, succeed};

/// The lines without their places, which change with every edit.
fn plain(text: impl ToString) -> String {
    let text = text.to_string();
    let words = text.split(' ').map(|word| match word.find(file!()) {
        Some(at) => {
            let (head, rest) = word.split_at(at);
            let end = rest[file!().len()..].trim_start_matches(|c: char| c == ':' || c.is_ascii_digit());
            let colon = if rest.contains(": ") || rest.ends_with(':') { ":" } else { "" };
            format!("{head}HERE{colon}{end}")
        }
        None => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

// D19.6
#[test]
fn a_path_tells_of_each_stage_whether_it_ran_and_on_which_side() {
    let (deferred, trigger) = Deferred::<String>::new();
    let deferred = deferred
        .named("input")
        .add_callback(|text| Ok(text.parse::<u64>()?))
        .named("parse")
        .add_callback(|n| Ok(n + 1))
        .add_errback(|_| Ok(0))
        .named("default")
        .add_both(|result| result);
    let path = deferred.path();
    let before = path.to_string();
    assert!(before.contains("\"input\" made at"), "{before}");
    assert!(before.lines().next().unwrap().ends_with("not fired"), "{before}");
    assert_eq!(before.matches("not reached").count(), 4, "{before}");
    trigger.callback("x".to_owned());
    let after = plain(&path);
    let lines: Vec<&str> = after.lines().collect();
    assert!(lines[0].ends_with("\"input\" made at HERE: fired with a value"), "{after}");
    assert_eq!(
        lines[1],
        "  1 callback \"parse\" at HERE: ran on a value, returned a failure (invalid digit found in string)"
    );
    assert_eq!(lines[2], "  2 callback at HERE: skipped by a failure");
    assert_eq!(lines[3], "  3 errback \"default\" at HERE: ran on a failure, returned a value");
    assert_eq!(lines[4], "  4 both at HERE: ran on a value, returned a value");
    assert_eq!(value_of(deferred), 0);
}

#[test]
fn a_path_tells_what_a_stage_waits_for_and_waited_for() {
    let (inner, inner_trigger) = Deferred::<u64>::new();
    let inner = inner.named("page");
    let (deferred, trigger) = Deferred::<()>::new();
    let deferred = deferred.add_callback(move |()| inner).named("fetch").add_callback(|n| Ok(n + 1));
    let path = deferred.path();
    trigger.callback(());
    let waiting = plain(&path);
    assert!(waiting.contains("\"fetch\" at HERE: ran on a value, waits for #"), "{waiting}");
    assert!(waiting.contains("\"page\" made at HERE"), "{waiting}");
    inner_trigger.errback(Cancelled);
    let over = plain(&path);
    assert!(over.contains("waited for #") && over.contains(", returned a failure"), "{over}");
    assert!(over.ends_with("skipped by a failure"), "{over}");
    drop(deferred.add_errback(|_| Ok(0)));
    assert!(plain(&path).ends_with("ran on a failure, returned a value"));
}

#[test]
fn a_path_goes_on_where_callbacks_are_added_to_a_fired_chain() {
    let (inner, trigger) = Deferred::<u64>::new();
    let deferred = succeed(1).add_callback(|n| Ok(n + 1)).add_callback(move |_| inner);
    let deferred = deferred.add_callback(|n| Ok(n + 1)).named("last");
    let path = deferred.path();
    trigger.callback(1);
    let text = plain(path);
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.contains("3 callback \"last\" at HERE: ran on a value, returned a value"), "{text}");
    let failed = fail::<u64>(Cancelled).add_errback(|_| Ok(1)).path();
    assert!(plain(failed).contains(
        "fired with a failure (cancelled)\n  1 errback at HERE: ran on a failure, returned a value"
    ));
}

// D19.6
#[test]
fn live_tells_what_has_not_fired_where_it_was_made_and_what_it_waits_on() {
    assert_eq!(live().to_string(), "every Deferred has fired");
    let (page, page_trigger) = Deferred::<u64>::new();
    let page = page.named("page");
    let (start, start_trigger) = Deferred::<()>::new();
    let done = start.named("start").add_callback(move |()| page).named("fetch");
    assert_eq!(live().0.len(), 2);
    start_trigger.callback(());
    let unfired = live();
    let mut ids = Vec::new();
    for unfired in &unfired {
        ids.push(unfired.id);
    }
    assert!(live().into_iter().map(|unfired| unfired.id).eq(ids));
    let [page, start] = &unfired.0[..] else { panic!("{unfired}") };
    assert_eq!(page.name.as_deref(), Some("page"));
    assert_eq!(page.made_at.file(), file!());
    assert!(matches!(page.waiting, Waiting::Trigger));
    let Waiting::Deferred { id, stage: Some(stage), .. } = &start.waiting else { panic!("{unfired}") };
    assert_eq!((*id, &stage[..]), (page.id, "fetch"));
    let text = plain(&unfired);
    assert!(text.starts_with("2 Deferreds have not fired\n  #"), "{text}");
    assert!(text.contains("\"page\" made at HERE: waits for its trigger\n"), "{text}");
    assert!(
        text.contains("\"start\" made at HERE: waits for #") && text.contains(" in \"fetch\", added at HERE")
    );
    page_trigger.callback(1);
    assert!(live().0.is_empty());
    drop(done);
}

#[test]
fn live_tells_of_lists_and_forgets_what_is_gone() {
    let (a, trigger) = Deferred::<u64>::new();
    let all = gather_results([a]);
    assert_eq!(live().0.len(), 2);
    trigger.callback(1);
    assert_eq!(value_of(all), [1]);
    assert!(live().0.is_empty());
    let (abandoned, trigger) = Deferred::<u64>::new();
    drop(trigger);
    assert!(live().0.is_empty());
    drop(abandoned.add_errback(|_| Ok(1)));
}

#[test]
fn live_tells_for_which_members_a_list_waits() {
    let (a, trigger_a) = Deferred::<u64>::new();
    let (b, trigger_b) = Deferred::<u64>::new();
    let all = gather_results([a.named("a"), succeed(1), b.named("b")]);
    let members = || {
        let unfired = live().0;
        let list = unfired.into_iter().find(|unfired| matches!(unfired.waiting, Waiting::Members(_)));
        list.map(|list| list.to_string()).unwrap_or_default()
    };
    let ids: Vec<u64> =
        live().0.iter().filter(|unfired| unfired.name.is_some()).map(|unfired| unfired.id).collect();
    assert!(members().ends_with(&format!("waits for its members #{} #{}", ids[0], ids[1])), "{}", live());
    trigger_a.callback(1);
    assert!(members().ends_with(&format!("waits for its members #{}", ids[1])), "{}", live());
    trigger_b.callback(1);
    assert_eq!(live().to_string(), "every Deferred has fired");
    drop(all);
    let (many, triggers): (Vec<_>, Vec<_>) = (0..20).map(|_| Deferred::<u64>::new()).unzip();
    let all = gather_results(many);
    assert!(members().ends_with(" and 12 more"), "{}", live());
    triggers.into_iter().for_each(|trigger| trigger.callback(1));
    drop(all);
}

#[test]
fn live_may_be_asked_inside_a_callback() {
    let (deferred, trigger) = Deferred::<()>::new();
    let deferred = deferred.add_callback(|()| Ok(live().to_string()));
    trigger.callback(());
    assert!(value_of(deferred).contains("is running a callback"));
}

#[test]
fn the_picture_shows_both_ladders_and_is_sound_markup() {
    let svg = example().svg();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    for word in ["callbacks", "errbacks", "fetch", "parse &lt;number&gt;", "waited for page", "trace.rs:"] {
        assert!(svg.contains(word), "{word} is not in\n{svg}");
    }
    for tag in ["text", "title", "desc", "style"] {
        let opened = svg.matches(&format!("<{tag}")).count();
        assert_eq!(opened, svg.matches(&format!("</{tag}>")).count(), "{tag}");
    }
    assert!(svg.contains("prefers-color-scheme:dark") && svg.contains("<desc>Deferred #"), "{svg}");
    assert!(svg.contains("tw-start") && svg.contains("tw-end") && svg.contains("tw-arrow"), "{svg}");
    if let Ok(path) = std::env::var("TRACE_SVG") {
        std::fs::write(path, svg).unwrap();
    }
}

#[test]
fn the_picture_has_a_ring_where_the_result_waits() {
    let (page, page_trigger) = Deferred::<u64>::new();
    let waiting = succeed(1).add_callback(move |_| page.named("page"));
    let ring = "class=\"tw-vr tw-ring\"";
    let svg = waiting.path().svg();
    assert_eq!(svg.matches(ring).count(), 1, "{svg}");
    assert!(svg.contains(">waits for page<") && svg.contains(">not fired<"), "{svg}");
    assert!(svg.contains(">waits here<") && svg.contains(">skipped, or not reached<"), "{svg}");
    page_trigger.callback(1);
    let svg = waiting.path().svg();
    assert_eq!(svg.matches(ring).count(), 0, "{svg}");
    assert!(svg.contains(">waited for page<"), "{svg}");
    // The legend has only the marks of the picture.
    assert!(!svg.contains(">waits here<") && svg.contains(">skipped, or not reached<"), "{svg}");
    assert_eq!(value_of(waiting), 1);
}

#[test]
fn the_picture_cuts_what_is_too_long_for_it_and_keeps_it_in_the_tooltip() {
    let name = "W".repeat(100) + "\u{0}&";
    let svg = succeed(1).named(&name).add_callback(Ok).named(&name).path().svg();
    let whole = format!("<title>{} &amp;</title>WWW", "W".repeat(100));
    assert_eq!(svg.matches(&whole).count(), 2, "{svg}");
    for text in svg.split("</title>").skip(2) {
        let (shown, _) = text.split_once("</text>").unwrap();
        assert!(shown.ends_with('…') && shown.len() < 40, "{shown}");
    }
}

fn example() -> twistor_deferred::trace::Path {
    let (page, page_trigger) = Deferred::<String>::new();
    let page = page.named("page");
    let (deferred, trigger) = Deferred::<u64>::new();
    let deferred = deferred
        .named("greeting")
        .add_callback(move |_| page)
        .named("fetch")
        .shown()
        .add_callback(|text| Ok(text.parse::<u64>()?))
        .named("parse <number>")
        .add_callback(|n| Ok(n * 2))
        .named("double")
        .add_errback(|_| Ok(21))
        .named("default")
        .add_callbacks(|n| Ok(n.to_string()), |_| -> Result<String, Failure> { Ok(String::new()) })
        .named("print")
        .add_both(|_| ());
    trigger.callback(1);
    page_trigger.callback("forty-two".into());
    deferred.path()
}

// D19.3
#[test]
fn values_are_recorded_where_the_program_asks() {
    let (inner, inner_trigger) = Deferred::<u64>::new();
    let (deferred, trigger) = Deferred::<&str>::new();
    let deferred = deferred.shown().add_callback(move |_| inner).shown().add_callback(|n| Ok(n + 1));
    let path = deferred.path();
    trigger.callback("go");
    inner_trigger.callback(41);
    let text = plain(&path);
    assert!(text.starts_with("Deferred #") && text.contains("fired with a value (\"go\")"), "{text}");
    assert!(text.contains(", returned a value (41)"), "{text}");
    assert!(text.ends_with("ran on a value, returned a value"), "{text}");
    let shown = deferred.shown();
    assert!(plain(shown.path()).ends_with("returned a value (42)"));
    drop(shown);
    struct Loud;
    impl std::fmt::Debug for Loud {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("I am not to be printed")
        }
    }
    assert!(plain(succeed(Loud).shown().path()).ends_with("(printing it panicked)"));
    assert!(plain(succeed("é".repeat(500)).shown().path()).ends_with("é…)"));
}

// D19.4
#[test]
fn the_picture_shows_errors_panics_and_members() {
    let (a, trigger) = Deferred::<u64>::new();
    let (b, _b_trigger) = Deferred::<u64>::new();
    let list = gather_results([a.named("first"), b.named("second")]);
    let waiting = list.path();
    let text = plain(&waiting);
    assert!(text.contains("2 members: #") && text.contains(" \"first\" waiting; #"), "{text}");
    trigger.errback(Failure::new("no bread today"));
    let svg = waiting.svg();
    assert!(svg.contains(">2 members<") && svg.contains(">first: no bread today<"), "{svg}");
    assert!(svg.contains(">second (waiting)<"), "{svg}");
    let list = list.add_errback(|_| -> Result<Vec<u64>, Failure> { panic!("out of cheese") });
    let text = plain(list.path());
    assert!(text.ends_with("ran on a failure, panicked: out of cheese"), "{text}");
    let svg = list.path().svg();
    assert!(svg.contains("panicked<") && svg.contains(">out of cheese<"), "{svg}");
    drop(list.add_errback(|_| Ok(Vec::new())));
    // Other members have the name of their first named stage, or a number and a place.
    let named = succeed(1).add_callback(Ok).named("third").add_callback(Ok);
    let list = gather_results([named, succeed(2)]);
    let svg = list.path().svg();
    assert!(svg.contains(">third<") && svg.contains(", trace.rs:"), "{svg}");
    // The line from the members arrives above the mark of the start and the text beside it.
    let number = |text: &str, end: char| text.split(end).next().unwrap().parse::<i32>().unwrap();
    let line = svg.split("d=\"M588 ").find_map(|path| path.split_once('H').map(|(y, _)| y)).unwrap();
    let (_, start) = svg.split_once("tw-start\" cx=\"150\" cy=\"").unwrap();
    assert!(number(line, 'H') + 16 < number(start, '"'), "{svg}");
    assert_eq!(value_of(list), [1, 2]);
    let crossing = succeed(1).add_callback(|_| -> Result<u64, Failure> { Err(Failure::new("too late")) });
    let svg = crossing.path().svg();
    assert!(svg.contains("class=\"tw-ft\"") && svg.contains(">too late<"), "{svg}");
    drop(crossing.add_errback(|_| Ok(0)));
}

// D19.1
#[test]
fn the_records_of_deferreds_that_are_gone_take_no_memory() {
    let memory = allocation_counter::measure(|| {
        for _ in 0..10_000 {
            drop(succeed(1).named("one of many").add_callback(|n| Ok(n + 1)));
        }
    });
    assert!(memory.bytes_current < 10_000, "{} bytes are left", memory.bytes_current);
    // A chain that never ends keeps its last stages.
    let mut endless = succeed(0_u64);
    for _ in 0..5_000 {
        endless = endless.add_callback(|n| Ok(n + 1));
    }
    let text = plain(endless.path());
    assert!(text.lines().count() < 600 && text.contains("\n  5000 callback at HERE: ran"), "{text}");
}

// D19.2, D19.7
#[test]
fn an_observer_gets_each_event_until_its_guard_is_dropped() {
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::time::Duration;
    use twistor_deferred::trace::{Event, Ladders, Moment, Observer, observe};
    #[derive(Default)]
    struct Log(RefCell<Vec<Event>>);
    impl Observer for Log {
        fn observe(&self, event: &Event) -> Moment {
            self.0.borrow_mut().push(event.clone());
            let step = self.0.borrow().len() as u64;
            Moment { time: Duration::from_millis(step), step }
        }
    }
    let log = Rc::new(Log::default());
    let observation = observe(log.clone());
    let path = example();
    drop(observation);
    let heard = log.0.borrow().len();
    let _unheard = succeed(1);
    assert!(heard > 20 && log.0.borrow().len() == heard);
    // The same ladder comes of the recorded events.
    let mut ladders = Ladders::default();
    for (step, event) in log.0.borrow().iter().enumerate() {
        let step = step as u64 + 1;
        ladders.apply(event, Moment { time: Duration::from_millis(step), step });
    }
    let ladders = ladders.into_vec();
    let same = ladders.iter().find(|ladder| ladder.name() == Some("greeting")).unwrap();
    assert_eq!(same.to_string(), path.to_string());
    assert_eq!(same.svg(), path.svg());
    assert!(same.svg().contains("ms for page<"), "{}", same.svg());
    // A page that plays the events shows that the stage waited: a ring, an arrow to the other Deferred, and its state.
    let steps = same.svg_with_steps();
    assert_eq!(steps.matches("class=\"tw-vr tw-ring\" data-at=").count(), 1, "{steps}");
    let until = |text: &str| steps.lines().any(|line| line.contains(text) && line.contains("data-until="));
    assert!(until("tw-ring") && until("tw-arrow") && until(">not fired<"), "{steps}");
    assert!(!steps.contains("<style>"), "{steps}");
}
