//! R12: child processes.

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use twistor_deferred::{Abandoned, Cancelled, gather_results};
use twistor_reactor::{Handle, Process, ProcessBuilder, Reactor};

use crate::support::{Record, keep_log, logged, reactor, run, run_until};

/// Returns a shell script as a program.
fn script(text: &str) -> ProcessBuilder {
    ProcessBuilder::new("sh").args(["-c", text])
}

/// Collects the outputs of a process.
#[derive(Clone, Default)]
struct Text(Rc<RefCell<Vec<u8>>>);

impl Text {
    fn adder(&self) -> impl FnMut(&[u8]) + use<> {
        let text = self.0.clone();
        move |data| text.borrow_mut().extend_from_slice(data)
    }

    fn take(&self) -> String {
        String::from_utf8(self.0.take()).unwrap()
    }
}

fn is_there(process: u32) -> bool {
    let pid = Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    test_kill_process(pid).is_ok()
}

#[test]
fn a_process_reads_its_input_and_its_output_is_delivered() {
    // R12.3
    let reactor = reactor();
    let (out, err) = (Text::default(), Text::default());
    let program = script("tr a-z A-Z; echo done >&2; exit 7")
        .piped_stdin()
        .on_stdout(out.adder())
        .on_stderr(err.adder());
    let process = reactor.spawn_process(program).unwrap();
    assert!(process.write(b"hello "));
    assert!(process.write(b"world"));
    process.close_stdin();
    assert!(!process.write(b"too late"));
    let status = run_until(&reactor, process.ended()).unwrap();
    assert_eq!((out.take().as_str(), err.take().as_str()), ("HELLO WORLD", "done\n"));
    assert_eq!(status.code(), Some(7));
}

#[test]
fn arguments_environment_and_directory_are_passed_on() {
    // R12
    let reactor = reactor();
    let program =
        script("echo $1 $WORD $(pwd); cat").args(["name", "argument"]).env("WORD", "word").current_dir("/");
    let output = run_until(&reactor, reactor.process_output(program)).unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "argument word /\n");

    let mut command = Command::new("sh");
    command.args(["-c", "echo out; echo err >&2; exit 3"]);
    let output = run_until(&reactor, reactor.process_output(command)).unwrap();
    assert_eq!((output.stdout, output.stderr), (b"out\n".to_vec(), b"err\n".to_vec()));
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn a_chain_of_command_methods_is_a_program() {
    // R12.8
    let reactor = reactor();
    let output = reactor.process_output(Command::new("sh").args(["-c", "echo $WORD"]).env("WORD", "word"));
    assert_eq!(run_until(&reactor, output).unwrap().stdout, b"word\n");
}

#[test]
fn stdin_bytes_are_written_and_stdin_is_closed() {
    // R12.3
    let reactor = reactor();
    // More than a pipe holds.
    let program = script("wc -c").stdin_bytes(vec![7; 1_000_000]);
    let output = run_until(&reactor, reactor.process_output(program)).unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "1000000");
}

/// Returns the lines of a program that writes these bytes.
fn lines_of(output: impl Into<Vec<u8>>) -> Vec<String> {
    let (reactor, record) = (reactor(), Record::new());
    let seen = record.clone();
    let program =
        ProcessBuilder::new("cat").stdin_bytes(output).on_stdout_line(move |line| seen.add(line.to_owned()));
    let process = reactor.spawn_process(program).unwrap();
    run_until(&reactor, process.ended()).unwrap();
    record.take()
}

#[test]
fn output_arrives_in_whole_lines() {
    // R12.13
    assert_eq!(lines_of(""), [""; 0]);
    assert_eq!(lines_of("one\n\ntwo\r\nlast"), ["one", "", "two", "last"]);
    assert_eq!(lines_of(b"a\xffb\n\r\n"), ["a\u{fffd}b", ""]);
    // Each line is longer than a read.
    let lines = ["\u{e4}".repeat(20_000), "x".repeat(40_001), "y".repeat(100_000)];
    assert_eq!(lines_of(lines.join("\r\n")), lines);
}

