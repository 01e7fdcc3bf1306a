//! The target of a redirect, and the parts of the request that are sent there (RFC 9110, section 15.4).

use std::error::Error;
use std::fmt;

use ::http::{Method, StatusCode};

use crate::{InvalidUrl, Scheme, Url};

/// A redirect to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The target.
    pub url: Url,
    /// The method of the next request.
    pub method: Method,
    /// Whether the request's body, and the headers that describe it, are sent again.
    pub keep_body: bool,
    /// Whether `Authorization`, `Cookie` and other credentials are sent again.
    pub same_origin: bool,
}

/// Follows the redirects of one request.
///
/// 301 and 302 change `POST` to `GET`; 303 changes every method but `HEAD` to `GET`. The body is dropped
/// then. 307 and 308 keep method and body. A status without a `Location` is not a redirect.
///
/// Redirects are counted but not compared: a page that redirects to itself, such as with a new cookie, is
/// followed.
///
/// # Examples
///
/// ```
/// use twistor::http::{Method, Redirects, StatusCode, Url};
///
/// let url = Url::parse("http://example.org/a/b")?;
/// let mut redirects = Redirects::new(20);
/// let redirect = redirects.follow(&url, &Method::POST, StatusCode::FOUND, Some(b"c"))?.expect("a redirect");
/// assert_eq!((redirect.url.as_str(), redirect.method, redirect.keep_body), ("http://example.org/a/c", Method::GET, false));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Redirects {
    limit: usize,
    ignored: bool,
    allow_insecure: bool,
    followed: usize,
}

impl Redirects {
    /// Follows up to `limit` redirects, but none from https to http.
    pub fn new(limit: usize) -> Redirects {
        Redirects { limit, ignored: false, allow_insecure: false, followed: 0 }
    }

    /// Follows no redirects.
    pub fn none() -> Redirects {
        Redirects { ignored: true, ..Redirects::new(0) }
    }

    /// Sets whether redirects from https to http are followed.
    pub fn allow_insecure(mut self, allow: bool) -> Redirects {
        self.allow_insecure = allow;
        self
    }

    /// Returns the redirect of a response to a request for `from`; `None` if it is not one.
    ///
    /// # Errors
    ///
    /// See [`RedirectError`].
    pub fn follow(
        &mut self,
        from: &Url,
        method: &Method,
        status: StatusCode,
        location: Option<&[u8]>,
    ) -> Result<Option<Redirect>, RedirectError> {
        let (Some(location), 301 | 302 | 303 | 307 | 308) = (location, status.as_u16()) else {
            return Ok(None);
        };
        if self.ignored {
            return Ok(None);
        }
        if self.followed >= self.limit {
            return Err(RedirectError::TooMany { limit: self.limit });
        }
        let url = from.join(location)?;
        if (from.scheme(), url.scheme()) == (Scheme::Https, Scheme::Http) && !self.allow_insecure {
            return Err(RedirectError::Insecure { url });
        }
        let to_get = match status.as_u16() {
            301 | 302 => *method == Method::POST,
            303 => *method != Method::HEAD && *method != Method::GET,
            _ => false,
        };
        let redirect = Redirect {
            method: if to_get { Method::GET } else { method.clone() },
            keep_body: !to_get,
            same_origin: from.same_origin(&url),
            url,
        };
        self.followed += 1;
        Ok(Some(redirect))
    }
}

/// The reason for which a redirect was not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedirectError {
    /// There were more redirects than allowed.
    TooMany {
        /// The number of allowed redirects.
        limit: usize,
    },
    /// The redirect leads from https to http.
    Insecure {
        /// The target.
        url: Url,
    },
    /// The redirect does not lead to a valid URL.
    Invalid(InvalidUrl),
}

impl fmt::Display for RedirectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RedirectError::TooMany { limit } => write!(f, "more than {limit} redirects"),
            RedirectError::Insecure { url } => write!(f, "redirect from https to {url}"),
            RedirectError::Invalid(error) => write!(f, "bad redirect: {error}"),
        }
    }
}

impl Error for RedirectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            RedirectError::Invalid(error) => Some(error),
            RedirectError::TooMany { .. } | RedirectError::Insecure { .. } => None,
        }
    }
}

impl From<InvalidUrl> for RedirectError {
    fn from(error: InvalidUrl) -> RedirectError {
        RedirectError::Invalid(error)
    }
}
