//! cargo run --manifest-path benches/hosts/glib/Cargo.toml
//!
//! GLib's main loop, as in a GTK program, carries a reactor. Three things are all there is to it: GLib watches the
//! reactor's descriptor, a GLib timeout stands at the reactor's next deadline, and the reactor's hook has GLib take a
//! turn when its own callbacks use the reactor. Each of the three leads to one turn that does not wait.

use std::cell::{Cell, RefCell};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use glib::{ControlFlow, IOCondition, MainLoop, SourceId};
use twistor::deferred::Failure;
use twistor::net::{ClientEndpoint, Protocol, ServerEndpoint, Transport};
use twistor::reactor::{Handle, Reactor, RunError};

fn main() -> Result<(), Failure> {
    let main_loop = MainLoop::new(None, false);
    let carrier = Carrier::new(main_loop.clone())?;
    let reactor = Handle::clone(&carrier.reactor);

    // What a GTK program has: here, a tick. It uses the reactor, so the hook is called.
    let (start, handle) = (Instant::now(), reactor.clone());
    glib::timeout_add_local(Duration::from_millis(400), move || {
        println!("glib:    tick at {:3} ms", start.elapsed().as_millis());
        let asked = Instant::now();
        handle.call_later(Duration::from_millis(5), move || {
            println!(
                "reactor: a call for 5 ms later came after {:.1} ms",
                asked.elapsed().as_secs_f64() * 1e3
            );
        });
        ControlFlow::Continue
    });

    // What the reactor has: a server, a client, a thread's work, and an end.
    echo(&reactor)?;
    let work = reactor.defer_to_thread(|| Ok((1..=1_000_000_u64).sum::<u64>()));
    drop(work.add_callback(|sum| println!("reactor: a thread found the sum {sum}")));
    let handle = reactor.clone();
    reactor.call_later(Duration::from_millis(1500), move || handle.stop());

    main_loop.run();
    println!(
        "glib:    the reactor has stopped after {} turns, and so has the main loop",
        reactor.stats().turns
    );
    Ok(())
}

/// Carries a reactor in the main loop of the thread that makes it.
struct Carrier {
    reactor: Reactor,
    main_loop: MainLoop,
    /// Set to the next deadline.
    timeout: Cell<Option<SourceId>>,
}

thread_local! {
    /// Where the hook's idle callback finds the carrier: it may be sent from any thread, so it can hold nothing.
    static CARRIER: RefCell<Option<Rc<Carrier>>> = const { RefCell::new(None) };
}

impl Carrier {
    fn new(main_loop: MainLoop) -> Result<Rc<Carrier>, Failure> {
        static WANTED: AtomicBool = AtomicBool::new(false);
        let hook = || {
            if !WANTED.swap(true, Ordering::AcqRel) {
                glib::idle_add_once(|| {
                    WANTED.store(false, Ordering::Release);
                    let carrier = CARRIER.with_borrow(Clone::clone);
                    if let Some(carrier) = carrier {
                        carrier.turn();
                    }
                });
            }
        };
        let reactor = Reactor::builder().host_hook(hook).build()?;
        let carrier = Rc::new(Carrier { reactor, main_loop, timeout: Cell::new(None) });
        CARRIER.set(Some(carrier.clone()));
        let watching = carrier.clone();
        glib::source::unix_fd_add_local(carrier.reactor.as_raw_fd(), IOCondition::IN, move |_, _| {
            watching.turn()
        });
        // The first turn starts it.
        hook();
        Ok(carrier)
    }

    fn turn(self: &Rc<Self>) -> ControlFlow {
        match self.reactor.turn(Some(Duration::ZERO)) {
            Ok(true) => {}
            Ok(false) => {
                self.main_loop.quit();
                return ControlFlow::Break;
            }
            // A dialog's main loop inside a callback of the reactor's: it goes on when that returns.
            Err(RunError::AlreadyRunning) => return ControlFlow::Continue,
            Err(error) => {
                eprintln!("reactor: {error}");
                self.main_loop.quit();
                return ControlFlow::Break;
            }
        }
        let timeout = self.reactor.next_deadline().map(|deadline| {
            let carrier = self.clone();
            let left = deadline.saturating_duration_since(Instant::now());
            // GLib counts in milliseconds and cuts off the rest, which would be spent in turns that come too early.
            let left = Duration::from_millis(left.as_nanos().div_ceil(1_000_000) as u64);
            glib::timeout_add_local_once(left, move || {
                carrier.timeout.take();
                carrier.turn();
            })
        });
        if let Some(passed) = self.timeout.replace(timeout) {
            passed.remove();
        }
        ControlFlow::Continue
    }
}

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        transport.write(data);
        Ok(())
    }
}

/// Says something, and the same a while after each answer.
struct Client(Handle);

impl Protocol for Client {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        transport.write(b"hello");
        Ok(())
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        println!("reactor: the echo says {}", String::from_utf8_lossy(data));
        let transport = transport.clone();
        self.0.call_later(Duration::from_millis(300), move || _ = transport.write(b"hello again"));
        Ok(())
    }
}

fn echo(reactor: &Handle) -> Result<(), Failure> {
    let port = ServerEndpoint::tcp("127.0.0.1:0".parse()?).listen(reactor, |_peer| Echo)?;
    let client = ClientEndpoint::tcp("127.0.0.1", port.address().port().unwrap_or(0));
    drop(client.connect(reactor, Client(reactor.clone())));
    Ok(())
}
