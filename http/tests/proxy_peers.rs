//! The client with third-party proxies, compared with curl.

#![cfg(all(feature = "tls", unix))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "it is test code, which clippy knows only inside #[test]"
)]

#[path = "../../net/tests/support/mod.rs"]
mod support;
#[path = "../../net/tests/tls_support/mod.rs"]
mod tls_support;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::process::Command;
use std::rc::Rc;

use support::child::output;
use support::folder::Folder;
use support::peers::{free_port, nginx, start_listening};
use support::{address, closed_port, listen, run};
use tls_support::Authority;
use twistor_deferred::Deferred;
use twistor_http::{Agent, HttpError, Proxy, ProxyRefused, Request};
use twistor_net::{Failure, Protocol, ServerEndpoint, Transport};
use twistor_reactor::{Handle, Reactor};

/// Answers each request with its first line and its credentials.
#[derive(Default)]
struct Origin(String);

impl Protocol for Origin {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.0.push_str(std::str::from_utf8(data)?);
        while let Some(end) = self.0.find("\r\n\r\n") {
            let head: String = self.0.drain(..end + 4).collect();
            let told = head.lines().next().unwrap().to_owned();
            let secrets = head.lines().filter(|line| line.to_lowercase().contains("authorization"));
            let body = secrets.fold(told, |body, line| body + "|" + line);
            transport
                .write(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
        }
        Ok(())
    }
}

#[test]
fn pages_are_fetched_through_tinyproxy_with_and_without_tunnel() {
    // H11.2, H11.3
    let (folder, port) = (Folder::new("tinyproxy"), free_port());
    let config = folder.write(
        "tinyproxy.conf",
        format!(
            "Port {port}\nListen 127.0.0.2\nTimeout 20\nAllow 127.0.0.1\nBasicAuth me secret\nMaxClients 50\n"
        ),
    );
    let Some(_peer) = start_listening(Command::new("tinyproxy").arg("-d").arg("-c").arg(config), port) else {
        return;
    };
    run(|reactor| {
        let authority = Authority::new();
        let plain = listen(reactor, |_peer| Origin::default());
        let endpoint =
            ServerEndpoint::tls("127.0.0.1:0".parse().unwrap(), authority.signs("127.0.0.1").server());
        let secure = endpoint.listen(reactor, |_peer| Origin::default()).unwrap();
        let proxy = Proxy::new(format!("http://me:secret@127.0.0.2:{port}")).unwrap();
        let stranger = Proxy::new(format!("127.0.0.2:{port}")).unwrap();
        let agent = Agent::new(reactor).proxy(proxy).tls(authority.client());
        reactor.spawn(async move {
            let closed = closed_port();
            for _ in 0..3 {
                let url = format!("http://user:pw@{}/a?b", address(&plain));
                let page = agent.get_page(Request::get(url)).await?;
                assert!(page.text().contains("GET /a?b HTTP/1."), "{}", page.text());
                assert!(page.text().contains("|Authorization: Basic dXNlcjpwdw=="), "{}", page.text());
                assert!(!page.text().to_lowercase().contains("proxy-auth"), "{}", page.text());
                let url = format!("https://{}/a?b", address(&secure));
                let page = agent.get_page(Request::get(url)).await?;
                assert_eq!(page.text(), "GET /a?b HTTP/1.1");
            }
            let url = format!("https://{}/", address(&secure));
            let refused = agent.get_page(Request::get(&url).proxy(stranger)).await.unwrap_err();
            assert_eq!(refused.trap::<ProxyRefused>()?.status.as_u16(), 407);
            let url = format!("https://127.0.0.2:{closed}/");
            let refused = agent.get_page(Request::get(&url)).await.unwrap_err();
            assert!(refused.trap::<ProxyRefused>()?.status.is_server_error());
            let url = format!("http://127.0.0.2:{closed}/");
            let refused = agent.get_page(Request::get(&url)).await.unwrap_err();
            assert!(refused.trap::<HttpError>()?.status.is_server_error());
            Ok::<(), Failure>(())
        })
    });
}

