//! compiler: the trait bound `&str: Into<Failure>` is not satisfied
//! readme: the trait bound `&str: Into<Failure>` is not satisfied

use twistor::prelude::*;

fn main() {
    let _ = succeed(1).add_callback(|n| if n > 0 { Ok(n) } else { Err("negative".into()) });
}
