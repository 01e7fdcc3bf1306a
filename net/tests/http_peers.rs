//! The client against servers that are not ours.

#![cfg(all(feature = "http", unix))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "it is test code, which clippy knows only inside #[test]"
)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use support::folder::Folder;
use support::run;
use twistor_deferred::{Deferred, DeferredList};
use twistor_net::http::{Agent, HttpError, Request, download_page, get_page};

/// A folder with a page of a mebibyte in it that no compression and no pattern could feign.
struct Pages {
    folder: Folder,
    random: Vec<u8>,
}

impl Pages {
    fn new(name: &str) -> Pages {
        let folder = Folder::new(&format!("peer-{name}"));
        let mut random = vec![0; 1 << 20];
        fs::File::open("/dev/urandom").unwrap().read_exact(&mut random).unwrap();
        folder.write("random", &random);
        Pages { folder, random }
    }
}

/// A server of ours to end.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a peer, or says that it is missing.
fn start(command: &mut Command) -> Option<Running> {
    match command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn() {
        Ok(child) => Some(Running(child)),
        Err(error) => {
            eprintln!("not tested: {} is missing here: {error}", command.get_program().to_string_lossy());
            None
        }
    }
}

fn fetch_all(url: String, pages: &Pages) {
    let random = pages.random.clone();
    let copy = pages.folder.join("copy");
    run(move |reactor| {
        let agent = Agent::new(reactor);
        let page = get_page(reactor, &url).add_callback({
            let random = random.clone();
            move |page| assert!(page.body() == random, "the page has {} bytes", page.body().len())
        });
        let kept = agent.get_page(Request::get(&url)).add_callback({
            let (agent, url, random) = (agent.clone(), url.clone(), random.clone());
            move |page| {
                assert!(page.body() == random);
                agent.get_page(Request::head(url))
            }
        });
        let kept = kept.add_callback(move |page| {
            assert_eq!((page.body().len(), page.header("content-length")), (0, Some("1048576")));
            drop(agent);
        });
        let saved = download_page(reactor, &url, &copy).add_callback({
            move |bytes| {
                assert_eq!(bytes, 1 << 20);
                assert!(fs::read(copy).unwrap() == random);
            }
        });
        let missing = get_page(reactor, url.replace("random", "missing")).add_both(|result| {
            let error = result.expect_err("it is not there").trap::<HttpError>()?;
            assert_eq!(error.status.as_u16(), 404);
            Ok(())
        });
        let many: Vec<Deferred<()>> = (0..20)
            .map(|_| get_page(reactor, &url).add_callback(|page| assert_eq!(page.body().len(), 1 << 20)))
            .collect();
        let all = [page, kept, saved, missing].into_iter().chain(many);
        DeferredList::new(all).into_deferred().add_callback(|results| {
            assert!(results.iter().all(Result::is_ok), "{results:?}");
        })
    });
}

#[test]
fn a_page_from_python_comes_byte_for_byte() {
    // H1, H2, H8
    let pages = Pages::new("python");
    let mut command = Command::new("python3");
    command
        .args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"])
        .arg(pages.folder.path());
    let Some(mut server) = start(&mut command) else { return };
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port =
        line.split("port ").nth(1).and_then(|rest| rest.split(' ').next()).expect("python tells its port");
    fetch_all(format!("http://127.0.0.1:{port}/random"), &pages);
}

#[test]
fn a_page_from_nginx_comes_byte_for_byte() {
    // H1, H2, H5, H8
    let pages = Pages::new("nginx");
    // Nginx does not tell a port of its own choice; this one was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let folder = pages.folder.path().display();
    let config = format!(
        "daemon off; master_process off; pid {folder}/pid; error_log stderr;
         events {{}}
         http {{
           access_log off;
           client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
           uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
           server {{ listen 127.0.0.1:{port}; root {folder}; }}
         }}"
    );
    let path = pages.folder.join("nginx.conf");
    fs::write(&path, config).unwrap();
    let mut command = Command::new("nginx");
    command.args(["-e", "stderr", "-p"]).arg(pages.folder.path()).arg("-c").arg(&path);
    let Some(_server) = start(&mut command) else { return };
    // It says nothing when it listens.
    let mut tries = 0;
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        tries += 1;
        assert!(tries < 1_000_000, "nginx does not listen");
        std::thread::yield_now();
    }
    fetch_all(format!("http://127.0.0.1:{port}/random"), &pages);
}
