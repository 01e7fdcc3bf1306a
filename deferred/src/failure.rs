//! An error on its path through a chain.

use std::error::Error;
use std::fmt;
use std::panic::Location;

/// Any [`std::error::Error`], with the source location where it became a `Failure`. Twisted: `Failure`.
///
/// In a callback, `?` converts any error to a `Failure`. A `Failure` has the size of a pointer and is `Send`.
///
/// `{}` prints the context and the error. `{:#}` also prints the sources of the error. `{:?}` prints all of this and the
/// source locations, on several lines.
///
/// ```
/// use twistor::prelude::*;
///
/// let error = "x".parse::<u64>().unwrap_err();
/// let failure = Failure::new(error).context("reading the port");
/// assert_eq!(failure.to_string(), "reading the port: invalid digit found in string");
/// assert!(failure.is::<std::num::ParseIntError>());
/// ```
///
/// `Failure` does not implement [`Error`]: if it did, `?` could not convert every error to a `Failure`. For code that
/// expects an error, [`into_error`](Failure::into_error) converts it to one, and `?` converts it to a `Box<dyn Error>`.
pub struct Failure(Box<FailureData>);

struct FailureData {
    error: Box<dyn Error + Send + Sync>,
    made_at: &'static Location<'static>,
    deferred_at: Option<&'static Location<'static>>,
    contexts: Vec<String>,
    quiet: bool,
    /// Whether the Deferred was abandoned because its event loop ended.
    loop_ended: bool,
}

impl Failure {
    /// Creates a failure from an error or a message, recording the caller's location.
    ///
    /// ```
    /// # use twistor::prelude::*;
    /// fn port(text: &str) -> Result<u16, Failure> {
    ///     match text.parse()? {
    ///         0 => Err(Failure::new("the port must not be zero")),
    ///         port => Ok(port),
    ///     }
    /// }
    /// # assert!(port("0").is_err() && port("80").is_ok());
    /// ```
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
            loop_ended: false,
        }))
    }

    /// Returns whether the error is an `E`. Its sources are not considered; see [`check`](Failure::check).
    pub fn is<E: Error + 'static>(&self) -> bool {
        self.0.error.is::<E>()
    }

    /// Returns the error, if it is an `E`.
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.0.error.downcast_ref::<E>()
    }

    /// Returns the first `E` among the error and its sources. Twisted: `Failure.check`.
    ///
    /// Use it to find an error inside another: a [`FirstError`](crate::FirstError) wraps the error of a member, and many
    /// libraries wrap the errors of others.
    pub fn check<E: Error + 'static>(&self) -> Option<&E> {
        self.chain().find_map(|error| error.downcast_ref::<E>())
    }

    /// Returns the error if it is an `E`, and the unchanged failure otherwise. Twisted: `Failure.trap`.
    ///
    /// An errback that handles one kind of error passes all others on with `?`.
    ///
    /// ```
    /// use std::num::ParseIntError;
    /// use twistor::prelude::*;
    ///
    /// let n = succeed("x")
    ///     .add_callback(|text| Ok(text.parse::<u64>()?))
    ///     .add_errback(|failure| failure.trap::<ParseIntError>().map(|_| 0));
    /// assert!(matches!(n.try_result(), Ok(Ok(0))));
    /// ```
    ///
    /// # Errors
    /// The failure itself, if its error is not an `E`.
    pub fn trap<E: Error + 'static>(self) -> Result<E, Failure> {
        let FailureData { error, made_at, deferred_at, contexts, quiet, loop_ended } = *self.0;
        match error.downcast::<E>() {
            Ok(error) => Ok(*error),
            Err(error) => Err(Failure(Box::new(FailureData {
                error,
                made_at,
                deferred_at,
                contexts,
                quiet,
                loop_ended,
            }))),
        }
    }

    /// Adds a description of the operation that failed. It is printed before the error, and does not affect
    /// [`is`](Failure::is) and [`trap`](Failure::trap).
    #[must_use]
    pub fn context(mut self, what: impl fmt::Display) -> Failure {
        self.0.contexts.push(what.to_string());
        self
    }

    /// Marks the failure as expected, such as a disconnected peer. If it is dropped unhandled, it is logged at level debug
    /// instead of error.
    #[must_use]
    pub fn quiet(mut self) -> Failure {
        self.0.quiet = true;
        self
    }

    /// Marks the failure of a Deferred that fires while its event loop ends: the end itself is not an error.
    pub(crate) fn at_end_of_loop(self) -> Failure {
        let mut failure = self.quiet();
        failure.0.loop_ended = failure.is::<Abandoned>();
        failure
    }

    /// Returns the error.
    pub fn error(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.0.error
    }

    /// Iterates over the error, its source, the source of that, and so on.
    pub fn chain(&self) -> impl Iterator<Item = &(dyn Error + 'static)> {
        let first: &(dyn Error + 'static) = &*self.0.error;
        std::iter::successors(Some(first), |error| (*error).source())
    }

    /// Converts the failure to a [`std::error::Error`], for code that expects one, such as the `?` of `anyhow` and the
    /// `#[from]` of `thiserror`.
    ///
    /// ```
    /// use std::error::Error;
    /// use twistor::prelude::*;
    ///
    /// // `anyhow::Result` and other error types work in the same way.
    /// fn main() -> Result<(), Box<dyn Error>> {
    ///     let reactor = Reactor::new()?;
    ///     let answer = succeed("42").add_callback(|text| Ok(text.parse::<u64>()?));
    ///     let answer = reactor.run_until(answer).map_err(Failure::into_error)?;
    ///     println!("{answer}");
    ///     Ok(())
    /// }
    /// ```
    pub fn into_error(self) -> FailureError {
        FailureError(self)
    }

    /// Returns the source location where the error became a failure.
    pub fn location(&self) -> &'static Location<'static> {
        self.0.made_at
    }

    /// Returns the source location in the user's code to name in a log line.
    ///
    /// This is [`location`](Failure::location), unless that lies inside this library. Then it is the line that created the
    /// Deferred, if the failure was in one.
    pub fn user_location(&self) -> &'static Location<'static> {
        match self.0.deferred_at {
            Some(place) if is_ours(self.0.made_at.file()) => place,
            _ => self.0.made_at,
        }
    }

    /// Returns the line that created the Deferred that the failure was in last. `None` if it was not in a Deferred yet.
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
    /// Returns the original error, so that `downcast` finds it. A failure with context becomes a [`FailureError`].
    fn from(failure: Failure) -> Self {
        if failure.0.contexts.is_empty() && !failure.0.loop_ended {
            failure.0.error
        } else {
            Box::new(FailureError(failure))
        }
    }
}

