//! The interface to a cookie jar of the program.

use ::http::HeaderValue;

use crate::Url;

/// A cookie jar, which an [`Agent`](super::Agent::cookies) calls.
///
/// The jar implements the part of RFC 6265 that is left to user agents: it checks the `Domain`, `Path`,
/// `Secure` and expiry of cookies, and refuses those for public suffixes such as `co.uk`, for which it needs
/// their list. This crate contains no jar: the well-maintained one, cookie_store, has about forty-five
/// dependencies and reads the system's clock, whatever the reactor's. To use it, implement the two methods
/// with a line or two each.
///
/// # Ordering
///
/// [`cookies`](Cookies::cookies) is called whenever a request is sent, including each redirect and each
/// retry, with its URL. [`set_cookies`](Cookies::set_cookies) is called for each response before its redirect
/// is followed, and before the response is returned. A request with its own `Cookie` header does not use the
/// jar, and that header does not cross origins.
///
/// # Re-entrancy
///
/// The methods may use the agent. The loop calls them, and is held up while they run.
///
/// # Examples
///
/// A jar for one site, which treats all cookies as session cookies of the whole site:
///
/// ```
/// use std::cell::RefCell;
/// use std::collections::BTreeMap;
/// use std::rc::Rc;
/// use twistor::http::{Cookies, HeaderValue, Url};
/// use twistor::prelude::*;
///
/// struct OneSite {
///     site: Url,
///     cookies: RefCell<BTreeMap<String, String>>,
/// }
///
/// impl Cookies for OneSite {
///     fn set_cookies(&self, url: &Url, values: &mut dyn Iterator<Item = &[u8]>) {
///         for value in values.filter_map(|value| std::str::from_utf8(value).ok()) {
///             let pair = value.split(';').next().and_then(|pair| pair.split_once('='));
///             if let (true, Some((name, value))) = (url.same_origin(&self.site), pair) {
///                 self.cookies.borrow_mut().insert(name.trim().to_owned(), value.trim().to_owned());
///             }
///         }
///     }
///
///     fn cookies(&self, url: &Url) -> Option<HeaderValue> {
///         let pairs: Vec<_> = self.cookies.borrow().iter().map(|(name, value)| format!("{name}={value}")).collect();
///         let wanted = url.same_origin(&self.site) && !pairs.is_empty();
///         HeaderValue::try_from(pairs.join("; ")).ok().filter(|_| wanted)
///     }
/// }
///
/// let reactor = Reactor::new()?;
/// let jar = OneSite { site: "https://example.org/".parse()?, cookies: RefCell::default() };
/// let agent = Agent::new(&reactor).cookies(Rc::new(jar));
/// # drop(agent);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Cookies {
    /// Stores the values of the `Set-Cookie` headers of a response from `url`, at least one.
    fn set_cookies(&self, url: &Url, values: &mut dyn Iterator<Item = &[u8]>);

    /// Returns the value of the `Cookie` header for a request to `url`; `None` for no header.
    fn cookies(&self, url: &Url) -> Option<HeaderValue>;
}
