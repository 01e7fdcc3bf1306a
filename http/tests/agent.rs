//! An agent's connections, and bodies that are read slowly, on a simulated network with exact times.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "it is test code, which clippy knows only inside #[test]"
)]

mod scripted;
#[path = "../../net/tests/support/mod.rs"]
mod support;

use std::rc::Rc;

use scripted::{Asked, Server, answer, run, seconds, text};
use support::folder::Folder;
use twistor_deferred::Cancelled;
use twistor_http::{Agent, NoResponse, PartialDownload, Request, RequestTimedOut, Response};
use twistor_net::{HandlerPanicked, Transport};

// H5.7, H5.8
#[test]
fn the_last_used_connection_is_reused_the_longest_idle_closed() {
    run(async |handle| {
        for (max_idle, left) in [(16, 2), (1, 1)] {
            let server = Server::new(&handle, answer);
            let agent = Agent::new(&handle).max_idle(max_idle);
            let pages = [agent.get_page(server.get("/slow")), agent.get_page(server.get("/fast"))];
            let [slow, fast] = pages;
            let (slow, fast) = (text(slow).await?, text(fast).await?);
            assert_ne!(slow, fast);
            handle.sleep(seconds(0.001)).await?;
            assert_eq!(agent.connections(), (left, left));
            assert_eq!(text(agent.get_page(server.get("/"))).await?, slow);
            assert_eq!(server.seen.opened.get(), 2);
        }
        Ok(())
    });
}

// H5.8
#[test]
fn requests_are_served_first_come_first_served() {
    run(async |handle| {
        let server = Server::new(&handle, answer);
        let agent = Agent::new(&handle).max_connections(1);
        let pages: Vec<_> = (0..5).map(|n| agent.get_page(server.get(&format!("/{n}")))).collect();
        for page in pages {
            page.await?;
        }
        assert_eq!(*server.seen.requests.borrow(), ["GET /0", "GET /1", "GET /2", "GET /3", "GET /4"]);
        Ok(())
    });
}

// H5.8: queued requests precede those that arrive when a connection ends
#[test]
fn a_new_request_does_not_overtake_the_queue() {
    run(async |handle| {
        let server = Server::new(&handle, async |asked: Asked| {
            asked.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            asked.transport.lose_connection();
        });
        let agent = Agent::new(&handle).max_connections(1);
        let (again, next) = (agent.clone(), server.get("/next"));
        let first = agent.get_page(server.get("/first")).add_callback(move |_| again.get_page(next));
        let second = agent.get_page(server.get("/second"));
        first.await?;
        second.await?;
        assert_eq!(*server.seen.requests.borrow(), ["GET /first", "GET /second", "GET /next"]);
        Ok(())
    });
}

// H5.8: the age counts from the opening of the connection
#[test]
fn a_busy_connection_is_closed_when_it_is_too_old() {
    run(async |handle| {
        let server = Server::new(&handle, answer);
        let agent = Agent::new(&handle).max_age(seconds(10.0));
        for due in ["1", "1", "2", "2"] {
            assert_eq!(text(agent.get_page(server.get("/"))).await?, due);
            assert_eq!(agent.connections(), (1, 1));
            handle.sleep(seconds(6.0)).await?;
        }
        Ok(())
    });
}

// H5.8
#[test]
fn each_idle_connection_is_closed_after_its_own_time() {
    run(async |handle| {
        let server = Server::new(&handle, answer);
        let agent = Agent::new(&handle).keep_idle(seconds(10.0));
        let slow = agent.get_page(server.get("/slow"));
        agent.get_page(server.get("/")).await?;
        slow.await?;
        handle.sleep(seconds(9.5)).await?;
        assert_eq!(agent.connections(), (1, 1));
        handle.sleep(seconds(1.0)).await?;
        assert_eq!(agent.connections(), (0, 0));
        Ok(())
    });
}