#[test]
fn a_line_that_is_too_long_arrives_in_pieces() {
    // R12.13
    let longest = "x".repeat(1 << 20);
    assert_eq!(lines_of(format!("{longest}\r\nend")), [longest.as_str(), "end"]);
    assert_eq!(lines_of(format!("{longest}y\nend\n")), [longest.as_str(), "y", "end"]);
    // A character is not cut.
    let line = format!("x{}", "\u{e4}".repeat(600_000));
    let lines = lines_of(format!("{line}\n"));
    assert_eq!((lines.len(), lines[0].len()), (2, (1 << 20) - 1));
    assert_eq!(lines.concat(), line);
}

#[test]
fn standard_error_arrives_in_lines() {
    // R12.13
    let (reactor, record) = (reactor(), Record::new());
    let seen = record.clone();
    let program =
        script("echo one >&2; printf two >&2").on_stderr_line(move |line| seen.add(line.to_owned()));
    let process = reactor.spawn_process(program).unwrap();
    run_until(&reactor, process.ended()).unwrap();
    assert_eq!(record.take(), ["one", "two"]);
}

#[test]
fn a_pause_takes_effect_between_two_lines() {
    // R12.14
    let (reactor, record) = (reactor(), Record::new());
    let (seen, handle) = (record.clone(), reactor.handle());
    let process = Rc::new(RefCell::new(None::<Process>));
    let own = process.clone();
    // All lines arrive in one read, and the output stays open until the last complete one is delivered.
    let program = script("printf 'a\\nb\\nc\\nd'; read line").piped_stdin().on_stdout_line(move |line| {
        seen.add(line.to_owned());
        let process = own.borrow().clone().unwrap();
        if line == "c" {
            process.write(b"go on\n");
        }
        process.pause_output();
        let (seen, before) = (seen.clone(), seen.len());
        handle.call_later(Duration::from_micros(100), move || {
            assert_eq!(seen.len(), before);
            process.resume_output();
        });
    });
    process.replace(Some(reactor.spawn_process(program).unwrap()));
    let ended = process.borrow().as_ref().unwrap().ended();
    run_until(&reactor, ended).unwrap();
    assert_eq!(record.take(), ["a", "b", "c", "d"]);
}

#[test]
fn no_line_follows_a_closed_output() {
    // R12.14
    let (reactor, record) = (reactor(), Record::new());
    let seen = record.clone();
    let process = Rc::new(RefCell::new(None::<Process>));
    let own = process.clone();
    let program = script("printf 'a\\nb\\nc'").on_stdout_line(move |line| {
        seen.add(line.to_owned());
        own.borrow().iter().for_each(Process::close_output);
    });
    process.replace(Some(reactor.spawn_process(program).unwrap()));
    let ended = process.borrow().as_ref().unwrap().ended();
    run_until(&reactor, ended).unwrap();
    assert_eq!(record.take(), ["a"]);
    process.take();
}

#[test]
fn ended_fires_after_exit_and_closed_pipes() {
    // R12.4
    let reactor = reactor();
    let record = Record::new();
    let seen = record.clone();
    // The script's child, which outlives it, reads its input and writes to its output.
    let program = script("exec 3<&0; { read line <&3; echo got $line; } & exit 3")
        .piped_stdin()
        .on_stdout(move |data| seen.add(String::from_utf8(data.to_vec()).unwrap()));
    let process = reactor.spawn_process(program).unwrap();
    let (seen, writer) = (record.clone(), process.clone());
    drop(process.exited().add_callback(move |status| {
        seen.add(format!("exited {}", status.code().unwrap()));
        assert!(writer.write(b"a line\n"));
    }));
    let ended = process.ended();
    let seen = record.clone();
    let ended = ended.add_callback(move |status| seen.add(format!("ended {}", status.code().unwrap())));
    run_until(&reactor, ended).unwrap();
    assert_eq!(record.take(), ["exited 3", "got a line\n", "ended 3"]);
}

