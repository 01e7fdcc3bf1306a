//! Redirects: wherever a server redirects a client, with any status, the request ends within the limit, never goes
//! from https to http, and credentials stay within their origin.

#![no_main]

use http::{Method, StatusCode};
use libfuzzer_sys::fuzz_target;
use twistor_http::{RedirectError, Redirects, Scheme, Url};

const LIMIT: usize = 6;

fuzz_target!(|data: &[u8]| {
    let [how, rest @ ..] = data else { return };
    let mut method = [Method::GET, Method::HEAD, Method::POST, Method::PUT][usize::from(how % 4)].clone();
    let scheme = if how & 4 == 0 { "http" } else { "https" };
    let mut url = Url::parse(&format!("{scheme}://me:secret@s.test/a/b?c#d")).expect("a URL");
    let mut credentials = url.basic_credentials();
    let mut asked = 1;
    let mut redirects = Redirects::new(LIMIT);
    for response in rest.split(|&byte| byte == b'\n') {
        let (status, location) = match response {
            [status, location @ ..] => (300 + u16::from(status % 9), Some(location)),
            [] => (302, None),
        };
        let status = StatusCode::from_u16(status).expect("three digits");
        let redirect = match redirects.follow(&url, &method, status, location) {
            Ok(Some(redirect)) => redirect,
            Ok(None) => {
                assert!(location.is_none() || !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308));
                continue;
            }
            Err(RedirectError::TooMany { .. }) => return assert_eq!(asked, LIMIT + 1),
            Err(RedirectError::Insecure { url: to }) => {
                return assert_eq!((url.scheme(), to.scheme()), (Scheme::Https, Scheme::Http));
            }
            Err(_) => return,
        };
        assert!((url.scheme(), redirect.url.scheme()) != (Scheme::Https, Scheme::Http));
        assert_eq!(redirect.same_origin, redirect.url.origin() == url.origin());
        // Only 307 and 308 repeat requests with side effects, and a HEAD request stays one.
        let kept = matches!(status.as_u16(), 307 | 308) || matches!(method, Method::GET | Method::HEAD);
        let kept = kept || (method == Method::PUT && status.as_u16() != 303);
        assert_eq!(redirect.method, if kept { method } else { Method::GET });
        assert_eq!(redirect.keep_body, kept);
        if redirect.url.basic_credentials() != credentials {
            // Credentials are dropped at the first step to another origin, unless the reference names new ones.
            let named = location.is_some_and(|location| location.contains(&b'@'));
            assert!(named || (redirect.url.basic_credentials().is_none() && !redirect.same_origin));
            credentials = redirect.url.basic_credentials();
        }
        asked += 1;
        assert!(asked <= LIMIT + 1);
        (url, method) = (redirect.url, redirect.method);
    }
});
