//! compiler: `Result<String, std::io::Error>` is not a valid callback result
//! note: for another error type, write `Ok(result?)`: the `?` converts the error to a `Failure`

use twistor::prelude::*;

fn main() {
    let _ = succeed("file").add_callback(|name| std::fs::read_to_string(name));
}
