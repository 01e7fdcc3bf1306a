//! H11 on a faulty network: through a proxy that refuses, dies or is partitioned, each request
//! gets its own answer once, or a failure.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::{Deferred, DeferredList};
use twistor_http::server::{Settings, Site};
use twistor_http::{Agent, HttpError, Proxy, ProxyRefused, Request};
use twistor_net::simulation::{World, explore};
use twistor_net::tls::{ClientTls, ServerTls};
use twistor_net::{
    ClientEndpoint, ConnectionDone, Failure, ListeningPort, Protocol, ServerEndpoint, Transport,
};
use twistor_reactor::{Handle, defer_later};

use super::simulated::{SEEDS, expected, site};
use crate::tls_support::Authority;

const CLIENT: &str = "192.0.2.1";
const PROXY: &str = "192.0.2.90";
const SERVER: &str = "192.0.2.80";
const REFUSALS: [u16; 3] = [407, 502, 503];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The kind of fault in one simulated world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    /// The proxy refuses every fourth request or tunnel.
    Refuses,
    /// Every eighth exchange or tunnel breaks off, and for a while the proxy is down.
    Dies,
    /// Connections are reset, and the proxy is partitioned from one side.
    Network,
}

impl Trouble {
    fn of(seed: u64) -> Trouble {
        [Trouble::None, Trouble::Refuses, Trouble::Dies, Trouble::Network][seed as usize % 4]
    }
}

/// A proxy that opens tunnels, and forwards requests in absolute-form.
struct Relay {
    handle: Handle,
    trouble: Trouble,
    /// State of the random numbers, which depend only on the seed.
    state: Cell<u64>,
    refused: Cell<usize>,
    passed: Cell<usize>,
    tunnels: Cell<usize>,
    clients: RefCell<Vec<Transport>>,
    port: RefCell<Option<ListeningPort>>,
}

impl Relay {
    fn draw(&self, below: u64) -> u64 {
        let state =
            self.state.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.state.set(state);
        (state >> 33) % below
    }

    fn opens(self: &Rc<Self>) {
        let relay = self.clone();
        let endpoint = ServerEndpoint::tcp(format!("{PROXY}:3128").parse().unwrap());
        let port = endpoint.listen(&self.handle, move |_peer| ClientSide {
            relay: relay.clone(),
            received: Vec::new(),
            body_left: 0,
            tunnel: false,
            server: Rc::default(),
        });
        self.port.replace(Some(port.unwrap()));
    }

    /// Ends as a killed process would: closes the port and resets the connections.
    fn dies(&self) {
        if let Some(port) = self.port.take() {
            drop(port.stop_listening());
        }
        for client in self.clients.take() {
            client.abort_connection();
        }
    }
}

/// The connection to the server, and the bytes that wait for it.
#[derive(Default)]
struct ServerSide {
    transport: Option<Transport>,
    waiting: Option<Vec<u8>>,
}

struct ClientSide {
    relay: Rc<Relay>,
    received: Vec<u8>,
    body_left: usize,
    tunnel: bool,
    server: Rc<RefCell<ServerSide>>,
}

