//! Programs of others, which a test runs as peers if they are installed.

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use super::folder::Folder;

/// A program that is ended with the test.
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Reads the first line that the program prints.
    pub fn first_line(&mut self) -> String {
        let mut line = String::new();
        BufReader::new(self.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        line
    }

    /// Reads all that the program prints.
    pub fn output(&mut self) -> String {
        let mut text = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

/// Starts a program. If it is not installed, says so and returns `None`.
pub fn start(command: &mut Command) -> Option<Running> {
    match command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn() {
        Ok(child) => Some(Running(child)),
        Err(error) => {
            println!("skipped: no {} here ({error})", command.get_program().to_string_lossy());
            None
        }
    }
}

/// Starts a program, and waits until it listens on `port` of 127.0.0.2.
pub fn start_listening(command: &mut Command, port: u16) -> Option<Running> {
    let running = start(command)?;
    let mut tries = 0;
    while TcpStream::connect(("127.0.0.2", port)).is_err() {
        tries += 1;
        assert!(tries < 1_000_000, "{command:?} does not listen");
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
    let mut command = Command::new("nginx");
    command.args(["-e", "stderr", "-p"]).arg(folder.path()).arg("-c").arg(&config);
    start_listening(&mut command, port)
}
