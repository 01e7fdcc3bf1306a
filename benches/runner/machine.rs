//! The machine, the versions and the build profile of a run.

use std::fs;
use std::process::Command;

use super::program;

pub struct Machine {
    pub processor: String,
    pub cores: usize,
    pub memory: String,
    pub kernel: String,
    pub load: String,
    pub date: String,
    pub command: String,
    pub profile: String,
    pub compiler: String,
    pub peers: String,
}

fn line_after(path: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

impl Machine {
    pub fn look(arguments: &[String]) -> Machine {
        let unknown = || "unknown".to_owned();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned());
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let date = Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]).output();
        let profile = env!("BUILD_PROFILE");
        let option =
            if profile == "release" { "--release".to_owned() } else { format!("--profile {profile}") };
        let command =
            format!("cargo run {option} --manifest-path benches/Cargo.toml -- {}", arguments.join(" "));
        Machine {
            processor: line_after("/proc/cpuinfo", "model name").unwrap_or_else(unknown),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory: line_after("/proc/meminfo", "MemTotal").unwrap_or_else(unknown),
            kernel: kernel.unwrap_or_else(|_| unknown()),
            load: load.split(' ').next().unwrap_or("unknown").to_owned(),
            date: date
                .map_or_else(|_| unknown(), |date| String::from_utf8_lossy(&date.stdout).trim().to_owned()),
            command: command.trim_end_matches([' ', '-']).to_owned(),
            profile: profile.to_owned(),
            compiler: env!("COMPILER_VERSION").to_owned(),
            peers: format!(
                "{}; libcurl {}; {}",
                env!("PEER_VERSIONS"),
                curl::Version::get().version(),
                program::versions().join(", ")
            ),
        }
    }

    pub fn markdown(&self) -> String {
        let profile = match &*self.profile {
            "fat" => "`fat`: optimized, LTO over all crates, one codegen unit".to_owned(),
            other => format!("`{other}`, as cargo has it: no LTO over all crates, 16 codegen units"),
        };
        format!(
            "- command: `{}`\n- date: {}\n- machine: {}, {} cores, {} of memory, Linux {}, load {} before the run\n\
             - build profile: {profile}; {}\n- peers: {}\n",
            self.command,
            self.date,
            self.processor,
            self.cores,
            self.memory,
            self.kernel,
            self.load,
            self.compiler,
            self.peers,
        )
    }
}
