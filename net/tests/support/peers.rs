//! Programs of others, which a test runs as peers if they are installed.

use std::io::BufRead;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use super::child::Running;
use super::folder::Folder;

/// Starts a program. If it is not installed, says so and returns `None`.
pub fn start(command: &mut Command) -> Option<Running> {
    match Running::spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null())) {
        Ok(running) => Some(running),
        Err(error) => {
            println!("skipped: no {} here ({error})", command.get_program().to_string_lossy());
            None
        }
    }
}

/// Starts a program, and waits until it listens on `port` of 127.0.0.2.
pub fn start_listening(command: &mut Command, port: u16) -> Option<Running> {
    let mut running = start(command)?;
    while TcpStream::connect(("127.0.0.2", port)).is_err() {
        if let Some(status) = running.child.try_wait().unwrap() {
            panic!("{command:?} ended with {status}");
        }
        std::thread::yield_now();
    }
    Some(running)
}

/// Returns a port that was free a moment ago, for peers that cannot report one that the system chose.
///
/// It is one of 127.0.0.2: while a peer starts, a connection attempt to a free port of 127.0.0.1 may be made from that
/// very port, connect to itself, and take the port from the peer.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.2:0").unwrap().local_addr().unwrap().port()
}

/// Starts an nginx on `port` of 127.0.0.2 with these directives of its server.
pub fn nginx(folder: &Folder, port: u16, directives: &str) -> Option<Running> {
    let path = folder.path().display();
    let config = folder.write(
        "nginx.conf",
        format!(
            "daemon off; master_process off; pid {path}/pid; error_log stderr;
             events {{}}
             http {{
               access_log off;
               client_body_temp_path {path}/t1; proxy_temp_path {path}/t2; fastcgi_temp_path {path}/t3;
               uwsgi_temp_path {path}/t4; scgi_temp_path {path}/t5;
               server {{ listen 127.0.0.2:{port}; {directives} }}
             }}"
        ),
    );
    // Debian installs it where only the superuser's PATH looks.
    let installed = Path::new("/usr/sbin/nginx");
    let mut command = Command::new(if installed.exists() { installed } else { Path::new("nginx") });
    command.args(["-e", "stderr", "-p"]).arg(folder.path()).arg("-c").arg(&config);
    start_listening(&mut command, port)
}

/// Starts an nginx that serves the files in `root`, and returns its address. Its own files are in `folder`.
pub fn nginx_files(folder: &Folder, root: &Path) -> Option<(Running, SocketAddr)> {
    let port = free_port();
    let running = nginx(folder, port, &format!("root {};", root.display()))?;
    Some((running, ([127, 0, 0, 2], port).into()))
}

/// Starts Python's HTTP server for the files in `root`, and returns its address.
pub fn python_files(root: &Path) -> Option<(Running, SocketAddr)> {
    let mut command = Command::new("python3");
    command.args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"]).arg(root);
    let mut running = start(&mut command)?;
    // Serving HTTP on 127.0.0.1 port 40123 (http://127.0.0.1:40123/) ...
    let mut line = String::new();
    running.stdout().read_line(&mut line).unwrap();
    let port = line.split("port ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
    let port: u16 = port.unwrap_or_else(|| panic!("Python's http.server printed {line:?}"));
    Some((running, ([127, 0, 0, 1], port).into()))
}
