//! Libraries that are generic over their I/O, on the adapters: P24.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{ErrorKind, Write};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::Duration;

use async_tungstenite::tungstenite::Message;
use async_tungstenite::{accept_async, client_async};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::StreamExt;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::rt::Timer;
use hyper::service::service_fn;
use hyper::{Request, Response};
use twistor_deferred::Failure;
use twistor_net::simulation::explore;
use twistor_net::{
    AsyncStream, ClientEndpoint, HyperExecutor, HyperTimer, ServerEndpoint, SimulatedNetwork, Stream,
    async_streams,
};
use twistor_reactor::{AddTimeout, Handle, Reactor};

const DEADLINE: Duration = Duration::from_secs(60);

/// Listens with `serve`, and returns an endpoint that connects to it.
fn server<S, F>(reactor: &Reactor, serve: S) -> ClientEndpoint
where
    S: Fn(Handle, AsyncStream) -> F + 'static,
    F: Future<Output = Result<(), Failure>> + 'static,
{
    let handle = reactor.handle();
    let factory = async_streams(move |stream| handle.spawn(serve(handle.clone(), stream)));
    let port = ServerEndpoint::tcp("127.0.0.1:0".parse().unwrap()).listen(reactor, factory).unwrap();
    let number = port.address().port().unwrap();
    ClientEndpoint::tcp("127.0.0.1", number)
}

#[track_caller]
fn run<T: 'static>(reactor: &Reactor, task: impl Future<Output = Result<T, Failure>> + 'static) -> T {
    reactor.run_until(reactor.spawn(task).add_timeout(DEADLINE, reactor)).unwrap()
}

#[test]
fn a_websocket_echoes_two_megabytes() {
    // P24.1
    let reactor = Reactor::new().unwrap();
    let endpoint = server(&reactor, |_, stream| async {
        let mut socket = accept_async(stream).await?;
        while let Some(message) = socket.next().await {
            let message = message?;
            if message.is_close() {
                break;
            }
            socket.send(message).await?;
        }
        Ok(())
    });
    let handle = reactor.handle();
    let sent: Vec<u8> = (0..2_000_000_u32).map(|n| (n % 251) as u8).collect();
    let echoed = run(&reactor, {
        let sent = sent.clone();
        async move {
            let stream = endpoint.connect_async(&handle).await?;
            let (mut socket, _) = client_async("ws://localhost/", stream).await?;
            socket.send(Message::Binary(sent)).await?;
            let echoed = socket.next().await.unwrap()?;
            socket.close(None).await?;
            Ok(echoed.into_data())
        }
    });
    assert!(echoed == sent);
}

/// Answers with the length and the content of the request's body.
async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    let mut response = Response::new(Full::new(body.clone()));
    response.headers_mut().insert("x-length", body.len().into());
    Ok(response)
}

#[test]
fn a_hyper_client_and_a_hyper_server_talk() {
    // P24.2
    let reactor = Reactor::new().unwrap();
    let endpoint = server(&reactor, |handle, stream| async move {
        hyper::server::conn::http1::Builder::new()
            .timer(HyperTimer::new(&handle))
            .header_read_timeout(DEADLINE)
            .serve_connection(stream, service_fn(echo))
            .await?;
        Ok(())
    });
    let handle = reactor.handle();
    let sizes = run(&reactor, async move {
        let stream = endpoint.connect_async(&handle).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
        hyper::rt::Executor::execute(&HyperExecutor::new(&handle), async {
            connection.await.unwrap();
        });
        let mut sizes = Vec::new();
        for size in [0, 5, 2_000_000] {
            let request = Request::post("/").header("host", "localhost");
            let response = sender.send_request(request.body(Full::new(Bytes::from(vec![7; size])))?).await?;
            assert_eq!(response.headers()["x-length"], size.to_string());
            sizes.push(response.into_body().collect().await?.to_bytes().len());
        }
        Ok(sizes)
    });
    assert_eq!(sizes, [0, 5, 2_000_000]);
}

#[test]
fn a_hyper_server_closes_a_silent_connection() {
    // P24.3
    let reactor = Reactor::new().unwrap();
    let endpoint = server(&reactor, |handle, stream| async move {
        let served = hyper::server::conn::http1::Builder::new()
            .timer(HyperTimer::new(&handle))
            .header_read_timeout(Duration::from_millis(5))
            .serve_connection(stream, service_fn(echo))
            .await;
        assert!(served.unwrap_err().is_timeout());
        Ok(())
    });
    let handle = reactor.handle();
    let read = run(&reactor, async move {
        let mut stream = endpoint.connect_async(&handle).await?;
        let mut buffer = [0; 100];
        Ok(poll_fn(|context| Pin::new(&mut stream).poll_read(context, &mut buffer)).await?)
    });
    assert_eq!(read, 0);
}

#[test]
fn a_sleep_ends_at_the_deadline_that_was_set_last() {
    // P24.3
    let reactor = Reactor::new().unwrap();
    let timer = HyperTimer::new(&reactor);
    let ended = run(&reactor, async move {
        let mut far = timer.sleep(Duration::from_secs(86_400));
        timer.sleep(Duration::from_millis(1)).await;
        // Earlier, and then later, than the reactor was going to look.
        let now = std::time::Instant::now();
        timer.reset(&mut far, now + Duration::from_millis(1));
        let later = now + Duration::from_millis(60);
        timer.reset(&mut far, later);
        far.await;
        let early = std::time::Instant::now() < later;
        // Over, and reset.
        let mut again = timer.sleep(Duration::ZERO);
        again.as_mut().await;
        timer.reset(&mut again, later);
        again.await;
        Ok(!early)
    });
    assert!(ended);
}

