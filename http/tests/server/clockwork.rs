//! W2 to W7 where timing matters: on a simulated network, where a second takes no time.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::{Deferred, Trigger};
use twistor_http::server::{BodyWriter, Files, Request, Response, Settings, Site, Timeouts};
use twistor_net::{
    ClientEndpoint, ConnectionLost, Conversation, Failure, ListeningPort, Producer, ServerEndpoint,
    SimulatedNetwork,
};
use twistor_reactor::{Handle, Reactor};

use crate::client::{get, post};
use crate::support::folder::Folder;
use crate::support::logged::{keep_log, logged};

const SERVER: &str = "192.0.2.80:80";
const MOMENT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(3600);

/// Runs a client on a network with a latency of one millisecond and a window of 16 KiB.
fn simulate<F: AsyncFnOnce(Handle) -> Result<(), Failure> + 'static>(test: impl FnOnce(&Reactor) -> F) {
    let reactor = Reactor::simulated(1);
    let network = SimulatedNetwork::of(&reactor).unwrap();
    network.set_latency(Duration::from_millis(1), Duration::from_millis(1));
    network.set_splitting(false);
    network.set_window(16 * 1024, 16 * 1024);
    let test = test(&reactor);
    let handle = Handle::clone(&reactor);
    let done = reactor.spawn(async move { test(handle).await });
    reactor.run_until(done).unwrap();
}

fn listen(site: &Site) -> ListeningPort {
    site.listen(server()).unwrap()
}

fn server() -> ServerEndpoint {
    ServerEndpoint::tcp(SERVER.parse().unwrap())
}

fn connect(handle: &Handle) -> Deferred<Conversation> {
    ClientEndpoint::tcp("192.0.2.80", 80).converse(handle)
}

/// Reads until the received text ends with `end`.
async fn read_until(client: &Conversation, end: &str) -> Result<String, Failure> {
    let mut text = String::new();
    while !text.ends_with(end) {
        let piece = client.read_some().await?;
        assert!(!piece.is_empty(), "end of stream after {text:?}");
        text.push_str(&String::from_utf8_lossy(&piece));
    }
    Ok(text)
}

// W4.8: the connection is still read while the client may be sending, for a limited time
#[test]
fn a_client_that_stays_after_its_refusal_is_disconnected() {
    for sends in [false, true] {
        simulate(|reactor| {
            let linger = Duration::from_secs(3);
            let timeouts =
                Timeouts { linger, head: LONG, body: LONG, idle: LONG, write: LONG, half_closed: LONG };
            let settings = Settings { timeouts, ..Settings::default() };
            let site = Site::with_settings(reactor, |_: &mut Request<'_>| "fine", settings);
            listen(&site);
            async move |handle: Handle| {
                let client = connect(&handle).await?;
                client.write(b"nonsense\r\n\r\n");
                let refusal = client.read_to_end(1000).await?;
                assert!(refusal.starts_with(b"HTTP/1.1 400 "));
                let begin = handle.now();
                while handle.now() - begin < linger - MOMENT {
                    assert_eq!(site.connections(), 1, "closed after {:?}", handle.now() - begin);
                    if sends {
                        client.write(b"more");
                    }
                    handle.sleep(MOMENT / 2).await?;
                }
                // Lingering connections are checked every half second.
                handle.sleep(Duration::from_millis(500) + MOMENT * 2).await?;
                assert_eq!(site.connections(), 0, "still there");
                Ok(())
            }
        });
    }
}

// W3.2: answers are gathered, and written before they are many
#[test]
fn a_pipeline_gathers_a_limited_number_of_answers() {
    for streamed in [false, true] {
        let answered = Rc::new(Cell::new(0));
        let count = answered.clone();
        simulate(|reactor| {
            let site = Site::new(reactor, move |_: &mut Request<'_>| {
                count.set(count.get() + 1);
                let body = vec![b'x'; 4096];
                if !streamed {
                    return Response::from(body);
                }
                Response::stream(move |out| {
                    out.write(&body);
                })
            });
            listen(&site);
            async move |handle: Handle| {
                let client = connect(&handle).await?;
                client.transport().pause_producing();
                client.write(get("/").repeat(300).as_bytes());
                handle.sleep(MOMENT).await?;
                // The high-water mark, the gathered answers, and the data in flight.
                let most = (64 + 32 + 16) / 4 + 2;
                assert!((16..=most).contains(&answered.get()), "{} of 300", answered.get());
                Ok(())
            }
        });
    }
}

