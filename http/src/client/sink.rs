//! Where a response goes: to one who collects it, saves it, or reads it piece by piece.

use std::rc::Rc;

use twistor_deferred::Failure;

use super::errors::{NoResponse, PartialDownload};
use crate::{LimitExceeded, ResponseHead, Url};

/// Where the final response goes. None of its methods may hold a borrow while user code runs.
pub(super) trait BodySink {
    /// The head of the final response came.
    fn head(self: Rc<Self>, head: &ResponseHead<'_>, url: Url) -> Result<(), Failure>;
    /// The next bytes of its body.
    fn data(&self, data: &[u8]) -> Result<(), Failure>;
    /// It is over, one way or the other. The last call.
    fn ended(&self, ending: Ending);
    /// The largest content it takes unless the request says otherwise.
    fn most(&self) -> u64 {
        u64::MAX
    }
    /// How much it takes for now.
    fn demand(&self) -> Demand {
        Demand::Much
    }
}

/// The largest content that is collected in memory unless the request says otherwise.
pub(super) const MOST_COLLECTED: u64 = 128 << 20;

/// How much of a body is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Demand {
    /// Nothing until [`Fetch::resume`](super::fetch::Fetch::resume) is called.
    None,
    /// A little: it may have to be kept for one who asks later.
    Little,
    /// All that comes: nothing is kept.
    Much,
}

/// How a response ends.
pub(super) enum Ending {
    Complete,
    /// Its body is cut.
    Cut {
        expected: Option<u64>,
        cause: String,
    },
    /// There was none; `stale` if the connection was one that the server may have closed meanwhile.
    NoResponse {
        partial: bool,
        stale: bool,
        cause: String,
    },
    Failed(Failure),
}

impl Ending {
    /// Whether the head came whole, and what is wrong, if anything, is the body's end, size or coding.
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

    /// How the response ended, after `received` bytes of its body, of which `kept` were kept.
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

/// A failure to decode, with what was decoded before; others as they are.
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
