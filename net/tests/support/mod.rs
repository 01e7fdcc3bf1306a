//! Shared by the tests of this crate: a reactor with a deadline, a protocol made of closures that keeps a
//! diary, and blocking peers on the reactor's threads.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "it is test code, which clippy knows only inside #[test]"
)]

#[path = "../../../reactor/tests/support/child.rs"]
pub mod child;
pub mod folder;
pub mod logged;
mod panics;
pub mod peers;
pub mod places;

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::{Deferred, Trigger};
use twistor_net::simulation::{self, explore};
use twistor_net::{
    Address, ClientEndpoint, ConnectionLost, Conversation, Failure, ListeningPort, Protocol, ServerEndpoint,
    Transport,
};
use twistor_reactor::{Handle, Reactor};

/// The deadline of a test, at which it fails.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// The deadline in a simulation, which takes no real time, but may take a long simulated time.
pub const SIMULATED_DEADLINE: Duration = Duration::from_secs(20_000);

/// The seeds of tests on the simulated network. `TWISTOR_SEEDS` in the environment sets another number.
pub fn seeds() -> std::ops::Range<u64> {
    0..25
}

/// A network to run a test on.
#[derive(Clone, Copy, Debug)]
pub enum World<'a> {
    /// The operating system's network.
    Real,
    /// The in-memory network of a seed.
    Simulated(&'a simulation::World),
}

/// Runs a test on the operating system's network, and on the simulated one with many seeds. // P9.5
#[track_caller]
pub fn on_every_network(test: impl Fn(World<'_>)) {
    on_networks(seeds(), test);
}

/// Runs a test like `on_every_network`, with these seeds.
#[track_caller]
pub fn on_networks(seeds: std::ops::Range<u64>, test: impl Fn(World<'_>)) {
    // A seed that is run again belongs to a simulation.
    if std::env::var_os("TWISTOR_SEED").is_none() {
        test(World::Real);
    }
    explore(seeds, |world| {
        world.expect_panic("on purpose");
        test(World::Simulated(world));
    });
}

/// Runs a test in a simulated world of each seed, until the Deferred that it returns has fired. Returns the values. // P9.5
#[track_caller]
pub fn with_seeds<T: 'static>(test: impl Fn(&Reactor) -> Deferred<T>) -> Vec<T> {
    let values = RefCell::new(Vec::new());
    explore(seeds(), |world| {
        world.expect_panic("on purpose");
        let value = World::Simulated(world).run(&test);
        values.borrow_mut().push(value);
    });
    values.into_inner()
}

impl World<'_> {
    pub fn is_real(self) -> bool {
        matches!(self, World::Real)
    }

    /// A number of bytes that does not fit in flight.
    pub fn much(self) -> usize {
        if self.is_real() { 8 << 20 } else { 300_000 }
    }

    /// Calls the test with the reactor. Fails if anything panicked on the way, unless on purpose.
    #[track_caller]
    pub fn with_reactor<T>(self, test: impl FnOnce(&Reactor) -> T) -> T {
        match self {
            World::Real => {
                panics::watch();
                let reactor = Reactor::new().unwrap();
                let result = test(&reactor);
                drop(reactor);
                panics::check();
                result
            }
            World::Simulated(world) => test(world),
        }
    }

    /// Runs until the Deferred that `test` returns has fired, and returns its value. Fails if anything
    /// panicked on the way, unless on purpose, whatever caught it.
    #[track_caller]
    pub fn run<T: 'static>(self, test: impl FnOnce(&Reactor) -> Deferred<T>) -> T {
        match self {
            World::Real => run(test),
            World::Simulated(world) => {
                world.set_time_limit(SIMULATED_DEADLINE);
                match world.run_until(test(world)) {
                    Ok(value) => value,
                    Err(failure) => panic!("{failure:?}"),
                }
            }
        }
    }

    /// Runs a listener for one connection, whose protocol keeps this diary, and a peer that runs `f`, until
    /// the connection is lost. Returns the peer's result.
    #[track_caller]
    pub fn until_lost<T: 'static, F>(self, diary: &Diary, protocol: Scripted, f: F) -> T
    where
        F: AsyncFnOnce(Peer) -> io::Result<T> + 'static,
    {
        self.run(|reactor| {
            let port = listen_once(reactor, protocol);
            let peer = Peer::connect(reactor, address(&port), f);
            let lost = diary.when_lost();
            peer.add_callback(move |got| lost.add_callback(move |()| Ok(got)))
        })
    }
}

