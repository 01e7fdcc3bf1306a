//! cargo run --example graceful_shutdown
//!
//! A web service that stops while requests are in flight, without interrupting them: each request's Deferred is added to
//! a `DeferredPool`, and stopping waits until the pool is empty. The requests see nothing of the pool except `add`.

use std::rc::Rc;
use std::time::Duration;

use twistor::http::server::{Request, Site, Tree};
use twistor::prelude::*;

struct Service {
    reactor: Handle,
    pool: DeferredPool,
}

impl Service {
    /// Does the work of one request.
    fn some_func(&self, request: &mut Request<'_>) -> Deferred<String> {
        let name = request.arg("name").unwrap_or_default().into_owned();
        println!("{name} is being served");
        defer_later(&self.reactor, Duration::from_millis(300), move || Ok(format!("good bye, {name}")))
    }

    fn render_get(&self, request: &mut Request<'_>) -> Deferred<String> {
        self.pool.add(self.some_func(request))
    }

    fn stop_service(&self) -> Deferred<()> {
        println!("stopping, with {} requests in flight", self.pool.len());
        self.pool.defer_until_empty(true).add_callback(|()| println!("no request is in flight any more"))
    }
}

fn main() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    let service = Rc::new(Service { reactor: reactor.handle(), pool: DeferredPool::new() });
    let serving = service.clone();
    let site = Site::new(&reactor, Tree::new().get(move |request| serving.render_get(request)));
    let port = site.listen(ServerEndpoint::tcp("127.0.0.1:0".parse()?))?;

    let answers = ["Ada", "Grace", "Edsger"].map(|name| {
        let url = format!("http://{}/?name={name}", port.address());
        get_page(&reactor, url).add_callback(|page| println!("{}", page.text()))
    });
    let stopped = defer_later(&reactor, Duration::from_millis(150), move || port.stop_listening())
        .add_callback(move |()| service.stop_service());
    reactor.run_until(join((gather_results(answers), stopped)))?;
    Ok(())
}