// W6.3: the site's own ports are closed, and connections through other ports are not accepted
#[test]
fn a_stopping_site_accepts_no_connections() {
    simulate(|reactor| {
        let (answer, trigger) = Deferred::new();
        let answer = Cell::new(Some(answer));
        let site = Site::new(reactor, move |_: &mut Request<'_>| -> Deferred<&'static str> {
            answer.take().unwrap()
        });
        let port = server().listen(reactor, site.clone()).unwrap();
        async move |handle: Handle| {
            let waiting = connect(&handle).await?;
            waiting.write(get("/").as_bytes());
            handle.sleep(MOMENT).await?;
            let stopped = site.stop();
            assert!(port.is_listening());
            let late = connect(&handle).await?;
            late.write(get("/").as_bytes());
            let nothing = late.read_to_end(1000).await;
            assert!(nothing.is_err() || nothing.is_ok_and(|data| data.is_empty()));
            assert_eq!(site.connections(), 1);
            trigger.callback("fine");
            assert!(waiting.read_to_end(1000).await?.ends_with(b"\r\n\r\nfine"));
            stopped.await
        }
    });
}

/// The writer of a streamed answer, and the trigger that ends the answer.
type Body = (BodyWriter, Trigger<()>);

/// A handler with a streamed answer, and a Deferred of the answer's writer.
fn handed_out() -> (impl Fn(&mut Request<'_>) -> Response, Deferred<Body>) {
    let (begun, begin) = Deferred::new();
    let begin = Rc::new(RefCell::new(Some(begin)));
    let root = move |_: &mut Request<'_>| {
        let begin = begin.clone();
        Response::stream(move |out| {
            let (done, trigger) = Deferred::new();
            begin.take().unwrap().callback((out, trigger));
            done
        })
    };
    (root, begun)
}

// W6.3: although its head, which was already sent, says that the connection stays open
#[test]
fn an_answer_in_progress_is_the_last_of_a_stopping_site() {
    simulate(|reactor| {
        let (root, begun) = handed_out();
        let timeouts = Timeouts { idle: LONG, ..Timeouts::default() };
        let site =
            Site::with_settings(reactor, root, Settings { timeouts, grace: LONG, ..Settings::default() });
        listen(&site);
        async move |handle: Handle| {
            let client = connect(&handle).await?;
            client.write(get("/").as_bytes());
            let (out, done) = begun.await?;
            assert!(!read_until(&client, "\r\n\r\n").await?.contains("Connection"));
            let stopped = site.stop();
            let begin = handle.now();
            out.write(b"the rest");
            done.callback(());
            assert_eq!(client.read_to_end(1000).await?, b"8\r\nthe rest\r\n0\r\n\r\n");
            stopped.await?;
            assert!(handle.now() - begin < Duration::from_secs(1));
            Ok(())
        }
    });
}