// H5.8, R4: an agent outlives a run, but its connections do not
#[test]
fn idle_connections_are_closed_in_a_second_run_too() {
    let reactor = twistor_reactor::Reactor::simulated(1);
    let agent = Rc::new(Agent::new(&reactor).keep_idle(seconds(10.0)));
    for last in [false, true] {
        let (handle, inner) = (reactor.handle(), agent.clone());
        let fetched = reactor.spawn(async move {
            let server = Server::new(&handle, answer);
            inner.get_page(server.get("/")).await?;
            assert_eq!(inner.connections(), (1, 1));
            if last {
                handle.sleep(seconds(11.0)).await?;
            }
            assert_eq!(inner.connections(), if last { (0, 0) } else { (1, 1) });
            Ok(())
        });
        reactor.run_until(fetched).unwrap();
        assert_eq!(agent.connections(), (0, 0));
    }
}

// H5.9: the other kept connections may be just as stale
#[test]
fn a_request_is_repeated_on_a_new_connection_only() {
    run(async |handle| {
        let server = Server::new(&handle, async |asked: Asked| {
            if asked.nth > 1 {
                return asked.transport.lose_connection();
            }
            answer(asked).await;
        });
        let agent = Agent::new(&handle);
        let slow = agent.get_page(server.get("/slow"));
        agent.get_page(server.get("/")).await?;
        slow.await?;
        assert_eq!(text(agent.get_page(server.get("/again"))).await?, "3");
        let mut requests = server.seen.requests.take();
        // The first two arrive at the same moment.
        requests[..2].sort_unstable();
        assert_eq!(requests, ["GET /", "GET /slow", "GET /again", "GET /again"]);
        Ok(())
    });
}

// H5.9, H2.5: the server closed it because of this request, not because it was idle
#[test]
fn a_request_on_a_new_connection_is_not_repeated() {
    run(async |handle| {
        let server = Server::new(&handle, async |asked: Asked| {
            asked.transport.lose_connection();
        });
        let agent = Agent::new(&handle);
        assert!(agent.get_page(server.get("/")).await.unwrap_err().is::<NoResponse>());
        assert_eq!(*server.seen.requests.borrow(), ["GET /"]);
        Ok(())
    });
}

