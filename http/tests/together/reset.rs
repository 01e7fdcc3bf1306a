//! Data that a peer sent before it reset the connection is delivered first, at the reader's pace: P1.1.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::support::*;
use twistor_deferred::Deferred;
use twistor_net::{ClientEndpoint, SimulatedNetwork};
use twistor_reactor::Handle;

/// An amount that every socket accepts at once.
const SENT: usize = 50_000;

/// Answers the first data with a reply, and resets the connection when all of it is sent.
fn replies_and_resets(reply: Vec<u8>) -> Scripted {
    scripted(&Diary::new()).on_data(move |transport, _| {
        transport.pause_producing();
        transport.write(&reply);
        let transport = transport.clone();
        drop(transport.drained().add_callback(move |()| transport.abort_connection()));
        Ok(())
    })
}

// H1.4, H2.2, P1.1
#[test]
fn a_slow_body_reader_gets_all_of_it_before_the_loss() {
    use twistor_http::{Agent, PartialDownload, Request};

    on_every_network(|world| {
        let got = world.run(|reactor| {
            if let Some(network) = SimulatedNetwork::of(reactor) {
                network.set_window(4 * SENT, 4 * SENT);
            }
            let mut reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 2 * SENT).into_bytes();
            reply.extend_from_slice(&noise(SENT));
            let port = listen_once(reactor, replies_and_resets(reply));
            let agent = Agent::new(reactor);
            let handle = Handle::clone(reactor);
            let request = Request::get(format!("http://{}/", address(&port)));
            reactor.spawn(async move {
                let body = agent.request(request).await?.into_body();
                let mut got = Vec::new();
                let failure = loop {
                    handle.sleep(Duration::from_millis(20)).await?;
                    match body.next().await {
                        Ok(Some(piece)) => got.extend_from_slice(&piece),
                        Ok(None) => panic!("an incomplete body ended normally"),
                        Err(failure) => break failure,
                    }
                };
                assert!(failure.is::<PartialDownload>(), "{failure}");
                drop(port);
                Ok(got)
            })
        });
        assert!(got == noise(SENT), "{} bytes in {world:?}", got.len());
    });
}

// W2.7, P1.1: a handler that reads the body of a client that has reset the connection
#[test]
fn a_slow_handler_gets_all_of_an_upload_before_the_loss() {
    use twistor_http::server::{BodyMode, Request, Resource, Site};

    struct Slow(Handle, Rc<Cell<usize>>, RefCell<Option<twistor_deferred::Trigger<()>>>);

    impl Resource for Slow {
        fn body_mode(&self, _: &Request<'_>) -> BodyMode {
            BodyMode::Streamed
        }

        fn render(&self, request: &mut Request<'_>) -> twistor_http::server::Answer {
            let body = request.stream().unwrap();
            let (handle, count, done) = (self.0.clone(), self.1.clone(), self.2.take().unwrap());
            let reading = self.0.spawn(async move {
                loop {
                    handle.sleep(Duration::from_millis(20)).await?;
                    // Counted on delivery, because the task may be cancelled before it continues.
                    let count = count.clone();
                    let piece = body.next().add_callback(move |piece| {
                        count.set(count.get() + piece.as_ref().map_or(0, Vec::len));
                        Ok(piece)
                    });
                    if piece.await?.is_none() {
                        done.callback(());
                        return Ok(());
                    }
                }
            });
            twistor_http::server::IntoAnswer::into_answer(reading.add_callback(|()| Ok("never sent")))
        }
    }

    on_every_network(|world| {
        let count = Rc::new(Cell::new(0));
        let cut = world.run(|reactor| {
            if let Some(network) = SimulatedNetwork::of(reactor) {
                network.set_window(4 * SENT, 4 * SENT);
            }
            let (cut, done) = Deferred::new();
            let slow = Slow(Handle::clone(reactor), count.clone(), RefCell::new(Some(done)));
            let site = Site::new(reactor, slow);
            let port = listen(reactor, site);
            let head = format!("POST / HTTP/1.1\r\nHost: here\r\nContent-Length: {}\r\n\r\n", 2 * SENT);
            let client = scripted(&Diary::new()).on_made(move |transport| {
                transport.write_slices(&[head.as_bytes(), &noise(SENT)]);
                let transport = transport.clone();
                drop(transport.drained().add_callback(move |()| transport.abort_connection()));
                Ok(())
            });
            let at = address(&port);
            drop(ClientEndpoint::tcp(at.ip().to_string(), at.port()).connect(reactor, client));
            // Wherever the handler waits, it is cancelled and its trigger dropped.
            cut.add_both(move |whole| {
                drop(port);
                Ok(whole.is_err())
            })
        });
        assert!(cut, "the body looked complete");
        assert_eq!(count.get(), SENT, "in {world:?}");
    });
}