// W4.7: only a request other than HEAD is refused with a body
#[test]
fn a_head_request_is_refused_without_a_body() {
    simulate(|reactor| {
        let mut settings = Settings::default();
        settings.limits.body_size = 3;
        let site = Site::with_settings(reactor, |_: &mut Request<'_>| "fine", settings);
        listen(&site);
        async move |handle: Handle| {
            for (method, body) in [("POST", "Content Too Large\n"), ("HEAD", "")] {
                let client = connect(&handle).await?;
                client.write(post("/", "four").replace("POST", method).as_bytes());
                let refusal = String::from_utf8(client.read_to_end(1000).await?).unwrap();
                let (head, rest) = refusal.split_once("\r\n\r\n").unwrap();
                assert!(head.starts_with("HTTP/1.1 413 ") && head.contains("Content-Length: "), "{head}");
                assert_eq!(rest.is_empty(), body.is_empty(), "{method}: {rest:?}");
            }
            Ok(())
        }
    });
}

/// A folder with a large file in it.
fn with_large_file(name: &str, test: impl FnOnce(PathBuf)) {
    let folder = Folder::new(name);
    folder.write("large", vec![b'x'; 3 << 20]);
    test(folder.path().to_owned());
}

// W7.7: a file is read only as far as the client has room for it
#[test]
fn a_large_file_is_read_as_its_client_reads() {
    with_large_file("pieces", |root| {
        simulate(|reactor| {
            listen(&Site::new(reactor, Files::new(&root)));
            async move |handle: Handle| {
                let client = connect(&handle).await?;
                client.transport().pause_producing();
                client.write(get("/large").as_bytes());
                handle.sleep(Duration::from_secs(5)).await?;
                // The file was not read up to the new end, so its end is missing.
                // The client must notice that the body is incomplete.
                std::fs::OpenOptions::new().write(true).open(root.join("large"))?.set_len(2 << 20)?;
                client.transport().resume_producing();
                let read = client.read_to_end(4 << 20).await.map(|all| all.len());
                let failure = read.expect_err("the file was read before the client had room for it");
                assert!(failure.is::<ConnectionLost>(), "{failure}");
                Ok(())
            }
        });
    });
}

// W2.2: a body that waits for its writer to drain, and one that its producer ends when it is stopped
#[test]
fn leaving_a_streamed_body_is_not_an_error() {
    keep_log();
    type Start = fn(Handle, BodyWriter) -> Deferred<()>;
    let bodies: [Start; 3] = [
        |handle, out| {
            handle.spawn(async move {
                while out.write(&[b'x'; 100_000]) {
                    out.drained().await?;
                }
                Ok::<(), Failure>(())
            })
        },
        |_, out| {
            out.write(&[b'x'; 10_000_000]);
            out.drained().add_callback(move |()| drop(out))
        },
        |_, out| {
            let (ended, trigger) = Deferred::new();
            out.register_producer(Stopped(Cell::new(Some(trigger)))).unwrap();
            out.write(&[b'x'; 10_000_000]);
            ended
        },
    ];
    for start in bodies {
        simulate(|reactor| {
            let handle = Handle::clone(reactor);
            let site = Site::new(reactor, move |_: &mut Request<'_>| {
                let handle = handle.clone();
                Response::stream(move |out| start(handle, out))
            });
            listen(&site);
            async move |handle: Handle| {
                let client = connect(&handle).await?;
                client.transport().pause_producing();
                client.write(get("/").as_bytes());
                handle.sleep(Duration::from_secs(1)).await?;
                assert_eq!(site.connections(), 1);
                client.transport().abort_connection();
                handle.sleep(Duration::from_secs(1)).await?;
                assert_eq!(site.connections(), 0);
                Ok(())
            }
        });
    }
    assert_eq!(logged(), [""; 0]);
}

/// Fails the body when its producer is stopped.
struct Stopped(Cell<Option<Trigger<()>>>);

impl Producer for Stopped {
    fn pause_producing(&self) {}

    fn resume_producing(&self) {}

    fn stop_producing(&self) {
        if let Some(trigger) = self.0.take() {
            trigger.errback(Failure::new("the client has left"));
        }
    }
}

// W7.8: neither if the client leaves, nor if the server disconnects it
#[test]
fn an_unfinished_download_is_not_an_error() {
    keep_log();
    for leaves in [true, false] {
        with_large_file("left", |root| {
            simulate(|reactor| {
                let site = Site::new(reactor, Files::new(root));
                listen(&site);
                async move |handle: Handle| {
                    let client = connect(&handle).await?;
                    client.transport().pause_producing();
                    client.write(get("/large").as_bytes());
                    handle.sleep(Duration::from_secs(1)).await?;
                    if leaves {
                        client.transport().abort_connection();
                        handle.sleep(Duration::from_secs(1)).await?;
                    } else {
                        site.stop().await?;
                    }
                    assert_eq!(site.connections(), 0);
                    Ok(())
                }
            });
        });
    }
    assert_eq!(logged(), [""; 0]);
}
