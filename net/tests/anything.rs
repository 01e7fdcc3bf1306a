//! Two sides of a connection that do anything, at any time, also inside their own handlers. Whatever they do,
//! P1 to P5 and P11 hold: over TCP, UNIX sockets and TLS, on real sockets and on a network with faults.
//!
//! Runs 500 seeds each. Real sockets take real time, so they run a twentieth of that.

#![allow(clippy::unwrap_used, reason = "it is test code, which clippy knows only inside #[test]")]

#[path = "anything/states.rs"]
mod states;
mod support;
#[cfg(feature = "tls")]
mod tls_support;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use support::World;
#[cfg(unix)]
use support::folder::Folder;
use twistor_net::simulation::explore;
use twistor_net::{
    ClientEndpoint, ConnectionAborted, ConnectionDone, ConnectionLost, Failure, HandlerPanicked, Producer,
    Protocol, RateLimit, ServerEndpoint, SimulatedNetwork, Transport,
};
use twistor_reactor::{Handle, Reactor, Simulation};

/// The longest time, as a part of a second, for which something is in flight.
const ON_THE_WAY: f64 = 0.15;
const SERVER: &str = "192.0.2.80";

const SEEDS: u64 = 500;

/// How the program's own errors are recognized.
#[derive(Debug)]
struct Whim;

impl fmt::Display for Whim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whim")
    }
}

impl std::error::Error for Whim {}

/// How the programs of a world behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Temper {
    /// They write, pause, produce, and close cleanly.
    Mild,
    /// They also abort, fail and panic.
    Wild,
}

/// One side, and everything it observed.
struct Side {
    name: &'static str,
    temper: Temper,
    /// It writes little and early. Data sent later could meet a closed socket, and destroy data sent to it.
    silent: bool,
    handle: Handle,
    random: Simulation,
    /// The duration of a simulated second.
    second: Duration,
    transport: RefCell<Option<Transport>>,
    limit: RateLimit,
    /// The bytes accepted for sending, the bytes that `drained` reported as sent, and the bytes received.
    written: Cell<u64>,
    drained: Cell<u64>,
    received: Cell<u64>,
    inside: Cell<bool>,
    /// It has paused and not resumed.
    paused: Cell<bool>,
    /// It called `lose_connection`, or something stronger. Nothing is delivered any more.
    closing: Cell<bool>,
    /// It called `lose_connection` before it saw the peer's end, and so early that data of a quiet peer may
    /// have met a closed socket.
    closed_before_end: Cell<bool>,
    closed_early: Cell<bool>,
    rough: Cell<bool>,
    ended: Cell<bool>,
    made: Cell<usize>,
    /// When everything that a quiet peer sends has arrived.
    settled: Cell<Instant>,
    reason: RefCell<Option<Failure>>,
    /// The number of Deferreds of `drained` that have not fired.
    undrained: Cell<usize>,
    /// Broken promises. They are collected, because the library would catch a panic in a handler.
    broken: Rc<RefCell<Vec<String>>>,
    producing: RefCell<Option<Rc<Pieces>>>,
    acts: Cell<usize>,
}

/// Returns the byte at this position of a side's data.
fn byte(name: &str, place: u64) -> u8 {
    (place.wrapping_mul(31) ^ (place >> 8).wrapping_mul(7) ^ u64::from(name.as_bytes()[0])) as u8
}

impl Side {
    fn new(
        name: &'static str,
        temper: Temper,
        silent: bool,
        handle: &Handle,
        random: &Simulation,
        second: Duration,
    ) -> Rc<Side> {
        Rc::new(Side {
            name,
            temper,
            silent,
            handle: handle.clone(),
            random: random.clone(),
            second,
            transport: RefCell::default(),
            limit: RateLimit::new(handle, 200_000),
            written: Cell::default(),
            drained: Cell::default(),
            received: Cell::default(),
            inside: Cell::default(),
            paused: Cell::default(),
            closing: Cell::default(),
            closed_before_end: Cell::default(),
            closed_early: Cell::default(),
            rough: Cell::default(),
            ended: Cell::default(),
            made: Cell::default(),
            settled: Cell::new(handle.now()),
            reason: RefCell::default(),
            undrained: Cell::default(),
            broken: Rc::default(),
            producing: RefCell::default(),
            acts: Cell::new(50),
        })
    }

