//! Decodes and encodes HTTP/1.1 messages, without a socket and without a reactor.
//!
//! A [`ResponseDecoder`] or [`RequestDecoder`] takes the bytes of a connection in pieces of any size and returns one
//! [event](ResponseEvent) after another: a head, pieces of the body, the end. A [`HeadWriter`] and a [`ChunkWriter`]
//! append messages to a buffer. None of them performs I/O, reads a clock or starts a thread, so that they work on any
//! transport, and in a test on a byte string. The client and the server of this crate are built on them.
//!
//! They are strict (RFC 9110 and 9112). A message that two parsers could read differently is refused with
//! [`Malformed`], which contains the fault, the part of the message and the position. The result does not depend on
//! how the input is split. [`Limits`] bound the size of heads, bodies and trailers. A writer refuses names and values
//! that would be read as more than one field.
//!
//! # Examples
//!
//! A client that fetches a page over a connection of the standard library:
//!
//! ```no_run
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//!
//! use twistor::http::Method;
//! use twistor::http::message::{HeadWriter, Limits, ResponseDecoder, ResponseEvent};
//!
//! let mut request = Vec::new();
//! let mut head = HeadWriter::request(&mut request, &Method::GET, "/")?;
//! head.field("Host", "example.com")?;
//! head.finish();
//! let mut connection = TcpStream::connect("example.com:80")?;
//! connection.write_all(&request)?;
//!
//! let mut decoder = ResponseDecoder::new(Limits::default());
//! decoder.start(&Method::GET);
//! let mut buffer = [0; 4096];
//! let mut body = Vec::new();
//! while !decoder.is_idle() {
//!     let count = connection.read(&mut buffer)?;
//!     if count == 0 {
//!         println!("{:?}", decoder.eof()?); // Complete, if the body goes on to the end of the connection.
//!         break;
//!     }
//!     let mut input = &buffer[..count];
//!     while let Some(event) = decoder.decode(&mut input)? {
//!         match event {
//!             ResponseEvent::Head(head) => println!("{}", head.status),
//!             ResponseEvent::Body(data) => body.extend_from_slice(data),
//!             ResponseEvent::Interim(_) | ResponseEvent::End(_) => {}
//!         }
//!     }
//! }
//! println!("{} bytes", body.len());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod body;
mod chunked;
mod diagnose;
mod encode;
mod error;
mod fields;
mod framing;
mod head;
mod limits;
mod request;
mod response;
mod target;

pub use body::BodyLength;
pub(super) use encode::put_length;
pub use encode::{ChunkWriter, EncodeError, HeadWriter};
pub use error::{DecodeError, Fault, LimitExceeded, LimitKind, Malformed, MessagePart};
pub use fields::{Fields, Headers};
pub use limits::Limits;
pub use request::{RequestDecoder, RequestEvent, RequestHead};
pub use response::{Eof, ResponseDecoder, ResponseEvent, ResponseHead};
pub use target::Target;
