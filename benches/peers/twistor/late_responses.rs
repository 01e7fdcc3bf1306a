//! A site with one page, a Deferred that a timer fires.

use std::time::Duration;

use twistor::http::server::{Site, Tree};
use twistor::prelude::*;

use crate::runner::child::{Arguments, say_listening};

/// `BODY`.
pub fn serve(arguments: &Arguments<'_>) {
    let body: &'static str = Box::leak(arguments.text(0).into()); // as the text of a program would be
    let reactor = Reactor::new().expect("a reactor");
    let handle = reactor.handle();
    let page = Tree::new().get(move |_| defer_later(&handle, Duration::from_millis(1), move || Ok(body)));
    let site = Site::new(&reactor, page);
    let port = site.listen("tcp:0:interface=127.0.0.1".parse().expect("an endpoint")).expect("listen");
    say_listening(port.address());
    reactor.run().expect("run");
}
