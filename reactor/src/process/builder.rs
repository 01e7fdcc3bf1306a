//! The options of a child process.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use mio::unix::pipe::{Receiver, Sender};

use super::attempt::Attempt;
#[cfg(feature = "pass-descriptors")]
use super::descriptors::Descriptors;
use super::output::OnOutput;
#[cfg(feature = "pty")]
use super::terminal::{self, TerminalSize};

/// A program to start with [`spawn_process`](crate::Handle::spawn_process): a [`Command`], and the treatment of its
/// pipes.
///
/// Defaults are those of [`Command::spawn`], so an output without a callback goes to this program's own output. The
/// exception is standard input, which is empty. A builder made [`from`](ProcessBuilder::from) a command keeps the
/// command's settings. The program does not inherit descriptors that std and the reactor have opened.
#[must_use = "nothing starts before `spawn_process`"]
pub struct ProcessBuilder {
    command: Command,
    parts: ChildParts,
    #[cfg(feature = "pass-descriptors")]
    descriptors: Descriptors,
    #[cfg(feature = "pty")]
    terminal: Option<TerminalSize>,
}

/// This side of a child's streams.
pub(super) struct ChildPipes {
    pub(super) stdin: Option<Sender>,
    pub(super) stdout: Option<Receiver>,
    pub(super) stderr: Option<Receiver>,
}

/// The options that a child was started with.
#[derive(Default)]
pub(super) struct ChildParts {
    pub(super) on_stdout: Option<OnOutput>,
    pub(super) on_stderr: Option<OnOutput>,
    pub(super) stdin_bytes: Option<Vec<u8>>,
    /// Written to standard input before it is closed.
    pub(super) stdin_end: &'static [u8],
    pub(super) kill_at_end: bool,
    /// Whether the process leads a process group.
    pub(super) group: bool,
}

