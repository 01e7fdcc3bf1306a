//! HTTP/1.1, client and server, on the [reactor](twistor_reactor) and the [connections](twistor_net) of twistor.
//!
//! [`get_page`] fetches a page. A [`Request`] has more settings. An [`Agent`] keeps connections, and returns
//! bodies piece by piece.
//!
//! The [`server`] answers requests: a [`Site`](server::Site) of [`Resource`](server::Resource)s.
//!
//! The module [`message`] decodes and encodes requests and responses without a socket and without a reactor.
//!
//! # From here
//!
//! All promises, numbered: [`behaviour`].
//!
//! # Features
//!
//! On by default: `compression` (gzip and deflate) and `tls` (`https`, see the module `tls` of `twistor-net`). Off by
//! default: `idna` (host names with letters outside ASCII).

// Badges with the feature that an item needs, on docs.rs.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), deny(clippy::disallowed_types, clippy::disallowed_methods))]

#[doc = include_str!("../BEHAVIOUR.md")]
pub mod behaviour {}

mod client;
pub mod message;
mod pieces;
pub mod server;
mod url;

pub use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
#[cfg(not(feature = "tls"))]
pub use client::TlsUnavailable;
#[cfg(feature = "compression")]
pub use client::Undecodable;
pub use client::{
    Agent, Cookies, HttpError, InvalidProxy, NoResponse, Page, PartialDownload, Proxy, ProxyFault,
    ProxyMisbehaved, ProxyRefused, ProxyUnreachable, Redirect, RedirectError, Redirects, Request,
    RequestStage, RequestTimedOut, Response, ResponseBody, TimeoutKind, download_page, get_page,
};
use message::{
    BodyLength, ChunkWriter, DecodeError, Eof, Fields, HeadWriter, RequestDecoder, RequestEvent, RequestHead,
    ResponseDecoder, ResponseEvent, ResponseHead, Target,
};
pub use message::{EncodeError, Fault, Headers, LimitExceeded, LimitKind, Limits, Malformed};
pub use url::{InvalidUrl, Origin, Scheme, Url};

/// The README's program is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
