//! The resources of a site.

use std::rc::Rc;

use ::http::Method;

use super::exchange::answer::{Answer, IntoAnswer};
use super::exchange::request::Request;

/// A part of a site that answers requests. Twisted: `IResource`.
///
/// A closure that takes a request and returns an [`IntoAnswer`] is a resource without children that answers
/// every method. A [`Tree`](super::Tree) combines handlers and other resources. Implement the trait for
/// anything else.
///
/// # Panics
///
/// A panic in a method is logged and answered with 500. The connection and all others continue.
///
/// # Re-entrancy
///
/// The methods are called from the loop, and may call anything.
///
/// # Examples
///
/// ```
/// use std::rc::Rc;
/// use twistor::http::server::{Answer, IntoAnswer, Request, Resource};
///
/// /// `/users/NAME`
/// struct Users;
///
/// struct User(String);
///
/// impl Resource for Users {
///     fn render(&self, _: &mut Request<'_>) -> Answer {
///         "which user?".into_answer()
///     }
///
///     fn get_child(&self, name: &str, _: &mut Request<'_>) -> Option<Rc<dyn Resource>> {
///         Some(Rc::new(User(name.to_owned())))
///     }
/// }
///
/// impl Resource for User {
///     fn render(&self, _: &mut Request<'_>) -> Answer {
///         format!("this is {}", self.0).into_answer()
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a resource",
    label = "this is not a resource",
    note = "pass a `Tree`, `Files`, or a closure that answers: `|request: &mut Request<'_>| …`"
)]
pub trait Resource: 'static {
    /// Answers a request. Treat `HEAD` like `GET`: the server leaves out the body.
    fn render(&self, request: &mut Request<'_>) -> Answer;

    /// Returns the resource for the next segment of the path, percent-decoded. `None` is answered with 404.
    ///
    /// An empty last segment (that of `/`, or of `/users/`) without a child is this resource itself.
    fn get_child(&self, name: &str, request: &mut Request<'_>) -> Option<Rc<dyn Resource>> {
        let _ = (name, request);
        None
    }

    /// Returns whether this resource also answers for all paths below it. [`Request::rest`] is then the rest
    /// of the path.
    fn is_leaf(&self) -> bool {
        false
    }

    /// Returns the known methods of this resource and those below it, for the answer to `OPTIONS *`. Default:
    /// none.
    fn methods(&self) -> Vec<Method> {
        Vec::new()
    }

    /// Returns how this resource receives the body of a request, whose head has arrived.
    fn body_mode(&self, request: &Request<'_>) -> BodyMode {
        let _ = request;
        BodyMode::Whole
    }
}

/// How a resource receives the body of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyMode {
    /// As a whole, before [`render`](Resource::render) is called, up to the site's limit
    /// ([`Limits::body_size`](crate::Limits::body_size)).
    Whole,
    /// Like `Whole`, with this limit in bytes.
    UpTo(u64),
    /// Piece by piece, from [`Request::stream`]. `render` is called when the head has arrived. No limit.
    Streamed,
}

impl<F, A> Resource for F
where
    F: Fn(&mut Request<'_>) -> A + 'static,
    A: IntoAnswer,
{
    #[inline]
    fn render(&self, request: &mut Request<'_>) -> Answer {
        self(request).into_answer()
    }

    fn is_leaf(&self) -> bool {
        true
    }
}

impl<R: Resource + ?Sized> Resource for Rc<R> {
    fn render(&self, request: &mut Request<'_>) -> Answer {
        (**self).render(request)
    }

    fn get_child(&self, name: &str, request: &mut Request<'_>) -> Option<Rc<dyn Resource>> {
        (**self).get_child(name, request)
    }

    fn is_leaf(&self) -> bool {
        (**self).is_leaf()
    }

    fn methods(&self) -> Vec<Method> {
        (**self).methods()
    }

    fn body_mode(&self, request: &Request<'_>) -> BodyMode {
        (**self).body_mode(request)
    }
}
