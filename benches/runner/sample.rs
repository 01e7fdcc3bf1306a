//! A measurement, which a child prints on one line and the runner parses.

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

/// A column of the table: the key of a value in a [`Sample`], its title, and its format.
pub struct Metric {
    pub key: &'static str,
    pub title: &'static str,
    pub unit: Unit,
}

#[derive(Clone, Copy)]
pub enum Unit {
    Nanoseconds,
    PerSecond,
    Bytes,
    MebibytesPerSecond,
    /// A plain number.
    Count,
}

/// Values by the key of their metric.
#[derive(Debug, Default)]
pub struct Sample(pub Vec<(String, f64)>);

const LINE: &str = "sample ";

impl Sample {
    pub fn with(mut self, key: &str, value: f64) -> Sample {
        self.0.push((key.to_owned(), value));
        self
    }

    /// The two figures of nearly every workload: processor time per operation (`cpu`), and operations per second
    /// (`rate`).
    pub fn of(operations: u64, wall: Duration, cpu: Duration) -> Sample {
        let operations = operations as f64;
        Sample::default()
            .with("cpu", cpu.as_nanos() as f64 / operations)
            .with("rate", operations / wall.as_secs_f64())
    }

    pub fn get(&self, key: &str) -> Option<f64> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| *value)
    }

    pub fn report(&self) {
        let values: Vec<String> = self.0.iter().map(|(key, value)| format!("{key}={value}")).collect();
        println!("{LINE}{}", values.join(" "));
    }

    pub fn parse(line: &str) -> Option<Sample> {
        let pair = |text: &str| {
            text.split_once('=').and_then(|(key, value)| Some((key.to_owned(), value.parse().ok()?)))
        };
        line.strip_prefix(LINE)?.split_whitespace().map(pair).collect::<Option<_>>().map(Sample)
    }
}

/// The clocks of this process, from `start` to `stop`.
pub struct Stopwatch {
    wall: Instant,
    cpu: Duration,
}

impl Stopwatch {
    pub fn start() -> Stopwatch {
        Stopwatch { wall: Instant::now(), cpu: own_processor_time() }
    }

    /// Returns the figures for `operations` operations.
    pub fn stop(self, operations: u64) -> Sample {
        let cpu = own_processor_time() - self.cpu;
        Sample::of(operations, self.wall.elapsed(), cpu)
    }
}

/// Returns the user and system time of all threads of this process, in nanoseconds.
fn own_processor_time() -> Duration {
    ClockId::CLOCK_PROCESS_CPUTIME_ID.now().map(Duration::from).unwrap_or_default()
}

/// Returns the same for another process of this user.
pub fn processor_time_of(pid: u32) -> Result<Duration, String> {
    clock_getcpuclockid(Pid::from_raw(pid as i32))
        .and_then(|clock| clock.now())
        .map(Duration::from)
        .map_err(|error| format!("cannot read the processor clock of process {pid}: {error}"))
}
