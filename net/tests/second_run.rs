//! Every type of this crate that holds a timer, a task or a registration works in two runs. R4.6 of the
//! reactor.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod support;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;

use support::*;
use twistor_deferred::{Deferred, Failure, succeed};
use twistor_net::{ClientEndpoint, ListeningPort, Protocol, Reconnecting, Resolver, Transport};
use twistor_reactor::{AddTimeout, Handle, Reactor};

type Begin = Box<dyn Fn() -> Deferred<()>>;
type SetUp = fn(&Handle) -> Uses;

/// Two uses of a type, each called in both runs. One fires during the run, the other only at its end.
struct Uses {
    fires: Begin,
    pends: Begin,
}

/// The name of a type, and the function that sets up an object for both runs.
const TABLE: &[(&str, SetUp)] = &[
    ("ClientEndpoint::connect", connects),
    ("ClientEndpoint::converse", conversations),
    ("Reconnecting", services),
];

#[test]
fn everything_notices_the_end_of_a_run_and_works_in_the_next() {
    on_every_network(|world| {
        for (name, set_up) in TABLE {
            world.with_reactor(|reactor| use_twice(reactor, name, set_up));
        }
    });
}

fn use_twice(reactor: &Reactor, name: &str, set_up: &SetUp) {
    let uses = set_up(reactor);
    for round in ["first", "second"] {
        let ended = Rc::new(Cell::new(false));
        let seen = ended.clone();
        drop((uses.pends)().add_both(move |result| seen.set(result.is_err())));
        let fired = (uses.fires)().add_timeout(DEADLINE, &**reactor);
        let result = reactor.run_until(fired);
        assert!(result.is_ok(), "{name} works in the {round} run: {result:?}");
        assert!(ended.get(), "{name} notices the end of the {round} run");
    }
}

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        transport.write(data);
        Ok(())
    }
}

struct Silent;

impl Protocol for Silent {
    fn data_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
        Ok(())
    }
}

/// A listener, and an endpoint that connects to it.
fn server<P: Protocol>(handle: &Handle, build: impl Fn() -> P + 'static) -> (ListeningPort, ClientEndpoint) {
    let port = listen(handle, move |_| build());
    let address = address(&port);
    (port, ClientEndpoint::tcp(address.ip().to_string(), address.port()))
}

/// A resolver with one name, which has the current address or is never found.
#[derive(Debug, Default)]
struct Moving(Cell<Option<SocketAddr>>, RefCell<Vec<twistor_deferred::Trigger<Vec<SocketAddr>>>>);

impl Resolver for Moving {
    fn resolve(&self, _: &Handle, _: &str, _: u16) -> Deferred<Vec<SocketAddr>> {
        match self.0.get() {
            Some(address) => succeed(vec![address]),
            None => {
                let (deferred, trigger) = Deferred::new();
                self.1.borrow_mut().push(trigger);
                deferred
            }
        }
    }
}

fn connects(handle: &Handle) -> Uses {
    let (soon, late) = (handle.clone(), handle.clone());
    let lost = ClientEndpoint::tcp("some.name", 1).resolver(Rc::new(Moving::default()));
    Uses {
        fires: Box::new(move || {
            let (port, endpoint) = server(&soon, || Silent);
            endpoint.connect(&soon, Silent).add_callback(move |_| drop(port))
        }),
        pends: Box::new(move || lost.connect(&late, Silent).add_callback(|_| Ok(()))),
    }
}

fn conversations(handle: &Handle) -> Uses {
    let (soon, late) = (handle.clone(), handle.clone());
    Uses {
        fires: Box::new(move || {
            let (_, endpoint) = server(&soon, || Echo);
            let handle = soon.clone();
            soon.spawn(async move {
                let peer = endpoint.converse(&handle).await?;
                peer.write_all(b"x").await?;
                assert_eq!(peer.read_some().await?, b"x");
                Ok(())
            })
        }),
        pends: Box::new(move || {
            let (_, endpoint) = server(&late, || Silent);
            endpoint.converse(&late).add_callback(|peer| {
                let read = peer.read_some();
                read.add_callback(move |_| drop(peer))
            })
        }),
    }
}

fn services(handle: &Handle) -> Uses {
    let soon = handle.clone();
    let names = Rc::new(Moving::default());
    let endpoint = |names: &Rc<Moving>| ClientEndpoint::tcp("some.name", 1).resolver(names.clone());
    let service = Reconnecting::new(handle, endpoint(&names), || Silent);
    let lost = Reconnecting::new(handle, endpoint(&Rc::default()), || Silent);
    Uses {
        fires: Box::new(move || {
            let port = listen(&soon, |_| Silent);
            names.0.set(Some(address(&port)));
            service.start();
            service.when_connected().add_callback(|_| Ok(()))
        }),
        pends: Box::new(move || {
            lost.start();
            lost.when_connected().add_callback(|_| Ok(()))
        }),
    }
}
