//! A run that is stopped in any handler. It ends with that turn, and everything is notified of the end once.
//! P1, and P15 for UDP.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod support;
#[cfg(feature = "tls")]
mod tls_support;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use support::*;
use twistor_deferred::Failure;
use twistor_net::{
    Address, ClientEndpoint, Conversation, DatagramProtocol, DatagramTransport, Factory, Producer, Protocol,
    ServerEndpoint, Transport, UdpEndpoint, conversations,
};
use twistor_reactor::{Handle, Reactor};

/// The handlers that a run reaches, and the one in which it stops.
struct Stage {
    handle: Handle,
    stop_at: &'static str,
    reached: Cell<bool>,
    made: Cell<usize>,
    lost: Cell<usize>,
    /// The number of producers that were neither unregistered nor stopped.
    producing: Cell<usize>,
    transports: RefCell<Vec<Transport>>,
}

impl Stage {
    fn new(handle: &Handle, stop_at: &'static str) -> Rc<Stage> {
        Rc::new(Stage {
            handle: handle.clone(),
            stop_at,
            reached: Cell::new(false),
            made: Cell::new(0),
            lost: Cell::new(0),
            producing: Cell::new(0),
            transports: RefCell::default(),
        })
    }

    fn enter(&self, method: &str) {
        if method == self.stop_at && !self.reached.replace(true) {
            self.handle.stop();
        }
    }

    fn made(&self, transport: &Transport) {
        self.made.set(self.made.get() + 1);
        self.transports.borrow_mut().push(transport.clone());
    }

    fn lost(&self) {
        self.lost.set(self.lost.get() + 1);
        assert!(self.lost <= self.made);
        if self.lost.get() == 2 {
            self.handle.stop();
        }
    }

    fn done_producing(&self) {
        self.producing.set(self.producing.get().checked_sub(1).unwrap());
    }

    /// Runs the reactor, and checks that nothing is left over.
    fn run(&self, reactor: &Reactor) {
        let late = Rc::new(Cell::new(false));
        let (is_late, handle) = (late.clone(), self.handle.clone());
        reactor.call_later(DEADLINE, move || {
            is_late.set(true);
            handle.stop();
        });
        reactor.run().unwrap();
        assert!(!late.get() && self.reached.get(), "the run did not reach {}", self.stop_at);
        assert_eq!(self.lost, self.made, "connections lost and made; the run stopped at {}", self.stop_at);
        assert_eq!(
            self.producing.get(),
            0,
            "a producer was neither unregistered nor stopped; the run stopped at {}",
            self.stop_at
        );
        for transport in self.transports.borrow().iter() {
            assert!(transport.is_lost() && !transport.write(b"x"));
        }
    }
}

/// Sends more than fits in flight, and reads.
struct Server(Rc<Stage>);

impl Factory for Server {
    type Protocol = Server;

    fn build_protocol(&mut self, _: Address) -> Option<Server> {
        self.0.enter("build_protocol");
        Some(Server(self.0.clone()))
    }
}

impl Protocol for Server {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        let stage = self.0.clone();
        stage.made(transport);
        stage.enter("connection_made");
        transport.register_producer(Watched(stage.clone()))?;
        stage.producing.set(1);
        transport.write(&vec![b'x'; World::Real.much()]);
        drop(transport.drained().add_both(move |_| stage.enter("drained")));
        transport.pause_producing();
        let transport = transport.clone();
        self.0.handle.call_later(Duration::ZERO, move || transport.resume_producing());
        Ok(())
    }

    fn data_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
        self.0.enter("data_received");
        Ok(())
    }

    fn reading_resumed(&mut self, _: &Transport) -> Result<(), Failure> {
        self.0.enter("reading_resumed");
        Ok(())
    }

    fn read_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.0.enter("read_connection_lost");
        transport.unregister_producer();
        self.0.done_producing();
        transport.lose_connection();
        Ok(())
    }

    fn connection_lost(&mut self, _: Failure) {
        self.0.lost();
        self.0.enter("connection_lost");
    }
}

struct Watched(Rc<Stage>);

impl Producer for Watched {
    fn pause_producing(&self) {
        self.0.enter("pause_producing");
    }

    fn resume_producing(&self) {
        self.0.enter("resume_producing");
    }

    fn stop_producing(&self) {
        self.0.done_producing();
        self.0.enter("stop_producing");
    }
}

/// Sends data, reads everything, and then ends its half, unless it leaves in the middle.
struct Client(Rc<Stage>, usize);

impl Protocol for Client {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.0.made(transport);
        self.0.enter("connection_made of the client");
        transport.write(b"hello");
        Ok(())
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.1 += data.len();
        if self.0.stop_at == "stop_producing" {
            transport.abort_connection();
        } else if self.1 == World::Real.much() {
            transport.lose_write_connection();
        }
        Ok(())
    }

    fn connection_lost(&mut self, _: Failure) {
        self.0.lost();
        self.0.enter("connection_lost of the client");
    }
}

const METHODS: [&str; 13] = [
    "build_protocol",
    "connection_made",
    "connection_made of the client",
    "connect",
    "data_received",
    "reading_resumed",
    "pause_producing",
    "resume_producing",
    "drained",
    "read_connection_lost",
    "connection_lost",
    "connection_lost of the client",
    "stop_producing",
];

