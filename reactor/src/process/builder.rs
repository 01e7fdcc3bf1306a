//! The options of a child process.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::ChildParts;

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
    /// A panic in the callback is logged and closes the pipe.
    pub fn on_stdout(mut self, callback: impl FnMut(&[u8]) + 'static) -> ProcessBuilder {
        self.command.stdout(Stdio::piped());
        self.parts.on_stdout = Some(Box::new(callback));
        self
    }

    /// Calls `callback` with the data that the program writes to its standard error, in pieces of any size. Twisted:
    /// `errReceived`.
    ///
    /// A panic in the callback is logged and closes the pipe.
    pub fn on_stderr(mut self, callback: impl FnMut(&[u8]) + 'static) -> ProcessBuilder {
        self.command.stderr(Stdio::piped());
        self.parts.on_stderr = Some(Box::new(callback));
        self
    }

    /// Kills the process, and waits for its end, when the run ends or the reactor is dropped. Default: the process
    /// outlives both, as in Twisted.
    pub fn kill_at_end(mut self) -> ProcessBuilder {
        self.parts.kill_at_end = true;
        self
    }

    pub(super) fn spawn(mut self) -> io::Result<(Child, ChildParts)> {
        Ok((self.command.spawn()?, self.parts))
    }
}

impl From<Command> for ProcessBuilder {
    /// Creates a builder from a command, for options that only `Command` has. A stream that the command pipes is
    /// closed immediately if the builder has no callback for it.
    fn from(command: Command) -> ProcessBuilder {
        let parts = ChildParts { on_stdout: None, on_stderr: None, stdin_bytes: None, kill_at_end: false };
        ProcessBuilder { command, parts }
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
