//! HTTP/1.1.
//!
//! [`get_page`] fetches a page; [`Request`] says more about how, and an [`Agent`] keeps connections and hands out
//! bodies piece by piece.
//!
//! The [`server`] answers requests: a [`Site`](server::Site) of [`Resource`](server::Resource)s.
//!
//! At the bottom are machines that know nothing of sockets: [`ResponseDecoder`] and
//! [`RequestDecoder`] take bytes apart as they come, in pieces of any size, and [`HeadWriter`] and
//! [`ChunkWriter`] put them together. They are strict (RFC 9110 and 9112): what two parsers could
//! read differently is refused, and nothing is written that could be read as more than was meant.

mod body;
mod chunked;
mod client;
mod diagnose;
mod encode;
mod error;
mod fields;
mod framing;
mod head;
mod limits;
mod redirect;
mod request;
mod response;
pub mod server;
mod target;
mod url;

pub use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
pub use body::BodyLength;
#[cfg(not(feature = "tls"))]
pub use client::TlsUnavailable;
pub use client::{
    Agent, HttpError, IdleTimedOut, NoResponse, Page, PartialDownload, Request, RequestTimedOut, Response,
    ResponseBody, download_page, get_page,
};
#[cfg(feature = "compression")]
pub use client::{DecodedTooLarge, Undecodable};
pub use encode::{ChunkWriter, EncodeError, HeadWriter};
pub use error::{
    BodyTooLarge, DecodeError, Fault, HeadTooLarge, Malformed, Place, TargetTooLong, TooManyHeaders,
    TrailersTooLarge,
};
pub use fields::{Fields, Headers};
pub use limits::Limits;
pub use redirect::{Hop, InsecureRedirect, RedirectError, RedirectLoop, Redirects, TooManyRedirects};
pub use request::{RequestDecoder, RequestEvent, RequestHead};
pub use response::{Eof, ResponseDecoder, ResponseEvent, ResponseHead};
pub use target::Target;
pub use url::{InvalidUrl, Origin, Scheme, Url};