#[test]
fn closing_its_pipes_does_not_end_a_process() {
    // R12.4
    let reactor = reactor();
    let (record, told) = (Record::new(), Rc::new(Cell::new(false)));
    let flag = told.clone();
    let program =
        script("echo closing; exec 1>&-; read line; exit 5").piped_stdin().on_stdout(move |_| flag.set(true));
    let process = reactor.spawn_process(program).unwrap();
    for (name, deferred) in [("exited", process.exited()), ("ended", process.ended())] {
        let seen = record.clone();
        drop(deferred.add_callback(move |status| seen.add((name, status.code()))));
    }
    while !told.get() {
        reactor.turn(None).unwrap();
    }
    assert_eq!(record.take(), []);
    process.close_stdin();
    run_until(&reactor, process.ended()).unwrap();
    assert_eq!(record.take(), [("exited", Some(5)), ("ended", Some(5))]);
}

#[test]
fn exited_and_ended_may_be_called_repeatedly() {
    // R12
    let reactor = reactor();
    let process = reactor.spawn_process(script("exit 4")).unwrap();
    let all = [process.exited(), process.ended(), process.exited()];
    for status in run_until(&reactor, gather_results(all)).unwrap() {
        assert_eq!(status.code(), Some(4));
    }
    assert!(process.exited().is_fired() && process.ended().is_fired());
    drop((process.exited(), process.ended()));
}

#[test]
fn a_process_is_killed_and_signalled_until_it_has_ended() {
    // R12.5
    let reactor = reactor();
    for (signal, kill) in [(Signal::KILL, true), (Signal::TERM, false)] {
        let process = reactor.spawn_process(ProcessBuilder::new("cat").piped_stdin()).unwrap();
        assert_eq!(process.signal(12_345).unwrap_err().kind(), ErrorKind::InvalidInput);
        if kill { process.kill() } else { process.signal(signal.as_raw()) }.unwrap();
        let status = run_until(&reactor, process.ended()).unwrap();
        assert_eq!(status.signal(), Some(signal.as_raw()));
        assert_eq!(process.kill().unwrap_err().kind(), ErrorKind::NotFound);
        assert!(!is_there(process.id()), "nothing is left of it, not even a zombie");
    }
}

#[test]
fn megabytes_pass_through_a_process_both_ways() {
    // R12
    let reactor = reactor();
    let size = Rc::new(Cell::new(0));
    let count = size.clone();
    let program = ProcessBuilder::new("cat").piped_stdin().on_stdout(move |data| {
        assert!(data.iter().all(|&byte| byte == 7));
        count.set(count.get() + data.len());
    });
    let process = reactor.spawn_process(program).unwrap();
    let writer = process.clone();
    drop(reactor.spawn(async move {
        for _ in 0..80 {
            writer.write(&vec![7; 100_000]);
            writer.written().await?;
        }
        writer.close_stdin();
        Ok(())
    }));
    assert!(run_until(&reactor, process.ended()).unwrap().success());
    assert_eq!(size.get(), 8_000_000);
}

#[test]
fn pausing_output_makes_a_process_wait_and_loses_nothing() {
    // R12.5
    let reactor = reactor();
    let size = Rc::new(Cell::new(0));
    let count = size.clone();
    let process = Rc::new(RefCell::new(None::<Process>));
    let own = process.clone();
    let handle: Handle = reactor.handle();
    let program = script("head -c 1000000 /dev/zero").on_stdout(move |data| {
        count.set(count.get() + data.len());
        let process = own.borrow().clone().unwrap();
        process.pause_output();
        let (count, before) = (count.clone(), count.get());
        handle.call_later(Duration::from_micros(100), move || {
            assert_eq!(count.get(), before);
            process.resume_output();
        });
    });
    process.replace(Some(reactor.spawn_process(program).unwrap()));
    let ended = process.borrow().as_ref().unwrap().ended();
    run_until(&reactor, ended).unwrap();
    assert_eq!(size.get(), 1_000_000);
}