impl ProcessBuilder {
    /// Creates a builder for a program, which is searched for in `PATH` if the name contains no slash.
    pub fn new(program: impl AsRef<OsStr>) -> ProcessBuilder {
        let mut command = Command::new(program);
        command.stdin(Stdio::null());
        command.into()
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> ProcessBuilder {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args(mut self, args: impl IntoIterator<Item: AsRef<OsStr>>) -> ProcessBuilder {
        self.command.args(args);
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> ProcessBuilder {
        self.command.env(name, value);
        self
    }

    /// Sets the working directory of the program.
    pub fn current_dir(mut self, dir: impl AsRef<Path>) -> ProcessBuilder {
        self.command.current_dir(dir);
        self
    }

    /// Pipes standard input, so that [`Process::write`](crate::Process::write) writes to it.
    pub fn piped_stdin(mut self) -> ProcessBuilder {
        self.command.stdin(Stdio::piped());
        self
    }

    /// Passes these bytes as the whole standard input.
    pub fn stdin_bytes(mut self, bytes: impl Into<Vec<u8>>) -> ProcessBuilder {
        self.parts.stdin_bytes = Some(bytes.into());
        self.piped_stdin()
    }

    /// Calls `callback` with the data that the program writes to its standard output, in pieces of any size. Twisted:
    /// `outReceived`.
    ///
    /// Replaces a callback for lines. A panic in the callback is logged and closes the pipe.
    pub fn on_stdout(mut self, callback: impl FnMut(&[u8]) + 'static) -> ProcessBuilder {
        self.command.stdout(Stdio::piped());
        self.parts.on_stdout = Some(OnOutput::data(callback));
        self
    }

    /// Calls `callback` with the data that the program writes to its standard error, in pieces of any size. Twisted:
    /// `errReceived`.
    ///
    /// Replaces a callback for lines. A panic in the callback is logged and closes the pipe.
    pub fn on_stderr(mut self, callback: impl FnMut(&[u8]) + 'static) -> ProcessBuilder {
        self.command.stderr(Stdio::piped());
        self.parts.on_stderr = Some(OnOutput::data(callback));
        self
    }

    /// Calls `callback` with each line that the program writes to its standard output, without the `\n` or `\r\n` at
    /// its end.
    ///
    /// ```
    /// use twistor::prelude::*;
    /// use twistor::reactor::ProcessBuilder;
    ///
    /// let reactor = Reactor::new()?;
    /// let program = ProcessBuilder::new("ls").arg("-l").on_stdout_line(|line| println!("> {line}"));
    /// let process = reactor.spawn_process(program)?;
    /// assert!(reactor.run_until(process.ended())?.success());
    /// # Ok::<(), Failure>(())
    /// ```
    ///
    /// The last line may lack an ending. Invalid UTF-8 is replaced by U+FFFD. A line longer than a mebibyte arrives in
    /// pieces of a mebibyte. Many programs write to a pipe in blocks, so their lines arrive late, and to a
    /// [`terminal`](ProcessBuilder::terminal) line by line.
    ///
    /// Replaces the callback of [`on_stdout`](ProcessBuilder::on_stdout). A panic in the callback is logged and closes
    /// the pipe.
    pub fn on_stdout_line(mut self, callback: impl FnMut(&str) + 'static) -> ProcessBuilder {
        self.command.stdout(Stdio::piped());
        self.parts.on_stdout = Some(OnOutput::lines(callback));
        self
    }

    /// Calls `callback` with each line that the program writes to its standard error, as
    /// [`on_stdout_line`](ProcessBuilder::on_stdout_line) does for its standard output.
    pub fn on_stderr_line(mut self, callback: impl FnMut(&str) + 'static) -> ProcessBuilder {
        self.command.stderr(Stdio::piped());
        self.parts.on_stderr = Some(OnOutput::lines(callback));
        self
    }

    /// Kills the process, and waits for its end, when the run ends or the reactor is dropped. Default: the process
    /// outlives both, as in Twisted.
    pub fn kill_at_end(mut self) -> ProcessBuilder {
        self.parts.kill_at_end = true;
        self
    }

    /// Starts the program in a new process group, so that [`kill_group`](crate::Process::kill_group) reaches
    /// the processes that it starts in turn.
    ///
    /// [`kill_at_end`](ProcessBuilder::kill_at_end) and a cancelled
    /// [`process_output`](crate::Handle::process_output) then kill the whole group. A Ctrl-C in this program's
    /// terminal no longer reaches it.
    pub fn process_group(mut self) -> ProcessBuilder {
        self.parts.group = true;
        self
    }

    /// Passes `descriptor` to the program, which finds it open under `number`. Twisted: `childFDs`.
    ///
    /// This program's copy is closed when the program has started. Numbers 0 to 2 are the standard streams, which
    /// this overrides. [`spawn_process`](crate::Handle::spawn_process) fails with `InvalidInput` if two descriptors
    /// have the same number.
    #[cfg(feature = "pass-descriptors")]
    pub fn descriptor(
        mut self,
        number: std::os::fd::RawFd,
        descriptor: impl Into<std::os::fd::OwnedFd>,
    ) -> ProcessBuilder {
        self.descriptors.add(number, descriptor.into());
        self
    }

    /// Connects the program's standard streams to a new terminal of `rows` and `columns`, in a new session.
    /// Twisted: `usePTY`.
    ///
    /// [`Process::write`](crate::Process::write) sends keystrokes. [`on_stdout`](ProcessBuilder::on_stdout)
    /// receives the terminal's output, including standard error and the echo.
    /// [`Process::close_stdin`](crate::Process::close_stdin) sends the end-of-file character (Ctrl-D), which ends
    /// the input at the start of a line. [`Process::resize_terminal`](crate::Process::resize_terminal) sets another
    /// size.
    ///
    /// The session is also a [process group](ProcessBuilder::process_group). When the run ends, the terminal hangs up
    /// (SIGHUP).
    #[cfg(feature = "pty")]
    pub fn terminal(mut self, rows: u16, columns: u16) -> ProcessBuilder {
        self.terminal = Some(TerminalSize { rows, columns });
        self.parts.group = true;
        self
    }

    /// Returns the program, as the error names it if it cannot be started.
    pub(super) fn attempt(&self) -> Attempt {
        Attempt {
            program: self.command.get_program().to_owned(),
            folder: self.command.get_current_dir().map(Path::to_owned),
        }
    }

    pub(super) fn spawn(mut self) -> io::Result<(Child, ChildPipes, ChildParts)> {
        #[cfg(feature = "pass-descriptors")]
        self.descriptors.pass_to(&mut self.command)?;
        #[cfg(feature = "pty")]
        if let Some(size) = self.terminal {
            let (child, stdin, stdout) = terminal::spawn(self.command, size)?;
            // A terminal that is not read would stop the program.
            self.parts.on_stdout.get_or_insert_with(|| OnOutput::data(|_| ()));
            self.parts.stdin_end = terminal::END_OF_FILE;
            let pipes = ChildPipes { stdin: Some(stdin), stdout: Some(stdout), stderr: None };
            return Ok((child, pipes, self.parts));
        }
        if self.parts.group {
            self.command.process_group(0);
        }
        let mut child = self.command.spawn()?;
        let pipes = ChildPipes {
            stdin: child.stdin.take().map(Sender::from),
            stdout: child.stdout.take().map(Receiver::from),
            stderr: child.stderr.take().map(Receiver::from),
        };
        Ok((child, pipes, self.parts))
    }
}

impl From<Command> for ProcessBuilder {
    /// Creates a builder from a command, for options that only `Command` has. A stream that the command pipes is
    /// closed immediately if the builder has no callback for it.
    fn from(command: Command) -> ProcessBuilder {
        ProcessBuilder {
            command,
            parts: ChildParts::default(),
            #[cfg(feature = "pass-descriptors")]
            descriptors: Descriptors::default(),
            #[cfg(feature = "pty")]
            terminal: None,
        }
    }
}

impl From<&mut Command> for ProcessBuilder {
    /// Takes the command, for chains of [`Command`]'s methods, which return `&mut Command`. A new command for the
    /// same program, without arguments or other settings, replaces it.
    fn from(command: &mut Command) -> ProcessBuilder {
        let fresh = Command::new(command.get_program());
        std::mem::replace(command, fresh).into()
    }
}

impl fmt::Debug for ProcessBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessBuilder")
            .field("command", &self.command)
            .field("kill_at_end", &self.parts.kill_at_end)
            .finish_non_exhaustive()
    }
}
