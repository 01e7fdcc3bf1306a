//! An agent with a cookie jar.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "it is test code, which clippy knows only inside #[test]"
)]

#[path = "../../net/tests/support/mod.rs"]
mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use support::{address, listen, run};
use twistor_http::{Agent, Cookies, HeaderValue, HttpError, Request, Url};
use twistor_net::{Failure, HandlerPanicked, ListeningPort, Protocol, Transport};
use twistor_reactor::Handle;

/// A jar that records its calls, and returns a cookie with the number of the call.
#[derive(Default)]
struct Diary {
    entries: RefCell<Vec<String>>,
    asked: RefCell<usize>,
    empty: bool,
}

impl Diary {
    fn write(&self, entry: String) {
        self.entries.borrow_mut().push(entry);
    }
}

impl Cookies for Diary {
    fn set_cookies(&self, url: &Url, values: &mut dyn Iterator<Item = &[u8]>) {
        let values: Vec<_> = values.map(String::from_utf8_lossy).collect();
        self.write(format!("set {} {values:?}", url.target()));
    }

    fn cookies(&self, url: &Url) -> Option<HeaderValue> {
        self.write(format!("asked {}", url.target()));
        let number = self.asked.replace_with(|number| *number + 1);
        (!self.empty).then(|| format!("n={number}").try_into().unwrap())
    }
}

#[derive(Clone)]
struct Server(Rc<RefCell<Vec<String>>>);

impl Protocol for Server {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        let request = String::from_utf8_lossy(data).into_owned();
        let answer: &[u8] = match request.split(' ').nth(1) {
            Some("/hop") => {
                b"HTTP/1.1 302 Found\r\nLocation: /page\r\nSet-Cookie: h=1\r\nContent-Length: 0\r\n\r\n"
            }
            Some("/error") => b"HTTP/1.1 404 No\r\nSet-Cookie: e=1\r\nContent-Length: 0\r\n\r\n",
            Some("/once") if request.contains("n=1") => b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nwelcome",
            Some("/once") => {
                b"HTTP/1.1 302 Found\r\nLocation: /once\r\nSet-Cookie: n=1\r\nContent-Length: 0\r\n\r\n"
            }
            Some("/none") => b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            _ => {
                b"HTTP/1.1 103 Hints\r\nSet-Cookie: i=1\r\n\r\n\
                  HTTP/1.1 200 OK\r\nset-cookie: a=1; Path=/\r\nSet-Cookie: b=\xff\r\nContent-Length: 2\r\n\r\nok"
            }
        };
        self.0.borrow_mut().push(request);
        transport.write(answer);
        Ok(())
    }
}

fn serve(handle: &Handle) -> (ListeningPort, String, Rc<RefCell<Vec<String>>>) {
    let seen: Rc<RefCell<Vec<String>>> = Rc::default();
    let server = Server(seen.clone());
    let port = listen(handle, move |_peer| server.clone());
    let url = format!("http://{}", address(&port));
    (port, url, seen)
}

/// The `Cookie` headers of the requests.
fn sent(seen: &Rc<RefCell<Vec<String>>>) -> Vec<Vec<String>> {
    let cookies = |request: &String| {
        request
            .lines()
            .filter_map(|line| line.split_once(": "))
            .filter(|(name, _)| name.eq_ignore_ascii_case("cookie"))
            .map(|(_, value)| value.to_owned())
            .collect()
    };
    seen.borrow().iter().map(cookies).collect()
}

#[test]
fn the_jar_is_called_for_each_request_and_response() {
    // H12.1
    run(|reactor| {
        let (port, url, seen) = serve(reactor);
        let jar = Rc::new(Diary::default());
        let agent = Agent::new(reactor).cookies(jar.clone());
        let page = agent.get_page(Request::get(format!("{url}/hop")));
        page.add_callback(move |_| agent.get_page(Request::get(format!("{url}/error")))).add_both(
            move |result| {
                result.expect_err("it is a 404").trap::<HttpError>()?;
                assert_eq!(sent(&seen), [["n=0"], ["n=1"], ["n=2"]]);
                assert_eq!(
                    jar.entries.take(),
                    [
                        "asked /hop",
                        "set /hop [\"h=1\"]",
                        "asked /page",
                        "set /page [\"a=1; Path=/\", \"b=\u{fffd}\"]",
                        "asked /error",
                        "set /error [\"e=1\"]",
                    ]
                );
                drop(port);
                Ok(())
            },
        )
    });
}

