//! The server examples, started as programs and stopped by SIGTERM. Their clients are independent programs, and
//! some of them leave in the middle.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod support;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use support::child::{Running, output};
use support::folder::Folder;
use support::service::{Python, Service, connect, send};
use support::{DEADLINE, random_bytes, random_file};

/// Fifty connections at once, each with different bytes.
const PYTHON_ECHO: &str = "
import socket, sys
host, port = sys.argv[1].split(':')
peers = [socket.create_connection((host, int(port)), 60) for _ in range(50)]
for number, peer in enumerate(peers):
    peer.sendall(bytes([number]) * 10000)
    peer.shutdown(socket.SHUT_WR)
for number, peer in enumerate(peers):
    got = b''
    while piece := peer.recv(65536):
        got += piece
    assert got == bytes([number]) * 10000, (number, len(got))
print('all came back')
";

#[test]
fn echo_server_sends_everything_back_to_everyone() {
    let server = Service::on_free_port("echo_server", &[]);
    let bytes = random_bytes(4 << 20);
    let mut stream = server.connect();
    let sender = send(&stream, bytes.clone());
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap();
    sender.join().unwrap();
    assert!(got == bytes, "{} bytes came back", got.len());

    if let Some(python) = Python::start(PYTHON_ECHO, &[&server.address]) {
        assert_eq!(python.rest(), "all came back\n");
    }
    server.stop();
}

/// A client that sends endlessly and reads nothing.
const PYTHON_FLOOD: &str = "
import socket, sys
host, port = sys.argv[1].split(':')
peer = socket.create_connection((host, int(port)), 60)
print('connected')
peer.setblocking(False)
full = 0
while full < 100:
    try:
        peer.send(bytes(100000))
        full = 0
    except BlockingIOError:
        full += 1
print('held up')
peer.setblocking(True)
peer.recv(1, socket.MSG_PEEK)
import signal
signal.pause()
";

#[test]
fn echo_server_slows_a_client_that_does_not_read() {
    let server = Service::on_free_port("echo_server", &[]);
    let Some(mut flood) = Python::start(PYTHON_FLOOD, &[&server.address]) else { return };
    assert_eq!((flood.line(), flood.line()), ("connected".into(), "held up".into()));
    let answers = |server: &Service| {
        let mut stream = server.connect();
        stream.write_all(b"anybody there?").unwrap();
        let mut got = [0; 14];
        stream.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"anybody there?");
        stream
    };
    let left = answers(&server);
    flood.kill();
    drop(answers(&server));
    // One client is still connected when the server stops.
    server.stop();
    drop(left);
}

#[test]
fn echo_server_removes_the_file_of_its_unix_socket() {
    let folder = Folder::new("example");
    let path = folder.path().join("echo.sock");
    let endpoint = format!("unix:{}", path.display());
    let server = Service::start("echo_server", &[OsStr::new("--listen"), OsStr::new(&endpoint)]);
    assert_eq!(server.address, path.to_str().unwrap());
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(b"hello").unwrap();
    stream.read_exact(&mut [0; 5]).unwrap();
    server.stop();
    assert!(!path.exists());
}

/// Joins under a name, sends one line, and prints the lines of the others.
const PYTHON_GUEST: &str = "
import socket, sys
host, port = sys.argv[1].split(':')
peer = socket.create_connection((host, int(port)), 60)
lines = peer.makefile('rw', newline='\\r\\n')
for text in sys.argv[2:]:
    lines.write(text + '\\r\\n')
lines.flush()
for line in lines:
    print(line.strip())
";

/// A guest of the chat, in this process.
struct Guest {
    stream: TcpStream,
    lines: BufReader<TcpStream>,
}

impl Guest {
    fn new(server: &Service) -> Guest {
        let stream = server.connect();
        let mut guest = Guest { lines: BufReader::new(stream.try_clone().unwrap()), stream };
        assert_eq!(guest.hears(), "Who are you?");
        guest
    }

    fn says(&mut self, text: &str) {
        self.stream.write_all(format!("{text}\n").as_bytes()).unwrap();
    }

