//! W2: deferred answers, streamed bodies in both directions, and clients that leave.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::{Deferred, Trigger};
use twistor_http::Method;
use twistor_http::server::{
    BodyCut, BodyMode, BodyWriter, Request, Response, Settings, Site, Timeouts, Tree,
};
use twistor_net::{Failure, Producer};
use twistor_reactor::{Handle, defer_later};

use crate::client::*;
use crate::support::{address, noise, reset, run};

// W2.3
#[test]
fn an_answer_may_be_deferred() {
    let root = Tree::new()
        .get(|request| defer_later(request.reactor(), Duration::from_millis(1), || Ok("at last")))
        .put_child("now", Tree::new().get(|_| twistor_deferred::succeed("at once")));
    serve(root, |address| {
        let mut client = Client::connect(address)?;
        for _ in 0..3 {
            assert_eq!(client.get("/")?.text(), "at last");
            assert_eq!(client.get("/now")?.text(), "at once");
        }
        Ok(())
    });
}

/// A handler that never answers. The first Deferred fires when it is called, the second when it is cancelled.
fn waiting() -> (impl Fn(&mut Request<'_>) -> Deferred<String>, Deferred<()>, Deferred<()>) {
    let (begun, begin) = Deferred::new();
    let (cancelled, cancel) = Deferred::new();
    let slots = RefCell::new(Some((begin, cancel)));
    let kept = Rc::new(RefCell::new(Vec::<Trigger<String>>::new()));
    let handler = move |_: &mut Request<'_>| {
        let slots: Option<(Trigger<()>, Trigger<()>)> = slots.borrow_mut().take();
        let (begin, cancel) = slots.expect("asked twice");
        begin.callback(());
        let (deferred, trigger) = Deferred::with_canceller(move |_| cancel.callback(()));
        kept.borrow_mut().push(trigger);
        deferred
    };
    (handler, begun, cancelled)
}

// W2.4, E3: a client that leaves cancels the handler's Deferred
#[test]
fn a_reset_cancels_the_handler() {
    run(|reactor| {
        let (handler, begun, cancelled) = waiting();
        let site = Site::new(reactor, handler);
        let (handle, address) = (Handle::clone(reactor), address(&listen(&site)));
        let client = visit(reactor, address, |address| {
            let mut client = Client::connect(address)?;
            client.send(get("/"))?;
            Ok(client)
        });
        client.add_callback(move |client| {
            begun.add_callback(move |()| {
                reset(client.into_stream());
                cancelled.add_callback(move |()| {
                    visit(&handle, address, |_| Ok(()))
                        .add_callback(move |()| assert_eq!(site.connections(), 0))
                })
            })
        })
    });
}

// W2.4: so does a close, after `half_closed`, or immediately if that is zero
#[test]
fn a_close_cancels_the_handler() {
    for half_closed in [Duration::ZERO, Duration::from_millis(20)] {
        run(|reactor| {
            let (handler, begun, cancelled) = waiting();
            let timeouts = Timeouts { half_closed, linger: Duration::from_millis(20), ..Timeouts::default() };
            let site = Site::with_settings(reactor, handler, Settings { timeouts, ..Settings::default() });
            let client = visit(reactor, address(&listen(&site)), |address| {
                let mut client = Client::connect(address)?;
                client.send(get("/"))?;
                Ok(client)
            });
            client.add_callback(move |client| {
                begun.add_callback(move |()| {
                    drop(client);
                    cancelled
                })
            })
        });
    }
}

// W2.4, B5
#[test]
fn a_client_that_has_closed_its_half_gets_its_answer() {
    let root = Tree::new()
        .get(|request| defer_later(request.reactor(), Duration::from_millis(30), || Ok("at last")))
        .put_child("now", Tree::new().get(|_| "at once"));
    serve(root, |address| {
        for (path, text) in [("/", "at last"), ("/now", "at once")] {
            let mut client = Client::connect(address)?;
            client.send(get(path))?;
            client.half_close()?;
            assert_eq!(client.reply()?.text(), text);
            client.expect_end();
        }
        Ok(())
    });
}

