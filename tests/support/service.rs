//! An example that serves until it is stopped, and its clients.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{ChildStdout, Command, Stdio};
use std::thread;

use super::child::{Running, signal};
use super::peers::start;
use super::{DEADLINE, example};

/// An example that serves.
pub struct Service {
    process: Running,
    output: BufReader<ChildStdout>,
    /// The address that it prints when it starts.
    pub address: String,
}

impl Service {
    /// Starts it, and waits until it listens.
    pub fn start(name: &str, arguments: &[&OsStr]) -> Service {
        let mut command = example(name);
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Running::spawn(&mut command).unwrap_or_else(|error| {
            panic!("cannot run {command:?} (cargo build --examples makes it): {error}")
        });
        let mut output = process.stdout();
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address =
            line.trim_end().strip_prefix("listening on ").unwrap_or_else(|| panic!("{name}: {line:?}"));
        let address = address.strip_prefix("http://").unwrap_or(address);
        let address = address.split(", ").next().unwrap_or(address).to_owned();
        Service { process, output, address }
    }

    /// Starts it on a free port, with further arguments.
    pub fn on_free_port(name: &str, further: &[&str]) -> Service {
        let arguments: Vec<&OsStr> =
            ["--listen", "127.0.0.1:0"].iter().chain(further).map(OsStr::new).collect();
        Service::start(name, &arguments)
    }

    /// Connects a client, with a time limit for each read and write.
    pub fn connect(&self) -> TcpStream {
        connect(self.address.parse().unwrap())
    }

    /// Returns a line of `/proc/PID/status` in KiB. `None` on systems without that file.
    pub fn memory(&self, key: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.child.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with(key))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        signal(self.process.child.id(), "TERM");
    }

    /// Waits for a clean exit, and returns its standard error.
    pub fn ended(mut self) -> String {
        let (mut rest, mut errors) = (String::new(), String::new());
        self.output.read_to_string(&mut rest).unwrap();
        self.process.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        let status = self.process.child.wait().unwrap();
        assert!(status.success(), "it ended with {status}: {errors}");
        assert_eq!(rest, "");
        errors
    }

    /// Stops it by SIGTERM. Fails if it has written to standard error.
    pub fn stop(self) {
        self.terminate();
        assert_eq!(self.ended(), "");
    }
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Sends all of the data from another thread, then closes that direction.
pub fn send(stream: &TcpStream, bytes: Vec<u8>) -> thread::JoinHandle<()> {
    let mut stream = stream.try_clone().unwrap();
    thread::spawn(move || {
        std::io::Write::write_all(&mut stream, &bytes).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
    })
}

/// A running Python program whose output is read line by line.
pub struct Python {
    process: Running,
    output: BufReader<ChildStdout>,
}

impl Python {
    /// Starts a program. If Python is not installed, says so and returns `None`.
    pub fn start(program: &str, arguments: &[&str]) -> Option<Python> {
        let mut command = Command::new("python3");
        command.args(["-u", "-c", program]).args(arguments);
        let mut process = start(&mut command)?;
        let output = process.stdout();
        Some(Python { process, output })
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Waits for a clean exit, and returns the rest of its output.
    pub fn rest(mut self) -> String {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        let status = self.process.child.wait().unwrap();
        assert!(status.success(), "{status}: {rest}");
        rest
    }

    /// Kills it, so that it cannot close its connections.
    pub fn kill(self) {
        drop(self);
    }
}