/// Runs a test on the operating system's network until the Deferred that it returns has fired. Returns the value.
#[track_caller]
pub fn run<T: 'static>(test: impl FnOnce(&Reactor) -> Deferred<T>) -> T {
    run_on(Reactor::new().unwrap(), DEADLINE, test)
}

/// Runs a test like `run`, but in one simulated world, where the outcome does not depend on the seed.
#[track_caller]
pub fn simulated<T: 'static>(test: impl FnOnce(&Reactor) -> Deferred<T>) -> T {
    run_on(Reactor::simulated(1), SIMULATED_DEADLINE, test)
}

/// Runs a test until the Deferred that it returns has fired. Fails if anything panicked on the way, unless on
/// purpose, whatever caught it.
#[track_caller]
pub fn run_on<T: 'static>(
    reactor: Reactor,
    deadline: Duration,
    test: impl FnOnce(&Reactor) -> Deferred<T>,
) -> T {
    panics::watch();
    let late = Rc::new(Cell::new(false));
    let (is_late, handle) = (late.clone(), Handle::clone(&reactor));
    reactor.call_later(deadline, move || {
        is_late.set(true);
        handle.stop();
    });
    let deferred = test(&reactor);
    let result = reactor.run_until(deferred);
    assert!(!late.get(), "the test took longer than {deadline:?}");
    drop(reactor);
    panics::check();
    match result {
        Ok(value) => value,
        Err(failure) => panic!("{failure:?}"),
    }
}

/// A peer that does one thing after another, and closes when it is dropped. It is a blocking std socket on
/// the reactor's threads, or a conversation on the simulated network.
pub struct Peer {
    handle: Handle,
    real: Option<TcpStream>,
    simulated: Option<Conversation>,
    read: Vec<u8>,
}

impl Peer {
    /// Connects a peer on the network of `handle`, and runs `f`.
    pub fn connect<T: 'static, F>(handle: &Handle, address: SocketAddr, f: F) -> Deferred<T>
    where
        F: AsyncFnOnce(Peer) -> io::Result<T> + 'static,
    {
        let inner = handle.clone();
        handle.spawn(async move {
            let (mut real, mut simulated) = (None, None);
            if inner.simulation().is_some() {
                let endpoint = ClientEndpoint::tcp(address.ip().to_string(), address.port());
                simulated = Some(endpoint.converse(&inner).await?);
            } else {
                let connecting = inner.defer_to_thread(move || {
                    let stream = TcpStream::connect(address)?;
                    stream.set_read_timeout(Some(DEADLINE))?;
                    stream.set_write_timeout(Some(DEADLINE))?;
                    Ok(stream)
                });
                real = Some(connecting.await?);
            }
            Ok::<T, Failure>(f(Peer { handle: inner, real, simulated, read: Vec::new() }).await?)
        })
    }

    async fn blocking<T: Send + 'static>(
        &mut self,
        f: impl FnOnce(&mut TcpStream) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let mut stream = self.real.take().unwrap();
        let job = self.handle.defer_to_thread(move || {
            let result = f(&mut stream);
            Ok((stream, result))
        });
        let (stream, result) = job.await.unwrap();
        self.real = Some(stream);
        result
    }

    /// Reads the data that is available next. Returns nothing at the end of the stream.
    async fn fetch(&mut self, most: usize) -> io::Result<()> {
        if self.read.is_empty() {
            self.read = match &self.simulated {
                Some(conversation) => conversation.read_some().await.map_err(into_io)?,
                None => {
                    self.blocking(move |stream| {
                        let mut data = vec![0; most];
                        let count = stream.read(&mut data)?;
                        data.truncate(count);
                        Ok(data)
                    })
                    .await?
                }
            };
        }
        Ok(())
    }

    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.fetch(buffer.len().min(1 << 16)).await?;
        let count = buffer.len().min(self.read.len());
        buffer[..count].copy_from_slice(&self.read[..count]);
        self.read.drain(..count);
        Ok(count)
    }

    pub async fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read(&mut buffer[filled..]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => filled += count,
            }
        }
        Ok(())
    }

    pub async fn read_to_end(&mut self, all: &mut Vec<u8>) -> io::Result<usize> {
        let before = all.len();
        loop {
            self.fetch(1 << 16).await?;
            if self.read.is_empty() {
                return Ok(all.len() - before);
            }
            all.append(&mut self.read);
        }
    }

    pub async fn read_to_string(&mut self, all: &mut String) -> io::Result<usize> {
        let mut bytes = Vec::new();
        let count = self.read_to_end(&mut bytes).await?;
        all.push_str(&String::from_utf8(bytes).unwrap());
        Ok(count)
    }

    pub async fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
        if let Some(conversation) = &self.simulated {
            return conversation.write_all(data).await.map_err(into_io);
        }
        let data = data.to_vec();
        self.blocking(move |stream| stream.write_all(&data)).await
    }

    pub async fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        assert_eq!(how, Shutdown::Write);
        if let Some(conversation) = &self.simulated {
            conversation.transport().lose_write_connection();
            return Ok(());
        }
        self.blocking(move |stream| stream.shutdown(how)).await
    }

    pub fn reset(self) {
        if let Some(conversation) = self.simulated {
            conversation.transport().abort_connection();
        }
        if let Some(stream) = self.real {
            reset(stream);
        }
    }
}

