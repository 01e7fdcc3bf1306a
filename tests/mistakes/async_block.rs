//! compiler: is not a valid callback result
//! note: for a future, return `reactor.spawn(future)`, which is a `Deferred`

use twistor::prelude::*;

fn main() {
    let _ = succeed(1).add_callback(|n| async move { Ok::<u64, Failure>(n) });
}
