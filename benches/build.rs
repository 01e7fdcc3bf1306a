//! The versions of the peers, out of the lock file, for the head of the report.

fn main() {
    const PEERS: &[&str] = &["calloop", "hyper", "hyper-util", "mio", "reqwest", "tokio", "tokio-util"];
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
}
