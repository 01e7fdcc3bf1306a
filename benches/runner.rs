//! The runner: takes the requested workloads, runs every peer in turn for several rounds, and prints a table for
//! each case.

pub mod case;
mod chart;
pub mod child;
mod machine;
pub mod memory;
mod options;
pub mod program;
mod report;
mod reread;
pub mod sample;
mod table;

use std::io::IsTerminal;
use std::time::Instant;

use self::case::Case;
use self::machine::Machine;
use self::options::Options;
use self::report::Report;
use self::table::Table;
use crate::workloads;

/// Fails after all peers have run if the result of one was wrong.
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
    if let Some(name) = &options.render {
        return Report::read(name)?.write(name);
    }
    child::raise_descriptor_limit();
    let machine = Machine::look(arguments);
    let mut report = Report { machine, rounds: options.rounds, quick: options.quick, tables: Vec::new() };
    println!("{}", report.head());
    let wanted = workloads::ALL.iter().filter(|workload| options.wants_workload(workload.name));
    let cases: Vec<(&'static str, Case)> = wanted
        .flat_map(|workload| (workload.cases)(options.quick).into_iter().map(|case| (workload.name, case)))
        .collect();
    for (number, (workload, case)) in cases.iter().enumerate() {
        let table = run_case(
            workload,
            case,
            &options,
            &format!("{workload}, case {} of {}", number + 1, cases.len()),
        );
        println!("{workload}: {}", table.markdown());
        report.tables.push(table);
    }
    if let Some(name) = &options.output {
        report.write(name)?;
        println!("written: {0}.md, {0}.json, and the charts in {0}/", name.display());
    }
    let failures: Vec<String> = report.tables.iter().filter_map(Table::failure).collect();
    if failures.is_empty() { Ok(()) } else { Err(format!("wrong results:\n{}", failures.join("\n"))) }
}

/// Runs every peer in turn, so that a drift affects all of them. The floor runs twice.
fn run_case(workload: &'static str, case: &Case, options: &Options, place: &str) -> Table {
    let begin = Instant::now();
    let mut table = Table::new(workload, case);
    let rounds = if case.peers.iter().all(|peer| peer.once) { 1 } else { options.rounds };
    let rows = table.rows.len();
    for round in 0..rounds {
        for turn in 0..rows {
            // Every other round runs backwards, so that no peer always follows the same one.
            let row = if round % 2 == 0 { turn } else { rows - 1 - turn };
            let peer = case.peers.get(row).unwrap_or(&case.peers[0]);
            let is_floor = row == 0 || row >= case.peers.len();
            let is_over = peer.once && (round > 0 || row >= case.peers.len());
            if !(is_floor || options.wants_peer(peer.name)) || is_over || table.has_trouble(row) {
                continue;
            }
            progress(&format!("{place}: round {} of {rounds}, {}", round + 1, peer.name));
            table.add(row, round, (peer.run)());
        }
    }
    progress("");
    eprintln!("{place}: {:.0} s", begin.elapsed().as_secs_f64());
    table
}

/// A line that is overwritten, on a terminal.
fn progress(text: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
    }
}