impl From<Failure> for Box<dyn Error> {
    fn from(failure: Failure) -> Self {
        Box::<dyn Error + Send + Sync>::from(failure)
    }
}

/// A [`Failure`] as an error. [`Failure::into_error`] creates it.
///
/// It prints the context and the error, as the failure does. Its [`source`](Error::source) is the source of the failure's
/// error.
pub struct FailureError(Failure);

impl FailureError {
    /// Returns the failure, to find out the kind of its error.
    pub fn failure(&self) -> &Failure {
        &self.0
    }

    /// Converts the error back to the failure.
    pub fn into_failure(self) -> Failure {
        self.0
    }
}

impl fmt::Debug for FailureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for FailureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Error for FailureError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.error().source()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for context in self.0.contexts.iter().rev() {
            write!(f, "{context}: ")?;
        }
        let mut printed = match self.0.loop_ended {
            // The dropped trigger is a detail of the end, and not the cause.
            true => "the reactor stopped first".to_owned(),
            false => self.0.error.to_string(),
        };
        f.write_str(&printed)?;
        if f.alternate() {
            for cause in self.chain().skip(1).map(ToString::to_string) {
                // Many errors include their source in their own message.
                if !printed.ends_with(&cause) {
                    write!(f, ": {cause}")?;
                }
                printed = cause;
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

/// The error of a Deferred whose trigger was dropped without firing it.
// Exhaustive, so that other sources of Deferreds can fail with it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abandoned;

impl fmt::Display for Abandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("abandoned: the trigger was dropped without firing")
    }
}

impl Error for Abandoned {}

/// The error of a callback that panicked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panicked {
    message: String,
    added_at: &'static Location<'static>,
}

impl Panicked {
    /// Creates the error of a callback that was added at `added_at` and panicked with `message`, which
    /// [`guarded`](crate::guarded) returns.
    pub fn new(message: String, added_at: &'static Location<'static>) -> Panicked {
        Panicked { message, added_at }
    }

    /// Returns the message of the panic.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the source location where the callback was added.
    pub fn added_at(&self) -> &'static Location<'static> {
        self.added_at
    }
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The place is that of the failure. Naming it here too would print it twice.
        write!(f, "a callback panicked: {}", self.message)
    }
}

impl Error for Panicked {}

/// A result inside a chain. A failure that is dropped there is logged.
pub(crate) type Settled<T> = Result<T, Unhandled>;

/// A failure inside a chain. Dropping it logs it, because no errback can handle it any more.
pub(crate) struct Unhandled(Option<Failure>);

impl Unhandled {
    /// Creates the placeholder for a result that was taken out.
    pub(crate) fn taken() -> Unhandled {
        Unhandled(None)
    }

    /// Takes the failure out. Its new owner is responsible for it.
    #[inline]
    pub(crate) fn into_failure(mut self) -> Failure {
        self.0.take().unwrap_or_else(|| Failure::new(Abandoned))
    }

    #[cfg(feature = "trace")]
    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.0.as_ref()
    }

    /// Notes the line that created the Deferred that the failure is in. Takes `self` by value, so that results without a
    /// failure can stay in registers.
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
    // The place where an errback is missing, or the closest known one.
    match failure.deferred_location() {
        Some(place) => {
            log::log!(level, "unhandled failure: {failure:#} (in the Deferred made at {place})")
        }
        None => log::log!(level, "unhandled failure: {failure:#} (made at {})", failure.location()),
    }
}

/// Returns whether `file` belongs to this library. A log line names such a file only if no other place is known.
///
/// The crates of the library lie side by side, in a checkout as in a registry's folder.
pub(crate) fn is_ours(file: &str) -> bool {
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
    fn library_files_are_distinguished_from_user_files() {
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
