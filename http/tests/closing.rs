//! Closing, limits and timeouts of connections to servers that answer early, stay silent, are slow, or send
//! unexpected bytes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "it is test code, which clippy knows only inside #[test]"
)]

mod scripted;
#[path = "../../net/tests/support/mod.rs"]
mod support;

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use scripted::{Asked, Server, answer, run, seconds, text};
use support::DEADLINE;
use twistor_deferred::Deferred;
use twistor_http::{Agent, HttpError, Request, RequestStage, RequestTimedOut, TimeoutKind, get_page};
use twistor_net::{ConnectFailed, Failure, SimulatedNetwork};
use twistor_reactor::{AddTimeout, Reactor};

const MIB: usize = 1 << 20;

/// Answers after the head and keeps the connection open. Reads later, because only a read shows the reset.
async fn refuse_early(asked: Asked) {
    asked.transport.pause_producing();
    asked.say("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig");
    asked.sleep(0.5).await;
    asked.transport.resume_producing();
}

// H5.1
#[test]
fn an_early_answer_aborts_the_upload() {
    run(async |handle| {
        let server = Server::new(&handle, refuse_early);
        let agent = Agent::new(&handle).max_connections(1);
        for round in 1..=5 {
            let request = || Request::post(&server.url).body(vec![b'x'; 4 * MIB]);
            let page = if round < 5 { agent.get_page(request()) } else { request().get_page(&handle) };
            assert!(page.await.unwrap_err().is::<HttpError>());
            handle.sleep(seconds(0.001)).await?;
            assert_eq!(agent.connections(), (0, 0), "the socket is closed");
            handle.sleep(seconds(1.0)).await?;
            assert_eq!((server.seen.opened.get(), server.seen.lost.get()), (round, round));
        }
        Ok(())
    });
}

// H5.1: also if the server ends its half immediately
#[test]
fn an_early_answer_until_the_end_of_stream_ends_the_upload() {
    run(async |handle| {
        let server = Server::new(&handle, async |asked: Asked| {
            asked.transport.pause_producing();
            asked.say("HTTP/1.1 401 Who\r\n\r\nwho?");
            asked.transport.lose_write_connection();
            asked.sleep(0.5).await;
            asked.transport.resume_producing();
        });
        let agent = Agent::new(&handle);
        let page = agent.get_page(Request::new("PUT", &server.url).body(vec![b'x'; 4 * MIB])).await;
        assert_eq!(page.unwrap_err().trap::<HttpError>()?.body, b"who?");
        handle.sleep(seconds(1.0)).await?;
        assert_eq!((agent.connections(), server.seen.lost.get()), ((0, 0), 1));
        Ok(())
    });
}

// H5.1: so does a redirect
#[test]
fn an_early_redirect_aborts_the_upload() {
    run(async |handle| {
        let server = Server::new(&handle, async |asked: Asked| {
            if asked.what.starts_with("GET") {
                return asked.answer();
            }
            asked.transport.pause_producing();
            asked.say("HTTP/1.1 303 See\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n");
            asked.sleep(0.5).await;
            asked.transport.resume_producing();
        });
        let agent = Agent::new(&handle).max_connections(1);
        let page = agent.get_page(Request::post(&server.url).body(vec![b'x'; 4 * MIB]));
        assert_eq!(text(page).await?, "2");
        assert_eq!(*server.seen.requests.borrow(), ["POST /", "GET /there"]);
        handle.sleep(seconds(1.0)).await?;
        assert_eq!(server.seen.lost.get(), 1);
        Ok(())
    });
}

// H4.4
#[test]
fn bytes_that_the_server_accepts_are_a_sign_of_life() {
    for (pause, late) in [(3.0, false), (8.0, true)] {
        run(async move |handle| {
            SimulatedNetwork::of(&handle).unwrap().set_window(20_000, 20_000);
            let server = Server::new(&handle, async move |asked: Asked| {
                // Reads some of the body now and then, twenty times in all.
                for _ in 0..20 {
                    asked.transport.pause_producing();
                    asked.sleep(pause).await;
                    asked.transport.resume_producing();
                    asked.sleep(0.05).await;
                }
                asked.answer();
            });
            let request = Request::post(&server.url).body(vec![b'x'; 4 * MIB]).idle_timeout(seconds(6.0));
            let outcome = request.get_page(&handle).await;
            match outcome {
                Ok(page) => assert_eq!((page.text().as_ref(), late), ("1", false)),
                Err(failure) => {
                    let error = failure.trap::<RequestTimedOut>()?;
                    assert_eq!(
                        (error.kind, error.stage, late),
                        (TimeoutKind::Idle, RequestStage::Send, true)
                    );
                }
            }
            Ok(())
        });
    }
}

