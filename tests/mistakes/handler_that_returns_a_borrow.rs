//! compiler: lifetime may not live long enough
//! readme: lifetime may not live long enough

use twistor::http::server::Tree;

fn main() {
    let _ = Tree::new().get(|request| request.arg("name").unwrap_or("nobody".into()));
}