/// Stops a run in each of the methods, on one kind of socket.
fn stop_everywhere(server: &ServerEndpoint, client: impl Fn(&Address) -> ClientEndpoint) {
    for method in METHODS {
        let reactor = Reactor::new().unwrap();
        let stage = Stage::new(&reactor, method);
        let port = server.listen(&reactor, Server(stage.clone())).unwrap();
        let connecting = client(port.address()).connect(&reactor, Client(stage.clone(), 0));
        let (told, there) = (Rc::new(Cell::new(0)), stage.clone());
        let tell = told.clone();
        drop(connecting.add_both(move |_| {
            tell.set(tell.get() + 1);
            there.enter("connect");
        }));
        stage.run(&reactor);
        assert_eq!(told.get(), 1, "the connect fired; the run stopped at {method}");
    }
}

// P1
#[test]
fn a_run_on_tcp_can_be_stopped_from_any_handler() {
    stop_everywhere(&ServerEndpoint::tcp("127.0.0.1:0".parse().unwrap()), |address| {
        ClientEndpoint::tcp("127.0.0.1", address.port().unwrap())
    });
}

// P1
#[test]
#[cfg(unix)]
fn a_run_on_unix_sockets_can_be_stopped_from_any_handler() {
    let folder = support::folder::Folder::new("stopping");
    let path = folder.join("socket");
    stop_everywhere(&ServerEndpoint::unix(&path), |_| ClientEndpoint::unix(&path));
    assert!(!path.exists());
}

// P1, P10
#[test]
#[cfg(feature = "tls")]
fn a_run_on_tls_can_be_stopped_from_any_handler() {
    let authority = tls_support::Authority::new();
    let server = authority.signs("localhost").server();
    stop_everywhere(&ServerEndpoint::tls("127.0.0.1:0".parse().unwrap(), server), |address| {
        ClientEndpoint::tls("localhost", address.port().unwrap(), authority.client())
    });
}

// P1, P13: in callbacks, on either side, and in the factory
#[test]
fn a_run_can_be_stopped_from_any_step_of_a_conversation() {
    for step in ["begun", "heard", "written", "connected", "answered", "ended"] {
        let reactor = Reactor::new().unwrap();
        let stage = Stage::new(&reactor, step);
        let serving = stage.clone();
        let talk = move |peer: Conversation| {
            let (heard, written) = (serving.clone(), serving.clone());
            serving.enter("begun");
            peer.read_line(100).add_callback(move |line| {
                heard.enter("heard");
                peer.write_all(&line).add_callback(move |()| {
                    written.enter("written");
                    drop(peer);
                })
            })
        };
        let port = listen(&reactor, conversations(talk));
        let told = Rc::new(Cell::new(0));
        let (tell, there) = (told.clone(), stage.clone());
        let client = ClientEndpoint::tcp("127.0.0.1", address(&port).port());
        let conversation = client.converse(&reactor).add_callback(move |server| {
            there.enter("connected");
            server.write(b"hello\n");
            server.read_exact(5).add_callback(move |_| {
                there.enter("answered");
                let ended = server.read_to_end(0);
                ended.add_callback(move |_| {
                    there.enter("ended");
                    drop(server);
                })
            })
        });
        drop(conversation.add_both(move |_| tell.set(tell.get() + 1)));
        stage.run(&reactor);
        assert_eq!(told.get(), 1, "stopped when {step}");
    }
}

struct Port {
    stage: Rc<Stage>,
    stopped: Rc<Cell<usize>>,
}

impl DatagramProtocol for Port {
    fn started(&mut self, transport: &DatagramTransport) -> Result<(), Failure> {
        self.stage.enter("started");
        if self.stage.stop_at == "stopped" {
            drop(transport.stop_listening());
        } else if self.stage.stop_at == "connection_refused" {
            transport.send(b"anybody there?")?;
        } else {
            transport.send_to(b"myself", transport.address())?;
        }
        Ok(())
    }

    fn datagram_received(&mut self, _: &DatagramTransport, _: &[u8], _: SocketAddr) -> Result<(), Failure> {
        self.stage.enter("datagram_received");
        Ok(())
    }

    fn connection_refused(&mut self, _: &DatagramTransport) -> Result<(), Failure> {
        self.stage.enter("connection_refused");
        Ok(())
    }

    fn stopped(&mut self, _: Failure) {
        self.stopped.set(self.stopped.get() + 1);
        self.stage.enter("stopped");
    }
}

// P15
#[test]
fn a_run_on_udp_can_be_stopped_from_any_handler() {
    // Of another address than the endpoint, so that the system does not choose the same one for both.
    let closed = std::net::UdpSocket::bind("127.0.0.2:0").unwrap().local_addr().unwrap();
    for method in ["started", "datagram_received", "connection_refused", "stopped"] {
        let reactor = Reactor::new().unwrap();
        let stage = Stage::new(&reactor, method);
        let stopped = Rc::new(Cell::new(0));
        let mut endpoint = UdpEndpoint::new("127.0.0.1:0".parse().unwrap());
        if method == "connection_refused" {
            endpoint = endpoint.peer(closed);
        }
        let port = Port { stage: stage.clone(), stopped: stopped.clone() };
        let transport = endpoint.listen(&reactor, port).unwrap();
        stage.run(&reactor);
        assert_eq!(stopped.get(), 1, "stopped at {method}");
        assert!(transport.send_to(b"x", closed).is_err());
    }
}
