//! compiler: this handler returns `{async block@
//! note: for a future, return `request.reactor().spawn(future)`, which is a `Deferred`

use twistor::http::server::{Request, Tree};

fn main() {
    let _ = Tree::new().put_child("a", |_: &mut Request<'_>| async { "hello" });
}