fn into_io(failure: Failure) -> io::Error {
    match failure.downcast_ref::<ConnectionLost>() {
        Some(lost) => lost.kind().into(),
        None => io::Error::other(failure.to_string()),
    }
}

/// Listens on a free port of the loopback interface.
pub fn listen<F: twistor_net::Factory>(handle: &Handle, factory: F) -> ListeningPort {
    ServerEndpoint::tcp("127.0.0.1:0".parse().unwrap()).listen(handle, factory).unwrap()
}

/// Returns the address of a listener.
pub fn address(port: &ListeningPort) -> SocketAddr {
    port.address().ip().unwrap()
}

/// A blocking peer in a thread: connects, and runs `f`. Its reads and writes fail after the deadline.
pub fn peer<T: Send + 'static>(
    handle: &Handle,
    address: SocketAddr,
    f: impl FnOnce(TcpStream) -> std::io::Result<T> + Send + 'static,
) -> Deferred<T> {
    handle.defer_to_thread(move || {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(f(stream)?)
    })
}

/// Returns a port at which no IPv4 address of this machine has a listener, until the test program ends.
///
/// A socket stays bound to it. A port that is only free may be taken by another test, or by the connection attempt
/// itself, which the system may make from that very port: then it connects to itself.
pub fn closed_port() -> u16 {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([0, 0, 0, 0], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap();
    std::mem::forget(socket);
    address.as_socket().unwrap().port()
}

/// Makes the coming close of a blocking peer a reset.
pub fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// The events of a connection, in order, as `made`, `data TEXT`, `resumed`, `end`, `lost REASON`, and
/// Deferreds that wait for them.
#[derive(Clone, Default)]
pub struct Diary {
    entries: Rc<RefCell<Vec<String>>>,
    received: Rc<RefCell<Vec<u8>>>,
    lost: Rc<RefCell<Option<Failure>>>,
    waiting: Rc<RefCell<Waiting>>,
    waiting_for_loss: Rc<RefCell<Vec<Trigger<()>>>>,
    inside: Rc<Cell<bool>>,
}

impl Diary {
    pub fn new() -> Diary {
        Diary::default()
    }

    pub fn entries(&self) -> Vec<String> {
        self.entries.borrow().clone()
    }

    /// Returns the entries, with adjacent data joined.
    pub fn story(&self) -> Vec<String> {
        let mut story: Vec<String> = Vec::new();
        for entry in self.entries() {
            match (story.last_mut(), entry.strip_prefix("data ")) {
                (Some(last), Some(more)) if last.starts_with("data ") => last.push_str(more),
                _ => story.push(entry),
            }
        }
        story
    }

    /// Returns all data so far.
    pub fn received(&self) -> Vec<u8> {
        self.received.borrow().clone()
    }

    pub fn losses(&self) -> usize {
        self.entries.borrow().iter().filter(|entry| entry.starts_with("lost")).count()
    }

    /// Returns the reason of the loss.
    #[track_caller]
    pub fn reason(&self) -> Failure {
        self.lost.borrow_mut().take().expect("the connection was not lost")
    }

    /// Fires when at least this number of bytes has arrived.
    pub fn when_received(&self, bytes: usize) -> Deferred<()> {
        let (deferred, trigger) = Deferred::new();
        if self.received.borrow().len() >= bytes {
            trigger.callback(());
        } else {
            self.waiting.borrow_mut().push((bytes, trigger));
        }
        deferred
    }

    pub fn when_lost(&self) -> Deferred<()> {
        let (deferred, trigger) = Deferred::new();
        if self.losses() > 0 {
            trigger.callback(());
        } else {
            self.waiting_for_loss.borrow_mut().push(trigger);
        }
        deferred
    }

    fn write(&self, entry: impl Into<String>) {
        self.entries.borrow_mut().push(entry.into());
    }

    /// Runs every method of a protocol. None may be entered inside another one. // P1
    fn enter<T>(&self, f: impl FnOnce() -> T) -> T {
        struct Leave<'a>(&'a Cell<bool>);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.set(false);
            }
        }
        assert!(!self.inside.replace(true), "a protocol was entered inside a running method");
        let _leave = Leave(&self.inside);
        f()
    }
}

