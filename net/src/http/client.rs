//! The client: pages, responses, and the connections they come over.

mod agent;
mod connection;
mod download;
mod endpoint;
mod errors;
mod fetch;
#[cfg(feature = "compression")]
mod inflate;
mod outgoing;
mod page;
mod pool;
mod stream;

pub use agent::Agent;
pub use download::download_page;
#[cfg(not(feature = "tls"))]
pub use errors::TlsUnavailable;
pub use errors::{HttpError, IdleTimedOut, NoResponse, PartialDownload, RequestTimedOut};
#[cfg(feature = "compression")]
pub use inflate::{DecodedTooLarge, Undecodable};
pub use outgoing::Request;
pub use page::{Page, get_page};
pub use stream::{Response, ResponseBody};