#[test]
fn timeouts_of_hyper_take_exactly_simulated_time() {
    // P24.7
    const DAY: Duration = Duration::from_secs(86_400);
    explore(0..20, |world| {
        world.set_time_limit(4 * DAY);
        let waited = Rc::new(Cell::new(Duration::ZERO));
        let measured = waited.clone();
        let endpoint = server(world, move |handle, stream| {
            let (measured, start) = (measured.clone(), handle.now());
            async move {
                let served = hyper::server::conn::http1::Builder::new()
                    .timer(HyperTimer::new(&handle))
                    .header_read_timeout(DAY)
                    .serve_connection(stream, service_fn(echo))
                    .await;
                assert!(served.unwrap_err().is_timeout());
                measured.set(handle.now() - start);
                Ok(())
            }
        });
        let handle = world.handle();
        world.run_until(world.spawn(async move {
            let mut stream = endpoint.connect_async(&handle).await?;
            let read = poll_fn(|context| Pin::new(&mut stream).poll_read(context, &mut [0; 100])).await?;
            assert_eq!(read, 0);
            let (timer, start) = (HyperTimer::new(&handle), handle.now());
            assert_eq!(timer.now(), start);
            timer.sleep(DAY).await;
            assert_eq!(handle.now() - start, DAY);
            Ok(())
        }))?;
        assert_eq!(waited.get(), DAY);
        Ok::<(), Failure>(())
    });
}

#[test]
fn a_reader_that_does_not_read_holds_up_its_peer() {
    // P24.4
    let reactor = Reactor::new().unwrap();
    let written = Rc::new(Cell::new(0));
    let count = written.clone();
    let endpoint = server(&reactor, move |_, stream| {
        let count = count.clone();
        async move {
            let mut stream = pin!(stream);
            let data = vec![7; 1 << 20];
            while count.get() < 64 << 20 {
                let more = poll_fn(|context| stream.as_mut().poll_write(context, &data)).await?;
                count.set(count.get() + more);
            }
            poll_fn(|context| stream.as_mut().poll_close(context)).await?;
            Ok(())
        }
    });
    let handle = reactor.handle();
    let read = run(&reactor, async move {
        let mut stream = pin!(endpoint.connect_async(&handle).await?);
        let mut held = written.get();
        // Until nothing moves: the buffers of both sides and of the operating system are full.
        let mut still = 0;
        while still < 1000 {
            twistor_reactor::yield_now().await;
            still = if held == written.get() { still + 1 } else { 0 };
            held = written.get();
        }
        assert!(held < 64 << 20, "the peer wrote everything");
        let (mut read, mut buffer) = (0, vec![0; 1 << 20]);
        loop {
            match poll_fn(|context| stream.as_mut().poll_read(context, &mut buffer)).await? {
                0 => return Ok(read),
                count => read += count,
            }
        }
    });
    assert!(read >= 64 << 20);
}

#[test]
fn a_dropped_stream_sends_everything_and_closes() {
    // P24.6
    let reactor = Reactor::simulated(1);
    SimulatedNetwork::of(&reactor).unwrap().set_window(8 << 10, 8 << 10);
    let endpoint = server(&reactor, |_, stream| async move {
        let mut stream = pin!(stream);
        for _ in 0..2 {
            let count = poll_fn(|context| stream.as_mut().poll_write(context, &[7; 64 << 10])).await?;
            assert_eq!(count, 64 << 10);
        }
        assert_eq!(stream.transport().buffered(), 120 << 10);
        Ok(())
    });
    let handle = reactor.handle();
    let read = run(&reactor, async move {
        let mut stream = pin!(endpoint.connect_async(&handle).await?);
        stream.transport().pause_producing();
        twistor_reactor::defer_later(&handle, Duration::from_secs(1), || Ok(())).await?;
        stream.transport().resume_producing();
        let (mut read, mut buffer) = (0, vec![0; 1 << 20]);
        loop {
            match poll_fn(|context| stream.as_mut().poll_read(context, &mut buffer)).await? {
                0 => return Ok(read),
                count => read += count,
            }
        }
    });
    assert_eq!(read, 128 << 10);
}

#[test]
fn a_reset_is_an_error_after_the_data() {
    // P24.5
    let reactor = Reactor::new().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    let mut stream = Stream::try_from(accepted).unwrap().into_async(&reactor).unwrap();
    peer.write_all(b"last words").unwrap();
    let (text, kind) = run(&reactor, async move {
        let mut buffer = [0; 100];
        let count = poll_fn(|context| Pin::new(&mut stream).poll_read(context, &mut buffer)).await?;
        socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO))?;
        drop(peer);
        let error =
            poll_fn(|context| Pin::new(&mut stream).poll_read(context, &mut [0; 100])).await.unwrap_err();
        let write = poll_fn(|context| Pin::new(&mut stream).poll_write(context, b"too late")).await;
        assert!(write.is_err());
        Ok((buffer[..count].to_vec(), error.kind()))
    });
    assert_eq!((text.as_slice(), kind), (b"last words".as_slice(), ErrorKind::ConnectionReset));
}
