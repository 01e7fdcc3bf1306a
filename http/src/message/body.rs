//! A body as it arrives: with a length, chunked, or to the end of the connection.

use super::chunked::{ChunkStep, Chunked};
use super::error::{DecodeError, LimitExceeded, LimitKind};
use super::head::{Block, BlockReader, HeadKind};
use super::limits::Limits;

/// How the end of a body is determined. This enum stays exhaustive: HTTP/1 has no other way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// The message has no body.
    Empty,
    /// This many bytes, possibly zero.
    Known(u64),
    /// In chunks, of which the last one is empty.
    Chunked,
    /// Everything before the end of the connection. Responses only.
    ToEnd,
}

#[derive(Debug)]
pub(crate) enum Body {
    Known { left: u64, length: u64 },
    Chunked(Chunked),
    ToEnd { received: u64 },
}

/// A part of a body.
#[derive(Debug)]
pub(crate) enum BodyStep<'a> {
    More,
    Data(&'a [u8]),
    End(Option<Block>),
}

impl Body {
    pub(crate) fn new(length: BodyLength, limits: &Limits) -> Result<Body, DecodeError> {
        Ok(match length {
            BodyLength::Empty => Body::Known { left: 0, length: 0 },
            BodyLength::Known(length) if length > limits.body_size => {
                return Err(LimitExceeded::new(LimitKind::BodySize, limits.body_size).into());
            }
            BodyLength::Known(length) => Body::Known { left: length, length },
            BodyLength::Chunked => Body::Chunked(Chunked::new()),
            BodyLength::ToEnd => Body::ToEnd { received: 0 },
        })
    }

    /// Returns the number of bytes so far, and the announced number if there is one.
    pub(crate) fn progress(&self) -> (u64, Option<u64>) {
        match self {
            Body::Known { left, length } => (length - left, Some(*length)),
            Body::Chunked(chunked) => (chunked.received(), None),
            Body::ToEnd { received } => (*received, None),
        }
    }

    /// Takes the next piece from `input`.
    pub(crate) fn step<'a>(
        &mut self,
        input: &mut &'a [u8],
        reader: &mut BlockReader,
        limits: &Limits,
    ) -> Result<BodyStep<'a>, DecodeError> {
        match self {
            Body::Known { left: 0, .. } => Ok(BodyStep::End(None)),
            Body::Known { left, .. } => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= count as u64;
                Ok(data(input, count))
            }
            Body::ToEnd { received } => {
                // The bytes within the limit are delivered first, wherever the input was split.
                let room = limits.body_size - (*received).min(limits.body_size);
                if room == 0 && !input.is_empty() {
                    return Err(LimitExceeded::new(LimitKind::BodySize, limits.body_size).into());
                }
                let count = usize::try_from(room).unwrap_or(usize::MAX).min(input.len());
                *received += count as u64;
                Ok(data(input, count))
            }
            Body::Chunked(chunked) => match chunked.step(input, limits)? {
                ChunkStep::More => Ok(BodyStep::More),
                ChunkStep::Data(count) => Ok(data(input, count)),
                ChunkStep::Trailers => {
                    if !reader.is_started() && input.starts_with(b"\r\n") {
                        *input = &input[2..];
                        return Ok(BodyStep::End(None));
                    }
                    let block = reader.read(
                        HeadKind::Trailers,
                        input,
                        limits.trailer_bytes(),
                        limits.header_count,
                    )?;
                    Ok(block.map_or(BodyStep::More, |block| BodyStep::End(Some(block))))
                }
            },
        }
    }
}

fn data<'a>(input: &mut &'a [u8], count: usize) -> BodyStep<'a> {
    if count == 0 {
        return BodyStep::More;
    }
    let (piece, rest) = input.split_at(count);
    *input = rest;
    BodyStep::Data(piece)
}