    fn below(&self, limit: u64) -> u64 {
        self.random.random() % limit
    }

    fn one_in(&self, odds: u64) -> bool {
        self.below(odds) == 0
    }

    fn promise(&self, kept: bool, what: &str) {
        if !kept {
            self.broken.borrow_mut().push(what.to_owned());
        }
    }

    /// Runs every handler: never inside another one, and never after the loss.
    fn enter<T>(&self, f: impl FnOnce() -> T) -> T {
        self.promise(!self.inside.replace(true), "entered inside its own call");
        self.promise(self.reason.borrow().is_none(), "called after its end");
        struct Leave<'a>(&'a Cell<bool>);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.set(false);
            }
        }
        let _leave = Leave(&self.inside);
        f()
    }

    fn is_lost(&self) -> bool {
        self.reason.borrow().is_some()
    }

    /// Writes this number of bytes with one of the write methods.
    fn write(&self, transport: &Transport, length: u64) {
        let begin = self.written.get();
        let data: Vec<u8> = (begin..begin + length).map(|place| byte(self.name, place)).collect();
        let may = !transport.is_lost();
        let taken = match self.below(3) {
            0 => transport.write(&data),
            1 => transport.write_vec(data),
            _ => {
                let (first, rest) = data.split_at(data.len() / 3);
                let (second, third) = rest.split_at(rest.len() / 2);
                transport.write_slices(&[first, second, third])
            }
        };
        self.promise(may || !taken, "bytes were accepted after the loss");
        if taken {
            self.written.set(begin + length);
        }
    }

    /// Does one or two things, unless it has done enough.
    fn act(self: &Rc<Self>) {
        for _ in 0..=self.below(3) {
            self.act_once();
        }
    }

    fn act_once(self: &Rc<Self>) {
        let left = self.acts.get();
        let transport = self.transport.borrow().clone();
        let Some(transport) = transport.filter(|_| left > 0) else { return };
        self.acts.set(left - 1);
        match self.below(if self.temper == Temper::Wild { 23 } else { 20 }) {
            0..=5
                if self.silent
                    && self.handle.now() + self.second.mul_f64(ON_THE_WAY) >= self.settled.get() => {}
            0..=5 if self.silent => self.write(&transport, self.below(3000)),
            0..=3 => self.write(&transport, self.below(3000)),
            4 | 5 => self.write(&transport, self.below(80_000)),
            6 | 7 => self.pause(&transport),
            8 | 9 => self.resume(&transport),
            10 => transport.set_high_water_mark(self.below(100_000) as usize),
            11 | 12 => self.await_drained(&transport),
            13 | 14 if self.silent => {}
            13 => self.produce(&transport, false),
            14 => self.produce(&transport, true),
            15 => transport.limit_reading(&self.limit),
            16 => transport.limit_writing(&self.limit),
            17 => transport.lift_limits(),
            18 if self.one_in(8) => transport.lose_write_connection(),
            19 if self.one_in(if self.silent { 20 } else { 3 }) => self.close(&transport),
            20 if self.one_in(4) => {
                self.is_rough();
                transport.abort_connection();
            }
            21 if self.one_in(4) => {
                self.is_rough();
                transport.fail_connection(Whim);
            }
            _ => {}
        }
    }

    fn close(&self, transport: &Transport) {
        if !self.ended.get() {
            self.closed_before_end.set(true);
        }
        if !self.closing.replace(true) {
            self.closed_early.set(self.handle.now() < self.settled.get());
        }
        transport.lose_connection();
    }

    fn is_rough(&self) {
        if !self.is_lost() {
            self.rough.set(true);
            self.closing.set(true);
        }
    }

    fn pause(&self, transport: &Transport) {
        transport.pause_producing();
        self.paused.set(true);
    }

    fn resume(&self, transport: &Transport) {
        self.paused.set(false);
        transport.resume_producing();
    }

    fn await_drained(self: &Rc<Self>, transport: &Transport) {
        self.undrained.set(self.undrained.get() + 1);
        let (side, written) = (self.clone(), self.written.get());
        drop(transport.drained().add_both(move |result| {
            side.undrained.set(side.undrained.get() - 1);
            if result.is_ok() {
                side.drained.set(side.drained.get().max(written));
            }
            if let Err(failure) = result {
                side.promise(!failure.is::<Whim>() || side.rough.get(), "a failure of the other side");
            }
        }));
    }

    fn produce(self: &Rc<Self>, transport: &Transport, pull: bool) {
        let pieces = Rc::new(Pieces {
            side: self.clone(),
            transport: transport.clone(),
            pull,
            left: Cell::new(self.below(6)),
            paused: Cell::new(pull),
            stopped: Cell::new(false),
            registered: Cell::new(true),
        });
        let registered = if pull {
            transport.register_pull_producer(pieces.clone())
        } else {
            transport.register_producer(pieces.clone())
        };
        if registered.is_err() {
            pieces.registered.set(false);
            return;
        }
        let before = self.producing.replace(Some(pieces.clone()));
        self.promise(before.is_none_or(|before| !before.registered.get()), "two producers are registered");
        if !pull && !pieces.paused.get() {
            pieces.piece();
        }
    }

    /// Sometimes does something inside a handler, and sometimes lets the handler fail.
    fn react(self: &Rc<Self>) -> Result<(), Failure> {
        if self.one_in(3) {
            self.act();
        }
        if self.temper == Temper::Wild && self.one_in(200) {
            self.closing.set(true);
            self.rough.set(true);
            if self.one_in(2) {
                // Skips the panic hook, which would print to the terminal.
                std::panic::resume_unwind(Box::new("on purpose"));
            }
            return Err(Whim.into());
        }
        Ok(())
    }

    /// Releases everything that delays the end, and does nothing more.
    fn wind_up(&self) {
        self.acts.set(0);
        let Some(transport) = self.transport.borrow().clone() else { return };
        if let Some(pieces) = self.producing.take() {
            pieces.unregister();
        }
        transport.lift_limits();
        if !self.closing.get() {
            self.resume(&transport);
        }
        transport.lose_write_connection();
    }

    /// Checks the promises about one side, after the end.
    fn check(&self, whom: &str) {
        assert!(self.broken.borrow().is_empty(), "{whom}: {:?}", self.broken.borrow());
        if self.made.get() == 0 {
            return;
        }
        assert_eq!(self.made.get(), 1, "{whom}");
        let reason = self.reason.take().unwrap_or_else(|| panic!("{whom}: its loss was never reported"));
        let known =
            if reason.is::<Whim>() || reason.is::<HandlerPanicked>() || reason.is::<ConnectionAborted>() {
                self.rough.get()
            } else {
                reason.is::<ConnectionDone>() || reason.is::<ConnectionLost>() || tls_says(&reason)
            };
        assert!(known, "{whom}: {reason:?}");
        assert_eq!(self.undrained.get(), 0, "{whom}: drained never fired");
    }
}

