//! Child processes with their own terminal.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command};

use mio::unix::pipe::{Receiver, Sender};
use pty_process::{Error, Size, blocking};
use rustix::termios::{Winsize, tcsetwinsize};

/// Ctrl-D, which the terminal turns into an end of file.
pub(super) const END_OF_FILE: &[u8] = &[4];

#[derive(Clone, Copy)]
pub(super) struct TerminalSize {
    pub(super) rows: u16,
    pub(super) columns: u16,
}

/// Starts `command` in a new session, whose terminal the pipes for its input and output lead to.
pub(super) fn spawn(command: Command, size: TerminalSize) -> io::Result<(Child, Sender, Receiver)> {
    let (master, slave) = blocking::open().map_err(into_io)?;
    master.resize(Size::new(size.rows, size.columns)).map_err(into_io)?;
    let child = blocking::Command::from(command).spawn(slave).map_err(into_io)?;
    // The input and the output are registered separately, so each needs a descriptor.
    let master = OwnedFd::from(master);
    let stdin = Sender::from(master.try_clone()?);
    Ok((child, stdin, Receiver::from(master)))
}

pub(super) fn resize(terminal: impl AsFd, size: TerminalSize) -> io::Result<()> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(tcsetwinsize(terminal, size)?)
}

pub(super) fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the terminal is closed")
}

fn into_io(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::Rustix(error) => error.into(),
        // The error has more variants if another crate turns on the feature `async`.
        #[allow(unreachable_patterns)]
        error => io::Error::other(error),
    }
}
