//! Pages through SOCKS5 proxies. Statements H11.7 and H11.8.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::support::{self, address, on_every_network, run, simulated};
use twistor_deferred::{Deferred, Failure, join};
use twistor_http::server::{Request as Received, Site};
use twistor_http::{Agent, Page, Proxy, ProxyUnreachable, Request, RequestTimedOut, Url};
use twistor_net::connect::SocksError;
use twistor_net::{
    ClientEndpoint, ConnectTimedOut, Conversation, ServerEndpoint, SimulatedNetwork, conversations,
};
use twistor_reactor::{Handle, Reactor};

/// Answers with the path, the host, and the client's own fields that a proxy might have added or changed.
fn site(handle: &Handle) -> Site {
    Site::new(handle, |request: &mut Received<'_>| {
        let secrets = ["Authorization", "Proxy-Authorization"].map(|name| request.header(name).is_some());
        let query = request.query().map_or(String::new(), |query| format!("?{query}"));
        let host = request.host().and_then(|host| host.split(':').next()).unwrap_or_default();
        format!("{}{query} of {host} {secrets:?}", request.path())
    })
}

fn serve(reactor: &Reactor, endpoint: ServerEndpoint) -> u16 {
    address(&site(reactor).listen(endpoint).unwrap()).port()
}

fn loopback() -> ServerEndpoint {
    ServerEndpoint::tcp("127.0.0.1:0".parse().unwrap())
}

/// A SOCKS5 proxy that connects each request to that port of the loopback address, and records the requests.
#[derive(Clone)]
struct TestProxy {
    handle: Handle,
    password: Option<&'static [u8]>,
    /// Of a refusal. 0: none.
    reply: u8,
    /// The address of a host that it cannot reach.
    unreachable: [u8; 4],
    /// The hosts and ports asked for.
    asked: Rc<RefCell<Vec<String>>>,
}

impl TestProxy {
    fn new(handle: &Handle) -> TestProxy {
        TestProxy {
            handle: handle.clone(),
            password: None,
            reply: 0,
            unreachable: [0; 4],
            asked: Rc::default(),
        }
    }

    /// Starts it. Returns its host and port.
    fn listen(&self) -> String {
        let proxy = self.clone();
        let factory = conversations(move |client| {
            let proxy = proxy.clone();
            proxy.handle.clone().spawn(async move { proxy.serve(client).await })
        });
        address(&support::listen(&self.handle, factory)).to_string()
    }

    async fn serve(self, client: Conversation) -> Result<(), Failure> {
        let [5, methods] = client.read_array().await? else { panic!("this is not SOCKS5") };
        let methods = client.read_exact(methods.into()).await?;
        let method = if self.password.is_some() { 2 } else { 0 };
        if !methods.contains(&method) {
            return client.write_all(&[5, 0xff]).await;
        }
        client.write(&[5, method]);
        if let Some(password) = self.password {
            let status = u8::from(client.read_exact(password.len()).await? != password);
            client.write(&[1, status]);
        }
        let [5, 1, 0, kind] = client.read_array().await? else { panic!("this is not CONNECT") };
        let length = match kind {
            1 => 4,
            3 => u8::from_be_bytes(client.read_array().await?),
            kind => panic!("an address of kind {kind}"),
        };
        let host = client.read_exact(length.into()).await?;
        let port = u16::from_be_bytes(client.read_array().await?);
        let reply = if host == self.unreachable { 4 } else { self.reply };
        let host = if kind == 3 { String::from_utf8(host)? } else { format!("{host:?}") };
        self.asked.borrow_mut().push(format!("{host}:{port}"));
        client.write(&[5, reply, 0, 1, 0, 0, 0, 0, 0, 0]);
        if reply != 0 {
            return Ok(());
        }
        let server = Rc::new(ClientEndpoint::tcp("127.0.0.1", port).converse(&self.handle).await?);
        let client = Rc::new(client);
        let upward = self.handle.spawn(copy(client.clone(), server.clone()));
        join((upward, self.handle.spawn(copy(server, client)))).await.map(|_| ())
    }
}

async fn copy(from: Rc<Conversation>, to: Rc<Conversation>) -> Result<(), Failure> {
    loop {
        let data = from.read_some().await?;
        if data.is_empty() {
            to.transport().lose_write_connection();
            return Ok(());
        }
        to.write_all(&data).await?;
    }
}

