//! The client with third-party servers.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "it is test code, which clippy knows only inside #[test]"
)]

#[path = "../../net/tests/support/mod.rs"]
mod support;

use std::fs;
use std::io::{BufRead, Read};
use std::net::SocketAddr;
use std::process::Command;
use std::rc::Rc;

use support::folder::Folder;
use support::peers::{nginx_files, python_files, start};
use support::run;
use twistor_deferred::{Deferred, DeferredList, Failure, fail, succeed};
use twistor_http::server::{Request as Asked, Site};
use twistor_http::{Agent, HttpError, Request, download_page, get_page};
use twistor_net::connect::{Connect, Tcp, Unix};
use twistor_net::{DnsLookupError, Resolver, ServerEndpoint};
use twistor_reactor::Handle;

/// A folder with an incompressible file of one mebibyte.
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
            let error = result.expect_err("the page does not exist").trap::<HttpError>()?;
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
fn a_page_from_python_is_complete() {
    // H1.1, H2.1, H8.6
    let pages = Pages::new("python");
    let Some((_server, address)) = python_files(pages.folder.path()) else { return };
    fetch_all(format!("http://{address}/random"), &pages);
}

#[test]
fn a_page_from_nginx_is_complete() {
    // H1.1, H2.1, H5.7, H8.6
    let pages = Pages::new("nginx");
    let Some((_server, address)) = nginx_files(&pages.folder, pages.folder.path()) else { return };
    fetch_all(format!("http://{address}/random"), &pages);
}

/// An HTTP server on a UNIX socket that answers with the path and the requested host.
const ON_A_UNIX_SOCKET: &str = r"
import http.server, socketserver, sys

class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_GET(self):
        body = ('%s of %s' % (self.path, self.headers['Host'])).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass

with socketserver.ThreadingUnixStreamServer(sys.argv[1], Answer) as server:
    print('ready', flush=True)
    server.serve_forever()
";

#[test]
fn pages_are_fetched_from_python_over_a_unix_socket() {
    // H13.1, P21.4
    let folder = Folder::new("peer-unix");
    let path = folder.join("socket");
    let mut command = Command::new("python3");
    command.args(["-u", "-c", ON_A_UNIX_SOCKET]).arg(&path);
    let Some(mut server) = start(&mut command) else { return };
    assert_eq!(server.stdout().lines().next().unwrap().unwrap(), "ready");
    run(move |reactor| {
        let socket = Unix::new(path);
        let agent = Agent::new(reactor).connector(move |on, _origin| socket.connect(on));
        reactor.spawn(async move {
            for name in ["containers", "images"] {
                let page = agent.get_page(format!("http://daemon/{name}")).await?;
                assert_eq!(page.text(), format!("/{name} of daemon"));
            }
            assert_eq!(agent.connections(), (1, 1), "the second request used the first connection");
            Ok::<(), Failure>(())
        })
    });
}

#[test]
fn curl_fetches_a_page_over_a_unix_socket() {
    // W1.4, P21.4
    let folder = Folder::new("peer-curl");
    let path = folder.join("socket");
    let mut command = Command::new("curl");
    command.args(["--silent", "--max-time", "20", "http://site/page", "--unix-socket"]).arg(&path);
    let text = run(move |reactor| {
        let answer = |request: &mut Asked<'_>| request.path().to_owned();
        Site::new(reactor, answer).listen(ServerEndpoint::unix(path)).unwrap();
        reactor.defer_to_thread(move || {
            let Some(mut curl) = start(&mut command) else { return Ok(None) };
            Ok(Some(std::io::read_to_string(curl.stdout())?))
        })
    });
    assert!(text.is_none_or(|text| text == "/page"));
}

/// Resolves one name.
#[derive(Debug)]
struct Hosts(&'static str, std::net::IpAddr);

impl Resolver for Hosts {
    fn resolve(&self, _: &Handle, host: &str, port: u16) -> Deferred<Vec<SocketAddr>> {
        if host == self.0 {
            return succeed(vec![SocketAddr::new(self.1, port)]);
        }
        fail(DnsLookupError::new(host, None))
    }
}

#[test]
fn a_page_is_fetched_from_python_by_a_custom_name() {
    // H13.1, P21.4
    let pages = Pages::new("resolver");
    pages.folder.write("page", "hello");
    let Some((_server, address)) = python_files(pages.folder.path()) else { return };
    let port = address.port();
    run(move |reactor| {
        let hosts: Rc<dyn Resolver> = Rc::new(Hosts("python.test", [127, 0, 0, 1].into()));
        let agent = Agent::new(reactor).connector(move |on, origin| {
            Tcp::new(origin.host.clone(), origin.port).resolver(hosts.clone()).connect(on)
        });
        reactor.spawn(async move {
            let page = agent.get_page(format!("http://python.test:{port}/page")).await?;
            assert_eq!(page.text(), "hello");
            let unknown = agent.get_page(format!("http://unknown.test:{port}/page")).await;
            assert!(unknown.unwrap_err().check::<DnsLookupError>().is_some());
            Ok::<(), Failure>(())
        })
    });
}