#[cfg(feature = "tls")]
fn tls_says(reason: &Failure) -> bool {
    reason.is::<twistor_net::tls::TlsTruncated>()
}

#[cfg(not(feature = "tls"))]
fn tls_says(_: &Failure) -> bool {
    false
}

/// A producer of a few pieces.
struct Pieces {
    side: Rc<Side>,
    transport: Transport,
    pull: bool,
    left: Cell<u64>,
    paused: Cell<bool>,
    stopped: Cell<bool>,
    registered: Cell<bool>,
}

impl Pieces {
    fn piece(&self) {
        while self.left.get() > 0 && (self.pull || !self.paused.get()) {
            self.left.set(self.left.get() - 1);
            self.side.write(&self.transport, 1 + self.side.below(40_000));
            if self.pull {
                return;
            }
        }
        if self.left.get() == 0 {
            self.unregister();
        }
    }

    fn unregister(&self) {
        if self.registered.replace(false) {
            self.transport.unregister_producer();
        }
    }

    fn called(&self, method: &str) {
        self.side.promise(self.registered.get(), &format!("{method} of an unregistered producer"));
        self.side.promise(!self.stopped.get(), &format!("{method} of a stopped producer"));
    }
}

impl Producer for Pieces {
    fn pause_producing(&self) {
        self.called("pause");
        self.side.promise(!self.pull, "a pull producer was paused");
        self.side.promise(!self.paused.replace(true), "a producer was paused twice");
    }

