//! Running a test once for each of many seeds.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Once;
use std::time::{Duration, Instant};

use twistor_deferred::{Failure, guarded};
use twistor_reactor::{Clock, DelayedCall, Handle, Phase, Reactor, ScheduledCall};

use super::faults::{FaultCounts, Faults};
use super::hosts::{HostState, SimulatedHost};
use super::{Network, SimulatedNetwork};

/// Runs this seed alone.
const SEED: &str = "TWISTOR_SEED";
/// Runs so many seeds, instead of those that the test names.
const SEEDS: &str = "TWISTOR_SEEDS";
/// Simulated time after which a world has failed, unless it sets another limit.
const LIMIT: Duration = Duration::from_secs(3600);

/// Runs `body` once for each seed, each time with a new [`World`]: a simulated reactor and its network. Latencies, and the
/// places where data is cut, are drawn from the seed; so are the order of sockets that become ready at the same moment, and
/// the faults that the body [requests](World::faults).
///
/// ```
/// use std::time::Duration;
/// use twistor::net::simulation::explore;
/// use twistor::prelude::*;
///
/// let explored = explore(0..100, |world| {
///     let answer = world.run_until(defer_later(world, Duration::from_secs(5), || Ok(42)))?;
///     assert_eq!(answer, 42);
///     Ok(())
/// });
/// assert_eq!(explored.seeds(), 100);
/// ```
///
/// Prints how many seeds it ran per second, and which faults occurred.
///
/// If `TWISTOR_SEED` is set in the environment, it runs that seed alone. `TWISTOR_SEEDS=10000` runs the seeds below 10,000
/// instead of those in `seeds`.
///
/// # Panics
///
/// At the first seed that fails. The message names the seed, the reason, the faults that occurred, and the command that
/// runs this seed again. If the test was built with other features than the default, the command needs them too. With the
/// feature `trace`, the seed is run a second time and recorded, and the message names the page that plays the recording.
///
/// A seed fails if the body panics or returns an error; if a callback, handler or task panics on the way, although the
/// loop catches that panic; or if the world has not ended by its [time limit](World::set_time_limit).
#[track_caller]
pub fn explore<V: Verdict>(seeds: impl IntoIterator<Item = u64>, body: impl Fn(&World) -> V) -> Exploration {
    match try_explore(seeds, body) {
        Ok(exploration) => {
            println!("{exploration}");
            exploration
        }
        Err(counterexample) => panic!("{counterexample}"),
    }
}

/// Runs `body` like [`explore`], but returns the result and prints nothing.
///
/// # Errors
///
/// The first seed that fails.
pub fn try_explore<V: Verdict>(
    seeds: impl IntoIterator<Item = u64>,
    body: impl Fn(&World) -> V,
) -> Result<Exploration, Box<Counterexample>> {
    let from_environment = |name| std::env::var(name).ok().and_then(|seed| seed.parse::<u64>().ok());
    match (from_environment(SEED), from_environment(SEEDS)) {
        (Some(seed), _) => explore_each(seed..=seed, body),
        (None, Some(count)) => explore_each(0..count, body),
        (None, None) => explore_each(seeds, body),
    }
}

#[allow(clippy::disallowed_methods, reason = "it measures the speed of the machine, outside the simulations")]
fn explore_each<V: Verdict>(
    seeds: impl IntoIterator<Item = u64>,
    body: impl Fn(&World) -> V,
) -> Result<Exploration, Box<Counterexample>> {
    let (start, faults, mut count) = (Instant::now(), FaultCounts::default(), 0);
    for seed in seeds {
        count += 1;
        let occurred = FaultCounts::default();
        if let Err(reason) = live(seed, &body, &occurred, false).0 {
            let (again, page) = if cfg!(feature = "trace") {
                let (again, page) = live(seed, &body, &FaultCounts::default(), true);
                (again.err().unwrap_or_default(), page)
            } else {
                (reason.clone(), None)
            };
            let differs = again != reason;
            return Err(Box::new(Counterexample { seed, reason, faults: occurred, count, page, differs }));
        }
        faults.add(&occurred);
    }
    Ok(Exploration { seeds: count, took: start.elapsed(), faults })
}

