//! Child processes that cannot make a test hang.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

use std::io::{self, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// The time after which a child is killed.
const DEADLINE: Duration = Duration::from_secs(60);

/// A child process that is killed when it is dropped, or at the deadline, which ends its pipes.
pub struct Running {
    pub child: Child,
    _watchdog: Watchdog,
}

impl Running {
    pub fn spawn(command: &mut Command) -> io::Result<Running> {
        let child = command.spawn()?;
        Ok(Running { _watchdog: watch(&child, command), child })
    }

    /// Takes its standard output, which has to be a pipe.
    pub fn stdout(&mut self) -> BufReader<ChildStdout> {
        BufReader::new(self.child.stdout.take().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program to its end, as `Command::output` does, and kills it at the deadline.
pub fn output(command: &mut Command) -> io::Result<Output> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let _watchdog = watch(&child, command);
    child.wait_with_output()
}

/// Watches a child until it is dropped.
pub struct Watchdog(Sender<()>);

/// Kills the child at the deadline. If the test still waits then, because a grandchild holds the pipes, names the test
/// and ends the whole program.
pub fn watch(child: &Child, command: &Command) -> Watchdog {
    let (watchdog, dropped) = channel();
    let (pid, what) = (child.id(), format!("{command:?}"));
    let test = thread::current().name().unwrap_or("main").to_owned();
    thread::spawn(move || {
        let hangs = |limit| dropped.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
        if hangs(DEADLINE) {
            eprintln!("test {test}: killed after {DEADLINE:?}: {what}");
            signal(pid, "KILL");
            if hangs(DEADLINE / 4) {
                // Not by `eprintln!`, which a test captures.
                let _ = writeln!(io::stderr(), "test {test} hangs: {what} left its pipes open");
                std::process::abort();
            }
        }
    });
    Watchdog(watchdog)
}

/// Sends a signal to a process.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status();
    assert!(status.is_ok_and(|status| status.success()), "kill -{name} {pid}");
}
