//! What there is at a path.

use std::rc::Rc;

use ::http::Method;

use super::exchange::answer::{Answer, IntoAnswer};
use super::exchange::request::Request;

/// Something that has a place in a site and answers requests. Twisted: `IResource`.
///
/// A closure that takes a request and returns what [`IntoAnswer`] knows is one: a leaf that answers every method. A
/// [`Tree`](super::Tree) puts handlers and other resources together. Implement the trait for what they cannot say.
///
/// ```
/// use std::rc::Rc;
/// use twistor_http::server::{Answer, IntoAnswer, Request, Resource};
///
/// /// `/users/NAME`
/// struct Users;
///
/// struct User(String);
///
/// impl Resource for Users {
///     fn render(&self, _: &mut Request<'_>) -> Answer {
///         "whom do you want?".into_answer()
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
///
/// # Panics
///
/// A panic in a method is logged and answered with 500; the connection and all others live on.
///
/// # Re-entrancy
///
/// The methods are called from the loop, and may do anything.
pub trait Resource: 'static {
    /// Answers a request. Requests for `HEAD` are to be treated like those for `GET`: the body is left out by the
    /// server.
    fn render(&self, request: &mut Request<'_>) -> Answer;

    /// The resource below this one for the next segment of the path, percent-decoded. `None` is answered with 404.
    ///
    /// An empty last segment (that of `/`, or of `/users/`) for which there is no child is this resource itself.
    fn get_child(&self, name: &str, request: &mut Request<'_>) -> Option<Rc<dyn Resource>> {
        let _ = (name, request);
        None
    }

    /// Whether this answers for all that is below it too: then [`Request::rest`] tells what that is.
    fn is_leaf(&self) -> bool {
        false
    }

    /// Returns the methods that this resource and those below it answer, as far as they are known beforehand. They
    /// are the answer to `OPTIONS *`. Default: none.
    fn methods(&self) -> Vec<Method> {
        Vec::new()
    }

    /// How it wants the body of a request, of which the head has come.
    fn body_mode(&self, request: &Request<'_>) -> BodyMode {
        let _ = request;
        BodyMode::Whole
    }
}

/// How a resource wants the body of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyMode {
    /// All of it before [`render`](Resource::render) is called, if it is no larger than the site allows
    /// ([`Limits::body_size`](crate::Limits::body_size)).
    Whole,
    /// As `Whole`, with a limit of its own, in bytes.
    UpTo(u64),
    /// As it comes, through [`Request::stream`]: `render` is called when the head is there. No limit.
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
