//! compiler: `{integer}` is not a valid answer of a handler
//! note: return text, bytes, a status code, a `Response`, a `Result` of one of these and a `Failure`, or a `Deferred`

use twistor::http::server::Tree;

fn main() {
    let _ = Tree::new().get(|_| 42);
}
