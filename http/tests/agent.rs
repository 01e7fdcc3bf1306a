//! What becomes of an agent's connections and of bodies read at leisure, in a network whose time is exact.

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
use support::World;
use support::folder::Folder;
use twistor_deferred::Cancelled;
use twistor_http::{Agent, NoResponse, Request, RequestTimedOut, Response};
use twistor_net::{HandlerPanicked, Transport};

// H5
#[test]
fn the_connection_used_last_goes_first_and_the_one_idle_longest_is_closed_first() {
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

// H5
#[test]
fn who_waits_is_served_first_come_first_served() {
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

// H5: who waits comes before those who come when a connection ends
#[test]
fn nobody_overtakes_the_queue_when_a_connection_ends() {
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

// H5: the age counts from when it was opened
#[test]
fn a_connection_in_constant_use_is_given_up_when_it_is_too_old() {
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

// H5
#[test]
fn each_idle_connection_is_closed_when_its_own_time_is_over() {
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

// H5, R4: an agent outlives the run, with which its connections go
#[test]
fn idle_connections_are_closed_in_a_second_run_too() {
    let reactor = World::Simulated(1).reactor();
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

// H5: the others kept may be as stale
#[test]
fn a_request_is_repeated_on_a_new_connection_even_when_others_are_kept() {
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
        assert_eq!(*server.seen.requests.borrow(), ["GET /slow", "GET /", "GET /again", "GET /again"]);
        Ok(())
    });
}

// H5, H2: the server has closed it for this request, not for its age
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

// H5, H3
#[test]
fn each_of_the_requests_of_a_redirect_may_be_repeated_once() {
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

// H5: with a reset, or in order
#[test]
fn a_kept_connection_that_the_server_ends_meanwhile_is_not_used_for_any_method() {
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

// H5
#[test]
fn a_kept_connection_on_which_something_comes_unasked_is_closed() {
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

// H5
#[test]
fn a_connection_whose_request_was_not_read_to_its_end_is_not_kept() {
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

// H5, H9: it goes to whom waits next
#[test]
fn a_connection_made_for_one_who_cancels_is_not_lost() {
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
        // The next connection is under way, for the second.
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

/// A body in two parts of that size, the second so many seconds after the first.
async fn two_parts(asked: Asked, size: usize, pause: f64) {
    asked.say(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", size * 2, "x".repeat(size)));
    asked.sleep(pause).await;
    asked.say(&"x".repeat(size));
}

// H4
#[test]
fn silence_is_not_the_servers_while_the_reader_holds_it_up() {
    run(async |handle| {
        let server = Server::new(&handle, async |asked: Asked| two_parts(asked, 500_000, 0.0).await);
        let agent = Agent::new(&handle);
        let response: Response = agent.request(server.get("/").idle_timeout(seconds(5.0))).await?;
        handle.sleep(seconds(60.0)).await?;
        assert_eq!(response.into_body().collect().await?.len(), 1_000_000);
        // Once somebody asks, it counts anew.
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

// H1, C1: who does not wait any more takes nothing
#[test]
fn a_piece_that_is_no_longer_waited_for_is_kept_for_the_next_who_asks() {
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

// H4
#[test]
fn waiting_in_the_queue_is_no_silence_and_interim_responses_are_none() {
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

// H3: it is known where it leads
#[test]
fn a_redirect_is_followed_however_its_own_body_ends_or_does_not() {
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

// H3.2: whatever is wrong with its body
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
        // Whoever does not wait for silence does not wait for its body either.
        let dripping = agent.get_page(server.get("/drip").idle_timeout(seconds(0.1)));
        assert_eq!(text(dripping).await?, "3");
        Ok(())
    });
}

// H1: read no faster than asked for
#[test]
fn a_body_that_nobody_asks_for_waits_at_the_server() {
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
            assert!(buffered > 5_000_000, "only {buffered} bytes wait there");
            came += body.next().await?.unwrap().len();
        }
        came += body.collect().await?.len();
        assert_eq!((came, agent.connections()), (10_000_000, (1, 1)));
        Ok(())
    });
}

// H5: a body that came whole before anybody asked for it holds up nobody else
#[test]
fn the_next_request_flows_on_a_connection_whose_last_body_nobody_has_read() {
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

// H9
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

// H8, H9
#[test]
fn a_download_cancelled_under_way_leaves_no_file() {
    run(async |handle| {
        let folder = Folder::new("cancelled");
        let server = Server::new(&handle, async |asked: Asked| two_parts(asked, 10, 60.0).await);
        let download = server.get("/").download_page(&handle, folder.join("page"), |_, _| ());
        handle.sleep(seconds(1.0)).await?;
        assert_eq!(folder.names().len(), 1, "it is being written");
        download.cancel();
        assert!(folder.names().is_empty());
        assert!(download.await.unwrap_err().is::<Cancelled>());
        Ok(())
    });
}

// H9, D5: what came before it was asked for, and what comes later
#[test]
fn a_panic_in_what_takes_a_body_fails_that_request_alone() {
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
            // Its place goes to who waits for it.
            let next = agent.request(server.get("/"));
            let panicked = delivering.await.unwrap_err().trap::<HandlerPanicked>()?;
            assert_eq!(panicked.to_string(), "the consumer panicked: a piece too many, on purpose");
            drop(next.await?);
            assert_eq!(server.seen.opened.get(), 2);
            Ok(())
        });
    }
}

// H8, H9
#[test]
fn a_panic_in_what_watches_a_download_fails_it_and_leaves_no_file() {
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
