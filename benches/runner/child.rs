//! Child processes: started from this same program and pinned to a core. None outlives the runner or its time limit.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, alarm};

use super::sample::Sample;
use crate::{load, peers};

/// The first argument of a child.
pub const MARK: &str = "--child";

/// The core a child is pinned to.
#[derive(Clone, Copy)]
pub enum Core {
    Measured,
    Load,
    /// Any core, for a workload of two threads.
    Any,
}

/// The lifetime of a child in seconds, even if the runner is killed.
const LIMIT: u32 = 180;

/// The arguments of a child: `PEER ROLE ARGUMENT…`.
pub struct Arguments<'a>(&'a [String]);

impl Arguments<'_> {
    pub fn text(&self, index: usize) -> &str {
        self.0.get(index).map_or("", String::as_str)
    }

    pub fn number(&self, index: usize) -> u64 {
        self.text(index).parse().unwrap_or_else(|_| panic!("argument {index} is not a number: {:?}", self.0))
    }
}

/// Pins this process, sets its limits, and runs its role.
pub fn become_child(arguments: &[String]) -> Result<(), String> {
    let [core, peer, role, rest @ ..] = arguments else {
        return Err("a child needs a core, a peer and a role".into());
    };
    set_pdeathsig(Signal::SIGKILL).map_err(|error| error.to_string())?;
    alarm::set(LIMIT);
    raise_descriptor_limit();
    if let Ok(core) = core.parse() {
        pin_to(core);
    }
    if peer == "exec" {
        return Err(format!("{role}: {}", Command::new(role).args(rest).exec())); // pinning, limit and death signal are inherited
    }
    let program = peers::find(peer, role)
        .or_else(|| load::find(peer, role))
        .ok_or(format!("peer {peer} has no role {role}"))?;
    program(&Arguments(rest));
    Ok(())
}

/// The cores that this process may use.
fn cores() -> Vec<usize> {
    let allowed = nix::sched::sched_getaffinity(Pid::from_raw(0)).unwrap_or_default();
    (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false)).collect()
}

fn pin_to(core: usize) {
    let mut set = CpuSet::new();
    let pinned = set.set(core).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
    if let Err(error) = pinned {
        eprintln!("not pinned to core {core}: {error}");
    }
}

/// Pins the calling thread, for a workload of two threads.
pub fn pin_thread(core: Core) {
    if let Some(core) = number_of(core) {
        pin_to(core);
    }
}

fn number_of(core: Core) -> Option<usize> {
    let cores = cores();
    match core {
        Core::Measured => cores.first().copied(),
        Core::Load => cores.last().copied(),
        Core::Any => None,
    }
}

/// Raises the limit of open descriptors to the system's maximum.
pub fn raise_descriptor_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// A running child, killed when dropped.
pub struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Running {
    pub fn start(core: Core, peer: &str, role: &str, arguments: &[String]) -> Result<Running, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let core = number_of(core).map_or("any".to_owned(), |core| core.to_string());
        let mut child = Command::new(program)
            .args([MARK, &core, peer, role])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let output = BufReader::new(child.stdout.take().ok_or("a child without output")?);
        Ok(Running { child, output })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the result of `read` for the first line that it accepts.
    pub fn first<T>(&mut self, mut read: impl FnMut(&str) -> Option<T>) -> Result<T, String> {
        let mut line = String::new();
        loop {
            line.clear();
            match self.output.read_line(&mut line) {
                Ok(0) => {
                    return Err(format!(
                        "ended early: {}",
                        self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
                    ));
                }
                Ok(_) => match read(line.trim_end()) {
                    Some(value) => return Ok(value),
                    None => continue,
                },
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// Waits for the end of the child and returns its output.
    pub fn all(&mut self) -> Result<String, String> {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut self.output, &mut text).map_err(|error| error.to_string())?;
        let status = self.child.wait().map_err(|error| error.to_string())?;
        if status.success() { Ok(text) } else { Err(format!("{status}: {}", text.trim())) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a child that measures itself.
pub fn sample(core: Core, peer: &str, role: &str, arguments: &[String]) -> Result<Sample, String> {
    Running::start(core, peer, role, arguments)?.first(Sample::parse)
}

/// A server in a child process.
pub struct Server {
    running: Running,
    pub address: String,
}

const LISTENING: &str = "listening ";

/// Prints the address of a server that accepts connections.
pub fn say_listening(address: impl std::fmt::Display) {
    println!("{LISTENING}{address}");
}

impl Server {
    pub fn start(core: Core, peer: &str, role: &str, arguments: &[String]) -> Result<Server, String> {
        let mut running = Running::start(core, peer, role, arguments)?;
        let address = running.first(|line| line.strip_prefix(LISTENING).map(str::to_owned))?;
        Ok(Server { running, address })
    }

    /// Starts a server that does not report when it is ready, and waits until it accepts a connection.
    pub fn start_at(address: String, program: &str, arguments: &[String]) -> Result<Server, String> {
        let running = Running::start(Core::Measured, "exec", program, arguments)?;
        for _ in 0..200 {
            if std::net::TcpStream::connect(&address).is_ok() {
                return Ok(Server { running, address });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(format!("{program} does not listen on {address}"))
    }

    pub fn pid(&self) -> u32 {
        self.running.pid()
    }
}

/// Whether a program is in the search path.
pub fn is_installed(program: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let also = [std::path::PathBuf::from("/usr/sbin")];
    std::env::split_paths(&folders).chain(also).any(|folder| folder.join(program).is_file())
}
