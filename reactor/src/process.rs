//! Child processes: their pipes, and how they end.

mod attempt;
mod builder;
#[cfg(feature = "pass-descriptors")]
mod descriptors;
mod exit;
mod input;
mod orphans;
mod output;
mod state;
mod target;
#[cfg(feature = "pty")]
mod terminal;

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::process::{Child, ExitStatus, Output};
use std::rc::{Rc, Weak};

use rustix::process::Signal;
use twistor_deferred::{Deferred, fail};

pub use builder::ProcessBuilder;
use builder::{ChildParts, ChildPipes};
pub use state::ExitStatusLost;

use crate::{Handle, ReactorGone};
use exit::ExitWatch;
use input::StdinPipe;
use output::OutputPipe;
use state::ProcessState;
use target::SignalTarget;

impl Handle {
    /// Starts a program from a [`ProcessBuilder`] or a [`Command`](std::process::Command). Twisted: `spawnProcess`.
    ///
    /// ```
    /// use twistor::prelude::*;
    /// use twistor::reactor::ProcessBuilder;
    ///
    /// let reactor = Reactor::new()?;
    /// let program = ProcessBuilder::new("tr")
    ///     .args(["a-z", "A-Z"])
    ///     .piped_stdin()
    ///     .on_stdout(|data| print!("{}", String::from_utf8_lossy(data)));
    /// let process = reactor.spawn_process(program)?;
    /// process.write(b"hello\n");
    /// process.close_stdin();
    /// assert!(reactor.run_until(process.ended())?.success());
    /// # Ok::<(), Failure>(())
    /// ```
    ///
    /// Starting a program takes about a millisecond, which holds the loop.
    ///
    /// # Errors
    ///
    /// If the program cannot be started: the kind is that of the operating system's error, such as `NotFound`, and the
    /// message names the program. [`ReactorGone`]; `Unsupported` on a simulated reactor.
    #[track_caller]
    pub fn spawn_process(&self, program: impl Into<ProcessBuilder>) -> io::Result<Process> {
        let core = self.core().ok_or_else(|| io::Error::other(ReactorGone))?;
        // A simulated reactor has to refuse before a process is started.
        core.driver.registry()?;
        let program = program.into();
        let attempt = program.attempt();
        let (child, pipes, parts) = match program.spawn() {
            Ok(started) => started,
            Err(error) => return Err(attempt.failed(error)),
        };
        Process::watch(self, child, pipes, parts).map_err(|error| attempt.failed(error))
    }

    /// Runs a program to completion. The Deferred fires with its exit status and everything that it wrote to its
    /// standard output and standard error. Twisted: `getProcessOutputAndValue`.
    ///
    /// ```
    /// use twistor::prelude::*;
    /// use twistor::reactor::ProcessBuilder;
    ///
    /// let reactor = Reactor::new()?;
    /// let program = ProcessBuilder::new("sort").stdin_bytes("pear\napple\n");
    /// let output = reactor.run_until(reactor.process_output(program))?;
    /// assert!(output.status.success());
    /// assert_eq!(output.stdout, b"apple\npear\n");
    /// # Ok::<(), Failure>(())
    /// ```
    ///
    /// Both outputs are kept in memory, without a limit. Callbacks set in the builder for them are replaced, and a
    /// piped standard input is closed immediately. The process is killed when the run ends.
    ///
    /// # Errors
    ///
    /// As [`spawn_process`](Handle::spawn_process); [`ExitStatusLost`]. An unsuccessful exit is not an error: the
    /// output contains the status.
    ///
    /// # Cancel safety
    ///
    /// Cancelling, as a timeout does, kills the process and closes its outputs. Data that it has written is lost.
    #[track_caller]
    pub fn process_output(&self, program: impl Into<ProcessBuilder>) -> Deferred<Output> {
        let output = Rc::new(RefCell::new((Vec::new(), Vec::new())));
        let (stdout, stderr) = (output.clone(), output.clone());
        let program = program
            .into()
            .on_stdout(move |data| stdout.borrow_mut().0.extend_from_slice(data))
            .on_stderr(move |data| stderr.borrow_mut().1.extend_from_slice(data))
            .kill_at_end();
        let process = match self.spawn_process(program) {
            Ok(process) => process,
            Err(error) => return fail(error),
        };
        let (deferred, trigger) = Deferred::with_canceller({
            let process = process.clone();
            move |_| {
                // The process may already have ended, and its children may hold the pipes.
                let _ = process.send(process.target, Signal::KILL);
                process.close_output();
            }
        });
        process.close_stdin();
        drop(process.ended().add_both(move |status| {
            let (stdout, stderr) = output.take();
            trigger.fire(status.map(|status| Output { status, stdout, stderr }));
        }));
        deferred
    }
}

