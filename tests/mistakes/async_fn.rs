//! compiler: is not a valid callback result
//! note: for a future, return `reactor.spawn(future)`, which is a `Deferred`

use twistor::prelude::*;

async fn double(n: u64) -> Result<u64, Failure> {
    Ok(2 * n)
}

fn main() {
    let _ = succeed(1).add_callback(double);
}