/// Runs one world. Returns why it failed, and the page that plays it, if it is recorded.
fn live<V: Verdict>(
    seed: u64,
    body: &impl Fn(&World) -> V,
    faults: &FaultCounts,
    record: bool,
) -> (Result<(), String>, Option<PathBuf>) {
    watch_panics();
    let world = World::new(seed);
    #[cfg(feature = "trace")]
    let recording = record.then(|| world.record());
    #[cfg(not(feature = "trace"))]
    let _ = record;
    let expected = world.expected.clone();
    let result = guarded(|| body(&world).into_result());
    if let Some(network) = Network::of(&world) {
        faults.add(&network.faults);
    }
    // Destructors may panic, too.
    let dropped = guarded(|| drop(world));
    let mut reasons = REASONS.try_with(RefCell::take).unwrap_or_default();
    // The hook is not called for a panic that is resumed, or if the program has set another one.
    reasons.extend(dropped.err().map(|message| message.to_string()));
    match result {
        Ok(Ok(())) => {}
        Ok(Err(failure)) => reasons.push(format!("{failure:?}")),
        Err(message) => reasons.push(message.to_string()),
    }
    let is_expected = |reason: &String| expected.borrow().iter().any(|text| reason.contains(text));
    let reason = reasons.into_iter().find(|reason| !is_expected(reason)).map_or(Ok(()), Err);
    #[cfg(feature = "trace")]
    let page = recording.and_then(|recording| write_page(seed, &recording));
    #[cfg(not(feature = "trace"))]
    let page = None;
    (reason, page)
}

#[cfg(feature = "trace")]
fn write_page(seed: u64, recording: &twistor_reactor::trace::Recording) -> Option<PathBuf> {
    let folder = std::env::var_os("TWISTOR_RECORD").map_or_else(std::env::temp_dir, PathBuf::from);
    let name = test_name().unwrap_or_else(program);
    let file = format!("{}-seed-{seed}.html", name.replace("::", "-"));
    let path = folder.join(file);
    std::fs::create_dir_all(&folder).ok()?;
    std::fs::write(&path, recording.page(&format!("{name}, seed {seed}"))).ok()?;
    Some(path)
}

/// The test that this thread runs.
fn test_name() -> Option<String> {
    let name = std::thread::current().name().map(str::to_owned);
    name.filter(|name| name != "main")
}

/// The name of the file of this program.
fn program() -> String {
    let program = std::env::args().next().map(PathBuf::from).unwrap_or_default();
    program.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The option of `cargo test` that builds this test program alone. `None` for the unit tests of a program, and for files at
/// another place than the usual one.
fn test_option() -> Option<String> {
    let folder = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR")?);
    let program = program();
    let (name, _hash) = program.rsplit_once('-')?;
    let tests = folder.join("tests");
    if tests.join(format!("{name}.rs")).exists() || tests.join(name).join("main.rs").exists() {
        return Some(format!("--test {name} "));
    }
    let package = std::env::var("CARGO_PKG_NAME").ok()?;
    (name == package.replace('-', "_") && folder.join("src/lib.rs").exists()).then(|| "--lib ".to_owned())
}

thread_local! {
    /// Why the world of this thread fails, in order. A panic hook is given no other way to tell a test from another.
    static REASONS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Begins to write panics down: the loop catches those of callbacks and handlers, and a failed assertion in one is such a
/// panic.
fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            add_reason(panic.to_string());
            before(panic);
        }));
    });
    let _ = REASONS.try_with(RefCell::take);
}

fn add_reason(reason: String) {
    let _ = REASONS.try_with(|reasons| reasons.borrow_mut().push(reason));
}

/// A result of the body of [`explore`]: nothing, or a `Result`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a valid result of an explored world",
    label = "this closure returns `{Self}`",
    note = "return nothing, `Ok(())`, or `Err(failure)`; for another type of error, write `Ok(result?)`"
)]
pub trait Verdict {
    /// Turns it into a `Result`.
    ///
    /// # Errors
    ///
    /// The failure of the body.
    fn into_result(self) -> Result<(), Failure>;
}

impl Verdict for () {
    fn into_result(self) -> Result<(), Failure> {
        Ok(())
    }
}

// Not for other errors, as for callbacks: then the compiler could not infer the error of a closure that uses `?`.
impl Verdict for Result<(), Failure> {
    fn into_result(self) -> Result<(), Failure> {
        self
    }
}

/// A simulated reactor and its network, for one seed. It dereferences to its [`Reactor`], and is a [`Clock`] like it.
pub struct World {
    /// Dropped before the reactor that drives them.
    hosts: RefCell<Vec<Rc<HostState>>>,
    seed: u64,
    reactor: Reactor,
    network: SimulatedNetwork,
    limit: Rc<Limit>,
    /// The messages of expected panics.
    expected: Rc<RefCell<Vec<String>>>,
}