/// A program started by [`spawn_process`](Handle::spawn_process). Twisted: `IProcessTransport`.
///
/// Clones refer to the same process.
///
/// # Ordering
///
/// [`exited`](Process::exited) fires when the process has ended and its status was fetched, so that no zombie is
/// left. [`ended`](Process::ended) fires when, in addition, all pipes to it are closed, so that no more output
/// follows. Either event may happen first, and `ended` may take long if a child of the process holds the pipes.
///
/// # Dropping
///
/// Dropping a clone, even the last one, changes nothing: the reactor owns the process and its callbacks. When the run
/// ends, or the reactor is dropped, the pipes are closed and the Deferreds fail with [`Abandoned`](twistor_deferred::Abandoned).
/// The process continues, unless [`kill_at_end`](ProcessBuilder::kill_at_end) was set; [`kill`](Process::kill) and
/// [`signal`](Process::signal) still reach it. A thread waits for its end, so that it does not stay as a zombie.
#[derive(Clone)]
pub struct Process {
    id: u32,
    /// The target of a kill at the end.
    target: SignalTarget,
    state: Rc<ProcessState>,
    exit: Weak<ExitWatch>,
    stdin: Weak<StdinPipe>,
    outputs: [Weak<OutputPipe>; 2],
}

impl Process {
    #[track_caller]
    fn watch(handle: &Handle, child: Child, pipes: ChildPipes, parts: ChildParts) -> io::Result<Process> {
        let id = child.id();
        let state = Rc::new(ProcessState::new(id));
        let target = if parts.group { SignalTarget::Group } else { SignalTarget::Process };
        // If a later step fails, dropping this kills the process and fetches its status.
        let exit = ExitWatch::new(child, target, state.clone())?;
        let stdin = match pipes.stdin {
            Some(pipe) => {
                let input = StdinPipe::open(handle, pipe, parts.stdin_end, &state)?;
                if let Some(bytes) = parts.stdin_bytes {
                    input.write(&bytes);
                    input.close_when_written();
                }
                Rc::downgrade(&input)
            }
            None => Weak::new(),
        };
        let stdout = match (pipes.stdout, parts.on_stdout) {
            (Some(pipe), Some(callback)) => OutputPipe::open(handle, pipe, callback, &state)?,
            _ => Weak::new(),
        };
        let stderr = match (pipes.stderr, parts.on_stderr) {
            (Some(pipe), Some(callback)) => OutputPipe::open(handle, pipe, callback, &state)?,
            _ => Weak::new(),
        };
        exit.watch(handle, parts.kill_at_end)?;
        Ok(Process { id, target, state, exit: Rc::downgrade(&exit), stdin, outputs: [stdout, stderr] })
    }

    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Writes to the standard input of the process. Data that the pipe does not accept immediately is buffered
    /// without a limit; see [`written`](Process::written).
    ///
    /// Returns false, and writes nothing, if standard input is not [piped](ProcessBuilder::piped_stdin) or is
    /// closed on either side. If a process closes its standard input, writing to it raises SIGPIPE in this program.
    /// Rust programs ignore SIGPIPE; a program whose `main` is not Rust's has to ignore it, too.
    pub fn write(&self, data: &[u8]) -> bool {
        self.stdin.upgrade().is_some_and(|stdin| stdin.write(data))
    }

    /// Returns a Deferred that fires when the pipe has accepted all data written so far. Write long data in pieces,
    /// each after the Deferred of the previous one has fired.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` if standard input is closed first.
    ///
    /// # Cancel safety
    ///
    /// Cancelling ends the wait. The data is still written.
    #[track_caller]
    pub fn written(&self) -> Deferred<()> {
        match self.stdin.upgrade() {
            Some(stdin) => stdin.written(),
            None => fail(input::closed()),
        }
    }

    /// Closes the standard input of the process after all data has been written. Twisted: `closeStdin`.
    pub fn close_stdin(&self) {
        if let Some(stdin) = self.stdin.upgrade() {
            stdin.close_when_written();
        }
    }

    /// Pauses reading the process's outputs, so that a process that keeps writing has to wait. Twisted:
    /// `pauseProducing`.
    pub fn pause_output(&self) {
        self.outputs.iter().filter_map(Weak::upgrade).for_each(|output| output.pause());
    }