    fn hears(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

#[test]
fn chat_server_passes_lines_on_and_announces_guests() {
    let server = Service::on_free_port("chat_server", &[]);
    let (mut ada, mut grace) = (Guest::new(&server), Guest::new(&server));
    ada.says("Ada");
    assert_eq!(ada.hears(), "Welcome, Ada!");
    grace.says("Ada");
    assert_eq!(grace.hears(), "That name is taken. Please choose another one.");
    // One line in two pieces, and two lines in one piece.
    grace.stream.write_all(b"Gra").unwrap();
    grace.stream.write_all(b"ce\r\ngood morning\nhow are you?\n").unwrap();
    assert_eq!(grace.hears(), "Welcome, Grace!");
    assert_eq!(
        [ada.hears(), ada.hears(), ada.hears()],
        ["Grace is here", "<Grace> good morning", "<Grace> how are you?"]
    );
    ada.says("very well");
    assert_eq!(grace.hears(), "<Ada> very well");

    if let Some(mut python) = Python::start(PYTHON_GUEST, &[&server.address, "Guido", "ssss"]) {
        assert_eq!((python.line(), python.line()), ("Who are you?".into(), "Welcome, Guido!".into()));
        assert_eq!([ada.hears(), ada.hears()], ["Guido is here", "<Guido> ssss"]);
        assert_eq!([grace.hears(), grace.hears()], ["Guido is here", "<Guido> ssss"]);
        ada.says("welcome");
        assert_eq!([python.line(), grace.hears()], ["<Ada> welcome", "<Ada> welcome"]);
        python.kill();
        assert!(ada.hears().starts_with("Guido has left ("));
        assert!(grace.hears().starts_with("Guido has left ("));
    }

    grace.says(&"x".repeat(2000));
    assert_eq!(grace.hears(), "That line is too long. Good bye.");
    assert_eq!(grace.hears(), "");
    assert!(ada.hears().starts_with("Grace has left ("));
    server.stop();
    assert_eq!(ada.hears(), "");
}

/// Returns everything until the end of the stream, as text.
fn rest(mut stream: impl Read) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn key_value_server_stores_values_within_its_limits() {
    let server = Service::on_free_port("key_value_server", &[]);
    let mut client = server.connect();
    client.write_all(b"SET a 1 2\r\nGET a\nGET b\nDEL a\nDEL a\nGET a\nGET\n\nQUIT\nGET a\n").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let expected = [
        "OK",
        "VALUE 1 2",
        "NONE",
        "OK",
        "NONE",
        "NONE",
        "ERROR no such command",
        "ERROR no such command",
        "BYE",
        "",
    ];
    assert_eq!(rest(client), expected.join("\r\n"));

    let mut client = server.connect();
    client.write_all(&[b'x'; 1002]).unwrap();
    assert_eq!(rest(client), "ERROR frame is longer than the limit of 1000 bytes\r\n");

    let guests: Vec<BufReader<TcpStream>> = (0..10)
        .map(|_| {
            let mut guest = BufReader::new(server.connect());
            guest.get_mut().write_all(b"GET a\n").unwrap();
            let mut line = String::new();
            guest.read_line(&mut line).unwrap();
            assert_eq!(line, "NONE\r\n");
            guest
        })
        .collect();
    assert_eq!(server.connect().read(&mut [0]).unwrap_or(0), 0, "an eleventh of one address was let in");
    server.terminate();
    for guest in guests {
        assert_eq!(rest(guest), "BYE, the server is stopping\r\n");
    }
    assert_eq!(server.ended(), "");
}

#[test]
fn socks_is_a_proxy_that_curl_can_use() {
    let site = Service::on_free_port("http_server", &[]);
    let proxy = Service::on_free_port("socks", &[]);
    let url = format!("http://{}/", site.address);
    for way in ["--socks5", "--socks5-hostname"] {
        let Some(greeting) = curl(&[way, &proxy.address, &url]) else { return };
        assert_eq!(greeting, b"Hello, world!");
    }
    let mut client = proxy.connect();
    client.write_all(b"\x05\x01\x02").unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"\x05\xff", "no way to authenticate in common");
    // A client that does not speak SOCKS, and one that leaves in the middle.
    let mut client = proxy.connect();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(client.read(&mut [0]).unwrap_or(0), 0);
    proxy.connect().write_all(b"\x05\x01\x00\x05\x01").unwrap();
    site.stop();
    proxy.stop();
}

/// One side of a connection: it writes fast, and reads in small pieces.
fn pour_and_sip(stream: TcpStream, total: usize) {
    let sender = send(&stream, vec![b'x'; total]);
    let (mut stream, mut piece, mut got) = (stream, vec![0; 2048], 0);
    loop {
        match stream.read(&mut piece).unwrap() {
            0 => break,
            count => got += count,
        }
    }
    sender.join().unwrap();
    assert_eq!(got, total);
}

// P5
#[test]
fn proxy_buffers_little_in_both_directions() {
    const TOTAL: usize = 32 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let proxy = Service::on_free_port("proxy", &[&target]);
    let through = |total| {
        let near = proxy.connect();
        let far = listener.accept().unwrap().0;
        far.set_read_timeout(Some(DEADLINE)).unwrap();
        far.set_write_timeout(Some(DEADLINE)).unwrap();
        let far = std::thread::spawn(move || pour_and_sip(far, total));
        pour_and_sip(near, total);
        far.join().unwrap();
    };
    // The first connection brings the program's own pages into memory.
    through(1 << 20);
    let before = proxy.memory("VmRSS:");
    through(TOTAL);
    match (before, proxy.memory("VmHWM:")) {
        (Some(before), Some(most)) => {
            assert!(most <= before + 1024, "it had {before} KiB and grew to {most} KiB");
        }
        _ => println!("skipped: no /proc to read its memory from"),
    }
    proxy.stop();
}

#[test]
fn proxy_passes_on_a_reset_and_an_end_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let proxy = Service::on_free_port("proxy", &[&target]);
    for (resets, from_near) in [(true, true), (true, false), (false, true), (false, false)] {
        let near = proxy.connect();
        let far = listener.accept().unwrap().0;
        far.set_read_timeout(Some(DEADLINE)).unwrap();
        let (mut from, mut to) = if from_near { (near, far) } else { (far, near) };
        from.write_all(b"the last words").unwrap();
        let mut words = [0; 14];
        to.read_exact(&mut words).unwrap();
        assert_eq!(&words, b"the last words");
        if resets {
            socket2::SockRef::from(&from).set_linger(Some(Duration::ZERO)).unwrap();
        }
        drop(from);
        let end = to.read(&mut [0]).map_err(|error| error.kind());
        let expected = if resets { Err(std::io::ErrorKind::ConnectionReset) } else { Ok(0) };
        assert_eq!(end, expected, "from the near end: {from_near}");
    }
    proxy.stop();
}

