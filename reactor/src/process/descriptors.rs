//! Descriptors that a child inherits.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::process::Command;

use command_fds::{CommandFdExt, FdMapping};
use rustix::io::fcntl_dupfd_cloexec;

/// Descriptors, each with its number in the child.
#[derive(Default)]
pub(super) struct Descriptors(Vec<(RawFd, OwnedFd)>);

impl Descriptors {
    pub(super) fn add(&mut self, number: RawFd, descriptor: OwnedFd) {
        self.0.push((number, descriptor));
    }

    pub(super) fn pass_to(self, command: &mut Command) -> io::Result<()> {
        let mut mappings = Vec::new();
        for (number, descriptor) in self.0 {
            // The number is occupied in this process too. Otherwise `Command` could use it for the pipe through which
            // the child reports that it could not start, and the report would go to the wrong place.
            let parent_fd = fcntl_dupfd_cloexec(&descriptor, number)?;
            let parent_fd = if parent_fd.as_raw_fd() == number { parent_fd } else { descriptor };
            mappings.push(FdMapping { parent_fd, child_fd: number });
        }
        command.fd_mappings(mappings).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        Ok(())
    }
}
