//! The target of a signal.

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

#[derive(Clone, Copy)]
pub(super) enum SignalTarget {
    Process,
    Group,
}

impl SignalTarget {
    pub(super) fn send(self, pid: Pid, signal: Signal) -> rustix::io::Result<()> {
        match self {
            SignalTarget::Process => kill_process(pid, signal),
            SignalTarget::Group => kill_process_group(pid, signal),
        }
    }
}
