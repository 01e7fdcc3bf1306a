//! The messages that are written, and those that are refused before anything is written.

use crate::support::{requests, response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use twistor_http::message::{ChunkWriter, EncodeError, HeadWriter, Limits};

#[test]
fn written_messages_are_read_back() {
    // H2.1, W3.5
    let mut out = Vec::new();
    let mut head = HeadWriter::request(&mut out, &Method::POST, "/a?b").unwrap();
    head.field("Host", "h:81").unwrap();
    let mut map = HeaderMap::new();
    map.append("x-a", HeaderValue::from_static("1"));
    map.append("x-a", HeaderValue::from_bytes(b"caf\xe9").unwrap());
    head.headers(&map).unwrap();
    head.length(5).unwrap();
    head.finish();
    out.extend_from_slice(b"Hello");
    let told = requests(&Limits::default(), &out);
    assert_eq!((told.body.as_slice(), told.ends, told.error), (&b"Hello"[..], 1, None));
    assert!(told.heads[0].contains("\"x-a\": \"1\", \"x-a\": \"caf\\\\xe9\""), "{}", told.heads[0]);

    out.clear();
    let mut head = HeadWriter::response(&mut out, StatusCode::NOT_FOUND, None).unwrap();
    head.chunked().unwrap();
    head.finish();
    let long = vec![b'x'; 300];
    for piece in [&b"Hello"[..], b"", &long] {
        ChunkWriter::chunk(&mut out, piece);
    }
    let mut trailers = HeadWriter::trailers(&mut out);
    trailers.field("Digest", "d").unwrap();
    trailers.finish();
    assert!(out.starts_with(
        b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nHello\r\n12c\r\nxxx"
    ));
    let told = response(&Method::GET, &Limits::default(), &out);
    assert_eq!((told.body.len(), told.ends, told.error), (305, 1, None));
    assert_eq!(told.trailers, [("Digest".into(), b"d".to_vec())]);
}

#[test]
fn numbers_are_written_in_full() {
    // H2.1
    for length in [0, 9, 10, 1_234_567_890, u64::MAX] {
        let mut out = Vec::new();
        let mut head = HeadWriter::response(&mut out, StatusCode::OK, Some("")).unwrap();
        head.length(length).unwrap();
        head.finish();
        assert_eq!(out, format!("HTTP/1.1 200 \r\nContent-Length: {length}\r\n\r\n").into_bytes());
    }
    for size in [1, 15, 16, 0xdead_beef, usize::MAX] {
        assert_eq!(ChunkWriter::size_line(size).as_bytes(), format!("{size:x}\r\n").into_bytes());
    }
}

#[test]
fn input_that_would_split_a_message_is_refused_unwritten() {
    // H7.6
    let mut out = b"before".to_vec();
    for target in
        ["", "/a b", "/a\r\nHost: evil", "/\n", "/\0", "/\t", "/caf\u{e9}", "/ HTTP/1.1\r\n\r\nGET /evil"]
    {
        let error = HeadWriter::request(&mut out, &Method::GET, target).err();
        assert!(matches!(error, Some(EncodeError::InvalidTarget { .. })), "{target:?}");
    }
    for method in ["", "G T", "GET\r\n", "GET\0", "G:T", "G\u{e9}T"] {
        assert!(
            Method::from_bytes(method.as_bytes()).is_err(),
            "{method:?}: the type excludes invalid methods"
        );
    }
    for reason in ["a\r\nb", "a\n", "a\0", "a\x7f"] {
        let error = HeadWriter::response(&mut out, StatusCode::OK, Some(reason)).err();
        assert_eq!(error, Some(EncodeError::InvalidReason { at: 1 }), "{reason:?}");
    }
    for name in ["", "a b", "a:", "a\r\n", "a\0", "caf\u{e9}", " a", "a ", "(a)"] {
        let mut head = HeadWriter::request(&mut out, &Method::GET, "/").unwrap();
        let error = head.field(name, "b").err();
        assert!(matches!(error, Some(EncodeError::InvalidHeaderName { .. })), "{name:?}");
    }
    for value in ["a\rb", "a\nb", "a\0b", "a\x1bb", "a\r\n b", "a\x7f"] {
        let mut head = HeadWriter::request(&mut out, &Method::GET, "/").unwrap();
        let error = head.field("x", value).err();
        assert_eq!(error, Some(EncodeError::InvalidHeaderValue { name: "x".into(), at: 1 }), "{value:?}");
        assert!(HeaderValue::from_str(value).is_err(), "the type excludes invalid values");
    }
    assert_eq!(out, b"before");
}

#[test]
fn the_framing_of_a_message_is_set_once() {
    // H7.7
    let mut out = Vec::new();
    let mut head = HeadWriter::request(&mut out, &Method::POST, "/").unwrap();
    for name in ["Content-Length", "TRANSFER-ENCODING"] {
        assert!(matches!(head.field(name, "5"), Err(EncodeError::FramingHeader { .. })));
        let name: HeaderName = name.parse().unwrap();
        let framing = head.header(&name, &HeaderValue::from_static("5"));
        assert!(matches!(framing, Err(EncodeError::FramingHeader { .. })));
    }
    head.length(5).unwrap();
    assert!(head.chunked().is_err());
    assert!(head.length(5).is_err());
    head.finish();
    assert_eq!(out, b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n");
    out.clear();
    let mut trailers = HeadWriter::trailers(&mut out);
    assert!(trailers.length(5).is_err());
    drop(trailers);
    assert!(out.is_empty());
}
