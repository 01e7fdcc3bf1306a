//! The end of a run ends an agent's pending requests without an error in the log. The agent works in the next run:
//! R4.6 and R17 of the reactor, H9.

use std::cell::Cell;
use std::rc::Rc;

use crate::support::logged::{keep_log, logged};
use crate::support::*;
use twistor_deferred::Failure;
use twistor_http::server::{Request, Site};
use twistor_http::{Agent, get_page};
use twistor_net::{Protocol, Transport};
use twistor_reactor::AddTimeout;

struct Silent;

impl Protocol for Silent {
    fn data_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
        Ok(())
    }
}

// R4.6
#[test]
fn an_agent_notices_the_end_of_a_run_and_works_in_the_next() {
    on_every_network(|world| {
        world.with_reactor(|reactor| {
            let agent = Agent::new(reactor);
            for round in ["first", "second"] {
                let port = listen(reactor, |_| Silent);
                let ended = Rc::new(Cell::new(false));
                let seen = ended.clone();
                let waits = agent.get_page(format!("http://{}/", address(&port)));
                drop(waits.add_both(move |result| seen.set(result.is_err())));
                let site = Site::new(reactor, |_: &mut Request<'_>| "hello");
                let port = site.listen("tcp:0:interface=127.0.0.1".parse().unwrap()).unwrap();
                let page = agent.get_page(format!("http://{}/", address(&port)));
                let result = reactor.run_until(page.add_timeout(DEADLINE, &**reactor));
                assert!(result.is_ok(), "the agent failed in the {round} run: {result:?}");
                assert!(ended.get(), "the agent did not notice the end of the {round} run");
            }
        });
    });
}

// H9.3, R17
#[test]
fn the_end_of_a_run_cuts_off_a_page_without_an_error_log() {
    keep_log();
    on_every_network(|world| {
        world.with_reactor(|reactor| {
            let handle = reactor.handle();
            let port = listen(reactor, move |_| Stops(handle.clone()));
            drop(get_page(reactor, format!("http://{}/", address(&port))));
            reactor.call_later(DEADLINE, || panic!("the client did not connect"));
            reactor.run().unwrap();
        });
        assert_eq!(logged(), [""; 0]);
    });
}

/// Stops the reactor when the request arrives.
struct Stops(twistor_reactor::Handle);

impl Protocol for Stops {
    fn data_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
        self.0.stop();
        Ok(())
    }
}