// W2.1, B5: also if it closes its half during a streamed answer and then waits for the end
#[test]
fn a_streamed_answer_is_completed_after_a_half_close() {
    let (begun, begin) = std::sync::mpsc::channel();
    let root = move |request: &mut Request<'_>| {
        let (handle, begun) = (request.reactor().clone(), begun.clone());
        Response::stream(move |out: BodyWriter| {
            let _ = out.write(b"a ");
            let _ = begun.send(());
            defer_later(&handle, Duration::from_millis(50), move || {
                let _ = out.write(b"piece");
                Ok(())
            })
        })
    };
    serve(root, move |address| {
        let mut client = Client::connect(address)?;
        client.send(get("/"))?;
        begin.recv().unwrap();
        client.half_close()?;
        assert_eq!(client.reply()?.text(), "a piece");
        client.expect_end();
        Ok(())
    });
}

// W2.4: an answer for a client that has left is dropped
#[test]
fn a_late_answer_is_dropped() {
    run(|reactor| {
        let (begun, begin) = Deferred::new();
        let (cancelled, cancel) = Deferred::new();
        let (slots, kept) = (Cell::new(Some((begin, cancel))), Rc::new(Cell::new(None)));
        let answer = kept.clone();
        let handler = move |_: &mut Request<'_>| {
            let (begin, cancel): (Trigger<()>, Trigger<()>) = slots.take().expect("asked twice");
            // A Deferred whose canceller does not fire it.
            let (deferred, trigger) = Deferred::<String>::with_canceller(move |_| cancel.callback(()));
            answer.set(Some(trigger));
            begin.callback(());
            deferred
        };
        let client = visit(reactor, address(&listen(&Site::new(reactor, handler))), |address| {
            let mut client = Client::connect(address)?;
            client.send(get("/"))?;
            Ok(client)
        });
        let handle = Handle::clone(reactor);
        client.add_callback(move |client| {
            begun.add_callback(move |()| {
                reset(client.into_stream());
                cancelled.add_callback(move |()| {
                    defer_later(&handle, Duration::ZERO, move || {
                        let trigger: Trigger<String> = kept.take().expect("the handler was not called");
                        assert!(!trigger.is_live());
                        trigger.callback("too late".into());
                    })
                })
            })
        })
    });
}

fn count_to(n: usize) -> impl Fn(&mut Request<'_>) -> Response {
    move |request| {
        let handle = request.reactor().clone();
        Response::stream(move |out| {
            handle.clone().spawn(async move {
                for i in 0..n {
                    assert!(out.write(format!("{i}\n").as_bytes()));
                    handle.sleep(Duration::ZERO).await?;
                }
                Ok::<(), Failure>(())
            })
        })
    }
}

// W2.5, W3.5: chunked for clients that understand chunks
#[test]
fn a_body_is_streamed() {
    let root = Tree::new()
        .get(count_to(5))
        .put_child("none", Tree::new().get(|_| Response::stream(|_| ())))
        .put_child(
            "now",
            Tree::new()
                .get(|_| Response::stream(|out| out.write(b"all").then_some(()).ok_or(Failure::new("no")))),
        );
    serve(root, |address| {
        let mut client = Client::connect(address)?;
        for _ in 0..2 {
            let reply = client.get("/")?;
            assert_eq!(reply.header("transfer-encoding"), Some("chunked"));
            assert_eq!((reply.header("content-length"), reply.text().as_str()), (None, "0\n1\n2\n3\n4\n"));
        }
        assert_eq!(client.get("/none")?.text(), "");
        assert_eq!(client.get("/now")?.text(), "all");
        client.send("HEAD / HTTP/1.1\r\nHost: here\r\n\r\n")?;
        assert_eq!(client.head()?.header("transfer-encoding"), Some("chunked"));
        assert_eq!(client.get("/now")?.text(), "all");
        // HTTP/1.0 has no chunks: the body ends with the connection.
        let mut old = Client::connect(address)?;
        old.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")?;
        let reply = old.reply()?;
        assert!(reply.closes());
        assert_eq!((reply.header("transfer-encoding"), reply.text().as_str()), (None, "0\n1\n2\n3\n4\n"));
        Ok(())
    });
}

