//! An error on its way down a chain.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};

use crate::Abandoned;

/// An error on its way down a chain: any [`std::error::Error`], and the place where it was made into a
/// `Failure`. Twisted's `Failure`.
///
/// `?` in a callback makes one of any error. A `Failure` is one pointer wide and `Send`.
///
/// For people, `{}` prints the context and the error, and `{:#}` the errors beneath it as well. For
/// programmers, `{:?}` prints all that is known, over several lines.
///
/// ```
/// use twistor_deferred::Failure;
///
/// let error = "x".parse::<u64>().unwrap_err();
/// let failure = Failure::new(error).context("reading the port");
/// assert_eq!(failure.to_string(), "reading the port: invalid digit found in string");
/// assert!(failure.is::<std::num::ParseIntError>());
/// ```
///
/// It does not implement [`Error`] itself, since then `?` could not turn every error into one;
/// [`error`](Failure::error) and `Box<dyn Error>::from` lead back.
pub struct Failure(Box<FailureData>);

struct FailureData {
    error: Box<dyn Error + Send + Sync>,
    made_at: &'static Location<'static>,
    deferred_at: Option<&'static Location<'static>>,
    contexts: Vec<String>,
    quiet: bool,
}

impl Failure {
    /// A failure of this error, made here; or of a text, where nobody has to tell it from others: as in
    /// `Err(Failure::new("nobody is at home"))`.
    #[track_caller]
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
        Failure::made_at(error.into(), Location::caller())
    }

    #[cold]
    pub(crate) fn made_at(
        error: Box<dyn Error + Send + Sync>,
        made_at: &'static Location<'static>,
    ) -> Failure {
        Failure(Box::new(FailureData {
            error,
            made_at,
            deferred_at: None,
            contexts: Vec::new(),
            quiet: false,
        }))
    }

    /// Whether the error is an `E`.
    pub fn is<E: Error + 'static>(&self) -> bool {
        self.0.error.is::<E>()
    }

    /// The error, if it is an `E`.
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.0.error.downcast_ref::<E>()
    }

    /// The first `E` among the error and its sources: what [`is`](Failure::is) looks for at the top only.
    ///
    /// An aggregate wraps the failure of its member, a library the error of the library beneath it; this
    /// finds what is inside. The nearest to Twisted's `Failure.check`.
    pub fn check<E: Error + 'static>(&self) -> Option<&E> {
        self.chain().find_map(|error| error.downcast_ref::<E>())
    }

    /// The error itself if it is an `E`, else the failure unchanged, to return to the chain. Twisted's
    /// `Failure.trap`.
    ///
    /// ```
    /// use std::num::ParseIntError;
    /// use twistor_deferred::succeed;
    ///
    /// let n = succeed("x")
    ///     .add_callback(|text| Ok(text.parse::<u64>()?))
    ///     .add_errback(|failure| failure.trap::<ParseIntError>().map(|_| 0));
    /// assert!(matches!(n.try_result(), Ok(Ok(0))));
    /// ```
    ///
    /// # Errors
    /// The failure itself, when it is of another kind.
    pub fn trap<E: Error + 'static>(self) -> Result<E, Failure> {
        let FailureData { error, made_at, deferred_at, contexts, quiet } = *self.0;
        match error.downcast::<E>() {
            Ok(error) => Ok(*error),
            Err(error) => {
                Err(Failure(Box::new(FailureData { error, made_at, deferred_at, contexts, quiet })))
            }
        }
    }

    /// The same failure, saying what was being done: it comes before the error when printed, and changes
    /// nothing for [`is`](Failure::is) and [`trap`](Failure::trap).
    #[must_use]
    pub fn context(mut self, what: impl fmt::Display) -> Failure {
        self.0.contexts.push(what.to_string());
        self
    }

    /// The same failure, which is nobody's fault, such as a peer that leaves: dropped without being handled, it is logged
    /// for debugging, and not as an error.
    #[must_use]
    pub fn quiet(mut self) -> Failure {
        self.0.quiet = true;
        self
    }

    /// The error.
    pub fn error(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.0.error
    }

    /// The error, the error that caused it, and so on down.
    pub fn chain(&self) -> impl Iterator<Item = &(dyn Error + 'static)> {
        let first: &(dyn Error + 'static) = &*self.0.error;
        std::iter::successors(Some(first), |error| (*error).source())
    }

    /// Where the error became a failure.
    pub fn location(&self) -> &'static Location<'static> {
        self.0.made_at
    }

    /// The place in the user's code to name in a log line: where the error became a failure; if that was inside of this
    /// library, where the Deferred was made whose chain the failure went down last.
    pub fn user_location(&self) -> &'static Location<'static> {
        match self.0.deferred_at {
            Some(place) if is_ours(self.0.made_at.file()) => place,
            _ => self.0.made_at,
        }
    }

    /// Where the Deferred was made whose chain the failure went down last, if it has been in one: the one to handle it.
    pub fn deferred_location(&self) -> Option<&'static Location<'static>> {
        self.0.deferred_at
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    #[track_caller]
    fn from(error: E) -> Failure {
        Failure::made_at(Box::new(error), Location::caller())
    }
}

impl From<Failure> for Box<dyn Error + Send + Sync> {
    /// The bare error, or, where there is context, an error that prints it.
    fn from(failure: Failure) -> Self {
        if failure.0.contexts.is_empty() { failure.0.error } else { Box::new(InContext(failure)) }
    }
}

impl From<Failure> for Box<dyn Error> {
    fn from(failure: Failure) -> Self {
        Box::<dyn Error + Send + Sync>::from(failure)
    }
}

/// A failure with context, as an error for those who take errors.
#[derive(Debug)]
struct InContext(Failure);

impl fmt::Display for InContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for InContext {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.error().source()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for context in self.0.contexts.iter().rev() {
            write!(f, "{context}: ")?;
        }
        let mut told = self.0.error.to_string();
        f.write_str(&told)?;
        if f.alternate() {
            for cause in self.chain().skip(1).map(ToString::to_string) {
                // Many an error tells its cause already.
                if !told.ends_with(&cause) {
                    write!(f, ": {cause}")?;
                }
                told = cause;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}\n  error: {:?}", self.0.error)?;
        if self.0.deferred_at.is_none() || !is_ours(self.0.made_at.file()) {
            write!(f, "\n  made at {}", self.0.made_at)?;
        }
        if let Some(place) = self.0.deferred_at {
            write!(f, "\n  in the Deferred made at {place}")?;
        }
        for cause in self.chain().skip(1) {
            write!(f, "\n  caused by: {cause}")?;
        }
        Ok(())
    }
}

/// The error of a callback that panicked: the panic's message, and where the callback was added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panicked {
    message: String,
    added_at: &'static Location<'static>,
}