impl ClientSide {
    /// Handles a request with this head.
    fn ask(&mut self, client: &Transport, head: &str) -> Result<(), Failure> {
        let relay = self.relay.clone();
        let mut words = head.split(' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let length = head.to_lowercase().split_once("content-length: ").map(|(_, rest)| rest.to_owned());
        let length: usize = length.map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
        assert!(head.contains("Proxy-Authorization: Basic cHJveHk6aGlkZGVu\r\n"), "{head}");
        if relay.trouble == Trouble::Refuses && relay.draw(4) == 0 {
            relay.refused.set(relay.refused.get() + 1);
            let status = REFUSALS[relay.draw(3) as usize];
            client.write(
                format!("HTTP/1.1 {status} No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
                    .as_bytes(),
            );
            client.lose_connection();
            return Ok(());
        }
        let dies = (relay.trouble == Trouble::Dies && relay.draw(8) == 0).then(|| relay.draw(3000));
        if method == "CONNECT" {
            relay.tunnels.set(relay.tunnels.get() + 1);
            assert_eq!(target, "server.test:443");
            self.tunnel = true;
            self.connect(client, 443, true, dies);
        } else {
            relay.passed.set(relay.passed.get() + 1);
            let path = target.strip_prefix("http://server.test").expect(target);
            if self.server.borrow().transport.is_none() && self.server.borrow().waiting.is_none() {
                self.connect(client, 80, false, dies);
            }
            // The fields for the proxy are not forwarded.
            let rest = head.split_once("\r\n").unwrap().1;
            let own = rest.lines().filter(|line| !line.is_empty() && !line.starts_with("Proxy-"));
            let own: String = own.map(|line| format!("{line}\r\n")).collect();
            self.forward(format!("{method} {path} HTTP/1.1\r\n{own}\r\n").as_bytes());
            self.body_left = length;
        }
        Ok(())
    }

    fn connect(&self, client: &Transport, port: u16, tunnel: bool, left: Option<u64>) {
        self.server.borrow_mut().waiting = Some(Vec::new());
        let endpoint =
            ClientEndpoint::tcp("server.test", port).bind_address(ip(PROXY)).timeout(Duration::from_secs(2));
        let back = Back { client: client.clone(), left };
        let (client, server) = (client.clone(), self.server.clone());
        drop(endpoint.connect(&self.relay.handle, back).add_both(move |connected| match connected {
            Ok(transport) => {
                let waiting = server.borrow_mut().waiting.take().unwrap_or_default();
                transport.write(&waiting);
                if client.is_closing() {
                    transport.abort_connection();
                } else if tunnel {
                    client.write(b"HTTP/1.1 200 Connection established\r\n\r\n");
                }
                server.borrow_mut().transport = Some(transport);
            }
            Err(_) => {
                client.write(b"HTTP/1.1 504 No server\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                client.lose_connection();
            }
        }));
    }

    fn forward(&self, bytes: &[u8]) {
        let mut server = self.server.borrow_mut();
        let ServerSide { transport, waiting } = &mut *server;
        if let Some(waiting) = waiting {
            waiting.extend_from_slice(bytes);
        } else if let Some(transport) = transport {
            transport.write(bytes);
        }
    }
}

impl Protocol for ClientSide {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.relay.clients.borrow_mut().push(transport.clone());
        Ok(())
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        if self.tunnel {
            self.forward(data);
            return Ok(());
        }
        self.received.extend_from_slice(data);
        loop {
            let body: Vec<u8> = self.received.drain(..self.body_left.min(self.received.len())).collect();
            self.body_left -= body.len();
            self.forward(&body);
            let end = self.received.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            let Some(end) = end.filter(|_| self.body_left == 0 && !self.tunnel) else { return Ok(()) };
            let head: Vec<u8> = self.received.drain(..end + 4).collect();
            self.ask(transport, std::str::from_utf8(&head)?)?;
        }
    }

    fn connection_lost(&mut self, reason: Failure) {
        if let Some(server) = self.server.borrow_mut().transport.take() {
            if reason.is::<ConnectionDone>() { server.lose_connection() } else { server.abort_connection() }
        }
    }
}

/// Forwards the server's bytes to the client.
struct Back {
    client: Transport,
    /// The number of bytes to forward before the proxy dies, if it does.
    left: Option<u64>,
}

impl Protocol for Back {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        let passed = self.left.map_or(data.len(), |left| data.len().min(left as usize));
        self.client.write(&data[..passed]);
        if let Some(left) = &mut self.left {
            *left -= passed as u64;
            if *left == 0 {
                self.client.abort_connection();
                transport.abort_connection();
            }
        }
        Ok(())
    }

    fn connection_lost(&mut self, reason: Failure) {
        // A broken connection must not look like the end of a body.
        if reason.is::<ConnectionDone>() {
            self.client.lose_connection();
        } else {
            self.client.abort_connection();
        }
    }
}

#[derive(Default)]
struct Tally {
    answered: Cell<usize>,
    refused: Cell<usize>,
    failures: RefCell<Vec<String>>,
}

/// Requests a page and checks the answer.
fn ask(agent: &Agent, n: usize, tally: &Rc<Tally>) -> Deferred<()> {
    let kind = ["now", "later", "large", "stream", "echo", "streamed"][n % 6];
    // Two of three requests in absolute-form, one through a tunnel.
    let scheme = if n / 6 % 3 == 2 { "https" } else { "http" };
    let url = format!("{scheme}://server.test/{kind}?id={n}");
    let request = match kind {
        "echo" | "streamed" => Request::post(url).body(expected(kind, &n.to_string())),
        _ => Request::get(url),
    };
    let tally = tally.clone();
    agent.get_page(request.timeout(Duration::from_secs(5))).add_both(move |result| match result {
        Ok(page) => {
            assert_eq!(page.text(), expected(kind, &n.to_string()), "the answer to another request");
            tally.answered.set(tally.answered.get() + 1);
        }
        Err(failure) => {
            let status = match (failure.check::<HttpError>(), failure.check::<ProxyRefused>()) {
                (Some(error), None) if scheme == "http" => Some(error.status),
                (None, Some(refused)) if scheme == "https" => Some(refused.status),
                (None, None) => None,
                _ => panic!("{scheme}: {failure}"),
            };
            if status.is_some_and(|status| REFUSALS.contains(&status.as_u16())) {
                tally.refused.set(tally.refused.get() + 1);
            }
            assert!(!format!("{failure} {failure:?}").contains("hidden"), "{failure:?}");
            tally.failures.borrow_mut().push(format!("{n}: {failure}"));
        }
    })
}

const REQUESTS: usize = 36;

fn play(world: &World, server_tls: &ServerTls, client_tls: &ClientTls) -> (usize, usize) {
    let (seed, reactor, network) = (world.seed(), &**world, world.network());
    network.set_latency(Duration::from_millis(1), Duration::from_millis(20));
    network.add_name("server.test", [ip(SERVER)]);
    let trouble = Trouble::of(seed);
    let relay = Rc::new(Relay {
        handle: world.handle(),
        trouble,
        state: Cell::new(seed),
        refused: Cell::new(0),
        passed: Cell::new(0),
        tunnels: Cell::new(0),
        clients: RefCell::default(),
        port: RefCell::new(None),
    });
    relay.opens();
    match trouble {
        Trouble::None | Trouble::Refuses => {}
        Trouble::Dies => {
            let (dying, coming) = (relay.clone(), relay.clone());
            reactor.call_later(Duration::from_millis(400), move || dying.dies());
            reactor.call_later(Duration::from_millis(450), move || coming.opens());
        }
        Trouble::Network => {
            network.set_resets(0.1);
            let side = if seed % 8 == 3 { CLIENT } else { SERVER };
            let (apart, together) = (network.clone(), network.clone());
            reactor.call_later(Duration::from_millis(200), move || apart.partition(ip(PROXY), ip(side)));
            reactor.call_later(Duration::from_millis(1500), move || together.heal(ip(PROXY), ip(side)));
        }
    }
    let seen: Rc<RefCell<HashMap<String, usize>>> = Rc::default();
    let settings = Settings { grace: Duration::from_secs(2), ..Settings::default() };
    let site = Site::with_settings(reactor, site(seen.clone()), settings);
    site.listen(ServerEndpoint::tcp(format!("{SERVER}:80").parse().unwrap())).unwrap();
    site.listen(ServerEndpoint::tls(format!("{SERVER}:443").parse().unwrap(), server_tls.clone())).unwrap();

    let proxy = Proxy::new(format!("http://proxy:hidden@{PROXY}:3128")).unwrap();
    let agent = Agent::new(reactor).max_connections(3).tls(client_tls.clone()).proxy(proxy);
    let agent = Rc::new(agent);
    let tally = Rc::new(Tally::default());
    let asked = (0..REQUESTS).map(|n| {
        let (agent, tally) = (agent.clone(), tally.clone());
        defer_later(reactor, Duration::from_millis(n as u64 / 3 * 60), move || ask(&agent, n, &tally))
    });
    let asked: Vec<Deferred<()>> = asked.collect();
    world.set_time_limit(Duration::from_secs(60));
    reactor.run_until(DeferredList::new(asked).add_callback(move |_| site.stop())).unwrap();
    agent.close_idle();

    let (answered, failures) = (tally.answered.get(), tally.failures.take());
    assert_eq!(answered + failures.len(), REQUESTS, "a request was lost or answered twice");
    match trouble {
        Trouble::None => {
            assert_eq!(failures, [""; 0]);
            assert_eq!(relay.passed.get(), REQUESTS / 3 * 2);
            assert!((1..=3).contains(&relay.tunnels.get()), "{} tunnels", relay.tunnels.get());
        }
        // Each refusal is reported once, with its status, to the refused request; no other request fails.
        Trouble::Refuses => {
            assert_eq!(
                (tally.refused.get(), failures.len()),
                (relay.refused.get(), relay.refused.get()),
                "{failures:?}"
            );
        }
        Trouble::Dies | Trouble::Network => {}
    }
    for (id, times) in &*seen.borrow() {
        let posted = id.parse::<usize>().is_ok_and(|n| n % 6 >= 4);
        assert!(*times == 1 || (!posted && *times <= 2), "request {id} arrived {times} times");
    }
    (answered, failures.len())
}

// H11, H5, P9: no answer goes to the wrong request, arrives twice or is lost silently
#[test]
fn client_proxy_and_server_agree_in_every_world() {
    let authority = Authority::new();
    let (server, client) = (authority.signs("server.test").server(), authority.client());
    let sums: RefCell<HashMap<u64, (usize, usize)>> = RefCell::default();
    let explored = explore(SEEDS, |world| {
        let (answered, failed) = play(world, &server, &client);
        let mut sums = sums.borrow_mut();
        let sum = sums.entry(world.seed() % 4).or_default();
        *sum = (sum.0 + answered, sum.1 + failed);
    });
    let sums = sums.into_inner();
    println!("answered and failed without trouble, refused, dying, cut off: {sums:?}");
    if explored.seeds() >= 100 {
        // The simulated faults do occur, and most requests succeed nevertheless.
        for (world, (answered, failed)) in sums {
            assert!(
                answered > failed && (world == 0 || failed > 0),
                "in worlds {world}: {answered}, {failed}"
            );
        }
    }
}
