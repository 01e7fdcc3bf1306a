//! The same seed produces the same run, byte for byte, even for an agent with many origins. P9.1.

use std::cell::RefCell;
use std::fmt::Write;
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::DeferredList;
use twistor_http::Agent;
use twistor_http::server::{Request, Site};
use twistor_net::{Limited, ServerEndpoint, SimulatedNetwork};
use twistor_reactor::{Reactor, defer_later};

const ORIGINS: u16 = 24;

/// Fetches from many origins, closes idle connections, fetches again, and lets all connections time out.
fn trace(seed: u64) -> String {
    let reactor = Reactor::simulated(seed);
    let network = SimulatedNetwork::of(&reactor).unwrap();
    let trace = Rc::new(RefCell::new(String::new()));
    let lines = trace.clone();
    network.set_observer(move |event| writeln!(lines.borrow_mut(), "{event}").unwrap());
    for origin in 0..ORIGINS {
        network.add_name(format!("host{origin}.test"), [[192, 0, 2, 80].into()]);
        let site = Site::new(&reactor, |_: &mut Request<'_>| "here you are");
        let address = format!("192.0.2.80:{}", 8000 + origin).parse().unwrap();
        ServerEndpoint::tcp(address).listen(&reactor, Limited::new(site)).unwrap();
    }
    let agent = Agent::new(&reactor).keep_idle(Duration::from_secs(5));
    let (handle, lines) = (reactor.clone(), trace.clone());
    let fetch_all = move || {
        let lines = lines.clone();
        let urls = (0..ORIGINS).map(|origin| format!("http://host{origin}.test:{}/", 8000 + origin));
        let pages: Vec<_> = urls.map(|url| agent.get_page(url)).collect();
        let agent = agent.clone();
        DeferredList::new(pages).add_callback(move |pages| {
            assert!(pages.iter().all(Result::is_ok));
            writeln!(lines.borrow_mut(), "open and idle: {:?}", agent.connections()).unwrap();
            agent.close_idle();
        })
    };
    let work = fetch_all().add_callback(move |()| {
        fetch_all().add_callback(move |()| defer_later(&handle, Duration::from_secs(60), || ()))
    });
    reactor.run_until(work).unwrap();
    trace.take()
}

// P9.1
#[test]
fn the_same_seed_repeats_the_run_with_many_origins() {
    for seed in 0..3 {
        let first = trace(seed);
        assert!(first.lines().count() > 10 * usize::from(ORIGINS), "{first}");
        for _ in 0..4 {
            assert_eq!(first, trace(seed));
        }
        assert_ne!(first, trace(seed + 1));
    }
}