#[test]
fn writing_to_a_process_that_does_not_read_fails() {
    // R12
    let reactor = reactor();
    let process = reactor.spawn_process(script("exec 0<&-; echo").piped_stdin()).unwrap();
    process.write(&vec![0; 1_000_000]);
    let written = process.written();
    let ended = run_until(&reactor, process.ended()).unwrap();
    assert!(ended.success() && written.is_fired());
    let failure = run_until(&reactor, written).unwrap_err();
    assert_eq!(failure.downcast_ref::<std::io::Error>().unwrap().kind(), ErrorKind::BrokenPipe);
    assert!(!process.write(b"more"));
    drop(process.written().add_errback(|failure| failure.trap::<std::io::Error>().map(|_| ())));
}

#[test]
fn an_error_of_a_process_names_the_program() {
    // R12.12
    let reactor = reactor();
    let told = |error: &std::io::Error| (error.kind(), error.to_string());
    for name in ["/nowhere/no-such-program", "a \"\n\u{7f}"] {
        let program = || ProcessBuilder::new(name);
        let text = format!("cannot start {name:?}: No such file or directory (os error 2)");
        let expected = (ErrorKind::NotFound, text);
        assert_eq!(told(&reactor.spawn_process(program()).unwrap_err()), expected);
        let failure = run_until(&reactor, reactor.process_output(program())).unwrap_err();
        let error = failure.downcast_ref::<std::io::Error>().unwrap();
        assert_eq!(told(error), expected);
        let source =
            std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
        assert_eq!(source.and_then(std::io::Error::raw_os_error), Some(2));
        #[cfg(feature = "pty")]
        assert_eq!(told(&reactor.spawn_process(program().terminal(24, 80)).unwrap_err()), expected);
    }
    let program = ProcessBuilder::new("true").current_dir("/nowhere");
    let error = reactor.spawn_process(program).unwrap_err().to_string();
    assert_eq!(error, "cannot start \"true\" in \"/nowhere\": No such file or directory (os error 2)");
}

#[test]
fn a_signal_to_an_ended_process_says_that_it_has_ended() {
    // R12.12
    let reactor = reactor();
    let process = reactor.spawn_process(script("").process_group()).unwrap();
    run_until(&reactor, process.ended()).unwrap();
    for refused in [process.kill(), process.signal(15), process.kill_group(), process.signal_group(15)] {
        let error = refused.unwrap_err();
        assert_eq!(
            (error.kind(), &*error.to_string()),
            (ErrorKind::NotFound, "the process has already ended")
        );
    }
    let error = process.signal(12345).unwrap_err();
    assert_eq!(
        (error.kind(), &*error.to_string()),
        (ErrorKind::InvalidInput, "12345 is not a signal number")
    );
    let (written, text) = (process.written(), "the standard input of the process is closed or was not piped");
    let failure = run_until(&reactor, written).unwrap_err();
    let error = failure.downcast_ref::<std::io::Error>().unwrap();
    assert_eq!((error.kind(), &*error.to_string()), (ErrorKind::BrokenPipe, text));
}

