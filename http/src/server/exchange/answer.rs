//! The values that a handler may return.

use std::error::Error;
use std::fmt;

use ::http::StatusCode;
use twistor_deferred::{Deferred, Failure, fail};

use super::response::Response;

/// The result of a handler: a response, now or later, or a failure.
#[derive(Debug)]
pub enum Answer {
    /// The response.
    Now(Response),
    /// A response that arrives when the Deferred fires. It is cancelled when the client leaves. Twisted:
    /// `NOT_DONE_YET`.
    Later(Deferred<Response>),
    /// No response. The client gets the status of a [`StatusError`], or a 500.
    Failed(Failure),
}

/// A value that a handler may return: text, bytes, a [`StatusCode`], `()` (204), or a [`Response`]; a
/// `Result` of one of these and a [`Failure`]; or a [`Deferred`] of one.
///
/// With only one error type, Rust infers the result of a closure that ends with `Ok(x)` and uses `?`, which converts any
/// error to a [`Failure`]. A [`StatusError`] is returned as `Err(error.into())`.
///
/// ```
/// use twistor::http::StatusCode;
/// use twistor::http::server::{StatusError, Tree};
///
/// let site = Tree::new()
///     .put_child("double", Tree::new().get(|request| {
///         let Some(text) = request.arg("n") else {
///             return Err(StatusError::new(StatusCode::BAD_REQUEST).into());
///         };
///         Ok(format!("{}", 2 * text.parse::<u32>()?))
///     }))
///     .put_child("wait", Tree::new().get(|request| {
///         // A future becomes a Deferred.
///         request.reactor().spawn(async { Ok("hello") })
///     }));
/// # drop(site);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a valid answer of a handler",
    label = "this handler returns `{Self}`",
    note = "return text, bytes, a status code, a `Response`, a `Result` of one of these and a `Failure`, or a `Deferred`",
    note = "for another error type, write `Err(error.into())` or use `?`: both convert the error to a `Failure`",
    note = "for a future, return `request.reactor().spawn(future)`, which is a `Deferred`"
)]
pub trait IntoAnswer {
    /// Converts the value to an answer.
    fn into_answer(self) -> Answer;
}

impl IntoAnswer for Answer {
    #[inline]
    fn into_answer(self) -> Answer {
        self
    }
}

macro_rules! answers {
    ($($kind:ty),*) => {$(
        impl IntoAnswer for $kind {
            #[inline]
            fn into_answer(self) -> Answer {
                Answer::Now(self.into())
            }
        }
    )*};
}

answers!(
    &'static str,
    String,
    std::borrow::Cow<'static, str>,
    &'static [u8],
    Vec<u8>,
    StatusCode,
    (),
    Response
);

impl<T: Into<Response>> IntoAnswer for Result<T, Failure> {
    #[inline]
    fn into_answer(self) -> Answer {
        match self {
            Ok(value) => Answer::Now(value.into()),
            Err(failure) => Answer::Failed(failure),
        }
    }
}

impl<T: Into<Response> + 'static> IntoAnswer for Deferred<T> {
    #[track_caller]
    fn into_answer(self) -> Answer {
        match self.try_result() {
            // It needs no further stage of its chain.
            Ok(Ok(value)) => Answer::Now(value.into()),
            // An answer that is dropped unread still reports it.
            Ok(Err(failure)) => Answer::Later(fail(failure)),
            Err(deferred) => Answer::Later(deferred.add_callback(|value| Ok(value.into()))),
        }
    }
}

/// An error of a handler that determines the answer. Any other error is logged and answered with 500.
/// Twisted: `twisted.web.error.Error`.
///
/// # Examples
///
/// ```
/// use twistor::http::StatusCode;
/// use twistor::http::server::{Request, StatusError};
/// use twistor::prelude::*;
///
/// fn render(request: &mut Request<'_>) -> Result<String, Failure> {
///     let name = request.arg("name").ok_or(StatusError::new(StatusCode::BAD_REQUEST).because("who are you?"))?;
///     Ok(format!("Hello, {name}!"))
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusError {
    status: StatusCode,
    message: Option<String>,
}

impl StatusError {
    /// Creates an error that is answered with this status and its reason phrase.
    pub fn new(status: StatusCode) -> StatusError {
        StatusError { status, message: None }
    }

    /// Sets the text of the answer.
    #[must_use]
    pub fn because(mut self, message: impl Into<String>) -> StatusError {
        self.message = Some(message.into());
        self
    }

    /// Returns the status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn response(&self) -> Response {
        match &self.message {
            Some(message) => Response::plain(self.status, message),
            None => Response::of_status(self.status),
        }
    }
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        match &self.message {
            Some(message) => write!(f, ": {message}"),
            None => Ok(()),
        }
    }
}

impl Error for StatusError {}