    fn resume_producing(&self) {
        self.called("resume");
        self.side.promise(self.paused.replace(self.pull), "a producer was resumed without a pause");
        if self.side.one_in(4) {
            self.side.act();
        }
        if self.registered.get() {
            self.piece();
        }
    }

    fn stop_producing(&self) {
        self.called("stop");
        self.stopped.set(true);
    }
}

struct Play {
    side: Rc<Side>,
    peer: Rc<Side>,
}

impl Protocol for Play {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        let side = &self.side;
        side.made.set(side.made.get() + 1);
        side.transport.replace(Some(transport.clone()));
        side.settled.set(side.handle.now() + side.second.mul_f64(0.3));
        side.write(transport, 1000);
        for _ in 0..20 {
            let delay = side.second.mul_f64(side.below(1_500_000) as f64 / 1_000_000.0);
            let side = side.clone();
            side.handle.clone().call_later(delay, move || side.act());
        }
        side.enter(|| side.react())
    }

    fn data_received(&mut self, _: &Transport, data: &[u8]) -> Result<(), Failure> {
        let (side, peer) = (&self.side, &self.peer);
        side.enter(|| {
            side.promise(!data.is_empty(), "empty data was delivered");
            side.promise(!side.paused.get(), "data was delivered while paused");
            side.promise(!side.closing.get(), "data was delivered while closing");
            side.promise(!side.ended.get(), "data was delivered after the end");
            let begin = side.received.get();
            let sent = (begin..).zip(data).all(|(place, got)| *got == byte(peer.name, place));
            side.promise(sent, "the data differs from the sent data");
            side.received.set(begin + data.len() as u64);
            side.promise(side.received.get() <= peer.written.get(), "more data was delivered than sent");
            side.react()
        })
    }

    fn reading_resumed(&mut self, _: &Transport) -> Result<(), Failure> {
        let side = &self.side;
        side.enter(|| {
            side.promise(!side.paused.get() && !side.closing.get(), "resumed while paused or closing");
            side.react()
        })
    }

    fn read_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        let side = &self.side;
        side.enter(|| {
            side.promise(!side.ended.replace(true), "the end was reported twice");
            side.promise(!side.closing.get(), "the end was reported while closing");
            side.react()?;
            if side.one_in(2) {
                side.close(transport);
            }
            Ok(())
        })
    }

    fn connection_lost(&mut self, reason: Failure) {
        let side = &self.side;
        side.enter(|| ());
        let transport = side.transport.borrow().clone();
        side.promise(
            transport.is_some_and(|transport| transport.is_lost()),
            "the connection is lost, but not its transport",
        );
        let pieces = side.producing.take();
        let stopped = pieces.is_none_or(|pieces| pieces.stopped.get() || !pieces.registered.get());
        side.promise(stopped, "its producer was not stopped");
        side.reason.replace(Some(reason));
    }
}

/// The durations of a world.
struct Pace {
    /// When both sides release everything.
    wind_up: Duration,
    /// When both halves have ended, unless the side is cut off.
    over: Duration,
    /// The real duration of one second of a simulated world.
    second: Duration,
}