// H4.5
#[test]
fn a_body_slower_than_demanded_fails() {
    run(async |handle| {
        let server = Server::new(&handle, async |asked: Asked| {
            asked.say("HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n");
            for _ in 0..60 {
                asked.sleep(1.0).await;
                asked.say("x");
            }
        });
        assert_eq!(server.get("/").min_rate(4, seconds(5.0)).get_page(&handle).await?.body().len(), 60);
        let failure = server.get("/").min_rate(6, seconds(5.0)).get_page(&handle).await.unwrap_err();
        let slow = failure.trap::<RequestTimedOut>()?;
        let TimeoutKind::Rate { received, least } = slow.kind else { panic!("{slow}") };
        assert_eq!((least, slow.after, slow.stage), (6, seconds(5.0), RequestStage::Body));
        assert!((4..6).contains(&received), "{slow}");
        Ok(())
    });
}

// H4.5: time in which this side does not read does not count
#[test]
fn a_reader_that_pauses_does_not_make_the_server_slow() {
    run(async |handle| {
        let server = Server::new(&handle, async |asked: Asked| {
            asked.say(&format!("HTTP/1.1 200 OK\r\nContent-Length: {MIB}\r\n\r\n{}", "x".repeat(MIB)));
        });
        let request = server.get("/").min_rate(MIB as u64 / 2, seconds(5.0));
        let body = Agent::new(&handle).request(request).await?.into_body();
        let mut length = 0;
        while let Some(piece) = body.next().await? {
            length += piece.len();
            handle.sleep(seconds(11.0)).await?;
        }
        assert_eq!(length, MIB);
        Ok(())
    });
}

/// Turns the reactor as a host does, until the result is available.
fn turn_until<T: 'static>(reactor: &Reactor, deferred: Deferred<T>) -> Result<T, Failure> {
    let result: Rc<Cell<Option<Result<T, Failure>>>> = Rc::default();
    let slot = result.clone();
    drop(deferred.add_timeout(DEADLINE, reactor).add_both(move |result| slot.set(Some(result))));
    loop {
        if let Some(result) = result.take() {
            return result;
        }
        reactor.turn(None).unwrap();
    }
}

// H5.2: in the meantime, while the program was busy and the loop did not run
#[test]
fn a_connection_that_was_closed_or_has_data_is_not_used() {
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for unasked in [&b""[..], b"HTTP/1.1 408 Too Late\r\nContent-Length: 0\r\n\r\n", OK] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let (go_on, told) = mpsc::channel::<()>();
        let (done, seen) = mpsc::channel();
        let server = std::thread::spawn(move || {
            for first in [true, false] {
                let (mut socket, _) = listener.accept().unwrap();
                let mut head = [0; 1000];
                let count = socket.read(&mut head).unwrap();
                socket.write_all(OK).unwrap();
                if first {
                    told.recv().unwrap();
                    socket.write_all(unasked).unwrap();
                    drop(socket);
                }
                done.send(head[..count].to_vec()).unwrap();
            }
        });
        let reactor = Reactor::new().unwrap();
        let agent = Agent::new(&reactor);
        turn_until(&reactor, agent.get_page(url.as_str())).unwrap();
        assert_eq!(agent.connections(), (1, 1));
        go_on.send(()).unwrap();
        assert!(seen.recv().unwrap().starts_with(b"GET"));
        let posted = turn_until(&reactor, agent.get_page(Request::post(&url).body("x"))).unwrap();
        assert_eq!(posted.text(), "ok");
        assert!(seen.recv().unwrap().starts_with(b"POST"));
        server.join().unwrap();
    }
}

// H5.2: even in the turn that has read the response, because a request that may not be repeated would fail
#[test]
fn a_post_in_the_same_turn_avoids_a_closed_connection() {
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (done, told) = mpsc::channel();
    let (go_on, may_answer) = mpsc::channel();
    let server = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut socket, _) = listener.accept().unwrap();
            assert!(socket.read(&mut [0; 1000]).unwrap() > 0);
            done.send("asked").unwrap();
            may_answer.recv().unwrap();
            socket.write_all(OK).unwrap();
            drop(socket);
            done.send("closed").unwrap();
        }
    });
    let reactor = Reactor::new().unwrap();
    let agent = Agent::new(&reactor);
    let (again, post) = (agent.clone(), Request::post(&url).body("x"));
    let posted = agent.get_page(url.as_str()).add_callback(move |_| again.get_page(post));
    while told.try_recv().is_err() {
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    // The loop does not run before the answer and the end of stream are there.
    (0..2).for_each(|_| go_on.send(()).unwrap());
    assert_eq!(told.recv().unwrap(), "closed");
    assert_eq!(turn_until(&reactor, posted).unwrap().text(), "ok");
    server.join().unwrap();
}

