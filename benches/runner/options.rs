//! The command line.

use std::path::PathBuf;

use crate::workloads;

pub const HELP: &str = "\
Usage: cargo run --release --manifest-path benches/Cargo.toml -- [OPTION…] [WORKLOAD…]

  --quick            one round of short runs: checks all peers and measures little
  --rounds N         how often each peer runs in each case (5)
  --peer NAME        only this peer beside the floor; may be repeated
  --output NAME      also writes NAME.md, NAME.json with every sample, and a chart for each case in the folder NAME
  --render NAME      runs nothing, and writes NAME.md and the charts again from NAME.json
  --help             this text

Workloads (all of them where none is named):
";

pub struct Options {
    pub quick: bool,
    pub rounds: usize,
    pub output: Option<PathBuf>,
    pub render: Option<PathBuf>,
    peers: Vec<String>,
    workloads: Vec<String>,
}

impl Options {
    /// `None` if help was requested.
    pub fn parse(arguments: &[String]) -> Result<Option<Options>, String> {
        let mut options = Options {
            quick: false,
            rounds: 0,
            output: None,
            render: None,
            peers: Vec::new(),
            workloads: Vec::new(),
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--help" | "-h" => return Ok(None),
                "--quick" => options.quick = true,
                "--rounds" => {
                    options.rounds = value()?.parse().map_err(|_| "--rounds takes a number".to_owned())?
                }
                "--output" => options.output = Some(value()?.into()),
                "--render" => options.render = Some(value()?.into()),
                "--peer" => options.peers.push(value()?.clone()),
                name if workloads::ALL.iter().any(|workload| workload.name == name) => {
                    options.workloads.push(name.to_owned())
                }
                other => return Err(format!("{other:?} is neither an option nor a workload; see --help")),
            }
        }
        if options.rounds == 0 {
            options.rounds = if options.quick { 1 } else { 5 };
        }
        Ok(Some(options))
    }

    pub fn wants_workload(&self, name: &str) -> bool {
        self.workloads.is_empty() || self.workloads.iter().any(|wanted| wanted == name)
    }

    /// The variants of a peer have its name as their first word.
    pub fn wants_peer(&self, name: &str) -> bool {
        self.peers.is_empty()
            || self.peers.iter().any(|wanted| name == wanted || name.split([' ', ',']).next() == Some(wanted))
    }
}