impl Pace {
    fn of(world: World<'_>) -> Pace {
        if world.is_real() {
            Pace {
                wind_up: Duration::from_millis(100),
                over: support::DEADLINE,
                second: Duration::from_millis(50),
            }
        } else {
            Pace {
                wind_up: Duration::from_secs(30),
                over: Duration::from_secs(60),
                second: Duration::from_secs(1),
            }
        }
    }
}

/// Runs one play. Returns whether all sent data had to arrive, and did.
fn play(
    world: World<'_>,
    seed: u64,
    server_end: &ServerEndpoint,
    client_end: &dyn Fn(u16) -> ClientEndpoint,
) -> bool {
    world.with_reactor(|reactor| play_on(reactor, world, seed, server_end, client_end))
}

fn play_on(
    reactor: &Reactor,
    world: World<'_>,
    seed: u64,
    server_end: &ServerEndpoint,
    client_end: &dyn Fn(u16) -> ClientEndpoint,
) -> bool {
    let trouble = !world.is_real() && seed % 4 == 3;
    if let Some(network) = SimulatedNetwork::of(reactor) {
        network.add_name("server.test", [SERVER.parse().unwrap()]);
        network.set_latency(Duration::from_millis(1), Duration::from_millis(40));
        if trouble {
            network.set_resets(0.3);
            network.set_silences(0.2);
        }
        if seed % 5 == 4 {
            network.set_send_failures(0.1);
        }
    }
    // A real world draws its numbers from a separate simulation.
    let dice = Reactor::simulated(seed);
    let random = reactor.simulation().unwrap_or_else(|| dice.simulation().unwrap());
    let temper = if seed % 2 == 0 { Temper::Mild } else { Temper::Wild };
    let silent = if seed % 3 > 0 { Some(random.random() % 2) } else { None };
    let pace = Pace::of(world);
    let server = Side::new("server", temper, silent == Some(0), reactor, &random, pace.second);
    let client = Side::new("client", temper, silent == Some(1), reactor, &random, pace.second);
    let (one, other) = (server.clone(), client.clone());
    let port = server_end
        .listen(reactor, move |_| Play { side: one.clone(), peer: other.clone() })
        .unwrap_or_else(|error| panic!("{error}"));
    let at = port.address().ip().map_or(0, |address| address.port());
    let connecting = client_end(at).connect(reactor, Play { side: client.clone(), peer: server.clone() });
    drop(connecting.add_both(|_| ()));

    let sides = [server.clone(), client.clone()];
    let winding_up = sides.clone();
    reactor.call_later(pace.wind_up, move || winding_up.iter().for_each(|side| side.wind_up()));
    if world.is_real() {
        // Real time passes only while something can still happen.
        let (handle, ended) = (Handle::clone(reactor), sides.clone());
        let look = twistor_reactor::LoopingCall::new(reactor, move || {
            if ended.iter().all(|side| side.made.get() > 0 && side.is_lost()) {
                handle.stop();
            }
        });
        drop(look.start(Duration::from_millis(5)));
    }
    let aborting = sides.clone();
    reactor.call_later(pace.over, move || {
        for side in aborting {
            let transport = side.transport.borrow().clone().filter(|_| !side.is_lost());
            side.promise(
                transport.is_none() || trouble,
                "both halves have ended, but the connection is not lost",
            );
            transport.inspect(|transport| {
                side.is_rough();
                transport.abort_connection();
            });
        }
    });
    let (handle, ended) = (Handle::clone(reactor), sides.clone());
    reactor.call_later(pace.over + Duration::from_secs(1), move || {
        for side in ended {
            side.promise(side.made.get() == 0 || side.is_lost(), "the connection never ended");
        }
        drop(port.stop_listening());
        handle.stop();
    });
    reactor.run().unwrap();
    for side in &sides {
        side.check(&format!("{world:?}, seed {seed}, {}", side.name));
    }
    if trouble {
        return false;
    }
    let real = world.is_real();
    let complete = |from: &Side, to: &Side| {
        let (sent, got) = (from.written.get(), to.received.get());
        // The data has reached the operating system or the simulated network. Whatever the end, including a
        // reset with unread data, a side that continues to read receives it first.
        if !real && !to.rough.get() && !to.closed_before_end.get() {
            let drained = from.drained.get();
            assert!(drained <= got, "seed {seed}: the {} got {got} of {drained} bytes", to.name);
        }
        // Data sent before a clean close reaches the other side, unless that side closed first. A real socket
        // can also lose data if the side sent something that met a closed socket.
        let rough = from.rough.get() || to.rough.get();
        let met_a_closed_socket = !to.silent || from.closed_early.get();
        let due = !(rough || to.closed_before_end.get() || real && met_a_closed_socket);
        if due {
            assert_eq!(sent, got, "{world:?}, seed {seed}: the {} received less than was sent", to.name);
        }
        due && sent > 0
    };
    complete(&server, &client) | complete(&client, &server)
}