#[test]
fn a_simulated_reactor_starts_no_process() {
    // R12
    let reactor = Reactor::simulated(1);
    let error = reactor.spawn_process(ProcessBuilder::new("true")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn a_panic_in_an_output_callback_closes_its_pipe() {
    // R12
    keep_log();
    let reactor = reactor();
    let line = line!() + 2;
    let program = script("echo; exit 6").on_stdout(|_| panic!("out of cheese"));
    let process = reactor.spawn_process(program).unwrap();
    assert_eq!(run_until(&reactor, process.ended()).unwrap().code(), Some(6));
    let lines = logged();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("cheese") && lines[0].contains(&format!("processes.rs:{line}")), "{lines:?}");
}

#[test]
fn cancelling_process_output_kills_the_process() {
    // R12.6
    let reactor = reactor();
    // It stops itself, so only its end releases the pipes.
    let output = reactor.process_output(script("kill -STOP $$"));
    output.cancel();
    assert!(run_until(&reactor, output).unwrap_err().is::<Cancelled>());

    // A child that has inherited the pipes does not keep them open either.
    let output = reactor.process_output(script("yes & kill -STOP $$"));
    let canceller = output.canceller();
    drop(output.add_errback(|failure| failure.trap::<Cancelled>().map(|_| unreachable!())).add_both(|_| ()));
    while reactor.stats().events == 0 {
        reactor.turn(None).unwrap();
    }
    canceller.cancel();
    let ended = || format!("{reactor:?}").contains("sources: 0");
    let turns = (0..1000).take_while(|_| !ended() && reactor.turn(None).unwrap()).count();
    assert!(ended(), "after {turns} turns");
}

#[test]
fn closing_the_outputs_ends_a_writer_and_the_wait_for_it() {
    // R12.6: `yes` is a child of the process, and outlives it.
    let reactor = reactor();
    let (calls, started) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(None::<Process>)));
    let (count, process) = (calls.clone(), started.clone());
    let program = script("yes &").on_stdout(move |_| {
        count.set(count.get() + 1);
        // From inside the callback, which is not called again.
        process.borrow().iter().for_each(Process::close_output);
    });
    let process = reactor.spawn_process(program).unwrap();
    started.replace(Some(process.clone()));
    assert!(run_until(&reactor, process.ended()).unwrap().success());
    assert_eq!(calls.get(), 1);
    started.take();
}

#[test]
fn outputs_may_be_closed_while_paused_and_twice() {
    // R12
    let reactor = reactor();
    let process = reactor.spawn_process(script("yes & true").on_stdout(|_| ())).unwrap();
    process.pause_output();
    run_until(&reactor, process.exited()).unwrap();
    process.close_output();
    process.close_output();
    process.resume_output();
    assert!(run_until(&reactor, process.ended()).unwrap().success());
}

#[test]
fn a_callback_may_kill_its_process() {
    // R12
    let reactor = reactor();
    let slot = Rc::new(Cell::new(None::<Process>));
    let own = slot.clone();
    let program =
        script("echo started; kill -STOP $$").on_stdout(move |_| own.take().unwrap().kill().unwrap());
    let process = reactor.spawn_process(program).unwrap();
    slot.set(Some(process.clone()));
    assert_eq!(run_until(&reactor, process.ended()).unwrap().signal(), Some(Signal::KILL.as_raw()));
}

#[test]
fn a_process_outlives_the_run_unless_kill_at_end_is_set() {
    // R4, R12.7
    for drop_it in [false, true] {
        let reactor = reactor();
        let (record, out) = (Record::new(), Text::default());
        let start = |kill: bool| {
            let program = ProcessBuilder::new("cat").piped_stdin().on_stdout(out.adder());
            let process = reactor.spawn_process(if kill { program.kill_at_end() } else { program }).unwrap();
            for deferred in [process.exited(), process.ended()] {
                let seen = record.clone();
                drop(
                    deferred
                        .add_errback(move |failure| {
                            seen.add(failure.is::<Abandoned>());
                            Err(failure)
                        })
                        .add_both(|_| ()),
                );
            }
            process
        };
        let (killed, spared) = (start(true), start(false));
        let other = {
            // It reads nothing, so it does not notice that its input is closed.
            let program = script("trap '' HUP; echo; while :; do sleep 1; done").on_stdout(|_| ());
            reactor.spawn_process(program).unwrap()
        };
        if drop_it {
            drop(reactor);
        } else {
            let handle = reactor.handle();
            reactor.call_later(Duration::ZERO, move || handle.stop());
            run(&reactor);
        }
        assert!(!is_there(killed.id()));
        assert!(is_there(other.id()));
        assert_eq!(record.take(), [true; 4]);
        assert_eq!(killed.kill().unwrap_err().kind(), ErrorKind::NotFound);
        assert!(!spared.write(b"closed by now"));
        drop(
            spared
                .ended()
                .add_errback(|failure| failure.trap::<Abandoned>().map(|_| ExitStatusExt::from_raw(0))),
        );
        kill_process(Pid::from_raw(other.id() as i32).unwrap(), Signal::KILL).unwrap();
    }
}

