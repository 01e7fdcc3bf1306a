//! URLs: parsing, joining, and redirects.

use http::{Method, StatusCode};
use twistor_http::{InvalidUrl, RedirectError, Redirects, Scheme, Url};

fn url(text: &str) -> Url {
    Url::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn urls_are_parsed_into_parts() {
    // H1.1
    for (text, host, port, authority, target, fragment) in [
        ("http://h", "h", 80, "h", "/", None),
        ("http://h/", "h", 80, "h", "/", None),
        ("http://h?a", "h", 80, "h", "/?a", None),
        ("http://h#f", "h", 80, "h", "/", Some("f")),
        ("http://h/?", "h", 80, "h", "/?", None),
        ("http://h:/a", "h", 80, "h", "/a", None),
        ("http://h:080/a", "h", 80, "h", "/a", None),
        ("http://H.Example:8080/A/../B?c#d?e", "h.example", 8080, "h.example:8080", "/B?c", Some("d?e")),
        ("https://h:443/", "h", 443, "h", "/", None),
        ("https://h:80/", "h", 80, "h:80", "/", None),
        ("http://127.0.0.1:81", "127.0.0.1", 81, "127.0.0.1:81", "/", None),
        ("http://[::1]/a", "::1", 80, "[::1]", "/a", None),
        ("http://[2001:DB8::1]:81/a", "2001:db8::1", 81, "[2001:db8::1]:81", "/a", None),
        ("http://u:p@h/a", "h", 80, "h", "/a", None),
        ("http://h/caf\u{e9}?\u{fc}#\u{df}", "h", 80, "h", "/caf%C3%A9?%C3%BC", Some("%C3%9F")),
        ("http://h//a//b/", "h", 80, "h", "//a//b/", None),
        ("http://xn--bcher-kva.example/", "xn--bcher-kva.example", 80, "xn--bcher-kva.example", "/", None),
    ] {
        let url = url(text);
        let parts = (url.host(), url.port(), url.authority(), url.target(), url.fragment());
        assert_eq!(parts, (host, port, authority, target, fragment), "{text}");
        assert_eq!(Url::parse(&url.to_string()).map(|again| again.to_string()), Ok(url.to_string()));
    }
    assert_eq!(url("HTTPS://h").scheme(), Scheme::Https);
    assert_eq!(url("https://[::1]/").origin().to_string(), "https://[::1]:443");
    assert!(url("http://h/a").same_origin(&url("HTTP://H:80/b")));
    for other in ["https://h/", "http://h:81/", "http://i/"] {
        assert!(!url("http://h/a").same_origin(&url(other)));
        assert_ne!(url("http://h/a").origin(), url(other).origin());
    }
}

// H7.1
#[test]
fn common_mistakes_in_urls_are_repaired() {
    for (text, due) in [
        ("  http://h/a ", "/a"),
        ("http://h/a b", "/a%20b"),
        ("http://h/?tags[]=a&f[x]=1", "/?tags%5B%5D=a&f%5Bx%5D=1"),
        ("http://h/?q=a|b", "/?q=a%7Cb"),
        ("http://h/?q={x}", "/?q=%7Bx%7D"),
        ("http://h/?q=\"x\"'", "/?q=%22x%22'"),
        ("http://h/?q=<x>", "/?q=%3Cx%3E"),
        ("http://h/^x`y`", "/%5Ex%60y%60"),
        ("http://h/\\x", "/%5Cx"),
        ("http://h/100%", "/100%25"),
        ("http://h/%zz%4", "/%25zz%254"),
        ("http://h/%41%c3", "/%41%c3"),
        ("http://h/\u{a0}\u{1f600}", "/%C2%A0%F0%9F%98%80"),
        ("http://h?a/../b", "/?a/../b"),
    ] {
        assert_eq!(url(text).target(), due, "{text}");
        assert_eq!(url("http://h/").join(text.trim().as_bytes()).unwrap().target(), due, "{text}");
    }
    assert_eq!(url("http://h/#a b#c").fragment(), Some("a%20b%23c"));
    let user = url("http://me:p@ss|\"[w]d@h/");
    assert_eq!((user.host(), user.basic_credentials().as_deref()), ("h", Some("Basic bWU6cEBzc3wiW3ddZA==")));
}

// H7.2
#[test]
fn dot_segments_are_resolved() {
    for (path, due) in [
        ("/a/../b", "/b"),
        ("/a/./b/.", "/a/b/"),
        ("/a/b/..", "/a/"),
        ("/../../a", "/a"),
        ("/..", "/"),
        ("/a/%2e%2E/.%2e/b", "/b"),
        ("/a//../b", "/a/b"),
        ("/.a/..b/...", "/.a/..b/..."),
        ("/a/%2f..", "/a/%2f.."),
        ("/a b/../[c]", "/%5Bc%5D"),
    ] {
        assert_eq!(url(&format!("http://h{path}")).target(), due, "{path}");
    }
}

// H7, H7.3
#[test]
fn an_invalid_url_is_refused_with_the_position() {
    for (text, at) in [
        ("http://h/\r\nX: y", 9),
        (" http://h/\n", 10),
        ("http://h/\0", 9),
        ("http://h/\t", 9),
        ("http://good\\@evil/", 11),
        ("http://h\u{7f}", 8),
    ] {
        assert_eq!(Url::parse(text), Err(InvalidUrl::Character { at }), "{text:?}");
    }
    for text in ["", "h/a", "/a", "//h/a", "?a", "\u{e9}", "1http://h/"] {
        let error = Url::parse(text).unwrap_err();
        assert!(matches!(error, InvalidUrl::Relative { .. }), "{text:?}: {error}");
        assert!(error.to_string().ends_with("it does not begin with http:// or https://"), "{error}");
    }
    for text in ["ftp://h/", "file:///etc/passwd", "javascript:alert(1)", "h:80/a", "mailto:a@b"] {
        let error = Url::parse(text).unwrap_err();
        assert!(matches!(error, InvalidUrl::UnsupportedScheme { .. }), "{text:?}: {error}");
        assert!(error.to_string().contains("not with http:// or https://"), "{error}");
    }
    for text in ["http:", "http:a", "http:/a", "http://", "http:///a", "http://:80/", "http://u@/"] {
        assert_eq!(Url::parse(text), Err(InvalidUrl::NoHost), "{text:?}");
    }
    for (text, host, at) in [
        ("http://a b/", "a b", 7),
        ("http://u:p@[::1/", "[::1", 11),
        (" http://[::g]/", "[::g]", 8),
        ("http://a[b]/", "a[b]", 7),
        ("http://[v1.a]/", "[v1.a]", 7),
        ("http://a<b/", "a<b", 7),
    ] {
        let host = host.to_owned();
        assert_eq!(Url::parse(text), Err(InvalidUrl::InvalidHost { host, at }), "{text:?}");
    }
    for (text, port, at) in [
        ("http://h:0/", "0", 9),
        ("http://h:65536/", "65536", 9),
        ("http://u@h:x1/", "x1", 11),
        ("http://[::1]:+80/", "+80", 13),
        ("http://h:99999999999999999999/", "99999999999999999999", 9),
    ] {
        let port = port.to_owned();
        assert_eq!(Url::parse(text), Err(InvalidUrl::InvalidPort { port, at }), "{text:?}");
    }
    assert_eq!(
        Url::parse("http://h:0/").unwrap_err().to_string(),
        "invalid URL: port \"0\" at byte 9 is not between 1 and 65535"
    );
}

// H7.4
#[cfg(feature = "idna")]
#[test]
fn a_unicode_host_name_is_converted() {
    for (text, host) in [
        ("http://b\u{fc}cher.example/", "xn--bcher-kva.example"),
        ("http://B\u{dc}CHER.example/", "xn--bcher-kva.example"),
        ("http://b%C3%BCcher.example/", "xn--bcher-kva.example"),
        ("http://fa\u{df}.example/", "xn--fa-hia.example"),
        ("http://\u{4f8b}\u{3002}jp/", "xn--fsq.jp"),
    ] {
        assert_eq!(url(text).host(), host, "{text}");
    }
    assert_eq!(
        url("http://h/").join("http://b\u{fc}cher.example/".as_bytes()).unwrap().host(),
        "xn--bcher-kva.example"
    );
    for text in ["http://a\u{a0}b/", "http://a%2fb/", "http://%00/", "http://xn--\u{fc}/", "http://%ff/"] {
        assert!(matches!(Url::parse(text), Err(InvalidUrl::InvalidHost { at: 7, .. })), "{text}");
    }
}

// H7.4
#[cfg(not(feature = "idna"))]
#[test]
fn a_unicode_host_name_is_refused_with_the_form_it_needs() {
    assert_eq!(
        Url::parse("http://b\u{fc}cher.example/").unwrap_err().to_string(),
        "invalid URL: invalid host \"b\u{fc}cher.example\" at byte 7; write its xn-- form, or enable the feature idna"
    );
    assert!(matches!(Url::parse("http://h%41/"), Err(InvalidUrl::InvalidHost { at: 7, .. })));
}

#[test]
fn user_information_becomes_basic_credentials_only() {
    // H1.6
    for (text, value) in [
        ("http://h/", None),
        ("http://@h/", None),
        ("http://u@h/", Some("Basic dTo=")),
        ("http://u:@h/", Some("Basic dTo=")),
        ("http://u:p@h/", Some("Basic dTpw")),
        ("http://Aladdin:open%20sesame@h/", Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")),
        ("http://u%40x:p%3Aq%2B1@h/", Some("Basic dUB4OnA6cSsx")),
        ("http://\u{fc}:\u{e9}@h/", Some("Basic w7w6w6k=")),
    ] {
        let url = url(text);
        assert_eq!(url.basic_credentials().as_deref(), value, "{text}");
        for shown in [url.to_string(), format!("{url:?}"), url.authority().to_owned()] {
            assert!(!shown.contains('@'), "{shown}");
        }
    }
}

#[test]
fn references_are_resolved_as_in_rfc_3986() {
    // H3.5: the examples of RFC 3986, section 5.4, as far as they stay on http
    let base = url("http://a/b/c/d;p?q");
    for (reference, due) in [
        ("g", "http://a/b/c/g"),
        ("./g", "http://a/b/c/g"),
        ("g/", "http://a/b/c/g/"),
        ("/g", "http://a/g"),
        ("//g", "http://g/"),
        ("?y", "http://a/b/c/d;p?y"),
        ("g?y", "http://a/b/c/g?y"),
        ("#s", "http://a/b/c/d;p?q#s"),
        ("g#s", "http://a/b/c/g#s"),
        ("g?y#s", "http://a/b/c/g?y#s"),
        (";x", "http://a/b/c/;x"),
        ("g;x?y#s", "http://a/b/c/g;x?y#s"),
        ("", "http://a/b/c/d;p?q"),
        (".", "http://a/b/c/"),
        ("./", "http://a/b/c/"),
        ("..", "http://a/b/"),
        ("../g", "http://a/b/g"),
        ("../..", "http://a/"),
        ("../../g", "http://a/g"),
        ("../../../g", "http://a/g"),
        ("../../../../g", "http://a/g"),
        ("/./g", "http://a/g"),
        ("/../g", "http://a/g"),
        ("g.", "http://a/b/c/g."),
        ("..g", "http://a/b/c/..g"),
        ("./../g", "http://a/b/g"),
        ("g/./h", "http://a/b/c/g/h"),
        ("g/../h", "http://a/b/c/h"),
        ("g;x=1/../y", "http://a/b/c/y"),
        ("g?y/../x", "http://a/b/c/g?y/../x"),
        ("g#s/../x", "http://a/b/c/g#s/../x"),
        ("https://h:444/x", "https://h:444/x"),
        ("//u@h:81/x", "http://h:81/x"),
    ] {
        let joined = base.join(reference.as_bytes());
        assert_eq!(joined.map(|url| url.to_string()), Ok(due.to_owned()), "{reference}");
    }
}

#[test]
fn a_location_that_is_not_a_valid_reference_is_repaired() {
    // H3.5
    let base = url("http://a/b");
    for (location, due) in [
        (&b"/a b"[..], "http://a/a%20b"),
        (b"/caf\xc3\xa9", "http://a/caf%C3%A9"),
        (b"/caf\xe9", "http://a/caf%E9"),
        (b"/a|b\\c\"<>^`{}", "http://a/a%7Cb%5Cc%22%3C%3E%5E%60%7B%7D"),
        (b"/100%", "http://a/100%25"),
        (b"/%zz%41", "http://a/%25zz%41"),
        (b"/a[1]", "http://a/a%5B1%5D"),
        (b"/a#b#c", "http://a/a#b%23c"),
        (b"http://[::1]:81/a b", "http://[::1]:81/a%20b"),
    ] {
        let joined = base.join(location);
        assert_eq!(joined.map(|url| url.to_string()), Ok(due.to_owned()), "{}", location.escape_ascii());
    }
    for location in
        [&b"http://"[..], b"http://h:99999/", b"ftp://h/", b"javascript:alert(1)", b"http://a b/", b"//:80"]
    {
        assert!(base.join(location).is_err(), "{}", location.escape_ascii());
    }
}

#[test]
fn a_joined_url_keeps_the_fragment_and_the_user() {
    // H3.5
    let base = url("http://u:p@a/b#top");
    assert_eq!(base.join(b"c").unwrap().to_string(), "http://a/c#top");
    assert_eq!(base.join(b"c#new").unwrap().to_string(), "http://a/c#new");
    assert!(base.join(b"c").unwrap().basic_credentials().is_some());
    assert!(base.join(b"http://a:80/c").unwrap().basic_credentials().is_some());
    for elsewhere in ["http://b/c", "https://a/c", "http://a:81/c", "//b/c"] {
        assert_eq!(base.join(elsewhere.as_bytes()).unwrap().basic_credentials(), None, "{elsewhere}");
    }
}

#[test]
fn the_status_decides_about_method_and_body() {
    // H3.8
    let from = url("http://a/b");
    for (status, method, due, body) in [
        (301, "GET", "GET", true),
        (301, "POST", "GET", false),
        (301, "PUT", "PUT", true),
        (301, "HEAD", "HEAD", true),
        (302, "POST", "GET", false),
        (302, "DELETE", "DELETE", true),
        (303, "POST", "GET", false),
        (303, "PUT", "GET", false),
        (303, "HEAD", "HEAD", true),
        (307, "POST", "POST", true),
        (308, "POST", "POST", true),
        (308, "PATCH", "PATCH", true),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let status = StatusCode::from_u16(status).unwrap();
        let redirect = Redirects::new(1).follow(&from, &method, status, Some(b"/c")).unwrap().unwrap();
        assert_eq!((redirect.method.as_str(), redirect.keep_body), (due, body), "{status} {method}");
        assert!(redirect.same_origin);
    }
    for status in [200, 201, 300, 304, 305, 306, 404] {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(Redirects::new(1).follow(&from, &Method::GET, status, Some(b"/c")), Ok(None));
    }
    assert_eq!(Redirects::new(1).follow(&from, &Method::GET, StatusCode::FOUND, None), Ok(None));
}

#[test]
fn redirects_have_a_limit_and_may_return_to_a_url() {
    // H3.1, H3.5
    let mut redirects = Redirects::new(2);
    let mut from = url("http://a/0");
    for next in ["/1", "/2"] {
        from = redirects
            .follow(&from, &Method::GET, StatusCode::FOUND, Some(next.as_bytes()))
            .unwrap()
            .unwrap()
            .url;
    }
    let error = redirects.follow(&from, &Method::GET, StatusCode::FOUND, Some(b"/3")).unwrap_err();
    assert_eq!(error, RedirectError::TooMany { limit: 2 });
    let error = Redirects::new(0).follow(&from, &Method::GET, StatusCode::FOUND, Some(b"/3")).unwrap_err();
    assert_eq!(error, RedirectError::TooMany { limit: 0 });

    let mut redirects = Redirects::new(20);
    let start = url("http://a/0");
    let redirect = redirects.follow(&start, &Method::GET, StatusCode::FOUND, Some(b"/1")).unwrap().unwrap();
    let back =
        redirects.follow(&redirect.url, &redirect.method, StatusCode::FOUND, Some(b"/0")).unwrap().unwrap();
    assert_eq!(back.url, start);
    let itself = redirects.follow(&start, &Method::GET, StatusCode::FOUND, Some(b"")).unwrap().unwrap();
    assert_eq!(itself.url, start);
}

#[test]
fn a_redirect_from_https_to_http_is_refused_unless_allowed() {
    // H3.7
    let from = url("https://a/");
    let to = Some(&b"http://a/"[..]);
    let error = Redirects::new(20).follow(&from, &Method::GET, StatusCode::FOUND, to).unwrap_err();
    assert_eq!(error, RedirectError::Insecure { url: url("http://a/") });
    let mut redirects = Redirects::new(20).allow_insecure(true);
    let redirect = redirects.follow(&from, &Method::GET, StatusCode::FOUND, to).unwrap().unwrap();
    assert!(!redirect.same_origin);
    let error =
        Redirects::new(20).follow(&from, &Method::GET, StatusCode::FOUND, Some(b"ftp://a/")).unwrap_err();
    assert!(matches!(error, RedirectError::Invalid(_)));
}

#[test]
fn credentials_are_percent_decoded_and_never_shown() {
    // H1.6
    for (url, credentials) in [
        ("http://host/", None),
        ("http://@host/", None),
        ("http://me@host/", Some("Basic bWU6")),
        ("http://:pw@host/", Some("Basic OnB3")),
        ("http://me:pw@host/", Some("Basic bWU6cHc=")),
        ("http://me:a%40b%3Ac%2F@host/", Some("Basic bWU6YUBiOmMv")),
        ("http://me:p%C3%A4ss@host/", Some("Basic bWU6cMOkc3M=")),
        ("http://me:p\u{e4}ss@host/", Some("Basic bWU6cMOkc3M=")),
        ("http://a:b:c@host/", Some("Basic YTpiOmM=")),
        ("http://me:100%25@host/", Some("Basic bWU6MTAwJQ==")),
    ] {
        let parsed = Url::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        assert_eq!(parsed.basic_credentials().as_deref(), credentials, "{url}");
        for told in [
            parsed.to_string(),
            format!("{parsed:?}"),
            parsed.as_str().to_owned(),
            parsed.origin().to_string(),
        ] {
            assert!(told.contains("host") && !told.contains('@') && !told.contains("me"), "{told}");
        }
    }
    // The error does not show them either, whatever the password contains.
    for url in [
        "http://me:sec^ret@host:99999999/",
        "me:sec|ret@host/",
        "http://me:secret@host:0/",
        "http://me:secret@ho<st/",
        "http://me:sec\\ret@host/",
        "ftp://me:secret@host/",
        "http://me:secret@/",
        "http://me:sec\nret@host/",
    ] {
        let error = Url::parse(url).expect_err(url);
        assert!(!format!("{error} {error:?}").contains("sec"), "{error:?}");
    }
    let error =
        Url::parse("http://host/").unwrap().join(b"http://me:sec%@[ret").expect_err("the URL is malformed");
    assert!(!format!("{error} {error:?}").contains("sec"), "{error:?}");
}
