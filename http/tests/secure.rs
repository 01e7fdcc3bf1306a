//! Pages over TLS.

#![cfg(feature = "tls")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "it is test code, which clippy knows only inside #[test]"
)]

#[path = "../../net/tests/support/mod.rs"]
mod support;

use std::cell::Cell;
use std::rc::Rc;

use support::{address, listen, run};
use twistor_deferred::DeferredList;
use twistor_http::{Agent, Fault, Malformed, RedirectError, Request, get_page};
use twistor_net::tls::{ClientTls, HandshakeFailed, ServerTls};
use twistor_net::{Failure, ListeningPort, Protocol, ServerEndpoint, Transport};
use twistor_reactor::Reactor;

/// Answers every request with the same bytes.
struct Answer(Rc<str>);

impl Protocol for Answer {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        if data.ends_with(b"\r\n\r\n") {
            transport.write(self.0.as_bytes());
        }
        Ok(())
    }
}

/// A server over TLS, the number of its connections so far, and a client configuration that trusts it.
fn serve(reactor: &Reactor, answer: &str) -> (ListeningPort, Rc<Cell<usize>>, ClientTls) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let server = ServerTls::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
    let answer: Rc<str> = answer.into();
    let opened: Rc<Cell<usize>> = Rc::default();
    let count = opened.clone();
    let port = ServerEndpoint::tls("127.0.0.1:0".parse().unwrap(), server)
        .listen(reactor, move |_peer| {
            count.set(count.get() + 1);
            Answer(answer.clone())
        })
        .unwrap();
    (port, opened, ClientTls::trusting_pem(certificate.as_bytes()).unwrap())
}

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHello";

#[test]
fn a_page_is_fetched_over_tls_from_a_trusted_server() {
    // H1.5
    run(|reactor| {
        let (port, _, trust) = serve(reactor, HELLO);
        let url = format!("https://{}/", address(&port));
        let trusted = Request::get(&url).tls(trust).get_page(reactor).add_callback(|page| {
            assert_eq!(page.text(), "Hello");
        });
        // The certificate is not trusted.
        let stranger = get_page(reactor, url).add_both(|result| {
            result.expect_err("the certificate is not trusted").trap::<HandshakeFailed>().map(|_| ())
        });
        DeferredList::new([trusted, stranger]).into_deferred().add_callback(move |results| {
            assert!(results.iter().all(Result::is_ok), "{results:?}");
            drop(port);
        })
    });
}

#[test]
fn a_plain_request_to_a_tls_port_asks_for_https() {
    // H6.8
    run(|reactor| {
        let (port, ..) = serve(reactor, HELLO);
        get_page(reactor, format!("http://{}/", address(&port))).add_both(move |result| {
            drop(port);
            let malformed = result.expect_err("the server speaks TLS").trap::<Malformed>()?;
            assert_eq!(malformed.fault, Fault::TlsRecord);
            Ok(())
        })
    });
}

#[test]
fn an_agent_keeps_its_secure_connections() {
    // H5.7, H5.11
    run(|reactor| {
        let (port, opened, trust) = serve(reactor, HELLO);
        let url = format!("https://{}/", address(&port));
        let agent = Agent::new(reactor).tls(trust.clone());
        let (again, next) = (agent.clone(), url.clone());
        agent
            .get_page(Request::get(&url))
            .add_callback(move |_| again.get_page(Request::get(next)))
            .add_callback(move |_| {
                assert_eq!((opened.get(), agent.connections()), (1, (1, 1)));
                // A request with its own trust shares no connection.
                let own = Request::get(url).tls(trust);
                agent.get_page(own).add_callback(move |_| {
                    assert_eq!((opened.get(), agent.connections()), (2, (1, 1)));
                    drop(port);
                })
            })
    });
}

#[test]
fn a_redirect_out_of_tls_is_followed_only_if_allowed() {
    // H3.7
    run(|reactor| {
        let plain = listen(reactor, |_peer| Answer(HELLO.into()));
        let there = format!("http://{}/", address(&plain));
        let (port, _, trust) =
            serve(reactor, &format!("HTTP/1.1 302 Found\r\nLocation: {there}\r\nContent-Length: 0\r\n\r\n"));
        let url = format!("https://{}/", address(&port));
        let refused = Request::get(&url).tls(trust.clone()).get_page(reactor).add_both(|result| {
            result.expect_err("the redirect leads out of TLS").trap::<RedirectError>().map(|_| ())
        });
        let allowed = Request::get(&url)
            .tls(trust)
            .allow_insecure_redirects(true)
            .get_page(reactor)
            .add_callback(move |page| assert_eq!(page.url().as_str(), there));
        DeferredList::new([refused, allowed]).into_deferred().add_callback(move |results| {
            assert!(results.iter().all(Result::is_ok), "{results:?}");
            drop((port, plain));
        })
    });
}