// W2.5: the head does not wait for the body
#[test]
fn the_head_is_sent_before_the_first_piece() {
    run(|reactor| {
        let (seen, tell) = Deferred::<()>::new();
        let seen = RefCell::new(Some(seen));
        let root = move |_: &mut Request<'_>| {
            let seen = seen.borrow_mut().take().expect("asked twice");
            Response::stream(move |out| {
                seen.add_callback(move |()| {
                    out.write(b"body");
                })
            })
        };
        let address = address(&listen(&Site::new(reactor, root)));
        let client = visit(reactor, address, |address| {
            let mut client = Client::connect(address)?;
            client.send(get("/"))?;
            client.head()?;
            Ok(client)
        });
        let handle = Handle::clone(reactor);
        client.add_callback(move |mut client| {
            tell.callback(());
            visit(&handle, address, move |_| client.chunk())
                .add_callback(|chunk| assert_eq!(chunk.unwrap(), b"body"))
        })
    });
}

// W2.5, W2.6
#[test]
fn a_sized_body_must_have_the_announced_length() {
    fn sized(length: u64, pieces: &'static [&'static [u8]]) -> impl Fn(&mut Request<'_>) -> Response {
        move |_| {
            Response::sized(length, move |out| {
                for piece in pieces {
                    out.write(piece);
                }
            })
        }
    }
    let root = Tree::new()
        .put_child("right", sized(4, &[b"ab", b"", b"cd"]))
        .put_child("short", sized(5, &[b"ab", b"cd"]))
        .put_child("long", sized(3, &[b"ab", b"cd"]))
        .put_child("empty", sized(0, &[]));
    serve(root, |address| {
        let mut client = Client::connect(address)?;
        assert_eq!(client.get("/right")?.text(), "abcd");
        assert_eq!(client.get("/empty")?.text(), "");
        client.send("HEAD /short HTTP/1.1\r\nHost: here\r\n\r\n")?;
        assert_eq!(client.head()?.header("content-length"), Some("5"));
        for path in ["/short", "/long"] {
            let mut client = Client::connect(address)?;
            let error = client.get(path).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{error}");
        }
        Ok(())
    });
}

// W2.6: the client must not take a truncated body for a complete one
#[test]
fn a_stream_that_fails_resets_the_connection() {
    let root = |request: &mut Request<'_>| {
        let handle = request.reactor().clone();
        Response::stream(move |out| {
            out.write(b"half");
            defer_later(&handle, Duration::from_millis(5), || {
                Err::<(), _>(Failure::new("the other half is lost"))
            })
        })
    };
    serve(root, |address| {
        let mut client = Client::connect(address)?;
        let error = client.get("/").unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{error}");
        Ok(())
    });
}

// W2.5, B3: a slow reader holds up the producer
#[test]
fn a_stream_waits_for_its_reader() {
    let most = Rc::new(Cell::new(0_usize));
    let seen = most.clone();
    let root = move |request: &mut Request<'_>| {
        let (handle, seen) = (request.reactor().clone(), seen.clone());
        Response::stream(move |out| {
            let piece = noise(10_000);
            handle.spawn(async move {
                for i in 0..2_000 {
                    out.write(&piece);
                    if out.is_full() {
                        seen.set(seen.get().max(i));
                        out.drained().await?;
                    }
                }
                Ok::<(), Failure>(())
            })
        })
    };
    let reply = serve(root, |address| Client::connect(address)?.get("/"));
    assert_eq!(reply.body.len(), 20_000_000);
    assert!(most.get() > 0, "the writer was never full");
}

// W2.5
#[test]
fn a_producer_is_paused_and_stopped() {
    #[derive(Clone)]
    struct Flood {
        out: BodyWriter,
        written: Rc<Cell<usize>>,
        paused: Rc<Cell<bool>>,
        done: Rc<Cell<Option<Trigger<()>>>>,
    }

    impl Producer for Flood {
        fn pause_producing(&self) {
            self.paused.set(true);
        }

        fn resume_producing(&self) {
            self.paused.set(false);
            while !self.paused.get() && self.written.get() < 5_000_000 {
                self.out.write(&[7; 1000]);
                self.written.set(self.written.get() + 1000);
            }
            if !self.paused.get() {
                if let Some(done) = self.done.take() {
                    done.callback(());
                }
            }
        }

        fn stop_producing(&self) {}
    }

    let root = |_: &mut Request<'_>| {
        Response::stream(|out| {
            let (deferred, trigger) = Deferred::new();
            let done = Rc::new(Cell::new(Some(trigger)));
            let flood = Flood { out: out.clone(), written: Rc::default(), paused: Rc::default(), done };
            out.register_producer(flood.clone()).unwrap();
            flood.resume_producing();
            deferred
        })
    };
    serve(root, |address| {
        let mut client = Client::connect(address)?;
        for _ in 0..2 {
            assert_eq!(client.get("/")?.body.len(), 5_000_000);
        }
        Ok(())
    });
}