impl Panicked {
    /// Creates the error of the callback added at `added_at`, whose panic said `message`, as
    /// [`guarded`](crate::guarded) returns it.
    pub fn new(message: String, added_at: &'static Location<'static>) -> Panicked {
        Panicked { message, added_at }
    }

    /// What the panic said.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where the callback that panicked was added.
    pub fn added_at(&self) -> &'static Location<'static> {
        self.added_at
    }
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the callback added at {} panicked: {}", self.added_at, self.message)
    }
}

impl Error for Panicked {}

/// The message of a panic. A payload that panics when it is dropped is caught; what it panics with is leaked, since
/// that might go on for ever.
pub(crate) fn panic_message(payload: Box<dyn Any + Send>) -> String {
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => {
            let message = payload.downcast_ref::<&str>().copied().unwrap_or("a value that is not text");
            let message = message.to_owned();
            if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                mem::forget(another);
            }
            message
        }
    }
}

/// A failure inside a chain. Dropping it there means that nothing can handle it any more, so that is
/// where it is reported; taking it out hands the duty on.
pub(crate) struct Unhandled(Option<Failure>);

impl Unhandled {
    /// What is left where a result was taken out.
    pub(crate) fn taken() -> Unhandled {
        Unhandled(None)
    }

    /// The failure, for somebody to handle.
    #[inline]
    pub(crate) fn into_failure(mut self) -> Failure {
        self.0.take().unwrap_or_else(|| Failure::new(Abandoned))
    }

    #[cfg(feature = "trace")]
    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.0.as_ref()
    }

    /// Remembers where the Deferred was made that this went down last. By value, so that a result that is
    /// none of its business can stay in registers.
    #[cold]
    #[inline(never)]
    pub(crate) fn seen_in(mut self, deferred_at: &'static Location<'static>) -> Unhandled {
        if let Some(failure) = &mut self.0 {
            failure.0.deferred_at = Some(deferred_at);
        }
        self
    }
}

impl From<Failure> for Unhandled {
    #[inline]
    fn from(failure: Failure) -> Unhandled {
        Unhandled(Some(failure))
    }
}

impl Drop for Unhandled {
    #[inline]
    fn drop(&mut self) {
        if let Some(failure) = self.0.take() {
            report(&failure);
        }
    }
}

#[cold]
fn report(failure: &Failure) {
    let level = if failure.0.quiet { log::Level::Debug } else { log::Level::Error };
    let made_at = failure.location();
    match failure.deferred_location() {
        Some(place) if is_ours(made_at.file()) => {
            log::log!(level, "unhandled failure in the Deferred made at {place}: {failure:#}");
        }
        Some(place) => log::log!(
            level,
            "unhandled failure in the Deferred made at {place}: {failure:#} (made at {made_at})"
        ),
        None => log::log!(level, "unhandled failure: {failure:#} (made at {made_at})"),
    }
}

/// Whether a file is one of this library's, which the user did not write: a log line names it only where it knows no
/// other place. The crates of the library stand beside this one, in a checkout as in a registry.
fn is_ours(file: &str) -> bool {
    let separator = ['/', '\\'];
    let directory = |path: &'static str| path.rsplit_once(separator).map_or("", |(directory, _)| directory);
    let crate_root = directory(directory(file!()));
    let beside = crate_root.rfind(separator).map_or(0, |end| end + 1);
    let Some(path) = crate_root.get(..beside).and_then(|parent| file.strip_prefix(parent)) else {
        return false;
    };
    let mut parts = path.split(separator);
    let (name, folder) = (parts.next().unwrap_or_default(), parts.next());
    let is_crate = ["deferred", "reactor", "net", "http"].contains(&name) || name.starts_with("twistor-");
    is_crate && folder == Some("src")
}

#[cfg(test)]
mod tests {
    use super::is_ours;

    #[test]
    fn the_files_of_the_library_are_told_from_a_users() {
        // D11.1
        let here = file!().strip_suffix("deferred/src/failure.rs").unwrap();
        for ours in [
            "deferred/src/list/mode.rs",
            "reactor/src/core.rs",
            "net/src/lib.rs",
            "twistor-net-1.2.3/src/x.rs",
        ] {
            assert!(is_ours(&format!("{here}{ours}")), "{ours}");
        }
        for users in [
            "src/main.rs",
            "reactor/tests/x.rs",
            "examples/x.rs",
            "other/src/lib.rs",
            "net.rs",
            "/home/net/src/lib.rs",
        ] {
            assert!(!is_ours(&format!("{here}{users}")), "{users}");
        }
    }
}
