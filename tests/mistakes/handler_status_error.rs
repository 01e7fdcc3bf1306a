//! compiler: this handler returns `Result<_, StatusError>`
//! note: for another error type, write `Err(error.into())` or use `?`: both convert the error to a `Failure`

use twistor::http::StatusCode;
use twistor::http::server::{StatusError, Tree};

fn main() {
    let _ = Tree::new().get(|request| {
        if request.arg("name").is_none() {
            return Err(StatusError::new(StatusCode::BAD_REQUEST));
        }
        Ok("hello")
    });
}
