//! hyper's HTTP/1 server on tokio's current-thread runtime, which sleeps before it answers.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::peers::tokio::runtime::current_thread;
use crate::runner::child::{Arguments, say_listening};

/// `BODY`.
pub fn serve(arguments: &Arguments<'_>) {
    let body = Bytes::from(arguments.text(0).to_owned());
    current_thread().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        say_listening(listener.local_addr().expect("its address"));
        loop {
            let (stream, _) = listener.accept().await.expect("accept");
            stream.set_nodelay(true).expect("nodelay");
            let body = body.clone();
            let service = service_fn(move |_: Request<Incoming>| {
                let body = body.clone();
                async move {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    Ok::<_, Infallible>(Response::new(Full::new(body)))
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
}
