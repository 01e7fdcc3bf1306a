//! Helpers for tests of several crates: temporary folders, independent peers, a time limit.

#![allow(dead_code, unreachable_pub)]

pub mod service;

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use twistor::prelude::*;

/// The time limit after which a test counts as hanging.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Runs the reactor until the Deferred has fired. A test that hangs fails.
pub fn run<O: Outcome>(reactor: &Reactor, outcome: O) -> Result<O::Value, Failure> {
    let handle = reactor.handle();
    reactor.call_later(DEADLINE, move || handle.stop());
    reactor.run_until(outcome)
}

/// The example as `cargo test` has built it.
pub fn example(name: &str) -> Command {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    let mut command = Command::new(path.join("examples").join(name));
    command.stdin(Stdio::null());
    command
}

/// A folder that is deleted after the test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("twistor-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file of this many random bytes.
    pub fn random_file(&self, name: &str, length: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ length as u64;
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .take(length)
        .collect();
        std::fs::write(self.0.join(name), &bytes).unwrap();
        bytes
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An independent program, killed when it is dropped.
pub struct Peer {
    child: Child,
    pub address: SocketAddr,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts `python3 -m http.server`. Returns the reason if that is impossible.
pub fn python_http_server(root: &Path) -> Option<Peer> {
    let started = Command::new("python3")
        .args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"])
        .arg(root)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => return skip("python3", &error.to_string()),
    };
    // It prints: Serving HTTP on 127.0.0.1 port 40123 (http://127.0.0.1:40123/) ...
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port =
        line.split_whitespace().skip_while(|word| *word != "port").nth(1).and_then(|port| port.parse().ok());
    match port {
        Some(port) => Some(Peer { child, address: SocketAddr::from(([127, 0, 0, 1], port)) }),
        None => panic!("python's http.server said {line:?}"),
    }
}

/// Starts nginx with one worker. Returns the reason if that is impossible.
pub fn nginx(root: &Path, state: &Path) -> Option<Peer> {
    let program = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"]
        .into_iter()
        .find(|path| Path::new(path).exists());
    let Some(program) = program else { return skip("nginx", "it is not installed") };
    let address = free_address();
    let (root, state_dir) = (root.display(), state.display());
    let configuration = format!(
        "daemon off; master_process off; pid {state_dir}/nginx.pid; error_log {state_dir}/error.log;\n\
         events {{ worker_connections 512; }}\n\
         http {{ access_log off; client_body_temp_path {state_dir}/body; proxy_temp_path {state_dir}/proxy;\n\
         fastcgi_temp_path {state_dir}/fastcgi; uwsgi_temp_path {state_dir}/uwsgi; scgi_temp_path {state_dir}/scgi;\n\
         server {{ listen {address}; root {root}; }} }}\n"
    );
    let file = state.join("nginx.conf");
    std::fs::write(&file, configuration).unwrap();
    let child = Command::new(program)
        .arg("-p")
        .arg(state)
        .arg("-c")
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut peer = Peer { child, address };
    while TcpStream::connect(address).is_err() {
        if let Some(status) = peer.child.try_wait().unwrap() {
            return skip("nginx", &format!("it ended with {status}"));
        }
        std::thread::yield_now();
    }
    Some(peer)
}

pub fn skip<T>(peer: &str, reason: &str) -> Option<T> {
    println!("skipped: no {peer} to test against: {reason}");
    None
}

/// The peers cannot report a port that the system chose. This one was free a moment ago.
///
/// On an address of its own: while a peer starts, a connection attempt to a free port of 127.0.0.1 may be made from that
/// very port, connect to itself, and take the port from the peer.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.2:0").unwrap().local_addr().unwrap()
}
