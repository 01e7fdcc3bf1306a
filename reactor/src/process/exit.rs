//! Notification of a process's end, and its status.
//!
//! SIGCHLD is left to the host. On Linux a pidfd becomes readable; elsewhere a thread waits without fetching the
//! status, and then closes a socket. In both cases, only the reactor's thread fetches the status. So the id cannot
//! pass to another process between a check and a signal.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::Location;
use std::process::Child;
use std::rc::Rc;

use mio::Interest;
use mio::unix::SourceFd;
use rustix::process::{Pid, Signal};

use super::orphans::{Orphan, wait_for_end};
use super::state::ProcessState;
use super::target::SignalTarget;
use crate::ready::{EventHandler, Progress, Ready};
use crate::{CallSite, Handle, Registration};

/// Owned by the reactor's table of sources until the process has ended.
pub(super) struct ExitWatch {
    /// `None` after the status was fetched.
    child: RefCell<Option<Child>>,
    state: Rc<ProcessState>,
    /// Becomes readable when the process has ended.
    signal: OwnedFd,
    kill_at_end: Cell<bool>,
    /// The target of a kill at the end.
    target: SignalTarget,
    /// The place that spawned the process.
    place: &'static Location<'static>,
    registration: RefCell<Option<Registration>>,
}

impl ExitWatch {
    #[track_caller]
    pub(super) fn new(
        mut child: Child,
        target: SignalTarget,
        state: Rc<ProcessState>,
    ) -> io::Result<Rc<ExitWatch>> {
        let signal = match end_signal(&child) {
            Ok(signal) => signal,
            Err(error) => {
                end(&mut child, target);
                return Err(error);
            }
        };
        Ok(Rc::new(ExitWatch {
            child: RefCell::new(Some(child)),
            state,
            signal,
            // Until the setup is complete: an error on the way must not leave the process running.
            kill_at_end: Cell::new(true),
            target,
            place: Location::caller(),
            registration: RefCell::default(),
        }))
    }

    pub(super) fn watch(self: &Rc<Self>, handle: &Handle, kill_at_end: bool) -> io::Result<()> {
        let fd = self.signal.as_raw_fd();
        let registration = handle.register(&mut SourceFd(&fd), Interest::READABLE, self.clone())?;
        self.registration.replace(Some(registration));
        self.kill_at_end.set(kill_at_end);
        Ok(())
    }

    /// Returns the process id, which cannot belong to another process until the status is fetched.
    pub(super) fn pid(&self) -> Option<Pid> {
        self.child.borrow().as_ref().map(Pid::from_child)
    }
}

impl EventHandler for ExitWatch {
    fn ready(self: Rc<Self>, _: Ready) -> Progress {
        let status = match self.child.borrow_mut().as_mut().map(Child::try_wait) {
            Some(Ok(Some(status))) => Some(status),
            // Notified too early, and possibly not again.
            Some(Ok(None)) => return Progress::More,
            Some(Err(_)) => None,
            None => return Progress::Drained,
        };
        let held = (self.child.take(), self.registration.take());
        drop(held);
        self.state.set_exited(status);
        Progress::Drained
    }

    fn call_site(&self) -> CallSite {
        self.place.into()
    }
}

impl Drop for ExitWatch {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let orphan = if self.kill_at_end.get() {
            end(&mut child, self.target);
            None
        } else {
            Some(Orphan::adopt(child))
        };
        self.state.leave_behind(orphan);
    }
}

/// Kills a process and fetches its status. A killed process ends soon, so this may wait.
fn end(child: &mut Child, target: SignalTarget) {
    // Until the status is fetched, the id cannot belong to another process or group.
    let _ = target.send(Pid::from_child(child), Signal::KILL);
    if let Err(error) = child.kill().and_then(|()| child.wait()) {
        log::warn!("could not kill process {}: {error}", child.id());
    }
}

#[cfg(target_os = "linux")]
fn end_signal(child: &Child) -> io::Result<OwnedFd> {
    use rustix::io::Errno;
    use rustix::process::{PidfdFlags, pidfd_open};
    match pidfd_open(Pid::from_child(child), PidfdFlags::empty()) {
        // Before Linux 5.3, or forbidden by a sandbox.
        Err(Errno::NOSYS | Errno::PERM) => thread_signal(child),
        result => Ok(result?),
    }
}

// rustix has no pidfd_open on Android.
#[cfg(not(target_os = "linux"))]
fn end_signal(child: &Child) -> io::Result<OwnedFd> {
    thread_signal(child)
}

/// Starts a thread that closes a socket when the process has ended. Returns the other end of the socket.
fn thread_signal(child: &Child) -> io::Result<OwnedFd> {
    let pid = Pid::from_child(child);
    let (reader, writer) = UnixStream::pair()?;
    let wait = move || {
        wait_for_end(pid);
        drop(writer);
    };
    std::thread::Builder::new().name(format!("twistor-process-{}", child.id())).spawn(wait)?;
    Ok(reader.into())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::Command;

    use super::thread_signal;

    #[test]
    fn the_thread_reports_the_end_without_fetching_the_status() {
        let mut child = Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap();
        let signal = thread_signal(&child).unwrap();
        assert_eq!(std::fs::File::from(signal).read(&mut [0]).unwrap(), 0);
        assert_eq!(child.try_wait().unwrap().unwrap().code(), Some(7));
    }
}
