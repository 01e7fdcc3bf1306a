//! Messages and URLs, without a socket or a reactor.

#![allow(clippy::unwrap_used, reason = "it is test code, which clippy knows only inside #[test]")]

mod alone;
mod encode;
mod mutations;
mod request;
mod response;
mod support;
mod url;