#[test]
fn a_process_left_behind_is_reaped_and_can_be_killed() {
    // R12.1
    for drop_it in [false, true] {
        let reactor = reactor();
        // It ends with its input, and so with the run.
        let short = reactor.spawn_process(ProcessBuilder::new("cat").piped_stdin()).unwrap();
        let long = reactor.spawn_process(ProcessBuilder::new("sleep").arg("600")).unwrap();
        if drop_it {
            drop(reactor);
        } else {
            reactor.call_later(Duration::ZERO, {
                let handle = reactor.handle();
                move || handle.stop()
            });
            run(&reactor);
        }
        assert!(is_there(long.id()));
        long.signal(Signal::CONT.as_raw()).unwrap();
        long.kill().unwrap();
        for process in [short, long] {
            // The reactor is gone, so another thread fetches the status.
            let deadline = Instant::now() + Duration::from_secs(30);
            while is_there(process.id()) {
                assert!(Instant::now() < deadline, "its status is not fetched");
                std::thread::yield_now();
            }
            assert_eq!(process.kill().unwrap_err().kind(), ErrorKind::NotFound);
        }
    }
}

#[test]
fn fifty_processes_run_side_by_side() {
    // R12
    let reactor = reactor();
    let all: Vec<_> = (0..50)
        .map(|n| reactor.process_output(script("echo $1; exit $1").args(["sh", &n.to_string()])))
        .collect();
    for (n, output) in run_until(&reactor, gather_results(all)).unwrap().into_iter().enumerate() {
        assert_eq!(output.status.code(), Some(n as i32));
        assert_eq!(output.stdout, format!("{n}\n").into_bytes());
    }
}

#[test]
fn an_endless_writer_gets_a_bounded_share_of_each_turn() {
    // R6, R12
    let reactor = reactor();
    let (handle, turn, told) = (reactor.handle(), Cell::new(0), Record::new());
    let all = Rc::new(Cell::new(0));
    let (sum, shares) = (all.clone(), told.clone());
    let mut share = 0;
    let program = ProcessBuilder::new("yes").kill_at_end().on_stdout(move |data| {
        let now = handle.stats().turns;
        if turn.replace(now) != now {
            shares.add(std::mem::take(&mut share));
        }
        share += data.len();
        sum.set(sum.get() + data.len());
        if sum.get() > 16 << 20 {
            handle.stop();
        }
    });
    reactor.spawn_process(program).unwrap();
    run(&reactor);
    assert!(told.take().into_iter().all(|share| share <= 64 * 1024));
}

/// A script that starts a child, which has its output, and waits for it.
fn family() -> ProcessBuilder {
    script("sleep 600 & echo $!; wait").process_group()
}

/// Waits until a process, which is not a child of this one, has ended.
fn wait_until_gone(process: u32) {
    let deadline = Instant::now() + Duration::from_secs(30);
    // An orphan stays as a zombie if the first process of a container does not wait for it.
    let state = || std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    while is_there(process) && !state().contains(") Z ") {
        assert!(Instant::now() < deadline, "process {process} was not killed");
        std::thread::yield_now();
    }
}