#[test]
fn proxy_passes_on_http_and_reports_a_missing_target() {
    let folder = Folder::new("example");
    let bytes = random_file(&folder, "random", 3 << 20);
    let root = folder.path().to_str().unwrap();
    let site = Service::on_free_port("http_server", &["--root", root]);
    let proxy = Service::on_free_port("proxy", &[&format!("tcp:{}", site.address)]);
    if let Some(got) = curl(&[&format!("http://{}/random", proxy.address)]) {
        assert!(got == bytes, "{} bytes came", got.len());
    }
    site.stop();
    assert_eq!(proxy.connect().read(&mut [0]).unwrap_or(0), 0);
    proxy.terminate();
    let errors = proxy.ended();
    assert!(
        errors.starts_with("closed a connection from 127.0.0.1:") && errors.ends_with(" refused\n"),
        "{errors}"
    );
}

#[test]
fn proxy_terminates_tls_for_a_server_without_it() {
    let folder = Folder::new("example");
    let (chain, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&chain, certified.cert.pem()).unwrap();
    std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
    let bytes = random_file(&folder, "random", 3 << 20);
    let site = Service::on_free_port("http_server", &["--root", folder.path().to_str().unwrap()]);
    let (key, chain) = (key.display(), chain.display());
    let endpoint = format!("ssl:0:privateKey={key}:certKey={chain}:interface=127.0.0.1");
    let proxy = Service::start("proxy", &["--listen", &endpoint, &site.address].map(OsStr::new));
    let port = proxy.address.rsplit(':').next().unwrap();
    let name = format!("localhost:{port}:127.0.0.1");
    let url = format!("https://localhost:{port}/random");
    if let Some(got) = curl(&["--cacert", &chain.to_string(), "--resolve", &name, &url]) {
        assert!(got == bytes, "{} bytes came", got.len());
    }
    proxy.stop();
    site.stop();
}

#[test]
fn proxy_closes_a_connection_whose_target_fails_at_once() {
    let folder = Folder::new("example");
    let proxy = Service::on_free_port("proxy", &[&format!("unix:{}", folder.path().join("none").display())]);
    assert_eq!(proxy.connect().read(&mut [0]).unwrap_or(0), 0);
    proxy.terminate();
    assert!(proxy.ended().contains("closed a connection from "));
}

/// Returns the output of curl, or prints the reason and returns `None` if curl is missing.
fn curl(arguments: &[&str]) -> Option<Vec<u8>> {
    let limit = DEADLINE.as_secs().to_string();
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--max-time", &limit]).args(arguments);
    match output(&mut command) {
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "curl {arguments:?}: {errors}");
            Some(output.stdout)
        }
        Err(error) => {
            println!("skipped: no curl here ({error})");
            None
        }
    }
}

#[test]
fn http_server_greets_echoes_and_finishes_requests_in_flight() {
    let server = Service::on_free_port("http_server", &[]);
    let url = |path: &str| format!("http://{}{path}", server.address);
    if let Some(greeting) = curl(&[&url("/")]) {
        assert_eq!(greeting, b"Hello, world!");
        let bytes = "x".repeat(100_000);
        assert_eq!(curl(&["--data", &bytes, &url("/echo")]).unwrap(), bytes.as_bytes());
        assert_eq!(curl(&[&url("/slow?ms=1")]).unwrap(), b"slept 1 ms\n");
    }
    // The second request is in flight when the first is answered.
    let mut stream = connect(server.address.parse().unwrap());
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /slow?ms=500 HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let mut first = BufReader::new(stream.try_clone().unwrap());
    let mut text = String::new();
    while !text.ends_with("Hello, world!") {
        let mut byte = [0];
        first.read_exact(&mut byte).unwrap();
        text.push(byte[0].into());
    }
    server.terminate();
    let mut rest = String::new();
    first.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("HTTP/1.1 200 OK\r\n") && rest.ends_with("slept 500 ms\n"), "{rest}");
    assert_eq!(server.ended(), "");
}

