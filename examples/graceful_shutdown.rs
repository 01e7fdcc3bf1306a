//! cargo run --example graceful_shutdown
//!
//! A web service that is stopped while requests are under way, and does not interrupt them: each request's Deferred is
//! put in a `DeferredPool`, and stopping waits until that is empty. `add` is all that the requests know of it.

use std::rc::Rc;
use std::time::Duration;

use twistor::net::http::server::{Request, Site, Tree};
use twistor::prelude::*;

struct Service {
    reactor: Handle,
    pool: DeferredPool,
}

impl Service {
    /// The work of a request.
    fn some_func(&self, request: &mut Request<'_>) -> Deferred<String> {
        let name = request.arg("name").unwrap_or_default().into_owned();
        println!("{name} is being served");
        defer_later(&self.reactor, Duration::from_millis(300), move || Ok(format!("good bye, {name}")))
    }

    fn render_get(&self, request: &mut Request<'_>) -> Deferred<String> {
        self.pool.add(self.some_func(request))
    }

    fn stop_service(&self) -> Deferred<()> {
        println!("stopping, with {} requests under way", self.pool.len());
        self.pool.defer_until_empty(true).add_callback(|()| println!("nothing is under way any more"))
    }
}

fn main() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    let service = Rc::new(Service { reactor: reactor.clone(), pool: DeferredPool::new() });
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
