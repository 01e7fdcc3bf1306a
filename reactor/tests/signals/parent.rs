//! The tests, which exchange lines with the child.

use std::io::{BufRead, BufReader, Lines};
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStdout, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::children::Running;

pub(crate) fn main() {
    let tests: [(&str, fn()); 14] = [
        ("either_signal_stops_a_run_gracefully", either_signal_stops_a_run_gracefully),
        ("a_second_interrupt_ends_the_process", a_second_interrupt_ends_the_process),
        ("an_interrupt_after_sigterm_ends_the_process", an_interrupt_after_sigterm_ends_the_process),
        ("a_second_sigterm_lets_the_shutdown_continue", a_second_sigterm_lets_the_shutdown_continue),
        ("a_second_interrupt_ends_a_process_that_hangs", a_second_interrupt_ends_a_process_that_hangs),
        ("signals_are_handled_only_during_a_run", signals_are_handled_only_during_a_run),
        ("a_reactor_in_another_thread_handles_no_signals", a_reactor_in_another_thread_handles_no_signals),
        ("hosts_keep_their_signals", hosts_keep_their_signals),
        ("callbacks_run_in_order_until_they_are_removed", callbacks_run_in_order_until_they_are_removed),
        ("a_signal_without_callbacks_has_its_default_effect", a_signal_is_restored_during_a_run),
        ("a_callback_that_another_removes_is_not_called", a_callback_that_another_removes_is_not_called),
        ("a_signal_that_was_ignored_stays_ignored", a_signal_that_was_ignored_stays_ignored),
        ("all_reactors_that_handle_the_signals_stop", all_reactors_that_handle_the_signals_stop),
        ("the_programs_own_handler_works_after_a_run", the_programs_own_handler_works_after_a_run),
    ];
    for (name, test) in tests {
        test();
        println!("test {name} ... ok");
    }
}

/// Returns whether this program was started to ignore a signal that the tests send.
fn some_are_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    [Signal::HUP, Signal::INT, Signal::TERM, Signal::USR1]
        .iter()
        .any(|signal| mask & (1 << (signal.as_raw() - 1)) != 0)
}

struct Child {
    running: Running,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Child {
    fn start(program: &str) -> Child {
        let this = std::env::current_exe().unwrap();
        // nohup ignores SIGHUP, and a script ignores signals in background programs. A child inherits that.
        let mut command = if some_are_ignored() {
            let mut command = Command::new("env");
            command.arg("--default-signal").arg(this);
            command
        } else {
            Command::new(this)
        };
        command.args(["child", program]);
        Child::run(command)
    }

    fn run(mut command: Command) -> Child {
        let mut running = Running::spawn(command.stdout(Stdio::piped()).stderr(Stdio::null())).unwrap();
        let lines = running.stdout().lines();
        let mut child = Child { running, lines };
        child.says(&["ready"]);
        child
    }

    #[track_caller]
    fn says(&mut self, lines: &[&str]) {
        for line in lines {
            assert_eq!(self.lines.next().and_then(Result::ok).as_deref(), Some(*line));
        }
    }

    fn gets(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.running.child), signal).unwrap();
    }

    #[track_caller]
    fn ends(mut self) -> ExitStatus {
        let status = self.running.child.wait().unwrap();
        assert!(self.lines.next().is_none());
        status
    }

    #[track_caller]
    fn killed_by(self, signal: Signal) {
        assert_eq!(self.ends().signal(), Some(signal.as_raw()));
    }
}

// R10.3
fn either_signal_stops_a_run_gracefully() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut child = Child::start("orderly");
        child.gets(signal);
        child.says(&["before", "after", "returned"]);
        assert!(child.ends().success());
    }
}

// R7.1
fn a_second_interrupt_ends_the_process() {
    let mut child = Child::start("stuck-trigger");
    child.gets(Signal::INT);
    child.says(&["stuck"]);
    child.gets(Signal::INT);
    child.killed_by(Signal::INT);
}

// R7.1
fn an_interrupt_after_sigterm_ends_the_process() {
    let mut child = Child::start("stuck-trigger");
    child.gets(Signal::TERM);
    child.says(&["stuck"]);
    child.gets(Signal::TERM);
    child.gets(Signal::INT);
    child.killed_by(Signal::INT);
}

