//! What to start, and with what.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::ChildParts;

/// A program to start with [`spawn_process`](crate::Handle::spawn_process): a [`Command`], and what to do with its
/// pipes.
///
/// What is not asked for here is as [`Command::spawn`] has it: an output without a callback is this program's own.
/// Only standard input is not, and empty. A command that the builder is made [`from`](ProcessBuilder::from) may say
/// otherwise. Descriptors that std and the reactor open are closed in the other program.
#[must_use = "nothing starts before `spawn_process`"]
pub struct ProcessBuilder {
    command: Command,
    parts: ChildParts,
}

impl ProcessBuilder {
    /// The program, looked for in the `PATH` if it is a mere name.
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

    /// Sets a variable of the environment.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> ProcessBuilder {
        self.command.env(name, value);
        self
    }

    /// Sets the directory in which it starts.
    pub fn current_dir(mut self, dir: impl AsRef<Path>) -> ProcessBuilder {
        self.command.current_dir(dir);
        self
    }

    /// Has its standard input come from [`Process::write`](crate::Process::write).
    pub fn piped_stdin(mut self) -> ProcessBuilder {
        self.command.stdin(Stdio::piped());
        self
    }

    /// Has its standard input be this, and then closed.
    pub fn stdin_bytes(mut self, bytes: impl Into<Vec<u8>>) -> ProcessBuilder {
        self.parts.stdin_bytes = Some(bytes.into());
        self.piped_stdin()
    }

    /// Has `callback` called with what it writes to its standard output, in pieces of any size. Twisted's
    /// `outReceived`.
    ///
    /// A panic in the callback is logged, and closes the pipe.
    pub fn on_stdout(mut self, callback: impl FnMut(&[u8]) + 'static) -> ProcessBuilder {
        self.command.stdout(Stdio::piped());
        self.parts.on_stdout = Some(Box::new(callback));
        self
    }

    /// Has `callback` called with what it writes to its standard error, in pieces of any size. Twisted's
    /// `errReceived`.
    ///
    /// A panic in the callback is logged, and closes the pipe.
    pub fn on_stderr(mut self, callback: impl FnMut(&[u8]) + 'static) -> ProcessBuilder {
        self.command.stderr(Stdio::piped());
        self.parts.on_stderr = Some(Box::new(callback));
        self
    }

    /// Has the process killed, and its end waited for, when the run ends or the reactor is dropped. Otherwise it
    /// outlives them, as in Twisted.
    pub fn kill_at_end(mut self) -> ProcessBuilder {
        self.parts.kill_at_end = true;
        self
    }

    pub(super) fn spawn(mut self) -> io::Result<(Child, ChildParts)> {
        Ok((self.command.spawn()?, self.parts))
    }
}

impl From<Command> for ProcessBuilder {
    /// For what only the command can be told. A stream that it says is piped, but for which no callback is given here,
    /// is closed at once.
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
