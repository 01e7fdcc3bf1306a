//! The one runner: takes the workloads asked for, runs every peer in turn for several rounds, prints a table for each case.

pub mod case;
pub mod child;
mod machine;
pub mod memory;
mod options;
pub mod sample;
mod table;

use std::io::IsTerminal;

use self::case::Case;
use self::options::Options;
use self::sample::Sample;
use self::table::Table;
use crate::workloads;

pub fn run(arguments: &[String]) -> Result<(), String> {
    let options = match Options::parse(arguments) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{}", options::HELP);
            for workload in workloads::ALL {
                println!("  {:<14} {}", workload.name, workload.about);
            }
            return Ok(());
        }
        Err(message) => return Err(message),
    };
    child::raise_descriptor_limit();
    machine::print_facts();
    println!(
        "{} rounds, peers in turn{}",
        options.rounds,
        if options.quick { "; --quick: a smoke test, not a measurement" } else { "" }
    );
    for workload in workloads::ALL.iter().filter(|workload| options.wants_workload(workload.name)) {
        println!("\n{}: {}", workload.name, workload.about);
        for case in (workload.cases)(options.quick) {
            run_case(&case, &options);
        }
    }
    Ok(())
}

/// Every peer in turn: what drifts, drifts for all.
fn run_case(case: &Case, options: &Options) {
    let mut table = Table::new(case);
    let rounds = options.rounds * if options.quick { 1 } else { case.slices };
    for round in 0..rounds {
        for turn in 0..case.peers.len() {
            // Every other round backwards, so that nobody is always the one after the same other.
            let index = if round % 2 == 0 { turn } else { case.peers.len() - 1 - turn };
            let peer = &case.peers[index];
            let wanted = index == 0 || options.wants_peer(peer.name);
            if !wanted || table.is_skipped(index) {
                continue;
            }
            progress(&format!("{}: round {} of {}, {}", case.title, round + 1, rounds, peer.name));
            let result: Result<Sample, String> = (peer.run)();
            table.add(index, round, result);
        }
    }
    progress("");
    table.print();
}

/// One line that is written over, for someone who watches.
fn progress(text: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
    }
}