// W2.4: the stream is cancelled, and later writes are harmless
#[test]
fn a_reader_that_leaves_cancels_the_stream() {
    run(|reactor| {
        let (gone, tell) = Deferred::new();
        let tell = RefCell::new(Some(tell));
        let root = move |_: &mut Request<'_>| {
            let tell: Option<Trigger<BodyWriter>> = tell.borrow_mut().take();
            Response::stream(move |out| {
                out.write(b"some");
                let (deferred, trigger) = Deferred::<()>::with_canceller(move |_| {
                    if let Some(tell) = tell {
                        tell.callback(out);
                    }
                });
                std::mem::forget(trigger);
                deferred
            })
        };
        let client = visit(reactor, address(&listen(&Site::new(reactor, root))), |address| {
            let mut client = Client::connect(address)?;
            client.send(get("/"))?;
            client.head()?;
            reset(client.into_stream());
            Ok(())
        });
        client.add_callback(move |()| {
            gone.add_callback(|out| {
                assert!(!out.is_open() && !out.write(b"more") && !out.is_full());
                out.drained().add_both(|result| assert!(result.is_err()))
            })
        })
    });
}

fn streamed<O: twistor_http::server::IntoAnswer>(handler: impl Fn(&mut Request<'_>) -> O + 'static) -> Tree {
    Tree::new().on_mode(Method::POST, BodyMode::Streamed, handler)
}

// W2.5, W2.7, W3.5: an echo that holds one piece at a time
#[test]
fn a_body_is_streamed_in_and_out() {
    let root = streamed(|request| {
        let (body, handle) = (request.stream().expect("taken"), request.reactor().clone());
        assert!(request.stream().is_none());
        Response::stream(move |out| {
            handle.spawn(async move {
                while let Some(piece) = body.next().await? {
                    out.write(&piece);
                    out.drained().await?;
                }
                Ok::<(), Failure>(())
            })
        })
    });
    let sent = noise(3_000_000);
    let text = sent.clone();
    let reply = serve(root, move |address| {
        let mut client = Client::connect(address)?;
        let writer = client.stream().try_clone()?;
        let thread = std::thread::spawn(move || -> io::Result<()> {
            let mut client = io::BufWriter::new(writer);
            use io::Write;
            write!(client, "POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            for piece in text.chunks(70_000) {
                write!(client, "{:x}\r\n", piece.len())?;
                client.write_all(piece)?;
                client.write_all(b"\r\n")?;
            }
            client.write_all(b"0\r\n\r\n")?;
            client.flush()
        });
        let reply = client.reply();
        thread.join().expect("panicked")?;
        reply
    });
    assert!(reply.body == sent, "the bytes differ");
}

// W2.7
#[test]
fn a_streamed_body_is_collected_or_delivered() {
    let root = Tree::new()
        .put_child("collect", streamed(|request| request.stream().expect("taken").collect()))
        .put_child(
            "deliver",
            streamed(|request| {
                let count = Rc::new(Cell::new(0));
                let counted = count.clone();
                let delivered = request.stream().expect("taken").deliver(move |piece| {
                    counted.set(counted.get() + piece.len());
                    Ok(())
                });
                delivered.add_callback(move |()| Ok(count.get().to_string()))
            }),
        )
        .put_child(
            "refuse",
            streamed(|request| {
                let body = request.stream().expect("taken");
                body.deliver(|_| Err(Failure::new("enough"))).add_callback(|()| Ok("taken"))
            }),
        )
        .put_child(
            "panic",
            streamed(|request| {
                let body = request.stream().expect("taken");
                body.deliver(|_| panic!("on purpose")).add_callback(|()| Ok("taken"))
            }),
        )
        .put_child("whole", Tree::new().post(|request| request.stream().expect("taken").collect()));
    serve(root, |address| {
        let mut client = Client::connect(address)?;
        for (path, status, text) in [
            ("/collect", 200, "hello"),
            ("/deliver", 200, "5"),
            ("/whole", 200, "hello"),
            ("/refuse", 500, "Int"),
            ("/panic", 500, "Int"),
        ] {
            // In one piece, and with the end of the body in another.
            for split in [false, true] {
                let request = post(path, "hello");
                let (head, body) = request.split_at(request.len() - if split { 2 } else { 0 });
                client.send(head)?;
                if split {
                    std::thread::yield_now();
                }
                client.send(body)?;
                let reply = client.reply()?;
                assert_eq!(reply.status, status, "{path}");
                assert!(reply.text().starts_with(text), "{path}: {}", reply.text());
            }
        }
        Ok(())
    });
}

// W2.7: the handler's body fails if the client leaves before its end
#[test]
fn an_incomplete_body_fails_its_reader() {
    run(|reactor| {
        let (cut, tell) = Deferred::new();
        let tell = RefCell::new(Some(tell));
        let root = streamed(move |request| {
            let tell: Trigger<Failure> = tell.borrow_mut().take().expect("asked twice");
            request.stream().expect("taken").collect().add_both(move |result| {
                tell.callback(result.expect_err("the body is incomplete"));
                Ok("never seen")
            })
        });
        let client = visit(reactor, address(&listen(&Site::new(reactor, root))), |address| {
            let mut client = Client::connect(address)?;
            client.send("POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 100\r\n\r\nten bytes.")?;
            Ok(())
        });
        client.add_callback(move |()| cut.add_callback(|failure| assert!(failure.is::<BodyCut>())))
    });
}

// W2.7, C1: a cancelled delivery receives nothing more, and the rest of the body is discarded
#[test]
fn a_cancelled_delivery_gets_no_more_of_the_body() {
    let given = Rc::new(Cell::new(0));
    let counted = given.clone();
    let root = streamed(move |request| {
        let counted = counted.clone();
        let delivered = request.stream().expect("taken").deliver(move |piece| {
            counted.set(counted.get() + piece.len());
            Ok(())
        });
        delivered.cancel();
        delivered.add_both(|result| Ok(if result.is_err() { "let go" } else { "taken" }))
    });
    serve(root, |address| {
        let mut client = Client::connect(address)?;
        for _ in 0..2 {
            client.send(post("/", "hello"))?;
            assert_eq!(client.reply()?.text(), "let go");
        }
        Ok(())
    });
    assert_eq!(given.get(), 0);
}

// W2.7, W4.7: a malformed body fails its reader, and the client receives its status
#[test]
fn a_malformed_body_fails_its_reader() {
    let root = streamed(|request| request.stream().expect("taken").collect());
    serve(root, |address| {
        let mut client = Client::connect(address)?;
        client.send(
            "POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nnot hex\r\n",
        )?;
        let reply = client.reply()?;
        assert_eq!((reply.status, reply.closes()), (400, true));
        client.expect_end();
        Ok(())
    });
}

// W2.7: the connection is not read while the handler does not read the body
#[test]
fn a_handler_that_does_not_read_holds_up_the_client() {
    run(|reactor| {
        let (blocked, tell) = Deferred::<()>::new();
        let blocked = RefCell::new(Some(blocked));
        let root = streamed(move |request| {
            let body = request.stream().expect("taken");
            let blocked = blocked.borrow_mut().take().expect("asked twice");
            blocked.add_callback(move |()| body.collect()).add_callback(|body| Ok(body.len().to_string()))
        });
        let address = address(&listen(&Site::new(reactor, root)));
        let client = visit(reactor, address, |address| {
            use io::Write;
            let client = Client::connect(address)?;
            let mut stream = client.stream();
            stream.set_write_timeout(Some(Duration::from_millis(100)))?;
            stream.write_all(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 50000000\r\n\r\n")?;
            let mut sent = 0;
            // Until the socket is full.
            loop {
                match stream.write(&[b'x'; 10_000]) {
                    Ok(count) => sent += count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
                assert!(sent < 50_000_000, "the server read all of it");
            }
            stream.set_write_timeout(Some(crate::support::DEADLINE))?;
            Ok((client, sent))
        });
        let handle = Handle::clone(reactor);
        client.add_callback(move |(mut client, sent)| {
            tell.callback(());
            visit(&handle, address, move |_| {
                client.send(vec![b'x'; 50_000_000 - sent])?;
                client.reply()
            })
            .add_callback(|reply| assert_eq!(reply.text(), "50000000"))
        })
    });
}
