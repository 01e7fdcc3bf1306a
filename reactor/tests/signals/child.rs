//! The programs that receive the signals. Each of them reports its events on its standard output.

use std::cell::Cell;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::Deferred;
use twistor_reactor::{Phase, Reactor, SignalCallback, signal};

pub(crate) fn main(program: &str) {
    // If a test fails, its child must not live on for long.
    std::thread::spawn(|| {
        std::thread::park_timeout(Duration::from_secs(30));
        std::process::exit(99);
    });
    match program {
        "orderly" => orderly(),
        "stuck-trigger" => stuck_trigger(),
        "stuck-loop" => stuck_loop(),
        "patient" => patient(),
        "twice" => twice(),
        "other-thread" => other_thread(),
        "turned-off" => turned_off(),
        "host" => host(),
        "callbacks" => callbacks(),
        "removed" => removed(),
        "often" => often(),
        "two" => two(),
        "own-handlers" => own_handlers(),
        "background" => background(),
        other => panic!("no program {other}"),
    }
}

fn ready(reactor: &Reactor) {
    reactor.call_when_running(|| println!("ready"));
}

fn orderly() {
    let reactor = Reactor::new().unwrap();
    ready(&reactor);
    let handle = reactor.handle();
    reactor.on_shutdown(Phase::Before, move || {
        let (deferred, trigger) = Deferred::<()>::new();
        handle.call_later(Duration::from_millis(1), move || trigger.callback(()));
        deferred.add_callback(|()| println!("before"))
    });
    reactor.on_shutdown(Phase::After, || println!("after"));
    reactor.run().unwrap();
    println!("returned");
}

fn stuck_trigger() {
    let reactor = Reactor::new().unwrap();
    ready(&reactor);
    reactor.on_shutdown(Phase::Before, || {
        println!("stuck");
        let (deferred, trigger) = Deferred::<()>::new();
        std::mem::forget(trigger);
        deferred
    });
    reactor.run().unwrap();
}

fn patient() {
    let reactor = Reactor::new().unwrap();
    ready(&reactor);
    let handle = reactor.handle();
    reactor.on_shutdown(Phase::Before, move || {
        let (deferred, trigger) = Deferred::<()>::new();
        let mut trigger = Some(trigger);
        handle.on_signal(signal::SIGTERM, || println!("again")).unwrap();
        handle.on_signal(signal::SIGUSR1, move || trigger.take().unwrap().callback(())).unwrap();
        println!("waiting");
        deferred
    });
    reactor.run().unwrap();
    println!("returned");
}

fn stuck_loop() {
    let reactor = Reactor::new().unwrap();
    reactor.call_when_running(|| {
        println!("ready");
        loop {
            std::hint::spin_loop();
        }
    });
    reactor.run().unwrap();
}

fn twice() {
    let reactor = Reactor::new().unwrap();
    for run in 1..=2 {
        ready(&reactor);
        reactor.run().unwrap();
        println!("returned {run}");
    }
    // No handler is installed now.
    loop {
        std::thread::park();
    }
}

fn other_thread() {
    std::thread::spawn(|| {
        let reactor = Reactor::new().unwrap();
        ready(&reactor);
        reactor.run().unwrap();
    })
    .join()
    .unwrap();
}

fn turned_off() {
    let reactor = Reactor::builder().signals(false).build().unwrap();
    ready(&reactor);
    reactor.run().unwrap();
}

fn host() {
    let reactor = Reactor::new().unwrap();
    ready(&reactor);
    while reactor.turn(None).unwrap() {}
}