// H5.9, H3.5
#[test]
fn each_request_of_a_redirect_may_be_repeated_once() {
    run(async |handle| {
        let hang_up = async |asked: Asked| {
            if asked.nth > 1 {
                return asked.transport.lose_connection();
            }
            asked.answer();
        };
        let there = Server::new(&handle, hang_up);
        let to = there.url.clone();
        let here = Server::new(&handle, async move |asked: Asked| match asked.nth {
            1 if asked.what == "GET /first" => asked.answer(),
            1 => asked.say(&format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")),
            _ => asked.transport.lose_connection(),
        });
        let agent = Agent::new(&handle);
        agent.get_page(here.get("/first")).await?;
        agent.get_page(there.get("/first")).await?;
        agent.get_page(here.get("/")).await?;
        assert_eq!((here.seen.opened.get(), there.seen.opened.get()), (2, 2));
        Ok(())
    });
}

// H5.9: with a reset or a graceful close
#[test]
fn a_kept_connection_that_the_server_ended_is_not_used() {
    run(async |handle| {
        for end in [Transport::abort_connection, Transport::lose_connection] {
            let server = Server::new(&handle, async move |asked: Asked| {
                asked.answer();
                asked.sleep(1.0).await;
                if asked.connection == 1 {
                    end(&asked.transport);
                }
            });
            let agent = Agent::new(&handle);
            agent.get_page(server.get("/")).await?;
            assert_eq!(agent.connections(), (1, 1));
            handle.sleep(seconds(2.0)).await?;
            assert_eq!(agent.connections(), (0, 0));
            assert_eq!(text(agent.get_page(Request::post(&server.url))).await?, "2");
            assert_eq!(*server.seen.requests.borrow(), ["GET /", "POST /"]);
        }
        Ok(())
    });
}

// H5.10
#[test]
fn a_kept_connection_with_unexpected_bytes_is_closed() {
    run(async |handle| {
        let server = Server::new(&handle, async |asked: Asked| {
            asked.answer();
            asked.sleep(1.0).await;
            if asked.connection == 1 {
                asked.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
            }
        });
        let agent = Agent::new(&handle);
        agent.get_page(server.get("/")).await?;
        handle.sleep(seconds(2.0)).await?;
        assert_eq!(agent.connections(), (0, 0));
        assert_eq!(text(agent.get_page(server.get("/"))).await?, "2");
        Ok(())
    });
}

// H5.10
#[test]
fn a_connection_with_a_half_sent_request_is_not_kept() {
    run(async |handle| {
        let server = Server::new(&handle, async |asked: Asked| {
            asked.transport.pause_producing();
            asked.answer();
        });
        let agent = Agent::new(&handle);
        let request = Request::post(&server.url).body(vec![b'x'; 4 << 20]);
        agent.get_page(request).await?;
        assert_eq!(agent.connections(), (0, 0));
        Ok(())
    });
}

// H5.8, H9.1: the next waiter gets it
#[test]
fn a_connection_opened_for_a_cancelled_request_is_used() {
    run(async |handle| {
        let server = Server::new(&handle, async |asked: Asked| {
            if asked.connection == 1 {
                return asked.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
            asked.answer();
        });
        let agent = Agent::new(&handle).max_connections(1);
        let first = agent.get_page(server.get("/first"));
        let second = agent.get_page(server.get("/second"));
        let third = agent.get_page(server.get("/third"));
        first.await?;
        // The next connection is being opened for the second request.
        while agent.connections() != (1, 0) {
            handle.sleep(seconds(0.001)).await?;
        }
        second.cancel();
        assert!(second.await.unwrap_err().is::<Cancelled>());
        assert_eq!(text(third).await?, "2");
        assert_eq!(*server.seen.requests.borrow(), ["GET /first", "GET /third"]);
        Ok(())
    });
}

/// Sends a body in two parts of `size` bytes, with a pause in seconds between them.
async fn two_parts(asked: Asked, size: usize, pause: f64) {
    asked.say(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", size * 2, "x".repeat(size)));
    asked.sleep(pause).await;
    asked.say(&"x".repeat(size));
}

// H4.7
#[test]
fn idle_time_does_not_count_while_the_reader_waits() {
    run(async |handle| {
        let server = Server::new(&handle, async |asked: Asked| two_parts(asked, 500_000, 0.0).await);
        let agent = Agent::new(&handle);
        let response: Response = agent.request(server.get("/").idle_timeout(seconds(5.0))).await?;
        handle.sleep(seconds(60.0)).await?;
        assert_eq!(response.into_body().collect().await?.len(), 1_000_000);
        // Once the reader continues, the idle time starts again.
        for (pause, late) in [(67.0, false), (69.0, true)] {
            let server = Server::new(&handle, async move |asked: Asked| two_parts(asked, 10, pause).await);
            let response: Response = agent.request(server.get("/").idle_timeout(seconds(5.0))).await?;
            handle.sleep(seconds(63.5)).await?;
            let body = response.into_body().collect().await;
            assert_eq!(body.is_err_and(|failure| failure.is::<RequestTimedOut>()), late);
        }
        Ok(())
    });
}

// H1.3, C1: a cancelled read takes no data
#[test]
fn a_piece_for_a_cancelled_read_is_kept_for_the_next() {
    run(async |handle| {
        let server = Server::new(&handle, async |asked: Asked| two_parts(asked, 10, 1.0).await);
        let response: Response = Agent::new(&handle).request(server.get("/")).await?;
        let body = response.into_body();
        assert_eq!(body.next().await?, Some(vec![b'x'; 10]));
        let late = body.next();
        late.cancel();
        assert!(late.await.is_err_and(|failure| failure.is::<Cancelled>()));
        handle.sleep(seconds(5.0)).await?;
        assert_eq!(body.next().await?, Some(vec![b'x'; 10]));
        assert_eq!(body.next().await?, None);
        Ok(())
    });
}

// H4.7
#[test]
fn queueing_and_interim_responses_are_not_idle_time() {
    run(async |handle| {
        let busy = Server::new(&handle, async |asked: Asked| {
            for _ in 0..4 {
                asked.sleep(3.0).await;
                asked.say("HTTP/1.1 102 Processing\r\n\r\n");
            }
            asked.answer();
        });
        let to = busy.url.clone();
        let here = Server::new(&handle, async move |asked: Asked| {
            asked.say(&format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"));
        });
        let agent = Agent::new(&handle).max_connections(1);
        let first = agent.get_page(busy.get("/").idle_timeout(seconds(5.0)));
        let second = agent.get_page(here.get("/").idle_timeout(seconds(5.0)));
        first.await?;
        second.await?;
        Ok(())
    });
}

// H3.2: its target is already known
#[test]
fn a_redirect_is_followed_whatever_its_body_does() {
    let large = "x".repeat(70_000);
    for (rest, opened) in [
        ("Content-Length: 1000000000\r\n\r\n".to_owned(), 2),
        ("Content-Length: 100\r\n\r\nshort".to_owned(), 2),
        ("\r\n".to_owned(), 2),
        (format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{large}", large.len() * 2), 2),
        ("Transfer-Encoding: chunked\r\n\r\n4\r\nmove\r\n0\r\n\r\n".to_owned(), 1),
        ("Content-Length: 4\r\nConnection: close\r\n\r\nmove".to_owned(), 2),
    ] {
        run(async move |handle| {
            let rest = rest.clone();
            let server = Server::new(&handle, async move |asked: Asked| {
                if asked.what == "GET /there" {
                    return asked.answer();
                }
                asked.say(&format!("HTTP/1.1 302 Found\r\nLocation: /there\r\n{rest}"));
                if rest.ends_with("short") {
                    asked.transport.lose_connection();
                }
            });
            let agent = Agent::new(&handle);
            let request = server.get("/").idle_timeout(seconds(600.0)).timeout(seconds(5.0));
            agent.get_page(request).await?;
            assert_eq!(server.seen.opened.get(), opened, "{:?}", server.seen.requests.borrow());
            Ok(())
        });
    }
}

// H3.2: whatever happens to its body
#[test]
fn a_redirect_whose_body_drips_or_is_too_large_is_followed() {
    run(async |handle| {
        let server = Server::new(&handle, async |asked: Asked| {
            if asked.what == "GET /there" {
                return asked.answer();
            }
            asked.say("HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 5000\r\n\r\n");
            for _ in 0..50 {
                asked.say(&"x".repeat(100));
                asked.sleep(if asked.what == "GET /drip" { 1.0 } else { 0.0 }).await;
            }
        });
        let agent = Agent::new(&handle).max_connections(1);
        let before = handle.now();
        let dripping = agent.get_page(server.get("/drip").idle_timeout(seconds(5.0)));
        assert_eq!(text(dripping).await?, "2");
        assert!(handle.now() - before < seconds(1.2));
        let large = agent.get_page(server.get("/large").max_body(10));
        assert_eq!(text(large).await?, "2");
        // With a shorter idle timeout, the body is waited for only that long.
        let dripping = agent.get_page(server.get("/drip").idle_timeout(seconds(0.1)));
        assert_eq!(text(dripping).await?, "3");
        Ok(())
    });
}

// H1.4: a body is read no faster than requested
#[test]
fn an_unread_body_waits_at_the_server() {
    run(async |handle| {
        let server = Server::new(&handle, async |asked: Asked| {
            asked.say("HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n");
            asked.say(&"x".repeat(10_000_000));
        });
        let agent = Agent::new(&handle);
        let body = agent.request(server.get("/").idle_timeout(seconds(600.0))).await?.into_body();
        let mut came = 0;
        for _ in 0..3 {
            handle.sleep(seconds(60.0)).await?;
            let buffered = server.seen.transport.borrow().as_ref().unwrap().buffered();
            assert!(buffered > 5_000_000, "only {buffered} bytes wait at the server");
            came += body.next().await?.unwrap().len();
        }
        came += body.collect().await?.len();
        assert_eq!((came, agent.connections()), (10_000_000, (1, 1)));
        Ok(())
    });
}

// H5.7: an unread body that is complete does not hold up other requests
#[test]
fn a_connection_with_a_complete_unread_body_is_reused() {
    run(async |handle| {
        let server = Server::new(&handle, answer);
        let agent = Agent::new(&handle);
        let unread = agent.request(server.get("/")).await?;
        handle.sleep(seconds(1.0)).await?;
        assert_eq!(agent.connections(), (1, 1));
        assert_eq!(text(agent.get_page(server.get("/").timeout(seconds(5.0)))).await?, "1");
        assert_eq!(unread.into_body().collect().await?, b"1");
        Ok(())
    });
}

// H9.1
#[test]
fn cancelling_a_delivery_closes_the_connection() {
    run(async |handle| {
        let server = Server::new(&handle, async |asked: Asked| two_parts(asked, 10, 60.0).await);
        let agent = Agent::new(&handle);
        let response: Response = agent.request(server.get("/")).await?;
        let delivering = response.into_body().deliver(|_| Ok(()));
        handle.sleep(seconds(1.0)).await?;
        delivering.cancel();
        assert!(delivering.await.unwrap_err().is::<Cancelled>());
        handle.sleep(seconds(1.0)).await?;
        assert_eq!(agent.connections(), (0, 0));
        assert_eq!(server.seen.lost.get(), 1);
        Ok(())
    });
}

// H8.7, H9.1
#[test]
fn a_download_cancelled_in_progress_leaves_no_file() {
    run(async |handle| {
        let folder = Folder::new("cancelled");
        let server = Server::new(&handle, async |asked: Asked| two_parts(asked, 10, 60.0).await);
        let download = server.get("/").download_page(&handle, folder.join("page"), |_, _| ());
        handle.sleep(seconds(1.0)).await?;
        assert_eq!(folder.names().len(), 1, "the file is being written");
        download.cancel();
        assert!(folder.names().is_empty());
        assert!(download.await.unwrap_err().is::<Cancelled>());
        Ok(())
    });
}

// H9.2, D5: at a piece that arrived before the call, and at a later one
#[test]
fn a_panic_of_a_body_consumer_fails_only_its_request() {
    for pieces in [0, 1] {
        run(async move |handle| {
            let server = Server::new(&handle, async |asked: Asked| two_parts(asked, 1, 0.1).await);
            let agent = Agent::new(&handle).max_connections(1);
            let response = agent.request(server.get("/")).await?;
            let mut left = pieces;
            let delivering = response.into_body().deliver(move |_| {
                left = i32::checked_sub(left, 1)
                    .filter(|left| *left >= 0)
                    .expect("a piece too many, on purpose");
                Ok(())
            });
            // The waiter gets its place.
            let next = agent.request(server.get("/"));
            let panicked = delivering.await.unwrap_err().trap::<HandlerPanicked>()?;
            assert_eq!(panicked.to_string(), "the consumer panicked: a piece too many, on purpose");
            drop(next.await?);
            assert_eq!(server.seen.opened.get(), 2);
            Ok(())
        });
    }
}

// H8.7, H8.9
#[test]
fn a_panic_of_a_progress_callback_fails_the_download() {
    run(async |handle| {
        let folder = std::env::temp_dir().join(format!("twistor-panicking-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder)?;
        let server = Server::new(&handle, answer);
        let watched = |_, _| panic!("in what watches, on purpose");
        let failure = server.get("/").download_page(&handle, folder.join("page"), watched).await.unwrap_err();
        assert!(
            failure.to_string().ends_with("data_received panicked: in what watches, on purpose"),
            "{failure}"
        );
        assert_eq!(std::fs::read_dir(&folder)?.count(), 0);
        std::fs::remove_dir_all(&folder)?;
        Ok(())
    });
}

// H1.4, H2.2, H4.1
#[test]
fn a_body_that_has_arrived_is_collected_at_once() {
    run(async |handle| {
        let server = Server::new(&handle, async |asked: Asked| {
            let length = if asked.what == "GET /cut" { 10 } else { 5 };
            asked.say(&format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\nhello"
            ));
            asked.transport.lose_connection();
        });
        let agent = Agent::new(&handle);
        let collected = async |request: Request, is_whole: bool| {
            let body = agent.request(request).await?.into_body();
            handle.sleep(seconds(1.0)).await?;
            let collected = body.collect();
            // The end of a cut body is not read before someone wants the rest.
            assert_eq!(collected.is_fired(), is_whole);
            collected.await
        };
        assert_eq!(collected(server.get("/"), true).await?, b"hello");
        let cut = collected(server.get("/cut"), false).await.unwrap_err().trap::<PartialDownload>()?;
        assert_eq!((&cut.body[..], cut.received, cut.expected), (&b"hello"[..], 5, Some(10)));
        let large = Request::get(format!("{}/", server.url)).max_body(5);
        assert_eq!(collected(large, true).await?, b"hello");
        Ok(())
    });
}
