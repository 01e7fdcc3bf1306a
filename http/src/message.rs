//! Messages, taken apart and put together by machines that know nothing of sockets.

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
pub use error::{
    BodyTooLarge, DecodeError, Fault, HeadTooLarge, Malformed, Place, TargetTooLong, TooManyHeaders,
    TrailersTooLarge,
};
pub use fields::{Fields, Headers};
pub use limits::Limits;
pub use request::{RequestDecoder, RequestEvent, RequestHead};
pub use response::{Eof, ResponseDecoder, ResponseEvent, ResponseHead};
pub use target::Target;