#[test]
fn a_process_is_killed_with_its_group() {
    // R12.9
    for end in ["kill_group", "signal_group", "run"] {
        let reactor = reactor();
        let (out, handle) = (Text::default(), reactor.handle());
        let mut adder = out.adder();
        let program = family().kill_at_end().on_stdout(move |data| {
            adder(data);
            if end == "run" {
                handle.stop();
            }
        });
        let process = reactor.spawn_process(program).unwrap();
        let ended = process.ended();
        if end == "run" {
            run(&reactor);
            drop(
                ended.add_errback(|failure| failure.trap::<Abandoned>().map(|_| ExitStatusExt::from_raw(0))),
            );
        } else {
            while out.0.borrow().is_empty() {
                reactor.turn(None).unwrap();
            }
            match end {
                "kill_group" => process.kill_group(),
                _ => process.signal_group(Signal::KILL.as_raw()),
            }
            .unwrap();
            // The child held the output, so it has ended too.
            let status = run_until(&reactor, ended).unwrap();
            assert_eq!(status.signal(), Some(Signal::KILL.as_raw()));
            assert_eq!(process.kill_group().unwrap_err().kind(), ErrorKind::NotFound);
        }
        wait_until_gone(out.take().trim().parse().unwrap());
    }
}

#[test]
fn cancelling_the_output_kills_the_group() {
    // R12.9. `sleep` holds the pipe's writing end as long as it lives, so the reader sees the end of it.
    let reactor = reactor();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "sleep 600 >&0 & kill -STOP $$"]).stdin(writer);
    let output = reactor.process_output(ProcessBuilder::from(command).process_group());
    output.cancel();
    assert!(run_until(&reactor, output).unwrap_err().is::<Cancelled>());
    assert_eq!(std::io::Read::read(&mut reader, &mut [0]).unwrap(), 0);
}