fn fails(page: Deferred<Page>) -> Deferred<Failure> {
    page.add_both(|result| Ok(result.expect_err("it succeeded")))
}

// H11.7
#[test]
fn pages_are_fetched_through_a_socks_proxy() {
    on_every_network(|world| {
        world.run(|reactor| {
            let mut proxy = TestProxy::new(reactor);
            proxy.password = Some(b"\x01\x04m@me\x08s:ec%ret");
            let through = Proxy::new(format!("SOCKS5H://m%40me:s:ec%25ret@{}/x", proxy.listen())).unwrap();
            assert!(!format!("{through:?}").contains("ret@"), "{through:?}");
            let port = serve(reactor, loopback());
            let agent = Agent::new(reactor).proxy(through.clone());
            let handle = reactor.handle();
            reactor.spawn(async move {
                for path in ["/a?b", "/c"] {
                    let page = agent.get_page(format!("http://me:pass@www.inner:{port}{path}")).await?;
                    assert_eq!(page.text(), format!("{path} of www.inner [true, false]"));
                }
                // The second request used the connection of the first.
                assert_eq!((proxy.asked.borrow().len(), agent.connections()), (1, (1, 1)));
                // Connections are not shared between origins.
                agent.get_page(format!("http://other.inner:{port}/")).await?;
                assert_eq!(agent.connections(), (2, 2));
                // Without an agent, and with an exception.
                let request = Request::get(format!("http://www.inner:{port}/d")).proxy(through.clone());
                assert!(request.get_page(&handle).await?.text().starts_with("/d of www.inner"));
                let request = Request::get(format!("http://127.0.0.1:{port}/e"));
                agent.get_page(request.proxy(through.except("127.0.0.1"))).await?;
                let asked = ["www.inner", "other.inner", "www.inner"].map(|name| format!("{name}:{port}"));
                assert_eq!(*proxy.asked.borrow(), asked);
                Ok::<(), Failure>(())
            })
        });
    });
}

// H11.7
#[cfg(feature = "tls")]
#[test]
fn tls_with_the_origin_runs_through_a_socks_proxy() {
    use twistor_net::tls::HandshakeFailed;

    on_every_network(|world| {
        world.run(|reactor| {
            let authority = crate::tls_support::Authority::new();
            let server = authority.signs("www.inner").server();
            let port = serve(reactor, ServerEndpoint::tls("127.0.0.1:0".parse().unwrap(), server));
            let proxy = TestProxy::new(reactor);
            let name = format!("socks5h://{}", proxy.listen());
            let agent = Agent::new(reactor).proxy(Proxy::new(&name).unwrap()).tls(authority.client());
            reactor.spawn(async move {
                for _ in 0..2 {
                    let page = agent.get_page(format!("https://www.inner:{port}/a")).await?;
                    assert_eq!(page.text(), "/a of www.inner [false, false]");
                }
                assert_eq!(proxy.asked.take(), [format!("www.inner:{port}")]);
                // The certificate is that of another host.
                let url = format!("https://other.inner:{port}");
                let failure = agent.get_page(&url).await.unwrap_err();
                assert!(failure.is::<HandshakeFailed>(), "{failure}");
                let text = failure.to_string();
                assert!(text.starts_with(&format!("{url} through the proxy {name}: ")), "{text}");
                Ok::<(), Failure>(())
            })
        });
    });
}

// H11.7
#[test]
fn socks5_looks_names_up_here() {
    simulated(|reactor| {
        let network = SimulatedNetwork::of(reactor).unwrap();
        network.add_name("www.inner", ["192.0.2.7".parse().unwrap()]);
        let (proxy, port) = (TestProxy::new(reactor), serve(reactor, loopback()));
        let name = format!("socks5://{}", proxy.listen());
        let agent = Agent::new(reactor).proxy(Proxy::new(&name).unwrap());
        reactor.spawn(async move {
            let page = agent.get_page(format!("http://www.inner:{port}/a")).await?;
            assert_eq!(page.text(), "/a of www.inner [false, false]");
            assert_eq!(proxy.asked.take(), [format!("[192, 0, 2, 7]:{port}")]);
            let failure = agent.get_page("http://missing.inner/").await.unwrap_err().to_string();
            let expected = format!("http://missing.inner:80 through the proxy {name}: ");
            assert!(failure.starts_with(&expected), "{failure}");
            assert_eq!(proxy.asked.take(), [""; 0]);
            Ok::<(), Failure>(())
        })
    });
}