// H5.3: less one second, for the transfer of the next request
#[test]
fn a_connection_is_kept_only_as_long_as_the_server_says() {
    run(async |handle| {
        for (said, time) in [("timeout=5, max=100", 4.0), ("Max=1, Timeout = 1", 0.5), ("timeout=1000", 60.0)]
        {
            let server = Server::new(&handle, async move |asked: Asked| {
                asked.say(&format!("HTTP/1.1 200 OK\r\nKeep-Alive: {said}\r\nContent-Length: 0\r\n\r\n"));
            });
            let agent = Agent::new(&handle);
            agent.get_page(server.get("/")).await?;
            handle.sleep(seconds(time - 0.1)).await?;
            assert_eq!(agent.connections(), (1, 1), "{said}");
            handle.sleep(seconds(0.2)).await?;
            assert_eq!(agent.connections(), (0, 0), "{said}");
        }
        let server = Server::new(&handle, async |asked: Asked| {
            asked.say("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=0\r\nContent-Length: 0\r\n\r\n");
        });
        let agent = Agent::new(&handle);
        agent.get_page(server.get("/")).await?;
        assert_eq!(agent.connections().1, 0);
        Ok(())
    });
}

// H5.4
#[test]
fn a_request_that_asks_to_close_ends_its_connection() {
    run(async |handle| {
        let server = Server::new(&handle, answer);
        let agent = Agent::new(&handle);
        for due in ["1", "2"] {
            let request = server.get("/").header("Connection", "x, Close");
            assert_eq!(text(agent.get_page(request)).await?, due);
        }
        Ok(())
    });
}

// H5.5
#[test]
fn connections_to_all_origins_have_a_limit() {
    run(async |handle| {
        let servers: Vec<Server> = (0..3).map(|_| Server::new(&handle, answer)).collect();
        let agent = Agent::new(&handle).max_total_connections(2);
        let most = handle.clone();
        let watched = agent.clone();
        let watching = handle.spawn(async move {
            loop {
                assert!(watched.connections().0 <= 2);
                most.sleep(seconds(0.001)).await?;
            }
            #[allow(unreachable_code)]
            Ok::<(), Failure>(())
        });
        let pages: Vec<_> =
            (0..12).map(|n| agent.get_page(servers[n % 3].get(if n < 6 { "/slow" } else { "/" }))).collect();
        for page in pages {
            page.await?;
        }
        watching.cancel();
        // The connection idle longest is closed for another origin.
        let last = Server::new(&handle, answer);
        agent.get_page(last.get("/")).await?;
        assert_eq!(agent.connections(), (2, 2));
        Ok(())
    });
}

// H5.6
#[test]
fn an_agent_waits_for_descriptors() {
    run(async |handle| {
        let network = SimulatedNetwork::of(&handle).unwrap();
        let server = Server::new(&handle, answer);
        let other = Server::new(&handle, answer);
        let agent = Agent::new(&handle);
        agent.get_page(other.get("/")).await?;
        // Both ends of the kept connection, which is closed for the new one.
        network.set_descriptor_limit(Some(2));
        agent.get_page(server.get("/")).await?;
        assert_eq!((agent.connections(), other.seen.lost.get()), ((1, 1), 1));
        // Descriptors become available after a while.
        agent.close_idle();
        network.set_descriptor_limit(Some(0));
        let pages: Vec<_> = (0..3).map(|_| agent.get_page(server.get("/slow"))).collect();
        handle.sleep(seconds(2.0)).await?;
        assert!(pages.iter().all(|page| !page.is_fired()));
        network.set_descriptor_limit(None);
        for page in pages {
            page.await?;
        }
        // Descriptors stay unavailable for longer than the connect timeout: the error reports it.
        network.set_descriptor_limit(Some(0));
        agent.close_idle();
        handle.sleep(seconds(1.0)).await?;
        let before = handle.now();
        let failure = agent.get_page(server.get("/").connect_timeout(seconds(3.0))).await.unwrap_err();
        assert!(failure.is::<ConnectFailed>(), "{failure}");
        assert!((seconds(3.0)..seconds(3.5)).contains(&(handle.now() - before)));
        assert!(get_page(&handle, &server.url).await.unwrap_err().is::<ConnectFailed>());
        Ok(())
    });
}
