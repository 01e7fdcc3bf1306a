//! Sites over TLS.

use std::time::Duration;

use twistor_http::server::{Request as Asked, Response, Site, Tree};
use twistor_http::{Agent, HttpError, NoResponse, Request};
use twistor_net::tls::{ClientTls, ServerTls};
use twistor_net::{ClientEndpoint, Failure, ServerEndpoint, SimulatedNetwork};
use twistor_reactor::{AddTimeout, Handle, Reactor, defer_later};

use crate::support::{address, run};
use crate::tls_support::Authority;

// W1 to W4 over TLS
#[test]
fn a_site_is_served_over_tls() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let root = Tree::new()
        .get(|_| "Hello, world!")
        .post(|request| request.take_body())
        .put_child(
            "later",
            Tree::new()
                .get(|request| defer_later(request.reactor(), Duration::from_millis(1), || Ok("later"))),
        )
        .put_child("large", Tree::new().get(|_| vec![b'x'; 1_000_000]))
        .put_child(
            "stream",
            Tree::new().get(|_| {
                Response::stream(|out| {
                    out.write(b"streamed");
                })
            }),
        );
    run(|reactor| {
        let server = ServerTls::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
        let endpoint = ServerEndpoint::tls("127.0.0.1:0".parse().unwrap(), server);
        let site = Site::new(reactor, root);
        let address = address(&site.listen(endpoint).unwrap());
        let (url, handle) = (format!("https://{address}"), Handle::clone(reactor));
        let agent = Agent::new(reactor).tls(ClientTls::trusting_pem(certificate.as_bytes()).unwrap());
        reactor.spawn(async move {
            let text = |path: &str| agent.get_page(Request::get(format!("{url}{path}")));
            assert_eq!(text("/").await?.text(), "Hello, world!");
            assert_eq!(text("/later").await?.text(), "later");
            assert_eq!(text("/large").await?.body().len(), 1_000_000);
            assert_eq!(text("/stream").await?.text(), "streamed");
            let posted = agent.get_page(Request::post(&url).body("body")).await?;
            assert_eq!((posted.text().as_ref(), agent.connections()), ("body", (1, 1)));
            // W4.4: over TLS, a target of https is accepted.
            let trust = ClientTls::trusting_pem(certificate.as_bytes())?;
            let conversation =
                ClientEndpoint::tls("127.0.0.1", address.port(), trust).converse(&handle).await?;
            conversation
                .write(format!("GET {url}/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes());
            assert!(conversation.read_to_end(1000).await?.ends_with(b"Hello, world!"));
            // Refused while the client is still sending.
            let refused = agent.get_page(Request::post(&url).body(vec![b'x'; 17 << 20])).await.unwrap_err();
            let status = refused.check::<HttpError>().map(|error| error.status.as_u16());
            assert_eq!(status, Some(413), "{refused}");
            agent.close_idle();
            site.stop().await
        })
    });
}

/// Requests a page with a handshake so slow that the site checks its connections meanwhile. Returns the result and
/// the number of connections left a minute later.
fn slow_handshake(stop: bool) -> (Result<String, Failure>, usize) {
    let authority = Authority::new();
    let reactor = Reactor::simulated(1);
    let network = SimulatedNetwork::of(&reactor).unwrap();
    network.set_latency(Duration::from_millis(700), Duration::from_millis(700));
    let site = Site::new(&reactor, |_: &mut Asked<'_>| "Hello, world!");
    let tls = authority.signs("192.0.2.80").server();
    site.listen(ServerEndpoint::tls("192.0.2.80:443".parse().unwrap(), tls)).unwrap();
    let agent = Agent::new(&reactor).tls(authority.client());
    let handle = Handle::clone(&reactor);
    let done = reactor.spawn(async move {
        let page = agent.get_page(Request::get("https://192.0.2.80/").timeout(Duration::from_secs(20)));
        if stop {
            // The client is connected, and its ClientHello is in flight.
            handle.sleep(Duration::from_millis(1500)).await?;
            assert_eq!(site.connections(), 1);
            site.stop().await?;
        }
        let text = page.await.map(|page| page.text().into_owned());
        agent.close_idle();
        handle.sleep(Duration::from_secs(60)).await?;
        Ok::<_, Failure>((text, site.connections()))
    });
    reactor.run_until(done).unwrap()
}

// W5: the timeout checks do not affect a connection that is still in its handshake
#[test]
fn a_request_after_a_slow_handshake_is_answered() {
    let (page, left) = slow_handshake(false);
    assert_eq!((page.unwrap().as_str(), left), ("Hello, world!", 0));
}

// W6.4
#[test]
fn a_handshake_in_progress_is_closed_after_a_stop() {
    let (page, left) = slow_handshake(true);
    assert!(page.is_err_and(|failure| failure.is::<NoResponse>()));
    assert_eq!(left, 0);
}

// W6.4: a client that never sends a ClientHello
#[test]
fn an_endless_handshake_does_not_hold_up_a_stop() {
    let authority = Authority::new();
    let reactor = Reactor::simulated(1);
    let site = Site::new(&reactor, |_: &mut Asked<'_>| "Hello, world!");
    let tls = authority.signs("192.0.2.80").server();
    site.listen(ServerEndpoint::tls("192.0.2.80:443".parse().unwrap(), tls)).unwrap();
    let handle = Handle::clone(&reactor);
    let done = reactor.spawn(async move {
        let client = ClientEndpoint::tcp("192.0.2.80", 443).converse(&handle).await?;
        handle.sleep(Duration::from_millis(100)).await?;
        assert_eq!(site.connections(), 1);
        site.stop().add_timeout(Duration::from_secs(1), &handle).await?;
        assert_eq!(site.connections(), 0);
        drop(client);
        Ok::<_, Failure>(())
    });
    reactor.run_until(done).unwrap();
}
