//! Where a response goes: to one who collects it, saves it, or reads it piece by piece.

use std::rc::Rc;

use twistor_deferred::Failure;

use super::errors::NoResponse;
use crate::http::{ResponseHead, Url};

/// Where the final response goes. None of its methods may hold a borrow while user code runs.
pub(super) trait Destination {
    /// The head of the final response came.
    fn head(self: Rc<Self>, head: &ResponseHead<'_>, url: Url) -> Result<(), Failure>;
    /// The next bytes of its body.
    fn data(&self, data: &[u8]) -> Result<(), Failure>;
    /// It is over, one way or the other. The last call.
    fn ended(&self, ending: Ending);
    /// How much it takes for now.
    fn appetite(&self) -> Appetite {
        Appetite::Much
    }
}

/// How much of a body is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Appetite {
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
    /// The failure of an ending that is none of a body.
    pub(super) fn into_failure(self) -> Option<Failure> {
        match self {
            Ending::Complete | Ending::Cut { .. } => None,
            Ending::NoResponse { partial, cause, .. } => Some(NoResponse { partial, cause }.into()),
            Ending::Failed(failure) => Some(failure),
        }
    }
}
