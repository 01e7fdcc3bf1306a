//! Where an agent's cookies are kept: elsewhere.

use ::http::HeaderValue;

use crate::Url;

/// A jar of cookies, which an [`Agent`](super::Agent::cookies) asks and tells.
///
/// The jar decides what RFC 6265 leaves to user agents: it has to look at the `Domain`, `Path`, `Secure` and expiry of
/// what it is given, and to refuse cookies for public suffixes such as `co.uk`, for which it needs the list of them. None
/// comes with this crate: the one well-kept jar there is, cookie_store, takes some forty-five crates and reads the
/// system's clock, whatever the reactor's. To a program that takes it, it is bound by two methods of a line or two.
///
/// # Ordering
///
/// The jar is asked whenever a request is sent: for each redirect and each repetition anew, with the URL that this one
/// goes to. It is told of the cookies of each response before the redirect is followed, and before the response is
/// given to whom it is for. A request that has a `Cookie` header of its own is sent with that one, and the jar is not
/// asked; that header does not cross origins.
///
/// # Re-entrancy
///
/// The methods may use the agent. They are called by the loop, and hold it up while they run.
///
/// # Examples
///
/// A jar for one site, which takes all cookies for session cookies of the whole site:
///
/// ```
/// use std::cell::RefCell;
/// use std::collections::BTreeMap;
/// use std::rc::Rc;
/// use twistor_http::{Agent, Cookies, HeaderValue, Url};
/// use twistor_reactor::Reactor;
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
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Cookies {
    /// A response from `url` had `Set-Cookie` headers with these values, at least one.
    fn set_cookies(&self, url: &Url, values: &mut dyn Iterator<Item = &[u8]>);

    /// The value of the `Cookie` header for a request to `url`; none: no such header.
    fn cookies(&self, url: &Url) -> Option<HeaderValue>;
}
