//! The same site over TLS, which changes nothing for it.

use std::time::Duration;

use twistor_net::ServerEndpoint;
use twistor_net::http::server::{Response, Site, Tree};
use twistor_net::http::{Agent, HttpError, Request};
use twistor_net::tls::{ClientTls, ServerTls};
use twistor_reactor::defer_later;

use crate::support::{address, run};

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
        let url = format!("https://{}", address(&site.listen(endpoint).unwrap()));
        let agent = Agent::new(reactor).tls(ClientTls::trusting_pem(certificate.as_bytes()).unwrap());
        reactor.spawn(async move {
            let text = |path: &str| agent.get_page(Request::get(format!("{url}{path}")));
            assert_eq!(text("/").await?.text(), "Hello, world!");
            assert_eq!(text("/later").await?.text(), "later");
            assert_eq!(text("/large").await?.body().len(), 1_000_000);
            assert_eq!(text("/stream").await?.text(), "streamed");
            let posted = agent.get_page(Request::post(&url).body("body")).await?;
            assert_eq!((posted.text().as_ref(), agent.connections()), ("body", (1, 1)));
            // Refused while it is still sending.
            let refused = agent.get_page(Request::post(&url).body(vec![b'x'; 17 << 20])).await.unwrap_err();
            let status = refused.check::<HttpError>().map(|error| error.status.as_u16());
            assert_eq!(status, Some(413), "{refused}");
            agent.close_idle();
            site.stop().await
        })
    });
}
