//! Child processes: what they read, what they write, and how they end.

mod builder;
mod exit;
mod input;
mod orphans;
mod output;
mod state;

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::process::{Child, ExitStatus, Output};
use std::rc::{Rc, Weak};

use rustix::process::{Signal, kill_process};
use twistor_deferred::{Deferred, fail};

pub use builder::ProcessBuilder;
pub use state::ExitStatusLost;

use crate::{Handle, ReactorGone};
use exit::ExitWatch;
use input::StdinPipe;
use output::OutputPipe;
use state::ProcessState;

impl Handle {
    /// Starts a program: a [`ProcessBuilder`], or a [`Command`](std::process::Command). Twisted's `spawnProcess`.
    ///
    /// ```
    /// use twistor_reactor::{ProcessBuilder, Reactor};
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
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Starting a program takes about a millisecond, for which the loop stands still.
    ///
    /// # Errors
    ///
    /// When the program cannot be started; [`ReactorGone`]; `Unsupported` on a simulated reactor.
    #[track_caller]
    pub fn spawn_process(&self, program: impl Into<ProcessBuilder>) -> io::Result<Process> {
        let core = self.core().ok_or_else(|| io::Error::other(ReactorGone))?;
        // A simulated reactor refuses before there is a process.
        core.driver.registry()?;
        let (child, parts) = program.into().spawn()?;
        Process::watch(self, child, parts)
    }

    /// Runs a program to its end, and gives what it wrote to its standard output and error. Twisted's
    /// `getProcessOutputAndValue`.
    ///
    /// ```
    /// use twistor_reactor::{ProcessBuilder, Reactor};
    ///
    /// let reactor = Reactor::new()?;
    /// let program = ProcessBuilder::new("sort").stdin_bytes("pear\napple\n");
    /// let output = reactor.run_until(reactor.process_output(program))?;
    /// assert!(output.status.success());
    /// assert_eq!(output.stdout, b"apple\npear\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Both are kept in memory, whatever their size. Callbacks for them in the builder are replaced, and a piped
    /// standard input is closed at once. Cancelling the Deferred, as a timeout does, kills the process and closes its
    /// outputs; the end of the run does, too.
    ///
    /// # Errors
    ///
    /// Those of [`spawn_process`](Handle::spawn_process); [`ExitStatusLost`]. A program that fails is no error: the
    /// output has its status.
    ///
    /// # Cancel safety
    ///
    /// Cancelling kills the process and closes its outputs. What it had written is lost.
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
                // It may have ended meanwhile, and children of its own may hold the pipes.
                let _ = process.kill();
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

/// A program that was started with [`spawn_process`](Handle::spawn_process). Twisted's `IProcessTransport`; clones name
/// the same process.
///
/// # Ordering
///
/// [`exited`](Process::exited) fires when the process has ended and its status was fetched, so that no zombie is left.
/// [`ended`](Process::ended) fires when moreover all pipes to it are closed, so that nothing more comes from it. Either
/// may happen first, and the second may take long if a child of the process holds the pipes.
///
/// # Dropping
///
/// Dropping the handle changes nothing: the process and its callbacks belong to the reactor. When the run ends, or the
/// reactor is dropped, the pipes are closed and the Deferreds fire [`Abandoned`](twistor_deferred::Abandoned). The
/// process goes on, unless [`kill_at_end`](ProcessBuilder::kill_at_end) says otherwise. [`kill`](Process::kill) and
/// [`signal`](Process::signal) still reach it. A thread waits for its end, so that it does not stay as a zombie.
#[derive(Clone)]
pub struct Process {
    id: u32,
    state: Rc<ProcessState>,
    exit: Weak<ExitWatch>,
    stdin: Weak<StdinPipe>,
    outputs: [Weak<OutputPipe>; 2],
}

/// What is called with the data of an output.
type OnData = Box<dyn FnMut(&[u8])>;

/// What a child was started with.
struct ChildParts {
    on_stdout: Option<OnData>,
    on_stderr: Option<OnData>,
    stdin_bytes: Option<Vec<u8>>,
    kill_at_end: bool,
}

impl Process {
    #[track_caller]
    fn watch(handle: &Handle, mut child: Child, parts: ChildParts) -> io::Result<Process> {
        let id = child.id();
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let state = Rc::new(ProcessState::new(id));
        // Dropped by an error, it kills and reaps what was started.
        let exit = ExitWatch::new(child, state.clone())?;
        let stdin = match stdin {
            Some(pipe) => {
                let input = StdinPipe::open(handle, pipe.into(), &state)?;
                if let Some(bytes) = parts.stdin_bytes {
                    input.write(&bytes);
                    input.close_when_written();
                }
                Rc::downgrade(&input)
            }
            None => Weak::new(),
        };
        let stdout = match (stdout, parts.on_stdout) {
            (Some(pipe), Some(callback)) => OutputPipe::open(handle, pipe.into(), callback, &state)?,
            _ => Weak::new(),
        };
        let stderr = match (stderr, parts.on_stderr) {
            (Some(pipe), Some(callback)) => OutputPipe::open(handle, pipe.into(), callback, &state)?,
            _ => Weak::new(),
        };
        exit.watch(handle, parts.kill_at_end)?;
        Ok(Process { id, state, exit: Rc::downgrade(&exit), stdin, outputs: [stdout, stderr] })
    }

