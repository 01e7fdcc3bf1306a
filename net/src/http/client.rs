//! The client: pages, responses, and the connections they come over.

mod agent;
mod connection;
mod download;
mod endpoint;
mod errors;
mod fetch;
#[cfg(feature = "compression")]
mod inflate;
mod page;
mod pool;
mod redirect;
mod request;
mod stream;

pub use agent::Agent;
pub use download::download_page;
#[cfg(not(feature = "tls"))]
pub use errors::TlsUnavailable;
pub use errors::{HttpError, IdleTimedOut, NoResponse, PartialDownload, RequestTimedOut};
#[cfg(feature = "compression")]
pub use inflate::{DecodedTooLarge, Undecodable};
pub use page::{Page, get_page};
pub use redirect::{Hop, InsecureRedirect, RedirectError, RedirectLoop, Redirects, TooManyRedirects};
pub use request::Request;
pub use stream::{Response, ResponseBody};