fn play_all(server: &ServerEndpoint, client: &ClientEndpoint) {
    let complete = Cell::new(0);
    let explored = explore(0..SEEDS, |world| {
        if play(World::Simulated(world), world.seed(), server, &|_| client.clone()) {
            complete.set(complete.get() + 1);
        }
    });
    println!("in {} of {} worlds, all data had to arrive", complete.get(), explored.seeds());
    assert!(complete.get() > 0 || explored.seeds() < 100, "no world had to deliver all data");
}

fn play_for_real(server: &ServerEndpoint, client: impl Fn(u16) -> ClientEndpoint) {
    for seed in 0..SEEDS / 20 {
        play(World::Real, seed, server, &client);
    }
}

// P1 to P5
#[test]
fn two_sides_over_tcp_keep_the_promises() {
    play_all(
        &ServerEndpoint::tcp(format!("{SERVER}:80").parse().unwrap()),
        &ClientEndpoint::tcp("server.test", 80),
    );
}

// P1 to P5, on the operating system's sockets
#[test]
fn two_sides_over_real_tcp_keep_the_promises() {
    play_for_real(&ServerEndpoint::tcp("127.0.0.1:0".parse().unwrap()), |port| {
        ClientEndpoint::tcp("127.0.0.1", port)
    });
}

// P1 to P5
#[cfg(unix)]
#[test]
fn two_sides_over_a_unix_socket_keep_the_promises() {
    let folder = Folder::new("anything");
    let path = folder.join("socket");
    play_for_real(&ServerEndpoint::unix(&path), |_| ClientEndpoint::unix(&path));
}

/// A server that sends ten session tickets instead of the usual one, and so has data to send that the program
/// did not write.
#[cfg(feature = "tls")]
fn with_tickets(identity: &tls_support::Identity) -> twistor_net::tls::ServerTls {
    let mut config = identity.rustls_server();
    config.send_tls13_tickets = 10;
    twistor_net::tls::ServerTls::from_config(config)
}

// P1 to P5, P10 and P11
#[cfg(feature = "tls")]
#[test]
fn two_sides_over_tls_keep_the_promises() {
    let authority = tls_support::Authority::new();
    let tls = with_tickets(&authority.signs("server.test"));
    play_all(
        &ServerEndpoint::tls(format!("{SERVER}:443").parse().unwrap(), tls),
        &ClientEndpoint::tls("server.test", 443, authority.client()),
    );
}

// P1 to P5, P10 and P11
#[cfg(feature = "tls")]
#[test]
fn two_sides_over_real_tls_keep_the_promises() {
    let authority = tls_support::Authority::new();
    let tls = with_tickets(&authority.signs("localhost"));
    play_for_real(&ServerEndpoint::tls("127.0.0.1:0".parse().unwrap(), tls), |port| {
        ClientEndpoint::tls("localhost", port, authority.client())
    });
}