// H11.7, P25.1
#[test]
fn socks5_tries_the_next_address_after_a_refusal() {
    simulated(|reactor| {
        let network = SimulatedNetwork::of(reactor).unwrap();
        network.add_name("www.inner", ["192.0.2.6".parse().unwrap(), "192.0.2.7".parse().unwrap()]);
        let (mut proxy, port) = (TestProxy::new(reactor), serve(reactor, loopback()));
        proxy.unreachable = [192, 0, 2, 6];
        let agent = Agent::new(reactor).proxy(Proxy::new(format!("socks5://{}", proxy.listen())).unwrap());
        reactor.spawn(async move {
            agent.get_page(format!("http://www.inner:{port}/a")).await?;
            assert_eq!(
                proxy.asked.take(),
                [format!("[192, 0, 2, 6]:{port}"), format!("[192, 0, 2, 7]:{port}")]
            );
            Ok::<(), Failure>(())
        })
    });
}

// H11.8
#[test]
fn a_socks_error_names_the_proxy_and_the_origin() {
    simulated(|reactor| {
        let mut proxy = TestProxy::new(reactor);
        proxy.reply = 5;
        let refusing = format!("socks5h://{}", proxy.listen());
        proxy.password = Some(b"\x01\x02me\x06secret");
        let asking = format!("socks5h://me:wrong!@{}", proxy.listen());
        let page = |proxy: &str, url: &str| {
            fails(Request::get(url).proxy(Proxy::new(proxy).unwrap()).get_page(reactor))
        };
        let gone = "socks5h://me:secret@127.0.0.1:1";
        join((
            page(&refusing, "http://www.inner/"),
            page(&asking, "http://www.inner/"),
            page(gone, "http://a/"),
        ))
        .add_callback(move |(refused, unauthorized, gone)| {
            let expected = SocksError::Refused { target: "www.inner:80".to_owned(), reply: 5 };
            let text = refused.to_string();
            assert!(
                text.starts_with(&format!("http://www.inner:80 through the proxy {refusing}: ")),
                "{text}"
            );
            assert!(
                text.ends_with("SOCKS proxy cannot connect to www.inner:80: connection refused"),
                "{text}"
            );
            assert_eq!(refused.trap::<SocksError>().unwrap(), expected);
            assert!(!unauthorized.to_string().contains("wrong"), "{unauthorized}");
            assert_eq!(unauthorized.trap::<SocksError>().unwrap(), SocksError::Unauthorized);
            let expected =
                "the proxy socks5h://127.0.0.1:1 cannot be reached: connection to 127.0.0.1:1 refused";
            assert_eq!(gone.to_string(), expected);
            assert!(gone.is::<ProxyUnreachable>());
        })
    });
}

// H11.8, H4.7
#[test]
fn a_socks_timeout_names_the_target_and_the_stage() {
    simulated(|reactor| {
        let network = SimulatedNetwork::of(reactor).unwrap();
        let silent = support::listen(reactor, |_| support::scripted(&support::Diary::new()));
        let silent = address(&silent);
        network.add_name("silent", [silent.ip()]);
        let second = Duration::from_secs(1);
        let request = |kind: &str, timeout: fn(Request, Duration) -> Request| {
            let proxy = Proxy::new(format!("{kind}://silent:{}", silent.port())).unwrap();
            fails(timeout(Request::get("http://192.0.2.1/"), second).proxy(proxy).get_page(reactor))
        };
        let port = silent.port();
        join((request("socks5", Request::connect_timeout), request("socks5h", Request::timeout)))
            .add_callback(move |(connect, whole)| {
                let place = |kind| format!("http://192.0.2.1:80 through the proxy {kind}://silent:{port}");
                let expected = format!(
                    "connecting to {} timed out after 1s while waiting for the answer of the SOCKS proxy",
                    place("socks5")
                );
                assert_eq!(connect.to_string(), expected);
                assert!(connect.is::<ConnectTimedOut>());
                let expected = format!(
                    "request to {} timed out after 1s while waiting for a connection: the answer of the SOCKS proxy",
                    place("socks5h")
                );
                assert_eq!(whole.to_string(), expected);
                assert!(whole.is::<RequestTimedOut>());
            })
    });
}