    /// Resumes reading the outputs. Twisted: `resumeProducing`.
    pub fn resume_output(&self) {
        self.outputs.iter().filter_map(Weak::upgrade).for_each(|output| output.resume());
    }

    /// Closes the outputs: no callback is called again, and the loop closes this side of the pipes. Twisted:
    /// `closeStdout` and `closeStderr`; together with [`close_stdin`](Process::close_stdin), `loseConnection`.
    ///
    /// If the process writes again, it receives SIGPIPE, which ends it by default. [`ended`](Process::ended) no
    /// longer waits for children of the process that hold the pipes.
    pub fn close_output(&self) {
        self.outputs.iter().filter_map(Weak::upgrade).for_each(|output| output.give_up());
    }

    /// Kills the process (SIGKILL). Its children continue, and may hold the pipes:
    /// [`close_output`](Process::close_output) closes this side of them, and [`kill_group`](Process::kill_group)
    /// kills them too.
    ///
    /// # Errors
    ///
    /// `NotFound` if the process has ended.
    pub fn kill(&self) -> io::Result<()> {
        self.send(SignalTarget::Process, Signal::KILL)
    }

    /// Sends a signal to the process, by number. Twisted: `signalProcess`.
    ///
    /// # Errors
    ///
    /// `NotFound` if the process has ended; `InvalidInput` if no signal has this number.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        self.send(SignalTarget::Process, named(signal)?)
    }

    /// Kills the process and the other processes of its group (SIGKILL).
    ///
    /// # Errors
    ///
    /// `NotFound` if the process has ended, because another group may then have its number. `InvalidInput` if it was
    /// started without a [process group](ProcessBuilder::process_group).
    pub fn kill_group(&self) -> io::Result<()> {
        self.send(self.group()?, Signal::KILL)
    }

    /// Sends a signal to the process and the other processes of its group.
    ///
    /// # Errors
    ///
    /// As [`kill_group`](Process::kill_group); `InvalidInput` if no signal has this number.
    pub fn signal_group(&self, signal: i32) -> io::Result<()> {
        self.send(self.group()?, named(signal)?)
    }

    /// Sets the size of the program's [terminal](ProcessBuilder::terminal). The program is notified by SIGWINCH.
    ///
    /// # Errors
    ///
    /// `NotFound` if the terminal is closed; an error of the operating system if the process has no terminal.
    #[cfg(feature = "pty")]
    pub fn resize_terminal(&self, rows: u16, columns: u16) -> io::Result<()> {
        let terminal = self.outputs[0].upgrade().ok_or_else(terminal::closed)?;
        terminal.resize(terminal::TerminalSize { rows, columns })
    }

    fn group(&self) -> io::Result<SignalTarget> {
        match self.target {
            SignalTarget::Group => Ok(SignalTarget::Group),
            SignalTarget::Process => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the process has no group: start it with `process_group`",
            )),
        }
    }

    fn send(&self, target: SignalTarget, signal: Signal) -> io::Result<()> {
        // Until the status is fetched, the id cannot belong to another process.
        let sent = match self.exit.upgrade().and_then(|exit| exit.pid()) {
            Some(pid) => Some(target.send(pid, signal)),
            None => self.state.signal_orphan(target, signal),
        };
        match sent {
            Some(sent) => Ok(sent?),
            None => Err(io::Error::new(io::ErrorKind::NotFound, "the process has already ended")),
        }
    }

    /// Returns a Deferred that fires with the status when the process has ended. May be called any number of times.
    /// Twisted: `processExited`.
    ///
    /// # Errors
    ///
    /// [`ExitStatusLost`].
    ///
    /// # Cancel safety
    ///
    /// Cancelling ends the wait, and does not affect the process.
    #[track_caller]
    pub fn exited(&self) -> Deferred<ExitStatus> {
        self.state.exited()
    }

    /// Returns a Deferred that fires with the status when the process has ended and all pipes to it are closed. May
    /// be called any number of times. Twisted: `processEnded`.
    ///
    /// # Errors
    ///
    /// [`ExitStatusLost`].
    ///
    /// # Cancel safety
    ///
    /// Cancelling ends the wait, and does not affect the process.
    #[track_caller]
    pub fn ended(&self) -> Deferred<ExitStatus> {
        self.state.ended()
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("id", &self.id).field("status", &self.state.status()).finish()
    }
}

fn named(signal: i32) -> io::Result<Signal> {
    let unknown = || io::Error::new(io::ErrorKind::InvalidInput, format!("{signal} is not a signal number"));
    Signal::from_named_raw(signal).ok_or_else(unknown)
}
