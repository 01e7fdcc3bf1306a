//! Log lines name the user's line. A table of everything in HTTP that takes a closure or creates a failure: P20.1.

use std::time::Duration;

use crate::support::places::{check, entry};
use twistor_deferred::{Cancelled, Deferred, fail};
use twistor_http::server::{BodyMode, Request as Asked, Response, Site, Tree};
use twistor_http::{Agent, Request, download_page, get_page};
use twistor_net::ServerEndpoint;
use twistor_reactor::Reactor;

const URL: &str = "http://192.0.2.80/";

fn server() -> ServerEndpoint {
    ServerEndpoint::tcp("192.0.2.80:80".parse().unwrap())
}

fn panics<T>() -> T {
    panic!("out of cheese")
}

fn broken<T: 'static>() -> Deferred<T> {
    fail(Cancelled)
}

#[track_caller]
fn site(reactor: &Reactor, tree: Tree) {
    drop(server().listen(reactor, Site::new(reactor, tree)).unwrap());
}

/// A site with this tree, and a client that posts a request to it.
#[track_caller]
fn visited(reactor: &Reactor, tree: Tree) {
    site(reactor, tree);
    drop(Agent::new(reactor).get_page(Request::post(URL).body("some text")).add_both(|_| ()));
}

#[test]
fn log_lines_of_http_name_the_users_line() {
    check(&[
        entry("get_page", |reactor| drop(get_page(reactor, URL))),
        entry("get_page, no URL", |reactor| drop(get_page(reactor, "no url"))),
        entry("get_page, unknown name", |reactor| drop(get_page(reactor, "http://nowhere.test/"))),
        entry("get_page, an error", |reactor| {
            site(reactor, Tree::new());
            drop(get_page(reactor, URL));
        }),
        entry("get_page, later", |reactor| {
            site(reactor, Tree::new().get(|_: &mut Asked<'_>| Response::stream(|_| broken::<()>())));
            drop(get_page(reactor, URL));
        }),
        entry("get_page, cancelled", |reactor| {
            site(reactor, Tree::new().get(|_: &mut Asked<'_>| "x"));
            let page = get_page(reactor, URL);
            reactor.call_later(Duration::from_micros(500), move || page.cancel());
        }),
        entry("Request::get_page", |reactor| drop(Request::get(URL).get_page(reactor))),
        entry("Agent::get_page", |reactor| drop(Agent::new(reactor).get_page(URL))),
        entry("Agent::request", |reactor| drop(Agent::new(reactor).request(URL))),
        entry("Agent::connector", |reactor| {
            drop(Agent::new(reactor).connector(|_, _| panics()).get_page(URL));
        }),
        entry("a body that is cut", |reactor| {
            site(
                reactor,
                Tree::new().get(|_: &mut Asked<'_>| {
                    Response::stream(|out| {
                        out.write(b"some");
                        broken::<()>()
                    })
                }),
            );
            drop(Agent::new(reactor).request(URL).add_callback(|response| response.into_body().collect()));
        }),
        entry("ResponseBody::deliver", |reactor| {
            site(reactor, Tree::new().get(|_: &mut Asked<'_>| "x"));
            drop(Agent::new(reactor).request(URL).add_callback(|response| {
                drop(response.into_body().deliver(|_| panics()));
            }));
        }),
        entry("download_page", |reactor| drop(download_page(reactor, URL, "/nowhere/at/all"))),
        entry("Request::download_page", |reactor| {
            site(reactor, Tree::new().get(|_: &mut Asked<'_>| "x"));
            let path = std::env::temp_dir().join("twistor-places-test");
            drop(Request::get(URL).download_page(reactor, path, |_, _| panics()));
        }),
        entry("Tree::on", |reactor| {
            visited(reactor, Tree::new().post(|_: &mut Asked<'_>| panics::<&str>()));
        }),
        entry("Tree::on, failing", |reactor| {
            visited(reactor, Tree::new().post(|_: &mut Asked<'_>| fail::<&'static str>(Cancelled)));
        }),
        entry("Tree::children", |reactor| {
            let tree = Tree::new().children(|_, _| panics());
            site(reactor, tree);
            drop(get_page(reactor, "http://192.0.2.80/child").add_both(|_| ()));
        }),
        entry("a closure as a site", |reactor| {
            let site = Site::new(reactor, |_: &mut Asked<'_>| panics::<&str>());
            drop(server().listen(reactor, site).unwrap());
            drop(get_page(reactor, URL).add_both(|_| ()));
        }),
        entry("Site::on_answered", |reactor| {
            let site = Site::new(reactor, |_: &mut Asked<'_>| "x").on_answered(|_| panics());
            drop(server().listen(reactor, site).unwrap());
            drop(get_page(reactor, URL).add_both(|_| ()));
        }),
        entry("Response::stream", |reactor| {
            visited(reactor, Tree::new().post(|_: &mut Asked<'_>| Response::stream(|_| panics::<()>())));
        }),
        entry("Response::sized", |reactor| {
            visited(
                reactor,
                Tree::new().post(|_: &mut Asked<'_>| Response::sized(5, |_| fail::<()>(Cancelled))),
            );
        }),
        entry("RequestBody::deliver", |reactor| {
            visited(
                reactor,
                Tree::new().on_mode(
                    twistor_http::Method::POST,
                    BodyMode::Streamed,
                    |asked: &mut Asked<'_>| {
                        if let Some(body) = asked.stream() {
                            drop(body.deliver(|_| panics()));
                        }
                        "x"
                    },
                ),
            );
        }),
    ]);
}
