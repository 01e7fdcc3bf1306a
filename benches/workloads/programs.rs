//! Minimal programs: their size, the crates that they need, and how long a first build takes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::runner::case::{Case, Peer, Trouble, Workload};
use crate::runner::sample::{Metric, Sample, Unit};

pub const WORKLOAD: Workload = Workload {
    name: "programs",
    about: "minimal programs: stripped size, crates, and time of a first build (takes minutes)",
    cases,
};

const METRICS: &[Metric] = &[
    Metric { key: "size", title: "stripped size", unit: Unit::Bytes },
    Metric { key: "crates", title: "crates", unit: Unit::Count },
    Metric { key: "build", title: "first build", unit: Unit::Nanoseconds },
];

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/size");

fn cases(quick: bool) -> Vec<Case> {
    let peer = |name, package: &'static str, program: &'static str, features: &'static str| {
        if quick {
            return Peer::skipped(name, "a build takes too long for a quick run");
        }
        Peer::new(name, move || built(&Path::new(FOLDER).join(package), program, features)).once()
    };
    let case = |title: &str, peers| Case { title: title.to_owned(), metrics: METRICS, peers };
    vec![
        case(
            "an echo server, stripped, with fat LTO",
            vec![
                peer("mio", "peers", "mio_echo", "mio_echo"),
                peer("twistor, no default features", "", "echo", ""),
                peer("twistor", "", "echo", "default"),
                peer("calloop", "peers", "calloop_echo", "calloop_echo"),
                peer("smol", "peers", "smol_echo", "smol_echo"),
                peer("tokio", "peers", "tokio_echo", "tokio_echo"),
            ],
        ),
        case(
            "a program that fetches a page, stripped, with fat LTO",
            vec![
                peer("ureq", "peers", "ureq_get", "ureq_get"),
                peer("twistor, http alone", "", "get", "http"),
                peer("twistor", "", "get", "default"),
                peer("reqwest on tokio", "peers", "reqwest_get", "reqwest_get"),
            ],
        ),
    ]
}

/// Builds a program in an empty folder, with the crates downloaded before.
fn built(package: &Path, program: &str, features: &str) -> Result<Sample, Trouble> {
    let manifest = package.join("Cargo.toml").to_string_lossy().into_owned();
    let cargo = |arguments: &[&str]| {
        let mut command = Command::new("cargo");
        command.args(arguments).args(["--manifest-path", &manifest]).stdin(Stdio::null());
        command
    };
    let selected = ["--no-default-features", "--features", features];
    let run = |mut command: Command| -> Result<String, String> {
        let output = command.output().map_err(|error| format!("cargo: {error}"))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)))
        }
    };
    run(cargo(&["fetch", "--quiet"]))?;
    let mut tree = cargo(&["tree", "--edges", "normal", "--prefix", "none", "--no-dedupe"]);
    tree.args(selected);
    let tree = run(tree)?;
    let mut crates: Vec<&str> = tree.lines().skip(1).filter(|line| !line.is_empty()).collect();
    crates.sort_unstable();
    crates.dedup();
    let target = std::env::temp_dir().join(format!("twistor-benches-size-{}", std::process::id()));
    let _removed_at_the_end = Folder(target.clone());
    let mut build = cargo(&["build", "--release", "--quiet", "--bin", program]);
    build.args(selected).env("CARGO_TARGET_DIR", &target).env_remove("RUSTFLAGS");
    let begin = Instant::now();
    run(build)?;
    let took = begin.elapsed();
    let size = std::fs::metadata(target.join("release").join(program)).map_err(|error| error.to_string())?;
    Ok(Sample::default()
        .with("size", size.len() as f64)
        .with("crates", crates.len() as f64)
        .with("build", took.as_nanos() as f64))
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
