//! How much of an unread body is kept, and how much is read at once while it is delivered.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use twistor_deferred::Deferred;
use twistor_http::server::{BodyMode, Request as Asked, RequestBody, Site, Tree};
use twistor_http::{Agent, Method, Request};
use twistor_net::{Failure, ServerEndpoint, SimulatedNetwork};
use twistor_reactor::{Handle, Reactor, defer_later};

const LITTLE: usize = 64 * 1024;
const BODY: usize = 1 << 20;

/// Runs a program on a network that delivers all sent bytes in one read, if the reader has room for them.
fn run<F: Future<Output = Result<(), Failure>> + 'static>(program: impl FnOnce(Handle) -> F) {
    let reactor = Reactor::simulated(6);
    let network = SimulatedNetwork::of(&reactor).unwrap();
    network.set_splitting(false);
    network.set_window(2 * BODY, 2 * BODY);
    network.add_name("server.test", ["127.0.0.1".parse().unwrap()]);
    let done = reactor.spawn(program(Handle::clone(&reactor)));
    reactor.run_until(done).unwrap();
}

/// A site that passes the bodies of its requests to the test, and serves a large page at `/page`.
fn site(handle: &Handle) -> (Site, Rc<RefCell<Option<RequestBody>>>) {
    let body: Rc<RefCell<Option<RequestBody>>> = Rc::default();
    let (given, waiting) = (body.clone(), handle.clone());
    let streamed = Tree::new().on_mode(Method::POST, BodyMode::Streamed, move |request: &mut Asked<'_>| {
        given.replace(request.stream());
        defer_later(&waiting, Duration::from_secs(40), || Ok("late"))
    });
    let page = Tree::new().get(|_| vec![b'x'; BODY]);
    let site = Site::new(handle, Tree::new().put_child("streamed", streamed).put_child("page", page));
    site.listen(ServerEndpoint::tcp("127.0.0.1:80".parse().unwrap())).unwrap();
    (site, body)
}

/// Counts the received bytes and notes the size of the largest piece.
fn largest(seen: &Rc<Cell<(usize, usize)>>) -> impl FnMut(&[u8]) -> Result<(), Failure> + 'static {
    let seen = seen.clone();
    move |piece| {
        let (count, most) = seen.get();
        seen.set((count + piece.len(), most.max(piece.len())));
        Ok(())
    }
}

// W2.7
#[test]
fn an_unread_upload_is_kept_small_and_delivered_in_large_reads() {
    run(async |handle| {
        let (_site, body) = site(&handle);
        let agent = Agent::new(&handle);
        // The second request uses the same connection.
        for _ in 0..2 {
            let request = Request::post("http://server.test/streamed").body(vec![b'x'; BODY]);
            let posted: Deferred<_> = agent.get_page(request);
            handle.sleep(Duration::from_secs(20)).await?;
            let body = body.take().unwrap();
            let kept = body.next().await?.unwrap().len();
            assert!(kept > LITTLE / 2 && kept <= LITTLE, "{kept} bytes were kept");
            let seen = Rc::default();
            body.deliver(largest(&seen)).await?;
            assert_eq!(seen.get().0, BODY - kept);
            assert!(seen.get().1 > LITTLE, "the largest piece had {} bytes", seen.get().1);
            posted.await?;
        }
        Ok(())
    });
}

// H1.4
#[test]
fn an_unread_page_is_kept_small_and_delivered_in_large_reads() {
    run(async |handle| {
        let (_site, _) = site(&handle);
        let agent = Agent::new(&handle);
        // The second request uses the same connection.
        for _ in 0..2 {
            let body = agent.request(Request::get("http://server.test/page")).await?.into_body();
            handle.sleep(Duration::from_secs(20)).await?;
            let kept = body.next().await?.unwrap().len();
            assert!(kept > LITTLE / 2 && kept <= LITTLE, "{kept} bytes were kept");
            let seen = Rc::default();
            body.deliver(largest(&seen)).await?;
            assert_eq!(seen.get().0, BODY - kept);
            assert!(seen.get().1 > LITTLE, "the largest piece had {} bytes", seen.get().1);
        }
        assert_eq!(agent.connections(), (1, 1));
        Ok(())
    });
}