impl World {
    /// Creates the world of a seed, with a time limit of an hour.
    #[allow(clippy::expect_used, reason = "a simulated reactor has a simulated network")]
    pub(super) fn new(seed: u64) -> World {
        let reactor = Reactor::simulated(seed);
        let network = SimulatedNetwork::of(&reactor).expect("a simulated reactor has a simulated network");
        let world = World {
            hosts: RefCell::default(),
            seed,
            reactor,
            network,
            limit: Rc::default(),
            expected: Rc::default(),
        };
        world.set_time_limit(LIMIT);
        renew_timer(&world.handle(), &world.limit);
        world
    }

    /// Returns the seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns the network.
    pub fn network(&self) -> &SimulatedNetwork {
        &self.network
    }

    /// Returns the faults of the network, to request some.
    pub fn faults(&self) -> Faults {
        Faults(self.network.clone())
    }

    /// Adds a host: runs `program` on a separate reactor, at this address, from the next turn on. The host can
    /// [crash](SimulatedHost::crash), which drops that reactor with everything in it, and
    /// [restart](SimulatedHost::restart), which runs `program` again. [Faults](Faults::crashes) can do both.
    ///
    /// Sockets of the program have the host's address, unless they ask for another. The state that outlives a crash, like
    /// a disk, is what `program` captures. A host that was at this address before crashes and is replaced. The program may
    /// return a result; a failure fails the seed, as a panic does.
    ///
    /// ```
    /// use std::time::Duration;
    /// use twistor::prelude::*;
    /// use twistor::net::simulation::explore;
    ///
    /// struct Echo;
    ///
    /// impl Protocol for Echo {
    ///     fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
    ///         transport.write(data);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// explore(0..10, |world| {
    ///     let address = std::net::IpAddr::from([192, 0, 2, 7]);
    ///     let server = world.host(address, move |reactor| {
    ///         ServerEndpoint::tcp((address, 7).into()).listen(reactor, |_peer| Echo)?;
    ///         Ok(())
    ///     });
    ///     server.crash();
    ///     world.call_later(Duration::from_secs(3), move || server.restart());
    ///     // The request waits until the server is back.
    ///     let handle = world.handle();
    ///     world.run_until(world.spawn(async move {
    ///         let echo = ClientEndpoint::tcp("192.0.2.7", 7).converse(&handle).await?;
    ///         echo.write(b"hello\r\n");
    ///         assert_eq!(echo.read_line(100).await?, b"hello");
    ///         Ok(())
    ///     }))
    /// });
    /// ```
    #[track_caller]
    pub fn host<V: Verdict>(
        &self,
        address: impl Into<IpAddr>,
        program: impl Fn(&Handle) -> V + 'static,
    ) -> SimulatedHost {
        let address = address.into();
        let program = move |handle: &Handle| {
            if let Err(failure) = program(handle).into_result() {
                panic!("the program of the host {address} failed: {failure:?}");
            }
        };
        if let Some(before) = self.network.network.host(address) {
            before.crash();
            self.network.network.set_down(address, false);
            self.network.network.go_on();
            self.hosts.borrow_mut().retain(|host| !Rc::ptr_eq(host, &before));
        }
        let host = HostState::start(self.network.network.clone(), address, Rc::new(program));
        self.network.network.add_host(&host);
        self.hosts.borrow_mut().push(host.clone());
        host.public()
    }

    /// Sets how much simulated time this world may take from now on. Then the reactor is stopped, and the seed fails.
    /// Default: an hour.
    pub fn set_time_limit(&self, limit: Duration) {
        self.limit.time.set(limit);
        self.limit.end.set(Some(self.now() + limit));
        set_timer(&self.handle(), &self.limit);
    }

    /// Lets panics whose message contains `text` pass: the program is to survive them.
    pub fn expect_panic(&self, text: impl Into<String>) {
        self.expected.borrow_mut().push(text.into());
    }
}

/// The time limit of a world.
#[derive(Default)]
struct Limit {
    time: Cell<Duration>,
    end: Cell<Option<Instant>>,
    timer: Cell<Option<DelayedCall>>,
}