fn callbacks() {
    let reactor = Reactor::builder().signals(false).build().unwrap();
    reactor.on_signal(signal::SIGUSR1, || println!("usr1 first")).unwrap();
    let mut panics = false;
    let panicking = reactor
        .on_signal(signal::SIGUSR1, move || assert!(!std::mem::replace(&mut panics, true), "once is enough"))
        .unwrap();
    reactor.on_signal(signal::SIGUSR1, || println!("usr1 last")).unwrap();
    let handle = reactor.handle();
    let hup = reactor.on_signal(signal::SIGHUP, || println!("hup")).unwrap();
    let (mut hup, mut panicking) = (Some(hup), Some(panicking));
    let mut count = 0;
    reactor
        .on_signal(signal::SIGINT, move || {
            count += 1;
            println!("int {count}");
            match count {
                2 => println!("panicking one is there: {}", panicking.take().unwrap().remove()),
                3 => println!("hup removed: {}", hup.take().unwrap().remove()),
                4 => handle.stop(),
                _ => {}
            }
        })
        .unwrap();
    assert_eq!(
        reactor.on_signal(signal::SIGKILL, || ()).unwrap_err().kind(),
        std::io::ErrorKind::InvalidInput
    );
    assert!(reactor.on_signal(-1, || ()).is_err());
    ready(&reactor);
    reactor.run().unwrap();
    println!("returned");
    reactor.on_signal(signal::SIGUSR1, || println!("usr1 again")).unwrap();
    reactor.call_when_running(|| println!("ready"));
    let handle = reactor.handle();
    reactor.on_signal(signal::SIGUSR2, move || handle.stop()).unwrap();
    reactor.run().unwrap();
}

fn removed() {
    let reactor = Reactor::builder().signals(false).build().unwrap();
    let one = reactor.on_signal(signal::SIGHUP, || println!("one")).unwrap();
    let (other, handle) = (Rc::new(Cell::new(None)), reactor.handle());
    let last = other.clone();
    other.set(Some(
        reactor
            .on_signal(signal::SIGHUP, move || {
                println!("other");
                last.take().map(SignalCallback::remove);
                handle.call_later(Duration::ZERO, || println!("removed"));
            })
            .unwrap(),
    ));
    assert!(one.remove());
    ready(&reactor);
    reactor.run().unwrap();
}

fn often() {
    let reactor = Reactor::builder().signals(false).build().unwrap();
    let other = Rc::new(Cell::new(None));
    let removes = other.clone();
    reactor
        .on_signal(signal::SIGUSR1, move || {
            removes.take().map(SignalCallback::remove);
            println!("usr1");
        })
        .unwrap();
    other.set(Some(reactor.on_signal(signal::SIGUSR1, || println!("removed")).unwrap()));
    let handle = reactor.handle();
    reactor.on_signal(signal::SIGHUP, move || handle.stop()).unwrap();
    ready(&reactor);
    reactor.run().unwrap();
}

fn background() {
    let reactor = Reactor::new().unwrap();
    reactor.on_signal(signal::SIGUSR1, || println!("usr1")).unwrap();
    reactor.on_shutdown(Phase::Before, || println!("before"));
    ready(&reactor);
    reactor.run().unwrap();
}

/// Installs handlers for SIGUSR1 and SIGTERM before the reactor's.
fn own_handlers() {
    let (mut receiver, sender) = UnixStream::pair().unwrap();
    for signal in [signal::SIGUSR1, signal::SIGTERM] {
        signal_hook::low_level::pipe::register(signal, sender.try_clone().unwrap()).unwrap();
    }
    let mut own = || {
        receiver.read_exact(&mut [0]).unwrap();
        println!("own");
    };
    let reactor = Reactor::new().unwrap();
    for _ in 0..2 {
        reactor.on_signal(signal::SIGUSR1, || println!("in the loop")).unwrap();
        ready(&reactor);
        reactor.run().unwrap();
        println!("returned");
        // Each signal is sent once during the run, and twice after it.
        (0..4).for_each(|_| own());
    }
    own();
}

fn two() {
    let started = std::sync::Arc::new(std::sync::Barrier::new(2));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let started = started.clone();
            std::thread::spawn(move || {
                let reactor = Reactor::builder().signals(true).build().unwrap();
                reactor.call_when_running(move || {
                    if started.wait().is_leader() {
                        println!("ready");
                    }
                });
                reactor.run().unwrap();
                println!("returned");
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}
