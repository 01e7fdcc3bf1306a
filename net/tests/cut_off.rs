//! The end of a run is not an error for the work that it cuts off: a server with a thousand connections logs
//! none after Ctrl-C. R17, for connections.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod support;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use support::logged::{keep_log, logged};
use support::*;
use twistor_deferred::{Deferred, Trigger};
use twistor_net::{
    ClientEndpoint, Conversation, Failure, Protocol, ServerEndpoint, Transport, conversations,
};
use twistor_reactor::{Handle, Reactor};

/// Waits for an answer that never arrives, with its own trigger, and for its transport.
#[derive(Default)]
struct Waiting(RefCell<Vec<Trigger<u64>>>);

impl Protocol for Waiting {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        let (answer, trigger) = Deferred::<u64>::new();
        drop(answer.add_callback(|number| assert_eq!(number, 1)));
        self.0.borrow_mut().push(trigger);
        transport.write(&vec![b'x'; World::Real.much()]);
        drop(transport.drained());
        Ok(())
    }

    fn data_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
        Ok(())
    }
}

/// Starts a server that answers with `async` functions, and clients that wait: some in their protocol, some
/// in tasks, and one for a server that does not accept. When all are connected, stops the run.
fn run_and_stop(reactor: &Reactor) {
    let handle = Handle::clone(reactor);
    let connected = Rc::new(());
    let all = Rc::new(RefCell::new(Vec::new()));
    let (kept, tasks) = (all.clone(), handle.clone());
    let talk = move |peer: Conversation| {
        kept.borrow_mut().push(connected.clone());
        if kept.borrow().len() == 9 {
            let handle = tasks.clone();
            // Their data is in flight then.
            tasks.call_later(Duration::from_millis(1), move || handle.stop());
        }
        let inner = tasks.clone();
        tasks.spawn(async move {
            // Stops reading, so that the client cannot send all its data.
            peer.read_exact(1).await?;
            inner.sleep(Duration::from_secs(3600)).await?;
            Ok(())
        })
    };
    let port =
        ServerEndpoint::tcp("127.0.0.1:0".parse().unwrap()).listen(reactor, conversations(talk)).unwrap();
    let server = address(&port);
    let endpoint = ClientEndpoint::tcp(server.ip().to_string(), server.port());
    for _ in 0..3 {
        drop(endpoint.connect(reactor, Waiting::default()));
        drop(endpoint.connect(reactor, Waiting::default()));
        let (endpoint, handle) = (endpoint.clone(), handle.clone());
        drop(reactor.spawn(async move {
            let server = endpoint.converse(&handle).await?;
            let line = server.read_line(100);
            drop(server.read_exact(1));
            line.await?;
            Ok(())
        }));
    }
    reactor.call_later(DEADLINE, || panic!("the clients did not connect"));
    reactor.run().unwrap();
    assert_eq!(all.borrow().len(), 9);
}

// R17, P1.9, P9
#[test]
fn connections_cut_off_by_the_end_of_a_run_log_no_error() {
    keep_log();
    on_every_network(|world| {
        world.with_reactor(run_and_stop);
        assert_eq!(logged(), [""; 0]);
    });
}
