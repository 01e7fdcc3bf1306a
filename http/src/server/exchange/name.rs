//! The name of a request in log messages.

use std::fmt;

use super::answer::{Answer, StatusError};
use super::request::Request;

/// Longer paths are cut.
const LONGEST: usize = 200;

/// The method and the path of a request. Shorter than the request's head, which the connection does not keep.
pub(super) struct RequestName(Box<str>);

impl RequestName {
    /// Names the request, unless its answer is complete and so cannot fail.
    #[inline]
    pub(super) fn for_log(request: &Request<'_>, answer: &Answer) -> Option<RequestName> {
        match answer {
            Answer::Now(response) if !response.may_fail() => None,
            Answer::Failed(failure) if failure.is::<StatusError>() => None,
            _ => Some(RequestName::of(request)),
        }
    }

    /// A valid path has only printable ASCII characters. The query is left out, because it may contain secrets.
    fn of(request: &Request<'_>) -> RequestName {
        let (method, path) = (request.method().as_str(), request.path());
        let (start, cut) = match path.get(..LONGEST) {
            Some(start) if path.len() > LONGEST => (start, "…"),
            _ => (path, ""),
        };
        // One allocation of the right size, because each late response has a name.
        RequestName([method, " ", start, cut].concat().into())
    }
}

impl Default for RequestName {
    fn default() -> RequestName {
        RequestName("a request".into())
    }
}

impl fmt::Display for RequestName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
