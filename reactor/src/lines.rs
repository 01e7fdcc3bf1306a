//! Lines of text from a terminal, a pipe or a file.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::rc::Rc;

use twistor_deferred::Failure;

use crate::Handle;
use crate::line_buffer::{LONGEST, LineBuffer};

/// The number of bytes in one read.
const PIECE: usize = 8192;

impl Handle {
    /// Reads lines from standard input, or from any other descriptor: a terminal, a pipe, a socket or a file.
    /// Twisted: `StandardIO` with a `LineReceiver`.
    ///
    /// ```no_run
    /// use twistor::prelude::*;
    ///
    /// let reactor = Reactor::new()?;
    /// let mut lines = reactor.lines(std::io::stdin())?;
    /// reactor.run_until(reactor.spawn(async move {
    ///     while let Some(line) = lines.next_line().await? {
    ///         println!("{line}");
    ///     }
    ///     Ok(())
    /// }))?;
    /// # Ok::<(), Failure>(())
    /// ```
    ///
    /// The descriptor may be blocking, and stays so: a duplicate of it is read once for each readiness. Do not read
    /// from it elsewhere at the same time. The buffer of `std::io::stdin` is not used.
    ///
    /// # Errors
    ///
    /// If the descriptor cannot be duplicated.
    pub fn lines(&self, io: impl AsFd) -> io::Result<LineReader> {
        let file = File::from(io.as_fd().try_clone_to_owned()?);
        Ok(LineReader {
            handle: self.clone(),
            file: Rc::new(file),
            buffer: LineBuffer::default(),
            ended: false,
        })
    }
}

/// A reader of lines of text. Created by [`Handle::lines`].
pub struct LineReader {
    handle: Handle,
    file: Rc<File>,
    buffer: LineBuffer,
    ended: bool,
}

impl LineReader {
    /// Returns the next line, without its line feed and a carriage return before that; `None` at the end. A last
    /// line without a line feed is returned too.
    ///
    /// # Errors
    ///
    /// `InvalidData` for a line that is not UTF-8, which is skipped, and for a line longer than a mebibyte; read
    /// errors.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no data.
    pub async fn next_line(&mut self) -> Result<Option<String>, Failure> {
        loop {
            if let Some(line) = self.take_line() {
                let text =
                    String::from_utf8(line).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
                return Ok(Some(text));
            }
            if self.ended {
                return Ok(None);
            }
            if self.buffer.len() > LONGEST {
                return Err(io::Error::new(ErrorKind::InvalidData, "line too long: over 1 MiB").into());
            }
            let file = self.handle.readable(self.file.clone()).await?;
            self.fill(&file)?;
        }
    }

    /// Reads once. This does not block, because the descriptor is ready.
    fn fill(&mut self, mut file: &File) -> io::Result<()> {
        let mut piece = [0; PIECE];
        match file.read(&mut piece) {
            Ok(length) => {
                self.buffer.feed(&piece[..length]);
                self.ended = length == 0;
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn take_line(&mut self) -> Option<Vec<u8>> {
        if let Some(line) = self.buffer.next_line() {
            return Some(line.to_vec());
        }
        if self.ended { self.buffer.take_rest() } else { None }
    }
}

impl fmt::Debug for LineReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineReader")
            .field("file", &self.file)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
