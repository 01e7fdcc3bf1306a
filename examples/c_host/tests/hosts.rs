//! Runs the host programs against a server that answers one path and is silent on another.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

/// Serves `/page`, and keeps every other request without an answer.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut silent = Vec::new();
        for mut connection in listener.incoming().map_while(Result::ok) {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut piece = [0; 1024];
                match connection.read(&mut piece) {
                    Ok(length @ 1..) => request.extend_from_slice(&piece[..length]),
                    _ => break,
                }
            }
            if request.starts_with(b"GET /page ") {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
                connection.write_all(answer).unwrap();
            } else {
                silent.push(connection);
            }
        }
    });
    address
}

/// The folder with the library, beside this program.
fn libraries() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().to_owned()
}

fn library() -> PathBuf {
    let name = format!("{}twistor_c{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    libraries().join(name)
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn is_there(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

#[track_caller]
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} ended with {}: {errors}", output.status);
    assert_eq!(errors, "", "{command:?} complained");
    String::from_utf8(output.stdout).unwrap()
}

/// Compiles the C program. Each test has its own copy, because they run at the same time.
fn c_program(name: &str) -> PathBuf {
    let program = libraries().join(name);
    output(
        Command::new("cc")
            .args(["-std=c11", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra", "-Werror", "-o"])
            .arg(&program)
            .arg(source("main.c"))
            .arg(library())
            .arg(format!("-Wl,-rpath,{}", libraries().display())),
    );
    program
}

#[test]
fn a_c_program_fetches_and_cancels_in_its_poll_loop() {
    if !is_there("cc") {
        return;
    }
    let program = c_program("c_host_main");
    let address = serve();
    let text = output(
        Command::new(&program).args([format!("http://{address}/page"), format!("http://{address}/silent")]),
    );
    println!("{text}");
    let expected = [
        "bad: invalid URL",
        "page: status 200, 5 bytes: hello",
        "inside a callback, turn returns -1 and free returns -1",
        "cancelled: ",
        "cancel returns 0",
        "cancel again returns -4",
        "pending: ",
        "free returns 0",
    ];
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{text}");
    for (line, start) in lines.iter().zip(expected) {
        assert!(line.starts_with(start), "{line:?} does not start with {start:?} in {text}");
    }
}

#[test]
fn valgrind_finds_no_error_and_no_leak_in_the_c_program() {
    if !is_there("cc") || !is_there("valgrind") {
        return;
    }
    let program = c_program("c_host_valgrind");
    let address = serve();
    // Any complaint is an error, because `output` expects nothing on standard error.
    let text = output(
        Command::new("valgrind")
            .args(["--quiet", "--error-exitcode=9", "--leak-check=full", "--show-leak-kinds=all"])
            .arg(format!("--suppressions={}", source("valgrind.supp").display()))
            .arg(&program)
            .args([format!("http://{address}/page"), format!("http://{address}/silent")]),
    );
    assert!(text.ends_with("free returns 0\n"), "{text}");
}

#[test]
fn a_python_program_fetches_and_cancels_in_its_selector_loop() {
    if !is_there("python3") {
        return;
    }
    let address = serve();
    let text = output(
        Command::new("python3")
            .arg(source("host.py"))
            .arg(library())
            .args([format!("http://{address}/page"), format!("http://{address}/silent")]),
    );
    println!("{text}");
    let expected =
        ["page: status 200, 5 bytes: hello", "silent: cancelled", "cancel returns 0", "free returns 0"];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
}
