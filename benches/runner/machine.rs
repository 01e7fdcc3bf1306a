//! What the figures were measured on.

use std::fs;

fn line_after(path: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

pub fn print_facts() {
    let unknown = || "unknown".to_owned();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned());
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "machine: {}, {} cores, {} of memory, Linux {}, load {} before we began",
        line_after("/proc/cpuinfo", "model name").unwrap_or_else(unknown),
        std::thread::available_parallelism().map_or(1, usize::from),
        line_after("/proc/meminfo", "MemTotal").unwrap_or_else(unknown),
        kernel.unwrap_or_else(|_| unknown()),
        load.split(' ').next().unwrap_or("unknown"),
    );
    println!("peers: {}; {}", env!("PEER_VERSIONS"), curl::Version::get().version());
}
