//! The client: pages, responses, and the connections they come over.

mod agent;
mod connection;
mod download;
mod errors;
mod fetch;
mod outgoing;
mod page;
mod pool;
mod stream;

pub use agent::Agent;
pub use download::download_page;
pub use errors::{HttpError, IdleTimedOut, NoResponse, PartialDownload, RequestTimedOut, TlsUnavailable};
pub use outgoing::Request;
pub use page::{Page, get_page};
pub use stream::{Response, ResponseBody};
