//! cargo run --manifest-path benches/hosts/glib/Cargo.toml
//!
//! Embeds a reactor in GLib's main loop, as a GTK program would. Three parts connect them: GLib watches the
//! reactor's descriptor; a GLib timeout is set to the reactor's next deadline; the reactor's hook makes GLib take a
//! turn when GLib's own callbacks use the reactor. Each of the three leads to one turn that does not wait.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::net::TcpStream;
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

    // The GTK program's part: a tick. It uses the reactor, so the hook is called.
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

    // The reactor's part: a server, a client, a job on a thread, and the end.
    let port = echo(&reactor)?;
    let work = reactor.defer_to_thread(|| Ok((1..=1_000_000_u64).sum::<u64>()));
    drop(work.add_callback(|sum| println!("reactor: a thread found the sum {sum}")));
    let handle = reactor.handle();
    reactor.call_later(Duration::from_millis(1500), move || handle.stop());

    // A reactor callback shows a dialog, which runs a nested main loop. The reactor does not turn during the dialog,
    // although data arrives.
    let dialog_carrier = carrier.clone();
    reactor.call_later(Duration::from_millis(1000), move || {
        let dialog = MainLoop::new(None, false);
        let closing = dialog.clone();
        glib::timeout_add_local_once(Duration::from_millis(200), move || closing.quit());
        let mut peer = TcpStream::connect(("127.0.0.1", port)).expect("the echo server is there");
        peer.write_all(b"hello from outside").expect("it takes it");
        dialog.run();
        println!("glib:    the dialog is closed; it refused {} turns", dialog_carrier.refused.get());
    });

    main_loop.run();
    println!(
        "glib:    the reactor has stopped after {} turns, and so has the main loop",
        reactor.stats().turns
    );
    Ok(())
}

/// Embeds a reactor in the main loop of the thread that creates it.
struct Carrier {
    reactor: Reactor,
    main_loop: MainLoop,
    watched: Cell<bool>,
    /// Turns that were requested while one was under way.
    refused: Cell<u64>,
    /// Set to the next deadline.
    timeout: Cell<Option<SourceId>>,
}

thread_local! {
    /// The carrier, for the hook's idle callback, which may be sent from any thread and so cannot hold it.
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
        let carrier = Rc::new(Carrier {
            reactor,
            main_loop,
            watched: Cell::new(false),
            refused: Cell::new(0),
            timeout: Cell::new(None),
        });
        CARRIER.set(Some(carrier.clone()));
        // The first turn starts the reactor.
        hook();
        Ok(carrier)
    }

    /// Lets GLib take a turn whenever a source is ready.
    fn watch(self: &Rc<Self>) {
        if self.watched.replace(true) {
            return;
        }
        let carrier = self.clone();
        glib::source::unix_fd_add_local(self.reactor.as_raw_fd(), IOCondition::IN, move |_, _| {
            let turned = carrier.turn();
            if !turned {
                carrier.watched.set(false);
            }
            turned.into()
        });
    }

    /// Takes a turn and schedules the next one with GLib. Returns false if there was none, or if it was the last.
    fn turn(self: &Rc<Self>) -> bool {
        match self.reactor.turn(Some(Duration::ZERO)) {
            Ok(true) => {}
            // A nested main loop inside a reactor callback. The descriptor stays readable until that callback returns,
            // so watching it would make the nested loop spin. The turn in progress handles it afterwards.
            Err(RunError::AlreadyRunning) => {
                self.refused.set(self.refused.get() + 1);
                return false;
            }
            Ok(false) => {
                self.main_loop.quit();
                return false;
            }
            Err(error) => {
                eprintln!("reactor: {error}");
                self.main_loop.quit();
                return false;
            }
        }
        self.watch();
        let timeout = self.reactor.next_deadline().map(|deadline| {
            let carrier = self.clone();
            let left = deadline.saturating_duration_since(Instant::now());
            // GLib counts in milliseconds. Rounding down would waste turns that come too early.
            let left = Duration::from_millis(left.as_nanos().div_ceil(1_000_000) as u64);
            glib::timeout_add_local_once(left, move || {
                carrier.timeout.take();
                carrier.turn();
            })
        });
        if let Some(passed) = self.timeout.replace(timeout) {
            passed.remove();
        }
        true
    }
}

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        transport.write(data);
        Ok(())
    }
}

/// Sends a message, and sends it again a while after each answer.
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

/// Returns the port of the server.
fn echo(reactor: &Handle) -> Result<u16, Failure> {
    let port = ServerEndpoint::tcp("127.0.0.1:0".parse()?).listen(reactor, |_peer| Echo)?;
    let port = port.address().port().unwrap_or(0);
    drop(ClientEndpoint::tcp("127.0.0.1", port).connect(reactor, Client(reactor.handle())));
    Ok(port)
}