#[test]
fn pages_are_fetched_through_nginx_which_refuses_tunnels() {
    // H11.2, H11.4
    let (folder, port) = (Folder::new("nginx-proxy"), free_port());
    let forward = "location / { proxy_pass http://$http_host$request_uri; }";
    let Some(_peer) = nginx(&folder, port, forward) else { return };
    run(|reactor| {
        let plain = listen(reactor, |_peer| Origin::default());
        let agent = Agent::new(reactor).proxy(Proxy::new(format!("127.0.0.2:{port}")).unwrap());
        reactor.spawn(async move {
            for _ in 0..3 {
                let page = agent.get_page(Request::get(format!("http://{}/a?b", address(&plain)))).await?;
                assert_eq!(page.text(), "GET /a?b HTTP/1.0");
                assert_eq!(agent.connections(), (1, 1));
            }
            let refused = agent.get_page(Request::get("https://127.0.0.1:1/")).await.unwrap_err();
            let refused = refused.trap::<ProxyRefused>()?;
            assert!(refused.status.is_client_error(), "{refused}");
            Ok::<(), Failure>(())
        })
    });
}

/// Records the head of each request and refuses it.
struct Listener(Rc<RefCell<Vec<String>>>);

impl Protocol for Listener {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.0.borrow_mut().push(String::from_utf8_lossy(data).into_owned());
        transport.write(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        transport.lose_connection();
        Ok(())
    }
}

/// The first line of a head, and its other lines sorted, without those that depend on the client.
fn substance(head: &str) -> (String, Vec<String>) {
    let (first, rest) = head.split_once("\r\n").unwrap();
    let mut lines: Vec<_> = rest
        .lines()
        // Fields about the client itself, and `Proxy-Connection`, which clients should not send
        // (RFC 9112, appendix C.2.2).
        .filter(|line| {
            !["user-agent", "proxy-connection", "connection", "accept-encoding"]
                .contains(&name(line).as_str())
        })
        .map(|line| name(line) + line.split_once(':').map_or("", |(_, value)| value))
        .collect();
    lines.sort();
    (first.to_owned(), lines)
}

fn name(line: &str) -> String {
    line.split(':').next().unwrap_or_default().to_lowercase()
}

/// Runs curl with this proxy and URL.
fn curl(handle: &Handle, proxy: String, url: String) -> Deferred<()> {
    handle.defer_to_thread(move || {
        // Ignores the environment and the user's files.
        let mut command = Command::new("curl");
        command.env_clear().args(["-q", "-s", "-o", "/dev/null", "-x", &proxy, &url]);
        if let Err(error) = output(&mut command) {
            eprintln!("not tested: curl is missing here: {error}");
        }
        Ok(())
    })
}

#[test]
fn a_proxy_receives_the_same_from_us_as_from_curl() {
    // H11.2, H11.3
    for url in [
        "http://example.org",
        "http://user:p%40ss@example.org:8080/a%20b?c=d#e",
        "http://[2001:db8::1]:81/",
        "https://example.org",
        "https://user:pass@example.org:8443/a",
        "https://[2001:db8::1]/",
    ] {
        for user in ["", "me:s%65cret@", "me@"] {
            run(|reactor: &Reactor| {
                let heads: Rc<RefCell<Vec<String>>> = Rc::default();
                let hearing = heads.clone();
                let port = listen(reactor, move |_peer| Listener(hearing.clone()));
                let proxy = format!("http://{user}{}", address(&port));
                let request = Request::get(url).proxy(Proxy::new(&proxy).unwrap());
                let handle = Handle::clone(reactor);
                request
                    .get_page(reactor)
                    .add_both(move |result| {
                        assert!(result.is_err());
                        curl(&handle, proxy, url.to_owned())
                    })
                    .add_callback(move |()| {
                        if let [ours, theirs] = heads.borrow().as_slice() {
                            assert_eq!(substance(ours), substance(theirs), "{url} through {user}");
                        }
                        drop(port);
                    })
            });
        }
    }
}

#[test]
fn an_unused_address_is_an_unreachable_proxy() {
    // H11.4
    run(|reactor| {
        let nobody: SocketAddr = ([127, 0, 0, 1], closed_port()).into();
        let request = Request::get("http://example.org/").proxy(Proxy::new(nobody.to_string()).unwrap());
        request.get_page(reactor).add_both(move |result| {
            let told = result.expect_err("the address is not in use").to_string();
            let expected =
                format!("the proxy http://{nobody} cannot be reached: connection to {nobody} refused");
            assert_eq!(told, expected);
            Ok(())
        })
    });
}