/// A waiter for a number of bytes.
type Waiting = Vec<(usize, Trigger<()>)>;

type Hook<A> = Box<dyn FnMut(&Transport, A) -> Result<(), Failure>>;
type DataHook = Box<dyn FnMut(&Transport, &[u8]) -> Result<(), Failure>>;

/// A protocol made of closures that writes a diary.
pub struct Scripted {
    diary: Diary,
    made: Hook<()>,
    data: DataHook,
    resumed: Hook<()>,
    end: Option<Hook<()>>,
    write_lost: Hook<()>,
}

/// A protocol that only writes a diary.
pub fn scripted(diary: &Diary) -> Scripted {
    Scripted {
        diary: diary.clone(),
        made: Box::new(|_, ()| Ok(())),
        data: Box::new(|_, _| Ok(())),
        resumed: Box::new(|_, ()| Ok(())),
        end: None,
        write_lost: Box::new(|_, ()| Ok(())),
    }
}

impl Scripted {
    pub fn on_made(mut self, mut f: impl FnMut(&Transport) -> Result<(), Failure> + 'static) -> Self {
        self.made = Box::new(move |transport, ()| f(transport));
        self
    }

    pub fn on_data(mut self, f: impl FnMut(&Transport, &[u8]) -> Result<(), Failure> + 'static) -> Self {
        self.data = Box::new(f);
        self
    }

    pub fn on_resumed(mut self, mut f: impl FnMut(&Transport) -> Result<(), Failure> + 'static) -> Self {
        self.resumed = Box::new(move |transport, ()| f(transport));
        self
    }

    pub fn on_end(mut self, mut f: impl FnMut(&Transport) -> Result<(), Failure> + 'static) -> Self {
        self.end = Some(Box::new(move |transport, ()| f(transport)));
        self
    }

    pub fn on_write_lost(mut self, mut f: impl FnMut(&Transport) -> Result<(), Failure> + 'static) -> Self {
        self.write_lost = Box::new(move |transport, ()| f(transport));
        self
    }
}

impl Protocol for Scripted {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        let diary = self.diary.clone();
        diary.write("made");
        diary.enter(|| (self.made)(transport, ()))
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        let diary = self.diary.clone();
        if data.len() < 100 {
            diary.write(format!("data {}", String::from_utf8_lossy(data)));
        }
        diary.received.borrow_mut().extend_from_slice(data);
        let result = diary.enter(|| (self.data)(transport, data));
        let got = diary.received.borrow().len();
        let (ripe, rest) = diary.waiting.take().into_iter().partition(|(bytes, _)| got >= *bytes);
        diary.waiting.replace(rest);
        for (_, trigger) in ripe {
            trigger.callback(());
        }
        result
    }

    fn reading_resumed(&mut self, transport: &Transport) -> Result<(), Failure> {
        let diary = self.diary.clone();
        diary.write("resumed");
        diary.enter(|| (self.resumed)(transport, ()))
    }

    fn read_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        let diary = self.diary.clone();
        diary.write("end");
        match &mut self.end {
            Some(end) => diary.enter(|| end(transport, ())),
            None => Err(twistor_net::ConnectionDone.into()),
        }
    }

    fn write_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        let diary = self.diary.clone();
        diary.enter(|| (self.write_lost)(transport, ()))
    }

    fn connection_lost(&mut self, reason: Failure) {
        self.diary.enter(|| ());
        self.diary.write(format!("lost {reason}"));
        self.diary.lost.replace(Some(reason));
        for trigger in self.diary.waiting_for_loss.take() {
            trigger.callback(());
        }
    }
}

/// Sends received data back.
pub struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        transport.write(data);
        Ok(())
    }
}

/// A factory for one connection: returns the protocol once, then closes further connections.
pub struct Once<P>(pub Option<P>);

impl<P: Protocol> twistor_net::Factory for Once<P> {
    type Protocol = P;

    fn build_protocol(&mut self, _: Address) -> Option<P> {
        self.0.take()
    }
}

/// Listens for one connection.
pub fn listen_once<P: Protocol>(handle: &Handle, protocol: P) -> ListeningPort {
    listen(handle, Once(Some(protocol)))
}

/// Returns bytes in which any shift changes the pattern.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}
