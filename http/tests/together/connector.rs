//! An agent with a custom connector. Statement H13.

use twistor_http::server::{Request, Site};
use twistor_http::{Agent, Origin};

use std::cell::Cell;
use std::rc::Rc;

#[cfg(unix)]
use crate::support::on_every_network;
use crate::support::simulated;
use twistor_deferred::Failure;
use twistor_net::connect::{Connect, Tcp};
use twistor_net::{ConnectRefused, ServerEndpoint};

fn site(handle: &twistor_reactor::Handle) -> Site {
    Site::new(handle, |request: &mut Request<'_>| {
        format!("{} of {}", request.path(), request.host().unwrap_or_default())
    })
}

// H13.1: with a site on a UNIX socket, real and simulated
#[cfg(unix)]
#[test]
fn http_goes_over_a_unix_socket() {
    use twistor_net::connect::Unix;

    let folder = crate::support::folder::Folder::new("http-unix");
    let path = folder.join("socket");
    on_every_network(|world| {
        let path = path.clone();
        let page = world.run(move |reactor| {
            site(reactor).listen(ServerEndpoint::unix(&path)).unwrap();
            let socket = Unix::new(path);
            let agent = Agent::new(reactor).connector(move |on, _| socket.connect(on));
            agent.get_page("http://docker/version")
        });
        assert_eq!(page.text(), "/version of docker");
    });
}

// H13.1
#[test]
fn an_agent_reaches_origins_by_custom_addresses() {
    simulated(|reactor| {
        site(reactor).listen(ServerEndpoint::tcp("192.0.2.7:8080".parse().unwrap())).unwrap();
        let asked = Rc::new(Cell::new(0));
        let count = asked.clone();
        // This name does not exist.
        let agent = Agent::new(reactor).connector(move |on, origin: &Origin| {
            count.set(count.get() + 1);
            assert_eq!(origin.to_string(), "http://www.example.test:80");
            Tcp::new("192.0.2.7", 8080).connect(on)
        });
        reactor.spawn(async move {
            for path in ["/a", "/b"] {
                let page = agent.get_page(format!("http://www.example.test{path}")).await?;
                assert_eq!(page.text(), format!("{path} of www.example.test"));
            }
            assert_eq!(asked.get(), 1, "connections are kept");
            Ok::<(), Failure>(())
        })
    });
}

// H13.1
#[cfg(feature = "tls")]
#[test]
fn tls_runs_on_the_connection_that_the_connector_makes() {
    let authority = crate::tls_support::Authority::new();
    let page = simulated(|reactor| {
        let server = authority.signs("www.example.test").server();
        let place = "192.0.2.7:8443".parse().unwrap();
        site(reactor).listen(ServerEndpoint::tls(place, server)).unwrap();
        let agent = Agent::new(reactor)
            .tls(authority.client())
            .connector(|on, _| Tcp::new("192.0.2.7", 8443).connect(on));
        agent.get_page("https://www.example.test/secret")
    });
    assert_eq!(page.text(), "/secret of www.example.test");
}

// P21.3, H13.1
#[test]
fn a_connector_that_fails_or_panics_fails_the_request() {
    simulated(|reactor| {
        let refused = Agent::new(reactor).connector(|on, _| Tcp::new("192.0.2.7", 1).connect(on));
        let panics = Agent::new(reactor).connector(|_, _| panic!("on purpose"));
        let (one, two) = (refused.get_page("http://a.test"), panics.get_page("http://a.test"));
        one.add_both(move |result| {
            assert!(result.unwrap_err().check::<ConnectRefused>().is_some());
            two
        })
        .add_both(|result| assert!(result.unwrap_err().to_string().contains("on purpose")))
    });
}

// H13.1: with a custom resolver
#[test]
fn an_agent_uses_a_custom_resolver() {
    use std::net::SocketAddr;
    use twistor_deferred::{Deferred, succeed};
    use twistor_net::Resolver;

    #[derive(Debug)]
    struct Inner;
    impl Resolver for Inner {
        fn resolve(&self, _: &twistor_reactor::Handle, host: &str, _: u16) -> Deferred<Vec<SocketAddr>> {
            assert_eq!(host, "www.inner");
            succeed(vec!["192.0.2.8:8080".parse().unwrap(), "192.0.2.7:8080".parse().unwrap()])
        }
    }
    let page = simulated(|reactor| {
        site(reactor).listen(ServerEndpoint::tcp("192.0.2.7:8080".parse().unwrap())).unwrap();
        let agent = Agent::new(reactor).connector(|on, origin| {
            Tcp::new(&*origin.host, origin.port).resolver(Rc::new(Inner)).connect(on)
        });
        agent.get_page("http://www.inner/a")
    });
    assert_eq!(page.text(), "/a of www.inner");
}