// H11.6, H11.7
#[test]
fn socks_proxies_are_read_from_the_environment() {
    let of = |name: &str, value: &str, url: &str| {
        let proxy = Proxy::from_vars(|wanted| (wanted == name).then(|| value.to_owned()));
        proxy.of(&Url::parse(url).unwrap()).map(|proxy| proxy.map(str::to_owned))
    };
    for (value, expected) in [
        ("socks5://a", "socks5://a:1080"),
        ("socks5h://me:secret@[::1]:9/x?y", "socks5h://[::1]:9"),
        ("Socks5H://A:80", "socks5h://a:80"),
    ] {
        for (name, url) in
            [("ALL_PROXY", "http://x/"), ("all_proxy", "https://x/"), ("HTTPS_PROXY", "https://x/")]
        {
            assert_eq!(of(name, value, url), Ok(Some(expected.to_owned())), "{name} {value}");
        }
    }
    for (value, expected) in [
        ("socks5://a:99999", "invalid URL: port \"99999\" at byte 11 is not between 1 and 65535"),
        ("a:99999", "invalid URL: port \"99999\" at byte 2 is not between 1 and 65535"),
        ("socks5h://me:%ff@a", "invalid URL \"...@a:1080\""),
        ("socks4://a", "it begins with socks4:, not with http, https, socks5 or socks5h"),
    ] {
        let error = of("ALL_PROXY", value, "http://x/").unwrap_err();
        assert_eq!(error.to_string(), format!("invalid proxy in ALL_PROXY: {expected}"));
    }
}

// H11.7, H13.1: through a third-party proxy, if it is installed, by its URL and by a connector
#[cfg(feature = "tls")]
#[test]
fn microsocks_takes_pages_by_url_and_by_connector() {
    use crate::support::peers::{free_port, start_listening};
    use twistor_net::connect::{Connect, Socks5};

    let port = free_port();
    let mut command = std::process::Command::new("microsocks");
    command.args(["-i", "127.0.0.2", "-u", "me", "-P", "secret", "-p", &port.to_string()]);
    let Some(_running) = start_listening(&mut command, port) else { return };
    let authority = crate::tls_support::Authority::new();
    run(|reactor| {
        let secured = authority.signs("localhost").server();
        let secured = serve(reactor, ServerEndpoint::tls("127.0.0.1:0".parse().unwrap(), secured));
        let plain = serve(reactor, loopback());
        let new = || Agent::new(reactor).tls(authority.client());
        let by_url = |url: &str| new().proxy(Proxy::new(url).unwrap());
        let by_connector = |url: &str| {
            let proxy: Socks5 = url.parse().unwrap();
            new().connector(move |on, origin| proxy.to(&origin.host, origin.port).connect(on))
        };
        let agents = ["socks5h", "socks5"].map(|kind| {
            let url = format!("{kind}://me:secret@127.0.0.2:{port}");
            [by_url(&url), by_connector(&url)]
        });
        let wrong = by_url(&format!("socks5h://me:wrong@127.0.0.2:{port}"));
        let refusing = by_url(&format!("socks5h://me:secret@127.0.0.2:{port}"));
        reactor.spawn(async move {
            for agent in agents.as_flattened() {
                for url in [format!("http://localhost:{plain}/a"), format!("https://localhost:{secured}/a")] {
                    assert!(agent.get_page(url).await?.text().starts_with("/a of localhost"));
                }
            }
            let failure = wrong.get_page(format!("http://localhost:{plain}/")).await.unwrap_err();
            assert_eq!(failure.trap::<SocksError>()?, SocksError::Unauthorized);
            let failure = refusing.get_page("http://127.0.0.2:1/").await.unwrap_err();
            assert!(matches!(failure.trap::<SocksError>()?, SocksError::Refused { .. }));
            Ok::<(), Failure>(())
        })
    });
}
