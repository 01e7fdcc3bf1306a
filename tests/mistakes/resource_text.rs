//! compiler: `&str` is not a resource
//! note: pass a `Tree`, `Files`, or a closure that answers: `|request: &mut Request<'_>| …`

use twistor::http::server::Tree;

fn main() {
    let _ = Tree::new().put_child("a", "hello");
}