/// Returns the example's complete response to a request that asks to close.
fn ask(server: &Service, request: &str) -> String {
    let mut stream = server.connect();
    stream.write_all(request.as_bytes()).unwrap();
    std::io::read_to_string(stream).unwrap()
}

fn get(server: &Service, path: &str) -> String {
    ask(server, &format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"))
}

#[test]
fn http_server_greets_echoes_waits_and_serves_files() {
    let root = env!("CARGO_MANIFEST_DIR");
    let server = Service::on_free_port("http_server", &["--root", root]);
    let hello = get(&server, "/");
    assert!(hello.starts_with("HTTP/1.1 200 OK\r\n") && hello.ends_with("\r\n\r\nHello, world!"), "{hello}");
    let post = "POST /echo HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: 4\r\n\r\necho";
    assert!(ask(&server, post).ends_with("\r\n\r\necho"));
    assert!(ask(&server, &post.replace("/echo", "/")).ends_with("\r\n\r\necho"));
    assert!(get(&server, "/slow?ms=5").ends_with("\r\n\r\nslept 5 ms\n"));
    assert!(get(&server, "/slow").starts_with("HTTP/1.1 400 Bad Request\r\n"));
    let manifest = std::fs::read_to_string(format!("{root}/Cargo.toml")).unwrap();
    assert!(get(&server, "/Cargo.toml").ends_with(&manifest));
    assert!(get(&server, "/../etc/passwd").starts_with("HTTP/1.1 404 Not Found\r\n"));
}

// W6, E4
#[test]
fn http_server_drains_after_sigterm() {
    let server = Service::on_free_port("http_server", &[]);
    let idle = server.connect();
    let mut slow = server.connect();
    slow.write_all(b"GET /slow?ms=1500 HTTP/1.1\r\nHost: here\r\n\r\n").unwrap();
    // An answer on another connection shows that the server has read the request.
    assert!(get(&server, "/").ends_with("Hello, world!"));
    server.terminate();
    assert_eq!(std::io::read_to_string(idle).unwrap(), "");
    assert_eq!(TcpStream::connect(&server.address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let answer = std::io::read_to_string(slow).unwrap();
    assert!(answer.contains("\r\nConnection: close\r\n") && answer.ends_with("slept 1500 ms\n"), "{answer}");
    assert_eq!(server.ended(), "");
}

#[test]
fn multi_core_answers_from_every_reactor_and_stops_gracefully() {
    let server = Service::on_free_port("multi_core", &["--reactors", "2"]);
    for _ in 0..20 {
        let mut greeting = String::new();
        server.connect().read_to_string(&mut greeting).unwrap();
        assert!(greeting.starts_with("reactor ") && greeting.contains(", client "), "{greeting:?}");
    }
    server.stop();
}

/// Serves a line on sockets that a shell passes as systemd does, and returns the addresses that the example prints.
fn activated(sockets: std::os::fd::OwnedFd) -> (Running, String) {
    // The shell moves its input to descriptor 3. It then becomes the example, so the process id stays the same.
    let mut command = Command::new("sh");
    command
        .args(["-c", "exec env LISTEN_FDS=1 LISTEN_PID=$$ \"$0\" 3<&0 </dev/null"])
        .arg(support::example("socket_activation").get_program())
        .stdin(sockets)
        .stdout(Stdio::piped());
    let mut child = Running::spawn(&mut command).unwrap();
    let mut line = String::new();
    child.stdout().read_line(&mut line).unwrap();
    (child, line.trim_end().strip_prefix("listening on ").unwrap().to_owned())
}

#[test]
fn socket_activation_serves_on_sockets_that_were_passed() {
    fn echoed(mut stream: impl std::io::Read + std::io::Write) {
        stream.write_all(b"hello\n").unwrap();
        let mut line = [0; 7];
        stream.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"hello\r\n");
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // This client waits in the queue until the example has started.
    let client = support::service::connect(address);
    let (child, told) = activated(listener.into());
    assert_eq!(told, address.to_string());
    echoed(client);
    drop(child);

    let path = std::env::temp_dir().join(format!("twistor-activation-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let client = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let (child, told) = activated(listener.into());
    assert_eq!(told, path.display().to_string());
    echoed(client);
    drop(child);
    std::fs::remove_file(&path).unwrap();
}
