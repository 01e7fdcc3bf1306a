//! Runs every example that needs no arguments, and checks its output and exit status.

#![allow(clippy::unwrap_used)]

mod support;

use std::process::{Command, Output};

use support::child::output;
use support::folder::Folder;
use support::peers::{nginx_files, python_files};
use support::{example, random_file};

fn run(command: &mut Command) -> Output {
    output(command)
        .unwrap_or_else(|error| panic!("cannot run {command:?} (cargo build --examples builds it): {error}"))
}

/// Returns the example's output, with the addresses of this run replaced by `SITE`.
#[track_caller]
fn prints(name: &str) -> String {
    printed(&mut example(name))
}

#[track_caller]
fn printed(command: &mut Command) -> String {
    let output = run(command);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} ended with {}: {errors}", output.status);
    assert!(errors.is_empty(), "{command:?} complained: {errors}");
    without_ports(&String::from_utf8(output.stdout).unwrap())
}

fn without_ports(text: &str) -> String {
    let mut parts = text.split("127.0.0.1:");
    let mut clean = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        clean.push_str("SITE");
        clean.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    clean
}

/// Does what `prints` does, for lines whose order depends on the network.
#[track_caller]
fn prints_in_any_order(name: &str, lines: &[&str]) {
    let text = prints(name);
    let mut printed: Vec<&str> = text.lines().collect();
    let mut expected = lines.to_vec();
    printed.sort_unstable();
    expected.sort_unstable();
    assert_eq!(printed, expected, "{name} printed {text}");
}

#[test]
fn print_later_prints_once_and_print_later_twice_twice() {
    assert_eq!(prints("print_later"), "The future is now!\n");
    assert_eq!(prints("print_later_twice"), "The future is now!\nThe future is now!\n");
}

#[test]
fn blocking_input_saves_good_pages_and_reports_the_bad_one() {
    let lines = [
        "Failed to download `a_bad_url`.",
        "Successfully downloaded `http://SITE/google`.",
        "Successfully downloaded `http://SITE/python`.",
        "Successfully downloaded `http://SITE/twisted`.",
        "Successfully downloaded `http://SITE/yahoo`.",
        "4 pages were saved.",
    ];
    prints_in_any_order("blocking_input", &lines);
}

#[test]
fn retry_repeats_only_requests_that_may_succeed() {
    let expected = "attempt 1: 503 Service Unavailable\nattempt 2: 503 Service Unavailable\nhttp://SITE/page: All is well.\n\
                    attempt 1: 503 Service Unavailable\nattempt 2: 503 Service Unavailable\n\
                    http://SITE/down: 503 Service Unavailable\nhttp://SITE/missing: 404 Not Found\n";
    let text = prints("retry");
    assert!(text.starts_with(expected), "{text}");
    assert!(text[expected.len()..].starts_with("page: invalid URL"), "{text}");
}

#[test]
fn deferred_queue_hands_over_each_letter_when_it_is_put() {
    let expected = "putting a letter\ngot a letter\nputting another\ngot another\nputting the last one\ngot the last one\n";
    assert_eq!(prints("deferred_queue"), expected);
}