#[test]
fn a_cookie_header_takes_precedence_over_the_jar() {
    // H12.2
    run(|reactor| {
        let (port, url, seen) = serve(reactor);
        let jar = Rc::new(Diary { empty: true, ..Diary::default() });
        let agent = Agent::new(reactor).cookies(jar.clone());
        let own = Request::get(format!("{url}/page")).header("Cookie", "mine=1");
        agent
            .get_page(own)
            .add_callback(move |_| agent.get_page(Request::get(format!("{url}/none"))))
            .add_callback(move |_| {
                assert_eq!(sent(&seen), [vec!["mine=1"], vec![]]);
                assert_eq!(
                    jar.entries.take(),
                    ["set /page [\"a=1; Path=/\", \"b=\u{fffd}\"]", "asked /none"]
                );
                drop(port);
            })
    });
}

#[test]
fn a_jar_may_use_the_agent_and_a_panic_fails_one_request() {
    // H12.3
    struct Meddling(RefCell<Option<Agent>>);
    impl Cookies for Meddling {
        fn set_cookies(&self, url: &Url, _: &mut dyn Iterator<Item = &[u8]>) {
            assert!(url.target() != "/hop", "thrown on purpose");
        }
        fn cookies(&self, url: &Url) -> Option<HeaderValue> {
            // This handle is dropped after its only use.
            if let Some(agent) = self.0.take() {
                drop(agent.cookies(Rc::new(Diary::default())).get_page(Request::get(url.to_string())));
            }
            None
        }
    }
    run(|reactor| {
        let (port, url, _) = serve(reactor);
        let agent = Agent::new(reactor);
        let jar = Rc::new(Meddling(RefCell::new(Some(agent.clone()))));
        let agent = agent.cookies(jar);
        let first = agent.get_page(Request::get(format!("{url}/page")));
        first
            .add_callback(move |page| {
                assert_eq!(page.text(), "ok");
                let agent = agent.cookies(Rc::new(Meddling(RefCell::default())));
                let broken = agent.get_page(Request::get(format!("{url}/hop"))).add_both(|result| {
                    assert!(result.is_err());
                    Ok(())
                });
                broken.add_callback(move |()| agent.get_page(Request::get(format!("{url}/none"))))
            })
            .add_callback(move |_| drop(port))
    });
}

/// Panics on every second call of `cookies`.
struct Panics(Cell<usize>);

impl Cookies for Panics {
    fn set_cookies(&self, _: &Url, _: &mut dyn Iterator<Item = &[u8]>) {}

    fn cookies(&self, _: &Url) -> Option<HeaderValue> {
        self.0.set(self.0.get() + 1);
        assert!(self.0.get() % 2 == 1, "the jar is broken on purpose");
        None
    }
}

#[test]
fn a_jar_that_panics_fails_its_request_and_frees_its_place() {
    // H12.3, H5.8: on a new connection, and on a kept one
    for asked in [0, 1] {
        run(|reactor| {
            let (port, url, seen) = serve(reactor);
            let agent = Agent::new(reactor).max_connections(1).cookies(Rc::new(Panics(Cell::new(asked))));
            reactor.spawn(async move {
                for number in asked..asked + 4 {
                    let page = agent.get_page(Request::get(format!("{url}/none"))).await;
                    match page.map_err(Failure::trap::<HandlerPanicked>) {
                        Ok(_) => assert_eq!(number % 2, 0),
                        Err(panicked) => assert_eq!((panicked?.handler(), number % 2), ("cookies", 1)),
                    }
                    assert_eq!(agent.connections(), (1, 1));
                }
                assert_eq!(seen.borrow().len(), 2);
                drop(port);
                Ok(())
            })
        });
    }
}

// H3.1: as sites do that test for cookies or log in a user
#[test]
fn a_redirect_to_the_same_url_with_a_cookie_is_followed() {
    run(|reactor| {
        let (port, url, _) = serve(reactor);
        let agent = Agent::new(reactor).cookies(Rc::new(Diary::default()));
        agent.get_page(format!("{url}/once")).add_callback(move |page| {
            assert_eq!(page.text(), "welcome");
            drop((port, agent));
        })
    });
}
