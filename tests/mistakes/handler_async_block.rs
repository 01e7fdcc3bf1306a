//! compiler: this handler returns `{async block@
//! note: for a future, return `request.reactor().spawn(future)`, which is a `Deferred`

use twistor::http::server::Tree;

fn main() {
    let _ = Tree::new().get(|_| async { "hello" });
}
