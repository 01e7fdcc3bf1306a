//! The programs of the peers: roles of this program, or programs in other languages.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::case::Trouble;
use super::child::{self, Core, Server};
use super::sample::Sample;

const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");

/// A peer's programs, one for each role.
#[derive(Clone, Copy)]
pub enum Program {
    /// Written in Rust: a part of this program.
    Own(&'static str),
    Foreign(&'static Foreign),
}

/// Programs in another language: `peers/FOLDER/FILE`, named for the workload.
pub struct Foreign {
    folder: &'static str,
    extension: &'static str,
    /// Returns the command that runs this file, or the reason why it cannot run.
    command: fn(&Path) -> Result<Vec<String>, Trouble>,
}

pub const ASYNCIO: Program = Program::Foreign(&Foreign {
    folder: "asyncio",
    extension: "py",
    command: |file| python("asyncio", file),
});
pub const AIOHTTP: Program = Program::Foreign(&Foreign {
    folder: "aiohttp",
    extension: "py",
    command: |file| python("aiohttp", file),
});
pub const TWISTED: Program = Program::Foreign(&Foreign {
    folder: "twisted",
    extension: "py",
    command: |file| python("twisted", file),
});
pub const NODE: Program = Program::Foreign(&Foreign { folder: "node", extension: "js", command: node });
pub const LIBUV: Program = Program::Foreign(&Foreign { folder: "libuv", extension: "c", command: compiled });

impl Program {
    /// Starts a server.
    pub fn server(self, core: Core, role: &str, arguments: &[String]) -> Result<Server, Trouble> {
        Ok(match self {
            Program::Own(peer) => Server::start(core, peer, role, arguments)?,
            Program::Foreign(foreign) => {
                let (program, arguments) = foreign.start(role, arguments)?;
                Server::start(core, "exec", &program, &arguments)?
            }
        })
    }

    /// Runs a program that measures itself.
    pub fn sample(self, core: Core, role: &str, arguments: &[String]) -> Result<Sample, Trouble> {
        Ok(match self {
            Program::Own(peer) => child::sample(core, peer, role, arguments)?,
            Program::Foreign(foreign) => {
                let (program, arguments) = foreign.start(role, arguments)?;
                child::sample(core, "exec", &program, &arguments)?
            }
        })
    }

    /// Interpreted programs run fewer operations where they would take long. Figures are per operation.
    pub fn is_interpreted(self) -> bool {
        matches!(self, Program::Foreign(foreign) if foreign.extension != "c")
    }
}

impl Foreign {
    /// `timers-cancel` is `timers.py cancel`; `http-client` is `http_client.py`.
    fn start(&self, role: &str, arguments: &[String]) -> Result<(String, Vec<String>), Trouble> {
        let (file, action) = match role.split_once('-') {
            Some(("timers", action)) => ("timers".to_owned(), Some(action)),
            Some(("remote", action)) => ("remote_calls".to_owned(), Some(action)),
            Some(("deferred", action)) => ("deferred".to_owned(), Some(action)),
            _ => (role.replace('-', "_"), None),
        };
        let file = PathBuf::from(PEERS).join(self.folder).join(file).with_extension(self.extension);
        let mut command = (self.command)(&file)?.into_iter();
        let program = command.next().unwrap_or_default();
        let rest = action.map(str::to_owned).into_iter().chain(arguments.iter().cloned());
        Ok((program, command.chain(rest).collect()))
    }
}

/// Returns the output of a program that succeeds.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// `$BENCHES_PYTHON`, or `python3`.
fn interpreter() -> String {
    std::env::var("BENCHES_PYTHON").unwrap_or("python3".to_owned())
}

fn python(module: &str, file: &Path) -> Result<Vec<String>, Trouble> {
    let python = interpreter();
    // An import would take half a second before each run.
    let find = format!("import importlib.util, sys; sys.exit(importlib.util.find_spec('{module}') is None)");
    if output(&python, &["-c", &find]).is_none() {
        let reason = format!("{python} has no {module}; BENCHES_PYTHON may name one that has");
        return Err(Trouble::missing(reason));
    }
    // The modules that the Python peers share are in this folder.
    let path = format!("PYTHONPATH={PEERS}");
    Ok(vec!["env".to_owned(), path, python, file.to_string_lossy().into_owned()])
}

fn node(file: &Path) -> Result<Vec<String>, Trouble> {
    if !child::is_installed("node") {
        return Err(Trouble::missing("node is not installed"));
    }
    Ok(vec!["node".to_owned(), file.to_string_lossy().into_owned()])
}

/// Compiles a program next to this one, unless it is up to date.
fn compiled(file: &Path) -> Result<Vec<String>, Trouble> {
    let flags = output("pkg-config", &["--cflags", "--libs", "libuv"])
        .ok_or_else(|| Trouble::missing("pkg-config finds no libuv"))?;
    if !child::is_installed("cc") {
        return Err(Trouble::missing("cc is not installed"));
    }
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    let error = |reason: &dyn Display| Trouble::Failed(format!("{}: {reason}", file.display()));
    let own = std::env::current_exe().map_err(|reason| error(&reason))?;
    let program = own.with_file_name(format!("libuv-{name}"));
    let changed = |file: &Path| file.metadata().and_then(|metadata| metadata.modified()).ok();
    if changed(&program) < changed(file).max(changed(&file.with_file_name("measure.h"))) {
        let mut compiler = Command::new("cc");
        compiler.arg("-O2").arg("-o").arg(&program).arg(file).args(flags.split_whitespace());
        let status = compiler.status().map_err(|reason| error(&reason))?;
        if !status.success() {
            return Err(error(&"it does not compile"));
        }
    }
    Ok(vec![program.to_string_lossy().into_owned()])
}

/// The versions of the foreign peers that are there.
pub fn versions() -> Vec<String> {
    let python = interpreter();
    let module = |name: &str| {
        let version = output(&python, &["-c", &format!("import {name}; print({name}.__version__)")])?;
        Some(format!("{name} {version}"))
    };
    let named = |name: &str, version: Option<String>| version.map(|version| format!("{name} {version}"));
    [
        output(&python, &["--version"]),
        module("twisted"),
        module("aiohttp"),
        named("Node", output("node", &["--version"])),
        named("libuv", output("pkg-config", &["--modversion", "libuv"])),
    ]
    .into_iter()
    .flatten()
    .collect()
}