#[test]
fn deferred_lock_lets_the_clerks_sign_one_after_the_other() {
    let text = prints("deferred_lock");
    let lines: Vec<&str> = text.lines().collect();
    let expected = [
        "Ada asks for the pen",
        "Ada has the pen",
        "Grace asks for the pen",
        "Edsger asks for the pen",
        "Ada has signed",
        "Grace has the pen",
        "Grace has signed",
        "Edsger has the pen",
        "Edsger has signed",
        "all have signed",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn batching_1_and_2_print_the_results_of_the_list() {
    assert_eq!(
        prints("batching_1_list"),
        "[Ok(Page(200 OK from http://SITE/google, 12000 bytes)), Ok(Page(200 OK from http://SITE/yahoo, 70000 bytes))]\n"
    );
    assert_eq!(
        prints("batching_2_results"),
        "Successful? true\nContent Length: 12000\nSuccessful? true\nContent Length: 70000\n"
    );
}

#[test]
fn batching_3_to_5_print_the_results_of_the_page_callbacks() {
    assert_eq!(prints("batching_3_page_callbacks"), "[Ok(12000), Ok(70000)]\n");
    let beginning: String = "All work and no play. ".chars().cycle().take(80).collect();
    assert_eq!(
        prints("batching_4_structure"),
        format!("12000 bytes, beginning with {beginning:?}\n70000 bytes, beginning with {beginning:?}\n")
    );
    assert_eq!(
        prints("batching_5_arguments"),
        "http://SITE/google has 12000 bytes\nhttp://SITE/yahoo has 70000 bytes\n"
    );
}

#[test]
fn batching_6_reports_the_missing_page_and_the_unknown_name() {
    let text = prints("batching_6_errors");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["http://SITE/google has 12000 bytes", "http://SITE/yahoo has 70000 bytes"]);
    assert_eq!(lines[2], "http://SITE/a-page-that-is-not-there failed: 404 Not Found");
    let unresolved = "http://no-such-name.invalid/ failed: cannot resolve \"no-such-name.invalid\"";
    assert!(lines[3].starts_with(unresolved), "{}", lines[3]);
}

#[test]
fn batching_7_fetches_all_pages() {
    let lines = [
        "a page of 12000 bytes",
        "a page of 20000 bytes",
        "a page of 70000 bytes",
        "a page of 9000 bytes",
        "in all 111000 bytes",
    ];
    prints_in_any_order("batching_7_semaphore", &lines);
}

#[test]
fn batching_8_keeps_two_requests_in_flight_and_few_descriptors() {
    let text = prints("batching_8_cooperator");
    for page in [250, 500, 750, 1000] {
        assert!(text.contains(&format!("page {page} has 20 bytes\n")), "{text}");
        let told = text.lines().find_map(|line| line.strip_prefix(&format!("page {page}: ")));
        let counts: Vec<u32> = told.unwrap().split(' ').filter_map(|word| word.parse().ok()).collect();
        assert!(matches!(counts[..], [1..=2, 4..60]), "{text}");
    }
    assert_eq!(text.lines().count(), 8, "{text}");
}

#[test]
fn fetch_one_file_runs_at_most_two_downloads_at_once() {
    let folder = Folder::new("example");
    let text = printed(example("fetch_one_file").env("TMPDIR", folder.path()));
    let (lines, told) = text.split_at(text.find("the files are in ").unwrap());
    let mut under_way = 0;
    for line in lines.lines() {
        under_way += if line.starts_with("fetch ") { 1 } else { -1 };
        assert!((0..=2).contains(&under_way), "{text}");
    }
    assert_eq!((under_way, lines.lines().count()), (0, 8), "{text}");
    assert!(lines.contains("fetched http://SITE/yahoo Ok(70000)\n"), "{text}");

    let files = folder.path().join("fetch_one_file");
    assert_eq!(told, format!("the files are in {}\n", files.display()));
    for (name, length) in [("google", 12_000), ("yahoo", 70_000), ("python", 20_000), ("twisted", 9_000)] {
        assert_eq!(std::fs::metadata(files.join(name)).unwrap().len(), length, "{name}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "files beside its folder");
}

/// The view that trace prints. The recorded program itself prints to standard error.
#[cfg(feature = "trace")]
#[track_caller]
fn view(options: &[&str]) -> String {
    let output = run(example("trace").args(options));
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The README shows the pictures that this version of the library draws.
#[cfg(feature = "trace")]
#[test]
fn trace_draws_the_committed_pictures() {
    let pictures = [
        ("trace.svg", ["--program", "small", "--view", "ladder"]),
        ("first_ladder.svg", ["--program", "first", "--view", "ladder"]),
        ("first_timeline.svg", ["--program", "first", "--view", "timeline"]),
    ];
    for (file, options) in pictures {
        let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/").to_owned() + file;
        assert!(
            std::fs::read_to_string(committed).unwrap() == view(&options),
            "cargo run --features trace --example trace -- {} >examples/{file} brings it up to date",
            options.join(" ")
        );
    }
}

/// Each view of a program, and another example that is recorded unchanged.
#[cfg(feature = "trace")]
#[test]
fn trace_prints_each_view() {
    let text = view(&[]);
    assert!(text.contains("turn 1\n") && text.contains("invalid digit found in string"), "{text}");
    assert!(
        view(&["--program", "blocking", "--view", "timeline"]).contains(", and kept others waiting</title>")
    );
    assert!(view(&["--program", "hangs", "--view", "page"]).starts_with("<!DOCTYPE html>"));
    let json = view(&["--program", "first", "--view", "chrome"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let events = json["traceEvents"].as_array().unwrap();
    let has = |ph: &str, tid: u64| events.iter().any(|event| event["ph"] == ph && event["tid"] == tid);
    assert!(has("X", 1) && has("X", 3) && has("X", 5) && has("b", 9) && has("i", 8), "{json}");

    // R20.7
    let folder = Folder::new("example");
    let recorded = run(example("print_later").env("TWISTOR_RECORD", folder.path()));
    assert!(recorded.status.success());
    let text = std::fs::read_to_string(folder.path().join("recording.txt")).unwrap();
    assert!(text.contains("examples/print_later.rs"), "{text}");
}

#[test]
fn deferred_pool_lets_the_cook_go_before_the_waiter() {
    let lines = [
        "Edsger leaves",
        "Grace leaves",
        "the cook goes home",
        "Ada leaves",
        "Barbara leaves",
        "the waiter goes home",
    ];
    assert_eq!(prints("deferred_pool").lines().collect::<Vec<_>>(), lines);
}

#[test]
fn graceful_shutdown_answers_requests_in_flight_before_it_stops() {
    let text = prints("graceful_shutdown");
    let lines: Vec<&str> = text.lines().collect();
    let served = |line: &&str| line.ends_with("is being served");
    let answered = |line: &&str| line.starts_with("good bye, ");
    assert!(lines[..3].iter().all(served), "{text}");
    assert_eq!(lines[3], "stopping, with 3 requests in flight");
    assert_eq!(lines[4..].iter().filter(|line| answered(line)).count(), 3, "{text}");
    assert!(lines.contains(&"no request is in flight any more"), "{text}");
}

#[test]
fn fetch_pages_reports_each_page_and_the_reason_of_each_failure() {
    let lines = [
        "http://SITE/google: 12000 bytes",
        "http://SITE/yahoo: 70000 bytes",
        "http://SITE/python: 20000 bytes",
        "http://SITE/twisted: 9000 bytes",
        "http://SITE/missing: 404 Not Found",
        "http://SITE/: connection to SITE refused",
        "http://SITE/never: request to http://SITE timed out after 2s while waiting for the response head",
        "4 of 7 pages arrived",
    ];
    prints_in_any_order("fetch_pages", &lines);
}

#[test]
fn fetch_pages_exits_with_1_if_a_page_is_missing() {
    let output = run(example("fetch_pages").arg("http://no-such-name.invalid/"));
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("0 of 1 pages arrived\n"));
}

#[test]
fn get_page_prints_the_body_and_nothing_else() {
    let folder = Folder::new("python");
    let bytes = random_file(&folder, "random", 100_000);
    let Some((_server, address)) = python_files(folder.path()) else { return };
    let url = format!("http://{address}/random");
    let output = run(example("get_page").arg(&url));
    assert!(output.status.success() && output.stdout == bytes && output.stderr.is_empty());

    let file = folder.path().join("copy");
    let output = run(example("get_page").arg("--output").arg(&file).arg(&url));
    assert!(output.status.success() && output.stdout.is_empty());
    assert!(std::fs::read(file).unwrap() == bytes);

    let output = run(example("get_page").arg("--head").arg(&url));
    let head = String::from_utf8(output.stdout).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\n") && head.contains("\ncontent-length: 100000\n"), "{head}");

    for options in [vec!["--max-body", "99999"], vec!["--timeout", "0"]] {
        fails_in_one_line(example("get_page").args(options).arg(&url));
    }
    fails_in_one_line(example("get_page").arg(format!("http://{address}/missing")));
}

#[track_caller]
fn fails_in_one_line(command: &mut Command) {
    let output = run(command);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(output.stdout.is_empty());
    assert!(errors.starts_with("error: ") && errors.lines().count() == 1, "{errors}");
}

#[test]
fn get_page_exits_with_2_on_a_usage_error() {
    for usage in [
        vec![],
        vec!["--no-such-option", "http://a/"],
        vec!["--timeout", "soon", "http://a/"],
        vec!["--timeout"],
    ] {
        let output = run(example("get_page").args(&usage));
        assert_eq!(output.status.code(), Some(2), "{usage:?}");
        assert!(output.stdout.is_empty() && String::from_utf8_lossy(&output.stderr).starts_with("error: "));
    }
}

#[test]
fn get_page_fails_in_one_line_whatever_the_url_is() {
    for url in [
        "a_bad_url",
        "ftp://127.0.0.1/",
        "http://",
        "http://[::1",
        "http://127.0.0.1:1/",
        "http://a b/",
        "http://\r\n/",
    ] {
        fails_in_one_line(example("get_page").arg(url));
    }
}

#[test]
fn tls_echo_trusts_its_authority_and_refuses_another_name() {
    let text = prints("tls_echo");
    assert!(text.contains("client: heard \"hello, in confidence\"\n"), "{text}");
    assert!(
        text.contains("invalid peer certificate: certificate not valid for name \"somebody.else\""),
        "{text}"
    );
}

#[test]
fn embed_poll_serves_the_host_and_the_reactor_in_one_loop() {
    let text = prints("embed_poll");
    for line in [
        "reactor: the echo says hello",
        "host:    line 3 from the host's own socket",
        "reactor: time to stop",
    ] {
        assert!(text.lines().any(|printed| printed == line), "{line:?} is missing in {text}");
    }
}

#[test]
fn starttls_sends_mail_in_confidence_and_refuses_an_injected_command() {
    let text = prints("starttls");
    for line in [
        "client: MAIL FROM:<ada@localhost>: 530 secure the connection first",
        "server: secured by Some(TLSv1_3)",
        "server: in confidence, MAIL FROM:<ada@localhost>",
        "client: MAIL FROM:<ada@localhost>: 250 ok",
        "attacker: \"220 go ahead\\r\\n\"",
    ] {
        assert!(text.lines().any(|printed| printed == line), "{line:?} is missing in {text}");
    }
    assert!(!text.contains("eve"), "{text}");
    assert!(text.contains("27 bytes arrived in the clear after the command to start TLS"), "{text}");
}

#[test]
fn socks_serves_its_client_and_reports_a_refused_connection() {
    let expected = "client: good morning, Ada\nproxy: connection to SITE refused\nclient: the proxy refused the request with reply 4\n";
    assert_eq!(prints("socks"), expected);
}

#[test]
fn embed_game_draws_all_frames_while_data_arrives() {
    let text = prints("embed_game");
    assert!(text.starts_with("frame  0: ") && text.contains("\n90 frames in "), "{text}");
    assert!(!text.contains("frame 75: 0 bytes"), "{text}");
}

#[test]
fn simulate_finds_no_broken_promise_until_a_bug_is_planted() {
    let output = run(example("simulate").args(["--seeds", "50"]));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.starts_with("no promise was broken in 50 seeds in "), "{text}");
    assert!(text.contains(" resets, ") && text.contains(" silences, ") && text.contains(" crash"), "{text}");

    let output = run(example("simulate").args(["--bug", "--seeds", "50"]));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let seed = text.strip_prefix("seed ").and_then(|rest| rest.split(' ').next()).unwrap();
    assert!(text.contains(&format!("run it again: TWISTOR_SEED={seed} ")), "{text}");
    let traces = [(); 2].map(|()| run(example("simulate").args(["--bug", "--seed", seed])).stdout);
    assert!(traces[0].len() > 10_000 && traces[0] == traces[1], "seed {seed} gave two different runs");
    let output = run(example("simulate").arg("--bug").env("TWISTOR_SEED", seed));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with(&format!("seed {seed} failed: ")), "{text}");
}

#[test]
fn download_saves_a_file_and_resumes_an_interrupted_one() {
    let folder = Folder::new("download");
    let bytes = random_file(&folder, "random", 300_000);
    let Some((_server, address)) = nginx_files(&folder, folder.path()) else { return };
    let url = format!("http://{address}/random");
    let (file, part) = (folder.join("copy"), folder.join("copy.part"));
    assert!(run(example("download").arg(&url).arg(&file)).status.success());
    assert!(std::fs::read(&file).unwrap() == bytes && !part.exists());

    let head = String::from_utf8(run(example("get_page").arg("--head").arg(&url)).stdout).unwrap();
    let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    // The existing part differs from the original, so the result shows that it was kept.
    std::fs::write(&part, vec![7; 100_000]).unwrap();
    std::fs::write(folder.join("copy.part.version"), tag).unwrap();
    assert!(run(example("download").arg(&url).arg(&file)).status.success());
    let resumed = std::fs::read(&file).unwrap();
    assert!(resumed[..100_000] == [7; 100_000] && resumed[100_000..] == bytes[100_000..]);

    // A part of another version is discarded.
    std::fs::write(&part, vec![7; 100_000]).unwrap();
    std::fs::write(folder.join("copy.part.version"), "\"another\"").unwrap();
    assert!(run(example("download").arg(&url).arg(&file)).status.success());
    assert!(std::fs::read(&file).unwrap() == bytes);
    fails_in_one_line(example("download").arg(format!("{url}-not")).arg(&file));

    // Only regular files are opened: opening a pipe would block.
    std::fs::remove_file(&part).ok();
    std::fs::create_dir(&part).unwrap();
    fails_in_one_line(example("download").arg(&url).arg(&file));
}
