//! The memory of a process.

/// Returns the bytes of memory that no file backs: heap and stacks. Read from the page tables, because the counters
/// in `status` lag.
pub fn anonymous_memory(pid: u64) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("smaps_rollup");
    let line = text.lines().find(|line| line.starts_with("Anonymous:")).expect("its anonymous memory");
    let kilobytes: f64 = line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number");
    kilobytes * 1024.0
}

/// Returns the same for the calling process.
pub fn own_anonymous_memory() -> f64 {
    anonymous_memory(std::process::id().into())
}
