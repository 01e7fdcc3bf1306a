//! W1: sites, trees, methods, and faults in handlers.

use std::rc::Rc;

use twistor_http::server::{Answer, Files, IntoAnswer, Request, Resource, Response, StatusError, Tree};
use twistor_http::{Method, StatusCode};
use twistor_net::Failure;

use crate::client::*;
use crate::support::logged::{keep_log, logged};

// W1.4
#[test]
fn a_closure_is_a_site() {
    let reply = serve(
        |request: &mut Request<'_>| format!("this is {}", request.path()),
        |address| Client::connect(address)?.get("/any/where"),
    );
    assert_eq!((reply.status, reply.text().as_str()), (200, "this is /any/where"));
    assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
}

fn named(name: &str) -> Option<Rc<dyn Resource>> {
    if name.is_empty() {
        return None;
    }
    let text = format!("dynamic {name}");
    Some(Rc::new(move |_: &mut Request<'_>| text.clone()))
}

fn tree() -> Tree {
    Tree::new()
        .get(|_| "root")
        .put_child("static", Tree::new().get(|_| "static").put_child("below", Tree::new().get(|_| "below")))
        .put_child("with space/and slash", Tree::new().get(|_| "decoded"))
        .put_child("empty", Tree::new().get(|_| "around").put_child("", Tree::new().get(|_| "inside")))
        .children(|name, _| if name == "static" { named("wrong") } else { named(name) })
}

// W1.3: static children precede dynamic ones; 404
#[test]
fn paths_lead_down_the_tree() {
    let cases = [
        ("/", 200, "root"),
        ("/?query", 200, "root"),
        ("/static", 200, "static"),
        ("/static/", 200, "static"),
        ("/static/below", 200, "below"),
        ("/static/other", 404, "Not Found\n"),
        ("/static/below/more", 404, "Not Found\n"),
        ("/%73tatic", 200, "static"),
        ("/with%20space%2Fand%20slash", 200, "decoded"),
        ("/empty", 200, "around"),
        ("/empty/", 200, "inside"),
        ("/Ada", 200, "dynamic Ada"),
        ("/Ada/any/where", 200, "dynamic Ada"),
        ("/%ff", 404, "Not Found\n"),
        ("//", 404, "Not Found\n"),
        ("/100%", 200, "dynamic 100%"),
        ("http://elsewhere/static", 200, "static"),
    ];
    serve(tree(), move |address| {
        let mut client = Client::connect(address)?;
        for (path, status, text) in cases {
            let reply = client.get(path)?;
            assert_eq!((reply.status, reply.text().as_str()), (status, text), "{path}");
        }
        Ok(())
    });
}

// W1.3
#[test]
fn a_fallback_receives_the_rest_of_the_path() {
    let rest = |request: &mut Request<'_>| format!("rest {}", request.rest());
    let inner = Tree::new().put_child("known", Tree::new().get(|_| "known")).fallback(rest);
    let root = Tree::new().get(|_| "root").put_child("inner", inner);
    serve(root, |address| {
        let mut client = Client::connect(address)?;
        for (path, text) in [
            ("/", "root"),
            ("/inner/known", "known"),
            ("/inner/a/b", "rest /a/b"),
            ("/inner/", "rest /"),
            ("/inner", "rest "),
        ] {
            assert_eq!(client.get(path)?.text(), text, "{path}");
        }
        Ok(())
    });
}

// W1.4: rendering by method, HEAD by the handler of GET, 405 with Allow, 501
#[test]
fn methods_have_their_own_handlers() {
    let root = Tree::new()
        .get(|_| "got")
        .post(|request| request.take_body())
        .on(Method::from_bytes(b"BREW").unwrap(), |_| StatusCode::IM_A_TEAPOT)
        .put_child("post", Tree::new().post(|_| ()));
    serve(root, |address| {
        let mut client = Client::connect(address)?;
        let mut ask = |method: &str, path: &str| {
            client.send(format!("{method} {path} HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\nab"))?;
            client.reply()
        };
        assert_eq!(ask("GET", "/")?.text(), "got");
        assert_eq!(ask("POST", "/")?.text(), "ab");
        assert_eq!(ask("BREW", "/")?.status, 418);
        assert_eq!(ask("POST", "/post")?.status, 204);
        for (method, path, allow) in [
            ("PUT", "/", "GET, HEAD, POST, BREW, OPTIONS"),
            ("DELETE", "/post", "POST, OPTIONS"),
            ("GET", "/post", "POST, OPTIONS"),
        ] {
            let reply = ask(method, path)?;
            assert_eq!((reply.status, reply.header("allow")), (405, Some(allow)), "{method} {path}");
        }
        assert_eq!(ask("get", "/")?.status, 501);
        assert_eq!(ask("PLANT", "/")?.status, 501);
        Ok(())
    });
}

// W1.4
#[test]
fn head_is_get_without_a_body() {
    serve(tree(), |address| {
        let mut client = Client::connect(address)?;
        let got = client.get("/static")?;
        client.send("HEAD /static HTTP/1.1\r\nHost: here\r\n\r\n")?;
        let head = client.head()?;
        let without_date = |head: &str| head.lines().filter(|line| !line.starts_with("Date")).count();
        assert_eq!(head.header("content-length"), Some("6"));
        assert_eq!(without_date(&head.head), without_date(&got.head));
        // The head is followed by nothing.
        assert_eq!(client.get("/static")?.text(), "static");
        client.send("HEAD /static/missing HTTP/1.1\r\nHost: here\r\n\r\n")?;
        assert_eq!(client.head()?.status, 404);
        assert_eq!(client.get("/static")?.text(), "static");
        Ok(())
    });
}

// W1.1: for a path, and for the server as a whole
#[test]
fn options_are_answered_from_the_tree() {
    let own = |_: &mut Request<'_>| Response::from("my own").header("allow", "GET");
    let folder = std::env::temp_dir();
    let root = Tree::new()
        .get(|_| "got")
        .put_child("post", Tree::new().post(|_| ()).put_child("put", Tree::new().on(Method::PUT, |_| ())))
        .put_child("own", Tree::new().on(Method::OPTIONS, own))
        .put_child("files", Files::new(folder));
    serve(root, |address| {
        let mut client = Client::connect(address)?;
        for (path, status, allow) in [
            ("/", 204, Some("GET, HEAD, OPTIONS")),
            ("/post", 204, Some("POST, OPTIONS")),
            ("/own", 200, Some("GET")),
            ("/files/any", 204, Some("GET, HEAD, OPTIONS")),
            ("/nothing", 404, None),
            ("*", 204, Some("GET, HEAD, OPTIONS, POST, PUT")),
        ] {
            client.send(format!("OPTIONS {path} HTTP/1.1\r\nHost: here\r\n\r\n"))?;
            let reply = client.reply()?;
            assert_eq!((reply.status, reply.header("allow")), (status, allow), "{path}");
            if status == 204 {
                assert_eq!(reply.header("content-length"), None, "{path}");
            }
        }
        Ok(())
    });
}

struct Faulty;

impl Resource for Faulty {
    fn render(&self, _: &mut Request<'_>) -> Answer {
        panic!("render, on purpose")
    }

    fn get_child(&self, _: &str, _: &mut Request<'_>) -> Option<Rc<dyn Resource>> {
        panic!("get_child, on purpose")
    }
}

// W1.5, W1.6: 500 for a failure, a panic or an invalid header; this connection and all others continue
#[test]
fn a_fault_in_a_handler_is_a_500() {
    let root = Tree::new()
        .get(|_| "fine")
        .put_child("faulty", Faulty)
        .put_child("error", Tree::new().get(|_| Err::<String, _>(Failure::new("secret"))))
        .put_child("later", Tree::new().get(|_| twistor_deferred::fail::<String>(Failure::new("secret"))))
        .put_child(
            "callback",
            Tree::new().get(|_| {
                twistor_deferred::succeed(())
                    .add_callback(|()| -> Result<String, Failure> { panic!("secret, on purpose") })
            }),
        )
        .put_child("header", Tree::new().get(|_| Response::from("no").header("x", "a\r\nEvil: 1")))
        .put_child("name", Tree::new().get(|_| Response::from("no").header("x y", "a")))
        .put_child("length", Tree::new().get(|_| Response::from("no").header("Content-Length", "7")))
        .put_child("interim", Tree::new().get(|_| Response::new(StatusCode::CONTINUE)));
    serve(root, |address| {
        let mut other = Client::connect(address)?;
        assert_eq!(other.get("/")?.status, 200);
        let mut client = Client::connect(address)?;
        for path in ["/faulty", "/faulty/child", "/error", "/later", "/callback", "/header", "/name"] {
            let reply = client.get(path)?;
            assert_eq!((reply.status, reply.text().as_str()), (500, "Internal Server Error\n"), "{path}");
            assert!(!reply.head.contains("Evil"), "{path}");
            assert_eq!(client.get("/")?.text(), "fine", "{path}");
        }
        for path in ["/length", "/interim"] {
            assert_eq!(client.get(path)?.status, 500, "{path}");
        }
        assert_eq!(other.get("/")?.text(), "fine");
        Ok(())
    });
}

// W1.7: at once, later, by a panic, by an invalid response, and in a body; neither its query nor all of a long path
#[test]
fn the_log_names_the_request_that_failed() {
    keep_log();
    let fail = |_: &mut Request<'_>| Err::<String, _>(Failure::new("my bug"));
    let later = |request: &mut Request<'_>| {
        request.reactor().spawn(async { Err::<String, _>(Failure::new("my bug")) })
    };
    let body = |_: &mut Request<'_>| Response::stream(|_| Err::<(), _>(Failure::new("my bug")));
    let root = Tree::new()
        .get(|_| "fine")
        .put_child("broken", Tree::new().get(fail).post(fail))
        .put_child("later", later)
        .put_child("faulty", Faulty)
        .put_child("interim", Tree::new().get(|_| Response::new(StatusCode::CONTINUE)))
        .put_child("name", Tree::new().get(|_| Response::from("no").header("x y", "a")))
        .put_child("value", Tree::new().get(|_| Response::redirect("a\r\nEvil: 1")))
        .put_child("body", Tree::new().get(body))
        .put_child("long", Tree::new().fallback(fail));
    serve(root, |address| {
        let mut client = Client::connect(address)?;
        for path in ["/broken?secret=1", "/later", "/faulty/child", "/interim", "/name", "/value"] {
            assert_eq!(client.get(path)?.status, 500, "{path}");
            assert_eq!(client.get("/")?.status, 200);
        }
        for body in ["Content-Length: 2\r\n\r\nab", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"] {
            client.send(format!("POST /broken HTTP/1.1\r\nHost: a\r\n{body}").as_bytes())?;
            assert_eq!(client.reply()?.status, 500);
        }
        assert_eq!(client.get("/missing")?.status, 404);
        assert_eq!(client.get(&format!("/long/{}", "x".repeat(1000)))?.status, 500);
        client.get("/body").unwrap_err();
        Ok(())
    });
    let lines = logged();
    let long = format!("GET /long/{}… failed: my bug (made at ", "x".repeat(194));
    let expected = [
        "GET /broken failed: my bug (made at ",
        "GET /later failed: my bug (made at ",
        "GET /faulty/child failed: ",
        "GET /interim failed: 100 Continue is not a final status",
        "GET /name failed: invalid header: invalid HTTP header name (made at http/tests/",
        "GET /value failed: invalid header: header location: failed to parse header value (made at http/tests/",
        "POST /broken failed: my bug (made at ",
        "POST /broken failed: my bug (made at ",
        &long,
        "response body of GET /body failed: my bug (made at ",
    ];
    assert!(
        lines.len() == expected.len()
            && lines.iter().zip(expected).all(|(line, start)| line.starts_with(start)),
        "{lines:#?}"
    );
}

// W1.5
#[test]
fn a_status_error_sets_the_status() {
    fn render(request: &mut Request<'_>) -> Result<String, Failure> {
        let name = request.arg("name").ok_or(StatusError::new(StatusCode::BAD_REQUEST).because("who?"))?;
        Ok(format!("Hello, {name}!"))
    }
    let later = |_: &mut Request<'_>| twistor_deferred::fail::<String>(StatusError::new(StatusCode::GONE));
    serve(Tree::new().get(render).put_child("later", later), |address| {
        let mut client = Client::connect(address)?;
        assert_eq!(client.get("/?other=1&name=Ada+L%C3%B6ve")?.text(), "Hello, Ada L\u{f6}ve!");
        let reply = client.get("/?nobody")?;
        assert_eq!((reply.status, reply.text().as_str()), (400, "who?\n"));
        assert_eq!(client.get("/later")?.status, 410);
        Ok(())
    });
}

// W2.3
#[test]
fn every_return_type_is_answered() {
    let root = Tree::new()
        .put_child("string", Tree::new().get(|_| String::from("text")))
        .put_child("bytes", Tree::new().get(|_| vec![0_u8, 255]))
        .put_child("static", Tree::new().get(|_| &b"bytes"[..]))
        .put_child("status", Tree::new().get(|_| StatusCode::ACCEPTED))
        .put_child("nothing", Tree::new().get(|_| ()))
        .put_child("reset", Tree::new().get(|_| StatusCode::RESET_CONTENT))
        .put_child(
            "reset-text",
            Tree::new().get(|_| Response::from("text").status(StatusCode::RESET_CONTENT)),
        )
        .put_child(
            "reset-stream",
            Tree::new().get(|_| {
                Response::stream(|_| -> Result<(), Failure> { panic!("a 205 has no body") })
                    .status(StatusCode::RESET_CONTENT)
            }),
        )
        .put_child("unchanged", Tree::new().get(|_| StatusCode::NOT_MODIFIED))
        .put_child("result", Tree::new().get(|_| Ok::<_, Failure>("fine")))
        .put_child("answer", Tree::new().get(|_| "answer".into_answer()))
        .put_child("redirect", Tree::new().get(|_| Response::redirect("/there")))
        .put_child("large", Tree::new().get(|_| vec![b'x'; 3_000_000]))
        .put_child(
            "response",
            Tree::new().get(|_| {
                let page = Response::from("<p>").content_type("text/html").status(StatusCode::NOT_FOUND);
                page.header("x-one", "1").header("x-one", "2")
            }),
        );
    serve(root, |address| {
        let mut client = Client::connect(address)?;
        assert_eq!(client.get("/string")?.text(), "text");
        let bytes = client.get("/bytes")?;
        assert_eq!((bytes.body.as_slice(), bytes.header("content-type")), (&[0, 255][..], None));
        assert_eq!(client.get("/static")?.text(), "bytes");
        assert_eq!((client.get("/status")?.status, client.get("/result")?.status), (202, 200));
        let nothing = client.get("/nothing")?;
        assert_eq!((nothing.status, nothing.header("content-length")), (204, None));
        // W1.2
        for path in ["/reset", "/reset-text", "/reset-stream"] {
            let reset = client.get(path)?;
            let fields =
                ["content-length", "content-type", "transfer-encoding"].map(|name| reset.header(name));
            assert_eq!((reset.status, fields), (205, [Some("0"), None, None]), "{path}");
        }
        assert_eq!(client.get("/unchanged")?.status, 304);
        assert_eq!(client.get("/answer")?.text(), "answer");
        let redirect = client.get("/redirect")?;
        assert_eq!((redirect.status, redirect.header("location")), (302, Some("/there")));
        assert!(client.get("/large")?.body == vec![b'x'; 3_000_000]);
        let response = client.get("/response")?;
        assert_eq!((response.status, response.header("content-type")), (404, Some("text/html")));
        assert_eq!(response.head.matches("\r\nX-One: ").count(), 2);
        Ok(())
    });
}

// W2.7
#[test]
fn a_handler_sees_the_whole_request() {
    let root = |request: &mut Request<'_>| {
        let tags: Vec<_> = request.headers().get_all("x-tag").map(|tag| tag.to_vec()).collect();
        assert_eq!(tags, [b"one", b"two"]);
        assert_eq!(request.header("X-TAG"), Some(&b"one"[..]));
        assert_eq!(request.host(), Some("there:81"));
        assert_eq!(request.query(), Some("a=1&b=%20&a=2&c"));
        let args: Vec<String> = request.args().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(args, ["a=1", "b= ", "a=2", "c="]);
        assert!(request.peer().ip().is_some());
        assert!(request.reactor().is_running());
        assert_eq!(request.body(), b"body");
        assert_eq!(request.take_body(), b"body");
        assert!(request.body().is_empty() && request.take_body().is_empty());
        format!("{} {}", request.method(), request.path())
    };
    let reply = serve(root, |address| {
        let mut client = Client::connect(address)?;
        client.send("POST /p%20q?a=1&b=%20&a=2&c HTTP/1.1\r\nHost: there:81\r\nX-Tag: one\r\n")?;
        client.send("x-tag: two\r\nContent-Length: 4\r\n\r\nbody")?;
        client.reply()
    });
    assert_eq!(reply.text(), "POST /p%20q");
}
