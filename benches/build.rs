//! Reads the versions of the peers from the lock file, for the report.

fn main() {
    const PEERS: &[&str] = &[
        "attohttpc",
        "calloop",
        "hyper",
        "hyper-util",
        "mio",
        "monoio",
        "reqwest",
        "rustls",
        "smol",
        "tokio",
        "tokio-rustls",
        "tokio-util",
        "turmoil",
        "ureq",
    ];
    println!("cargo:rerun-if-changed=Cargo.lock");
    let lock = std::fs::read_to_string("Cargo.lock").unwrap_or_default();
    let versions: Vec<String> = lock
        .split("[[package]]")
        .filter_map(|package| {
            let value = |key: &str| {
                package
                    .lines()
                    .find_map(|line| line.strip_prefix(key))
                    .map(|text| text.trim_matches('"').to_owned())
            };
            let name = value("name = ")?;
            PEERS.contains(&name.as_str()).then_some(format!("{name} {}", value("version = ")?))
        })
        .collect();
    println!("cargo:rustc-env=PEER_VERSIONS={}", versions.join(", "));
    // target/PROFILE/build/…. The variable `PROFILE` is "release" for every profile that inherits from it.
    let out = std::env::var("OUT_DIR").unwrap_or_default();
    let profile =
        out.split(['/', '\\']).rev().skip_while(|part| *part != "build").nth(1).unwrap_or("unknown");
    println!("cargo:rustc-env=BUILD_PROFILE={profile}");
    let compiler = std::env::var("RUSTC").unwrap_or("rustc".to_owned());
    let version = std::process::Command::new(compiler).arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    println!("cargo:rustc-env=COMPILER_VERSION={}", version.unwrap_or_default());
}
