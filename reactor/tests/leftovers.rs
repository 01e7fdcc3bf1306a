//! Nothing is left of a reactor, counted in the operating system. So this test has a program to itself.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use mio::Interest;
use mio::unix::pipe;
use twistor_deferred::{Deferred, gather_results};
use twistor_reactor::{Handle, Phase, Progress, Reactor};

#[cfg(feature = "process")]
use twistor_reactor::ProcessBuilder;

/// Returns the open descriptors, the number of threads, and the children, including zombies.
fn now() -> (Vec<String>, usize, String) {
    // One of them is the directory's own descriptor, which is closed when the loop reaches it.
    let names: Vec<_> = fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path()).collect();
    let descriptors =
        names.iter().filter_map(|path| fs::read_link(path).ok()).map(|what| what.display().to_string());
    let descriptors = descriptors.collect();
    let threads: Vec<_> =
        fs::read_dir("/proc/self/task").unwrap().map(|entry| entry.unwrap().path()).collect();
    let children =
        threads.iter().filter_map(|thread| fs::read_to_string(thread.join("children")).ok()).collect();
    (descriptors, threads.len(), children)
}

#[track_caller]
fn leaves_nothing(scenario: impl FnOnce()) {
    let before = now();
    scenario();
    // A joined thread has ended, but the system may list it for a moment longer.
    for _ in 0..10_000 {
        if now() == before {
            return;
        }
        std::thread::yield_now();
    }
    assert_eq!(now(), before);
}

/// Sets up one of everything. Returns a Deferred that fires when all of it has been used.
fn fill(reactor: &Handle) -> Deferred<()> {
    reactor.call_later(Duration::from_secs(3600), || ());
    let (mut sender, receiver) = pipe::new().unwrap();
    sender.write_all(b"x").unwrap();
    reactor.add_source(receiver, Interest::READABLE, |_, _| Ok(Progress::Drained)).unwrap();
    let (here, there) = UnixStream::pair().unwrap();
    drop(reactor.readable(here).add_both(|_| ()));
    // These stay open until the end.
    reactor.on_shutdown(Phase::After, move || drop((sender, there)));
    let handle = reactor.handle();
    let waiting = reactor.spawn(async move { handle.sleep(Duration::from_secs(3600)).await });
    drop(waiting.add_both(|_| ()));
    #[cfg(feature = "signals")]
    reactor.on_signal(twistor_reactor::signal::SIGUSR1, || ()).unwrap();

    let jobs = (0..20).map(|n| reactor.defer_to_thread(move || Ok(n)).add_callback(|_| ()));
    let jobs: Vec<_> = jobs.chain(processes(reactor)).collect();
    gather_results(jobs).add_callback(|_| ())
}

#[cfg(feature = "process")]
fn processes(reactor: &Handle) -> Vec<Deferred<()>> {
    // A loop that would continue.
    let program = ProcessBuilder::new("cat").piped_stdin().on_stdout(|_| ()).kill_at_end();
    reactor.spawn_process(program).unwrap();
    let short = |_| reactor.process_output(ProcessBuilder::new("echo").arg("x")).add_callback(|_| ());
    (0..5).map(short).collect()
}

#[cfg(not(feature = "process"))]
fn processes(_: &Handle) -> Vec<Deferred<()>> {
    Vec::new()
}

// R4, R8
#[test]
fn nothing_is_left_of_a_run_or_a_reactor() {
    leaves_nothing(|| {
        let reactor = Reactor::builder().threads(3).build().unwrap();
        for _ in 0..3 {
            leaves_nothing(|| {
                let done = fill(&reactor);
                reactor.run_until(done).unwrap();
            });
        }
    });
    leaves_nothing(|| {
        let reactor = Reactor::new().unwrap();
        drop(fill(&reactor).add_both(|_| ()));
    });
    leaves_nothing(|| {
        let reactor = Reactor::new().unwrap();
        drop(fill(&reactor).add_both(|_| ()));
        reactor.turn(Some(Duration::ZERO)).unwrap();
    });
    leaves_nothing(|| {
        let threads: Vec<_> = (0..10)
            .map(|_| {
                std::thread::spawn(|| {
                    let reactor = Reactor::builder().threads(2).build().unwrap();
                    let done = fill(&reactor);
                    reactor.run_until(done).unwrap();
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    leave_processes();
    share_signals();
}

/// The callbacks of one signal share the descriptors by which the loop is notified.
fn share_signals() {
    #[cfg(feature = "signals")]
    leaves_nothing(|| {
        let reactor = Reactor::new().unwrap();
        let add = || drop(reactor.on_signal(twistor_reactor::signal::SIGUSR1, || ()).unwrap());
        add();
        leaves_nothing(add);
    });
}

/// Waits for the end of a process.
#[cfg(feature = "process")]
fn has_ended(process: &twistor_reactor::Process) {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    let pid = Pid::from_raw(process.id() as i32).unwrap();
    // Fails if the status was already fetched.
    let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
}

/// Processes that outlive the run and then end leave no zombie, and the threads that waited for them end.
#[cfg(feature = "process")]
fn leave_processes() {
    leaves_nothing(|| {
        let reactor = Reactor::new().unwrap();
        has_ended(&reactor.spawn_process(ProcessBuilder::new("true")).unwrap());
    });
    leaves_nothing(|| {
        let reactor = Reactor::new().unwrap();
        let process = reactor.spawn_process(ProcessBuilder::new("cat").piped_stdin()).unwrap();
        drop(reactor);
        has_ended(&process);
    });
}

#[cfg(not(feature = "process"))]
fn leave_processes() {}
