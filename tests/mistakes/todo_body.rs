//! compiler: `!` is not a valid callback result
//! readme: `!` is not a valid callback result

use twistor::prelude::*;

fn main() {
    let _ = succeed(1).add_callback(|_| todo!());
}