#[test]
fn a_process_without_a_group_of_its_own_has_none_to_kill() {
    // R12.9
    let reactor = reactor();
    let process = reactor.spawn_process(ProcessBuilder::new("cat").piped_stdin().kill_at_end()).unwrap();
    for error in [process.kill_group(), process.signal_group(Signal::KILL.as_raw())] {
        assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[cfg(feature = "pass-descriptors")]
mod descriptors {
    use std::io::{Read, Write, pipe};

    use super::*;

    #[test]
    fn a_process_finds_descriptors_under_their_numbers() {
        // R12.10. Low numbers are in use in this process, and high ones are not.
        let reactor = reactor();
        for (input, output) in [(3, 4), (4, 3), (8, 9), (200, 201)] {
            let (reader, mut writer) = pipe().unwrap();
            let (mut answer, answer_writer) = pipe().unwrap();
            writer.write_all(b"a line\n").unwrap();
            // The shell's redirections take one digit; `/dev/fd` takes any.
            let program = script("cat /dev/fd/$0 >/dev/fd/$1")
                .args([input.to_string(), output.to_string()])
                .descriptor(input, reader)
                .descriptor(output, answer_writer);
            drop(writer);
            let process = reactor.spawn_process(program).unwrap();
            assert!(run_until(&reactor, process.ended()).unwrap().success());
            // The end is seen, so this process keeps no copy.
            let mut text = String::new();
            answer.read_to_string(&mut text).unwrap();
            assert_eq!(text, "a line\n");
        }
    }

    #[test]
    fn a_program_not_found_is_reported_whatever_the_number() {
        // R12.10. `Command` takes the lowest free numbers for the pipe through which a child reports.
        let reactor = reactor();
        for number in 3..40 {
            let (mut reader, writer) = pipe().unwrap();
            let program = ProcessBuilder::new("/nowhere/no-such-program").descriptor(number, writer);
            assert_eq!(reactor.spawn_process(program).unwrap_err().kind(), ErrorKind::NotFound);
            assert_eq!(reader.read(&mut [0; 8]).unwrap(), 0, "nothing is written to descriptor {number}");
        }
    }

    #[test]
    fn two_descriptors_of_one_number_are_refused() {
        // R12.10
        let reactor = reactor();
        let (reader, writer) = pipe().unwrap();
        let program = ProcessBuilder::new("true").descriptor(5, reader).descriptor(5, writer);
        assert_eq!(reactor.spawn_process(program).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[cfg(feature = "pty")]
mod terminals {
    use super::*;

    fn interrupts_are_ignored() -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        ignored.is_some_and(|set| u64::from_str_radix(set.trim(), 16).unwrap() & 2 != 0)
    }

    #[test]
    fn a_program_has_a_terminal_that_controls_it() {
        // R12.11. Ctrl-C reaches the program through its controlling terminal. It also discards unread output, so the
        // trap writes none.
        let reactor = reactor();
        let (out, slot) = (Text::default(), Rc::new(RefCell::new(None::<Process>)));
        let (mut adder, own) = (out.adder(), slot.clone());
        let program = script("trap 'exit 7' INT; stty size; echo ready > /dev/tty; read line; exit 8")
            .terminal(30, 120)
            .on_stdout(move |data| {
                adder(data);
                if data.windows(5).any(|text| text == b"ready") {
                    // A shell runs the trap of a signal that came just before `read` only after a line.
                    own.take().unwrap().write(b"\x03\n");
                }
            });
        let process = reactor.spawn_process(program).unwrap();
        slot.replace(Some(process.clone()));
        // A shell cannot trap a signal that was ignored when it started, for example because the tests run in the
        // background of another shell.
        let expected = if interrupts_are_ignored() { 8 } else { 7 };
        assert_eq!(run_until(&reactor, process.ended()).unwrap().code(), Some(expected));
        let text = out.take();
        assert!(text.starts_with("30 120\r\nready"), "{text:?}");
    }

    #[test]
    fn bytes_for_a_terminal_end_with_an_end_of_file() {
        // R12.11
        let reactor = reactor();
        let program = script("test -t 0 && test -t 1 && test -t 2 && tr a-z A-Z");
        let program = program.terminal(24, 80).stdin_bytes("hello\n");
        let output = run_until(&reactor, reactor.process_output(program)).unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("hello\r\n") && text.contains("HELLO\r\n"), "echo and output: {text:?}");
    }

    #[test]
    fn a_resized_terminal_notifies_its_program() {
        // R12.11
        let reactor = reactor();
        let (out, slot) = (Text::default(), Rc::new(RefCell::new(None::<Process>)));
        let (mut adder, own) = (out.adder(), slot.clone());
        let program = script("trap 'stty size; exit 0' WINCH; echo; while :; do read line; done")
            .terminal(24, 80)
            .on_stdout(move |data| {
                adder(data);
                if let Some(process) = own.take() {
                    process.resize_terminal(50, 100).unwrap();
                    // A shell runs the trap of a signal that came just before `read` only after a line.
                    process.write(b"\n");
                }
            });
        let process = reactor.spawn_process(program).unwrap();
        slot.replace(Some(process.clone()));
        assert!(run_until(&reactor, process.ended()).unwrap().success());
        let text = out.take();
        assert!(text.contains("50 100\r\n"), "{text:?}");
        let error = process.resize_terminal(24, 80).unwrap_err();
        assert_eq!((error.kind(), &*error.to_string()), (ErrorKind::NotFound, "the terminal is closed"));
    }

    #[test]
    fn the_end_of_a_run_hangs_the_terminal_up() {
        // R12.11
        let reactor = reactor();
        let process = reactor.spawn_process(ProcessBuilder::new("cat").terminal(24, 80)).unwrap();
        drop(reactor);
        wait_until_gone(process.id());
    }
}