// R7.2
fn a_second_sigterm_lets_the_shutdown_continue() {
    let mut child = Child::start("patient");
    child.gets(Signal::TERM);
    child.says(&["waiting"]);
    for _ in 0..3 {
        child.gets(Signal::TERM);
        child.says(&["again"]);
    }
    child.gets(Signal::USR1);
    child.says(&["returned"]);
    assert!(child.ends().success());
}

// R7.1
fn a_second_interrupt_ends_a_process_that_hangs() {
    let mut child = Child::start("stuck-loop");
    // A signal that arrives before the previous one is delivered is lost, and the delivery cannot be observed.
    while child.running.child.try_wait().unwrap().is_none() {
        child.gets(Signal::INT);
    }
    child.killed_by(Signal::INT);
}

// R10.3
fn signals_are_handled_only_during_a_run() {
    let mut child = Child::start("twice");
    child.gets(Signal::INT);
    child.says(&["returned 1", "ready"]);
    child.gets(Signal::TERM);
    child.says(&["returned 2"]);
    child.gets(Signal::TERM);
    child.killed_by(Signal::TERM);
}

// R10.4
fn a_reactor_in_another_thread_handles_no_signals() {
    let child = Child::start("other-thread");
    child.gets(Signal::INT);
    child.killed_by(Signal::INT);
}

// R10.4
fn hosts_keep_their_signals() {
    for program in ["turned-off", "host"] {
        let child = Child::start(program);
        child.gets(Signal::TERM);
        child.killed_by(Signal::TERM);
    }
}

// R10.6
fn callbacks_run_in_order_until_they_are_removed() {
    let mut child = Child::start("callbacks");
    child.gets(Signal::USR1);
    child.says(&["usr1 first", "usr1 last"]);
    child.gets(Signal::USR1);
    child.says(&["usr1 first", "usr1 last"]);
    child.gets(Signal::INT);
    child.says(&["int 1"]);
    child.gets(Signal::INT);
    child.says(&["int 2", "panicking one is there: false"]);
    child.gets(Signal::HUP);
    child.says(&["hup"]);
    child.gets(Signal::INT);
    child.says(&["int 3", "hup removed: true"]);
    child.gets(Signal::INT);
    child.says(&["int 4", "returned", "ready"]);
    child.gets(Signal::USR1);
    child.says(&["usr1 again"]);
    // Nothing handles this signal any more.
    child.gets(Signal::HUP);
    child.killed_by(Signal::HUP);
}

// R10
fn a_signal_is_restored_during_a_run() {
    let mut child = Child::start("removed");
    child.gets(Signal::HUP);
    child.says(&["other", "removed"]);
    child.gets(Signal::HUP);
    child.killed_by(Signal::HUP);
}

// R10, R5: each callback is called, even if many signals arrive.
fn a_callback_that_another_removes_is_not_called() {
    let mut child = Child::start("often");
    for _ in 0..1000 {
        child.gets(Signal::USR1);
        child.says(&["usr1"]);
    }
    child.gets(Signal::HUP);
    assert!(child.ends().success());
}

// R10.5
fn a_signal_that_was_ignored_stays_ignored() {
    if !cfg!(target_os = "linux") {
        return;
    }
    // Scripts do this for programs in the background.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' INT; exec \"$0\" child background"]).arg(std::env::current_exe().unwrap());
    let mut child = Child::run(command);
    for _ in 0..3 {
        child.gets(Signal::INT);
        child.gets(Signal::USR1);
        child.says(&["usr1"]);
    }
    child.gets(Signal::TERM);
    child.says(&["before"]);
    assert!(child.ends().success());
}

// R10.4
fn all_reactors_that_handle_the_signals_stop() {
    let mut child = Child::start("two");
    child.gets(Signal::INT);
    child.says(&["returned", "returned"]);
    assert!(child.ends().success());
}

// R10.1, R10.2
fn the_programs_own_handler_works_after_a_run() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let mut child = Child::start("own-handlers");
    for round in 0..2 {
        child.gets(Signal::USR1);
        child.says(&["in the loop"]);
        child.gets(Signal::TERM);
        child.says(&["returned", "own", "own"]);
        child.gets(Signal::USR1);
        child.says(&["own"]);
        child.gets(Signal::TERM);
        child.says(&["own"]);
        if round == 0 {
            child.says(&["ready"]);
        }
    }
    // The program has no handler for this signal.
    child.gets(Signal::INT);
    child.killed_by(Signal::INT);
}
