//! W3 with curl as the client. Without curl, each test prints that and passes.

use std::process::Command;
use std::time::Duration;

use twistor_http::server::{Files, Request, Response, Tree};
use twistor_reactor::defer_later;

use crate::client::*;
use crate::support::child::output;
use crate::support::folder::Folder;

/// Returns curl's output for URLs of the site, or `None` without curl.
fn curl(root: Tree, arguments: &[&str], paths: &[&str]) -> Option<String> {
    if Command::new("curl").arg("--version").output().is_err() {
        println!("skipped: curl is not installed");
        return None;
    }
    let mut arguments: Vec<String> =
        ["-sS", "--max-time", "20"].iter().chain(arguments).map(|argument| argument.to_string()).collect();
    let paths: Vec<String> = paths.iter().map(|path| path.to_string()).collect();
    let output = serve(root, move |address| {
        arguments.extend(paths.iter().map(|path| format!("http://{address}{path}")));
        output(Command::new("curl").args(arguments))
    });
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn root() -> Tree {
    Tree::new()
        .get(|_| "Hello, world!\n")
        .post(|request| request.take_body())
        .put_child(
            "slow",
            Tree::new()
                .get(|request| defer_later(request.reactor(), Duration::from_millis(5), || Ok("slow\n"))),
        )
        .put_child(
            "stream",
            Tree::new().get(|_| {
                Response::stream(|out| {
                    out.write(b"streamed\n");
                })
            }),
        )
        .put_child(
            "expect",
            Tree::new().post(|request: &mut Request<'_>| {
                format!("{} {}", request.header("expect").is_some(), request.body().len())
            }),
        )
}

// W3.2
#[test]
fn curl_keeps_its_connection() {
    let Some(text) = curl(root(), &["-w", "%{num_connects}\n"], &["/", "/slow", "/stream", "/"]) else {
        return;
    };
    assert_eq!(text, "Hello, world!\n1\nslow\n0\nstreamed\n0\nHello, world!\n0\n");
}

// W1.4
#[test]
fn curl_requests_the_head() {
    let Some(text) = curl(root(), &["-I", "-w", "%{num_connects}\n"], &["/", "/stream"]) else { return };
    assert!(text.contains("Content-Length: 14\r\n") && text.ends_with("\r\n\r\n0\n"), "{text}");
}

// W3.5
#[test]
fn curl_uploads_in_chunks() {
    let folder = Folder::new("upload");
    let text = "0123456789".repeat(50_000);
    let file = folder.write("large", &text);
    let upload = format!("@{}", file.display());
    let echoed = curl(root(), &["-H", "Transfer-Encoding: chunked", "--data-binary", &upload], &["/"]);
    let expected = curl(root(), &["-H", "Expect: 100-continue", "--data-binary", &upload], &["/expect"]);
    assert!(echoed.is_none_or(|echoed| echoed == text));
    assert!(expected.is_none_or(|expected| expected == "true 500000"));
}

// W3.3
#[test]
fn curl_speaks_http_1_0() {
    let Some(text) = curl(root(), &["-0", "-i"], &["/stream"]) else { return };
    assert!(text.contains("Connection: close\r\n") && text.ends_with("\r\n\r\nstreamed\n"), "{text}");
}

// W7.4
#[test]
fn curl_requests_a_part_of_a_file() {
    let folder = Folder::new("part");
    folder.write("digits", "0123456789");
    let root = Tree::new().fallback(Files::new(folder.path()));
    let part = curl(root, &["-r", "2-4", "-w", " %{http_code}"], &["/digits"]);
    assert!(part.is_none_or(|part| part == "234 206"));
}
