//! Connectors of the program. P21.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use support::*;
use twistor_deferred::{Cancelled, Deferred, Failure, fail, succeed};
use twistor_net::connect::{Connect, Connecting, Tcp};
use twistor_net::{ClientEndpoint, ConnectStage, ConnectTimedOut, Reconnecting, ServerEndpoint, Stream};

const SECOND: Duration = Duration::from_secs(1);

/// Returns a Deferred that never fires, and records that it is cancelled.
fn never(cancelled: &Rc<Cell<bool>>) -> Deferred<Stream> {
    let told = cancelled.clone();
    let (deferred, trigger) = Deferred::with_canceller(move |_| told.set(true));
    std::mem::forget(trigger);
    deferred
}

// P21.1
#[test]
fn a_closure_is_a_connector() {
    on_every_network(|world| {
        world.run(|reactor| {
            let port = address(&listen(reactor, |_| Echo)).port();
            let tcp = Tcp::new("127.0.0.1", port);
            let endpoint = ClientEndpoint::by(move |on: &Connecting| tcp.connect(on));
            assert_eq!(endpoint.to_string(), "custom");
            let service = Reconnecting::new(reactor, endpoint.clone(), || Echo);
            service.start();
            let handle = (**reactor).clone();
            reactor.spawn(async move {
                let peer = endpoint.converse(&handle).await?;
                peer.write(b"x");
                assert_eq!(peer.read_exact(1).await?, b"x");
                service.when_connected().await?;
                service.stop().await
            })
        });
    });
}

// P21.2
#[test]
fn a_timeout_reports_the_stage_and_cancels() {
    let cancelled = Rc::new(Cell::new(false));
    let told = cancelled.clone();
    let failure = simulated(|reactor| {
        let start = reactor.now();
        let connector = move |on: &Connecting| {
            assert_eq!(on.deadline(), Some(start + 5 * SECOND));
            on.go_on("the moon", ConnectStage::Custom("an echo"));
            never(&told)
        };
        let connecting = ClientEndpoint::by(connector).timeout(5 * SECOND).connect(reactor, Echo);
        connecting.add_both(|result| Ok(result.unwrap_err()))
    });
    assert!(cancelled.get());
    assert_eq!(failure.to_string(), "connecting to the moon timed out after 5s while waiting for an echo");
    assert_eq!(failure.trap::<ConnectTimedOut>().unwrap().stage, ConnectStage::Custom("an echo"));
}

// P21.2
#[test]
fn cancelling_cancels_the_connector() {
    let cancelled = Rc::new(Cell::new(false));
    let told = cancelled.clone();
    simulated(|reactor| {
        let connecting = ClientEndpoint::by(move |_: &Connecting| never(&told)).connect(reactor, Echo);
        connecting.cancel();
        connecting.add_both(|result| assert!(result.unwrap_err().is::<Cancelled>()))
    });
    assert!(cancelled.get());
}

// P21.3
#[test]
fn a_connector_that_fails_or_panics_is_a_failure_to_connect() {
    let diary = Diary::new();
    let failures = simulated(|reactor| {
        let fails = ClientEndpoint::by(|_: &Connecting| fail(std::io::Error::other("on strike")));
        let panics = ClientEndpoint::by(|_: &Connecting| panic!("on purpose"));
        let text = |result: Result<_, Failure>| Ok(result.map(drop).unwrap_err().to_string());
        let (one, two) =
            (fails.connect(reactor, scripted(&diary)), panics.connect(reactor, scripted(&diary)));
        twistor_deferred::join((one.add_both(text), two.add_both(text)))
    });
    assert_eq!(failures.0, "on strike");
    assert!(failures.1.ends_with("on purpose"), "{}", failures.1);
    assert!(diary.entries().is_empty());
}

// P21.1
#[test]
fn a_connector_may_return_an_adopted_stream() {
    run(|reactor| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let far = Stream::try_from(listener.accept().unwrap().0).unwrap();
        far.run(reactor, Echo).unwrap();
        let kept = Cell::new(Some(Stream::try_from(near).unwrap()));
        let endpoint = ClientEndpoint::by(move |_: &Connecting| match kept.take() {
            Some(stream) => succeed(stream),
            None => fail(std::io::Error::other("there was one only")),
        });
        let handle = (**reactor).clone();
        reactor.spawn(async move {
            let peer = endpoint.converse(&handle).await?;
            peer.write(b"x");
            assert_eq!(peer.read_exact(1).await?, b"x");
            assert!(endpoint.converse(&handle).await.is_err());
            Ok::<(), Failure>(())
        })
    });
}

#[cfg(feature = "tls")]
mod tls_support;

// P21.1, P10
#[cfg(feature = "tls")]
#[test]
fn any_connector_may_be_secured() {
    use twistor_net::connect::Tls;

    let authority = tls_support::Authority::new();
    on_every_network(|world| {
        world.run(|reactor| {
            let server = authority.signs("inner.test").server();
            let port = ServerEndpoint::tls("127.0.0.1:0".parse().unwrap(), server)
                .listen(reactor, |_| Echo)
                .unwrap();
            let tcp = Tcp::new("127.0.0.1", address(&port).port());
            let inner = move |on: &Connecting| tcp.connect(on);
            let secured = Tls::new(inner, "inner.test", authority.client());
            let connecting = ClientEndpoint::by(secured).connect(reactor, Echo);
            connecting.add_callback(|transport| assert!(transport.tls().is_some()))
        });
    });
}
