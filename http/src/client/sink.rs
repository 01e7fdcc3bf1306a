//! The receiver of a response, which collects it, saves it, or reads it piece by piece.

use std::rc::Rc;

use twistor_deferred::Failure;

use super::errors::{NoResponse, PartialDownload};
use crate::{LimitExceeded, ResponseHead, Url};

/// The receiver of the final response. None of its methods may hold a borrow while user code runs.
pub(super) trait BodySink {
    /// Handles the head of the final response.
    fn head(self: Rc<Self>, head: &ResponseHead<'_>, url: Url) -> Result<(), Failure>;
    /// Handles the next bytes of its body.
    fn data(&self, data: &[u8]) -> Result<(), Failure>;
    /// Handles the end of the response. This is the last call.
    fn ended(&self, ending: Ending);
    /// Returns the limit of the content's size if the request does not set one.
    fn most(&self) -> u64 {
        u64::MAX
    }
    /// Returns how much data is wanted now.
    fn demand(&self) -> Demand {
        Demand::Much
    }
}

/// The limit of content that is collected in memory, if the request does not set one.
pub(super) const MOST_COLLECTED: u64 = 128 << 20;

/// How much of a body is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Demand {
    /// Nothing until [`Fetch::resume`](super::fetch::Fetch::resume) is called.
    None,
    /// A limited amount, because it may have to be kept for a later reader.
    Little,
    /// Everything that arrives, because nothing is kept.
    Much,
}

/// How a response ends.
pub(super) enum Ending {
    Complete,
    /// The body is incomplete.
    Cut {
        expected: Option<u64>,
        cause: String,
    },
    /// The response did not arrive. `stale`: the server may have closed the kept connection meanwhile.
    NoResponse {
        partial: bool,
        stale: bool,
        cause: String,
    },
    Failed(Failure),
}

impl Ending {
    /// Returns whether the head arrived, and a fault, if there is one, concerns the end, size or coding of the body.
    pub(super) fn is_of_the_body(&self) -> bool {
        match self {
            Ending::Complete | Ending::Cut { .. } => true,
            Ending::NoResponse { .. } => false,
            Ending::Failed(failure) => {
                failure.check::<LimitExceeded>().is_some_and(LimitExceeded::is_body)
                    || is_undecodable(failure)
            }
        }
    }

    /// Converts to the result of a response with `received` bytes of body, of which `kept` were collected.
    pub(super) fn into_result(self, received: u64, kept: Vec<u8>) -> Result<(), Failure> {
        match self {
            Ending::Complete => Ok(()),
            Ending::Cut { expected, cause } => {
                Err(PartialDownload { body: kept, received, expected, cause }.into())
            }
            Ending::NoResponse { partial, cause, .. } => Err(NoResponse { partial, cause }.into()),
            Ending::Failed(failure) => Err(with_decoded(failure, kept)),
        }
    }
}

#[cfg(feature = "compression")]
fn is_undecodable(failure: &Failure) -> bool {
    failure.is::<super::inflate::Undecodable>()
}

#[cfg(not(feature = "compression"))]
fn is_undecodable(_: &Failure) -> bool {
    false
}

/// Adds the decoded bytes to the failure of a body that cannot be decoded. Other failures are returned unchanged.
#[cfg(feature = "compression")]
pub(super) fn with_decoded(failure: Failure, body: Vec<u8>) -> Failure {
    match failure.trap::<super::inflate::Undecodable>() {
        Ok(mut undecodable) => {
            undecodable.body = body;
            undecodable.into()
        }
        Err(failure) => failure,
    }
}

#[cfg(not(feature = "compression"))]
pub(super) fn with_decoded(failure: Failure, _: Vec<u8>) -> Failure {
    failure
}
