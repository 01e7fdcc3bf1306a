//! The client: pages, responses, and their connections.

mod agent;
mod cookies;
mod download;
mod errors;
mod exceptions;
mod exchange;
mod fetch;
#[cfg(feature = "compression")]
mod inflate;
mod lease;
mod page;
mod pool;
mod proxy;
mod redirect;
mod request;
mod route;
mod sink;
mod stream;
mod trust;
#[cfg(feature = "tls")]
mod tunnel;
mod via;

pub use agent::Agent;
pub use cookies::Cookies;
pub use download::download_page;
#[cfg(not(feature = "tls"))]
pub use errors::TlsUnavailable;
pub use errors::{
    HttpError, NoResponse, PartialDownload, ProxyFault, ProxyMisbehaved, ProxyRefused, ProxyUnreachable,
    RequestStage, RequestTimedOut, TimeoutKind,
};
#[cfg(feature = "compression")]
pub use inflate::Undecodable;
pub use page::{Page, get_page};
pub use proxy::{InvalidProxy, Proxy};
pub use redirect::{Redirect, RedirectError, Redirects};
pub use request::Request;
pub use stream::{Response, ResponseBody};

// A fuzz target includes inflate.rs, and finds this name there in the same place.
#[cfg(feature = "compression")]
use crate::{LimitExceeded, LimitKind};

/// The default `User-Agent`.
const AGENT: &str = concat!("twistor/", env!("CARGO_PKG_VERSION"));