/// Fails the world at the end of its time. The end of a run drops the timer, and the next start sets it again.
fn set_timer(handle: &Handle, limit: &Rc<Limit>) {
    let Some(end) = limit.end.get() else { return };
    let (stopped, time) = (handle.clone(), limit.time.get());
    let timer = handle.call_later(end.saturating_duration_since(handle.now()), move || {
        let waits: Vec<String> = stopped.watched().iter().take(10).map(ToString::to_string).collect();
        let waits = if waits.is_empty() { "nothing".to_owned() } else { waits.join("; ") };
        add_reason(format!("not done after {time:?} of simulated time; it waits for {waits}"));
        stopped.stop();
    });
    if let Some(before) = limit.timer.replace(Some(timer)) {
        let _ = before.cancel();
    }
}

/// Sets the timer again at each later start.
fn renew_timer(handle: &Handle, limit: &Rc<Limit>) {
    let (world, limit) = (handle.clone(), limit.clone());
    handle.on_shutdown(Phase::After, move || {
        let next = world.clone();
        world.on_startup(Phase::Before, move || {
            set_timer(&next, &limit);
            renew_timer(&next, &limit);
        });
    });
}

impl Deref for World {
    type Target = Reactor;

    fn deref(&self) -> &Reactor {
        &self.reactor
    }
}

impl Clock for World {
    fn now(&self) -> Instant {
        self.reactor.now()
    }

    fn schedule(&self, delay: Duration, call: ScheduledCall) -> DelayedCall {
        self.reactor.schedule(delay, call)
    }

    fn shared(&self) -> Rc<dyn Clock> {
        self.reactor.shared()
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("seed", &self.seed).finish_non_exhaustive()
    }
}

/// The result of an [exploration](explore) without a failure. Prints as
/// `100 seeds in 81ms, 1230 seeds per second; 12 resets, 3 silences`.
#[derive(Clone, Debug)]
pub struct Exploration {
    seeds: u64,
    took: Duration,
    faults: FaultCounts,
}

impl Exploration {
    /// Returns how many seeds ran.
    pub fn seeds(&self) -> u64 {
        self.seeds
    }

    /// Returns how many seeds ran per second.
    pub fn seeds_per_second(&self) -> f64 {
        self.seeds as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// Returns which faults occurred, in all worlds together.
    pub fn faults(&self) -> &FaultCounts {
        &self.faults
    }
}

impl fmt::Display for Exploration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seeds, speed) = (self.seeds, self.seeds_per_second());
        let plural = if seeds == 1 { "" } else { "s" };
        write!(f, "{seeds} seed{plural} in {:.1?}, {speed:.0} seeds per second; {}", self.took, self.faults)
    }
}

/// A seed that failed.
#[derive(Clone, Debug)]
pub struct Counterexample {
    seed: u64,
    reason: String,
    faults: FaultCounts,
    count: u64,
    page: Option<PathBuf>,
    differs: bool,
}

impl Counterexample {
    /// Returns the seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns why it failed.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Returns which faults occurred in its world.
    pub fn faults(&self) -> &FaultCounts {
        &self.faults
    }

    /// Returns the page that plays its recording, with the feature `trace`.
    pub fn page(&self) -> Option<&PathBuf> {
        self.page.as_ref()
    }

    /// Returns the command that runs this seed again.
    pub fn command(&self) -> String {
        let seed = self.seed;
        match (test_name(), std::env::var("CARGO_PKG_NAME")) {
            (Some(test), Ok(package)) => {
                let program = test_option().unwrap_or_default();
                format!("{SEED}={seed} cargo test -p {package} {program}{test} -- --exact --nocapture")
            }
            _ => {
                let arguments: Vec<String> = std::env::args().collect();
                format!("{SEED}={seed} {}", arguments.join(" "))
            }
        }
    }
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {} failed", self.seed)?;
        if self.count > 1 {
            write!(f, ", the {} of those that ran", Ordinal(self.count))?;
        }
        write!(f, ": {}", self.reason)?;
        write!(f, "\n  in its world: {}", self.faults)?;
        write!(f, "\n  run it again: {}", self.command())?;
        if let Some(page) = &self.page {
            write!(f, "\n  see it: {}", page.display())?;
        }
        if self.differs {
            f.write_str(
                "\n  the second run went differently: something in the test is not drawn from the seed",
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for Counterexample {}

struct Ordinal(u64);

impl fmt::Display for Ordinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = match (self.0 % 10, self.0 % 100) {
            (_, 11..=13) => "th",
            (1, _) => "st",
            (2, _) => "nd",
            (3, _) => "rd",
            _ => "th",
        };
        write!(f, "{}{suffix}", self.0)
    }
}
