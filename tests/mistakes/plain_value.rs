//! compiler: `{integer}` is not a valid callback result
//! note: return `Ok(value)`, `Err(failure)`, a `Deferred`, or `()`

use twistor::prelude::*;

fn main() {
    let _ = succeed(1).add_callback(|n| n + 1);
}