    /// The process's number.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Writes to its standard input. What the pipe does not take at once is kept, without bound; see
    /// [`written`](Process::written).
    ///
    /// False, and nothing is written, if standard input is not [piped](ProcessBuilder::piped_stdin) or closed, on
    /// either side. A program whose `main` is not Rust's has to ignore SIGPIPE, as Rust's does, or a process that closes
    /// its standard input ends it.
    pub fn write(&self, data: &[u8]) -> bool {
        self.stdin.upgrade().is_some_and(|stdin| stdin.write(data))
    }

    /// Fires when the process's pipe has taken all that was written before: the moment to write more of something long.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` when standard input is closed before that.
    ///
    /// # Cancel safety
    ///
    /// Cancelling ends the wait. The data is written all the same.
    #[track_caller]
    pub fn written(&self) -> Deferred<()> {
        match self.stdin.upgrade() {
            Some(stdin) => stdin.written(),
            None => fail(io::Error::from(io::ErrorKind::BrokenPipe)),
        }
    }

    /// Closes its standard input, once all that was written has gone. Twisted's `closeStdin`.
    pub fn close_stdin(&self) {
        if let Some(stdin) = self.stdin.upgrade() {
            stdin.close_when_written();
        }
    }

    /// Reads no more of what the process writes, so that it has to wait. Twisted's `pauseProducing`.
    pub fn pause_output(&self) {
        self.outputs.iter().filter_map(Weak::upgrade).for_each(|output| output.pause());
    }

    /// Goes on reading. Twisted's `resumeProducing`.
    pub fn resume_output(&self) {
        self.outputs.iter().filter_map(Weak::upgrade).for_each(|output| output.resume());
    }

    /// Reads what it writes no more, ever: no callback is called again, and the loop closes the pipes on this side. A
    /// process that goes on writing gets SIGPIPE, which ends it unless it has other plans.
    /// [`ended`](Process::ended) then waits no longer for children of the process that hold the pipes. Twisted's
    /// `closeStdout` and `closeStderr`; with [`close_stdin`](Process::close_stdin) its `loseConnection`.
    pub fn close_output(&self) {
        self.outputs.iter().filter_map(Weak::upgrade).for_each(|output| output.give_up());
    }

    /// Ends the process by force (SIGKILL). Those that it has started itself live on, and may hold the pipes:
    /// [`close_output`](Process::close_output) lets go of them.
    ///
    /// # Errors
    ///
    /// `NotFound` when it has ended.
    pub fn kill(&self) -> io::Result<()> {
        self.send(Signal::KILL)
    }

    /// Sends it a signal, by its number. Twisted's `signalProcess`.
    ///
    /// # Errors
    ///
    /// `NotFound` when it has ended; `InvalidInput` when there is no such signal.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        self.send(Signal::from_named_raw(signal).ok_or(io::ErrorKind::InvalidInput)?)
    }

    fn send(&self, signal: Signal) -> io::Result<()> {
        // While the status is not fetched, the number is the process's.
        let sent = match self.exit.upgrade().and_then(|exit| exit.pid()) {
            Some(pid) => Some(kill_process(pid, signal)),
            None => self.state.signal_orphan(signal),
        };
        Ok(sent.ok_or(io::ErrorKind::NotFound)??)
    }

    /// Fires with the status when the process has ended. Twisted's `processExited`. May be called as often as one
    /// likes.
    ///
    /// # Errors
    ///
    /// [`ExitStatusLost`].
    ///
    /// # Cancel safety
    ///
    /// Cancelling ends the wait and leaves the process alone.
    #[track_caller]
    pub fn exited(&self) -> Deferred<ExitStatus> {
        self.state.exited()
    }

    /// Fires with the status when the process has ended and all pipes to it are closed. Twisted's `processEnded`. May
    /// be called as often as one likes.
    ///
    /// # Errors
    ///
    /// [`ExitStatusLost`].
    ///
    /// # Cancel safety
    ///
    /// Cancelling ends the wait and leaves the process alone.
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
