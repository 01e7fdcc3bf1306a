//! The requests that the decoder accepts, and those that it refuses, with the status. Each case is read whole,
//! at every split into two reads, and one byte at a time.

use crate::support::{Told, requests};
use twistor_http::message::{
    DecodeError, Eof, Fault, LimitExceeded, LimitKind, Limits, RequestDecoder, RequestEvent,
};

fn read(wire: impl AsRef<[u8]>) -> Told {
    requests(&Limits::default(), wire.as_ref())
}

/// A request with this first line and these field lines.
fn lines(first: &str, fields: &str) -> String {
    format!("{first}\r\nHost: h\r\n{fields}\r\n\r\n")
}

#[track_caller]
fn assert_refused(wire: impl AsRef<[u8]>, fault: Fault, status: u16) {
    let told = read(&wire);
    let wire = wire.as_ref().escape_ascii().to_string();
    assert_eq!(told.fault(), Some(fault), "{wire}: {told:?}");
    assert_eq!(told.error.map(|error| error.status().as_u16()), Some(status), "{wire}");
}

#[test]
fn a_request_is_a_head_an_optional_body_and_an_end() {
    // W3.5
    let told = read("GET /a/b?c=d HTTP/1.1\r\nHost: example.org:8080\r\nAccept: */*\r\n\r\n");
    assert_eq!(
        told.heads,
        [
            "GET /a/b HTTP/1.1 host=example.org:8080 Empty continue=false {\"Host\": \"example.org:8080\", \"Accept\": \"*/*\"}"
        ]
    );
    assert_eq!((told.ends, told.keep_alive, told.eof), (1, true, Some(Eof::Idle)));

    let told = read(lines("POST / HTTP/1.1", "Content-Length: 5") + "Hello");
    assert_eq!((told.body.as_slice(), told.ends), (&b"Hello"[..], 1));

    let told =
        read(lines("PUT / HTTP/1.1", "Transfer-Encoding: chunked") + "5\r\nHello\r\n0\r\nA: b\r\n\r\n");
    assert_eq!((told.body.as_slice(), told.ends), (&b"Hello"[..], 1));
    assert_eq!(told.trailers, [("A".into(), b"b".to_vec())]);

    // Any token is a method, known or not, and its case is kept.
    let told = read(lines("brew!#$%&'*+-.^_`|~ / HTTP/1.1", "A: b"));
    assert!(told.heads[0].starts_with("brew!#$%&'*+-.^_`|~ / "), "{told:?}");
}

#[test]
fn pipelined_requests_are_decoded_one_after_the_other() {
    // W3.2
    let one = lines("POST /1 HTTP/1.1", "Content-Length: 3") + "one";
    let two = lines("POST /2 HTTP/1.1", "Transfer-Encoding: chunked") + "3\r\ntwo\r\n0\r\n\r\n";
    let three = lines("GET /3 HTTP/1.1", "A: b");
    let told = read(format!("{one}{two}{three}"));
    assert_eq!((told.heads.len(), told.ends, told.body.as_slice()), (3, 3, &b"onetwo"[..]));

    let mut decoder = RequestDecoder::new(Limits::default());
    let both = format!("{three}{one}");
    let mut input = both.as_bytes();
    assert!(matches!(decoder.decode(&mut input), Ok(Some(RequestEvent::Head(_)))));
    assert!(!decoder.is_idle());
    assert!(matches!(decoder.decode(&mut input), Ok(Some(RequestEvent::End(_)))));
    assert!(decoder.is_idle());
    assert_eq!(input, one.as_bytes());
}

#[test]
fn empty_lines_before_a_request_are_skipped() {
    // W3.2
    let told = read(
        "\r\n\r\n".to_owned() + &lines("GET / HTTP/1.1", "A: b") + "\r\n" + &lines("GET / HTTP/1.1", "A: b"),
    );
    assert_eq!((told.ends, told.error), (2, None));
    assert_refused("\n".to_owned() + &lines("GET / HTTP/1.1", "A: b"), Fault::BareLf, 400);
    assert_refused("\r".to_owned() + &lines("GET / HTTP/1.1", "A: b"), Fault::BareCr, 400);
    let limits = Limits { head_size: 64, ..Limits::default() };
    let told = requests(&limits, &b"\r\n".repeat(40));
    assert_eq!(told.error, Some(LimitExceeded::new(LimitKind::HeadSize, 64).into()));
}

#[test]
fn version_and_fields_decide_whether_a_connection_persists() {
    // W3.3
    for (wire, stays) in [
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Close\r\n\r\n", false),
        ("GET / HTTP/1.0\r\n\r\n", false),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n", false),
    ] {
        assert_eq!(read(wire).keep_alive, stays, "{wire}");
    }
}

#[test]
fn exactly_one_valid_host_is_required() {
    // W4, W4.5
    for host in [
        "h",
        "h:",
        "h:80",
        "H.example.org:65535",
        "127.0.0.1",
        "[::1]",
        "[::1]:8080",
        "a_b-c.d~",
        "x%41",
        "%C3%a9",
        "a%2fb:80",
    ] {
        let told = read(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!((told.ends, told.error), (1, None), "{host}");
    }
    for host in [
        "", "%", "%4", "%4g:80", "a%zz", "a%41%", "%41:x", "%41[", "a b", "a/b", "a,b c", "u@h", "h:x",
        "h:65536", "h:-1", "h:+1", "h:8 0", ":80", "h:1:2", "[::1", "::1", "[::g]", "[h]", "[::1]x",
        "[::1]:x", "h?q", "h#f", "http://h", "h\\", "\u{e9}", "h\t:80", "h\"", "<h>",
    ] {
        assert_refused(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), Fault::InvalidHost, 400);
    }
    assert_refused("GET / HTTP/1.1\r\n\r\n", Fault::MissingHost, 400);
    assert_refused("GET http://h/ HTTP/1.1\r\n\r\n", Fault::MissingHost, 400);
    assert_refused("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Fault::RepeatedHost, 400);
    assert_refused("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", Fault::RepeatedHost, 400);
    assert_refused("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", Fault::RepeatedHost, 400);
    assert_refused("GET / HTTP/1.1\r\nHost : a\r\n\r\n", Fault::SpaceInHeaderName, 400);
    assert!(read("GET / HTTP/1.0\r\n\r\n").heads[0].contains("host=-"));
}

#[test]
fn targets_have_four_forms() {
    // W4, W4.6
    for (first, path, host) in [
        ("GET / HTTP/1.1", "/", "h"),
        ("GET //a//b HTTP/1.1", "//a//b", "h"),
        ("GET /a%20b;c=d/~?x=%zz HTTP/1.1", "/a%20b;c=d/~", "h"),
        ("GET /a|b^{c}`[d] HTTP/1.1", "/a|b^{c}`[d]", "h"),
        ("GET http://other:81/a?b HTTP/1.1", "/a", "other:81"),
        ("GET HTTPS://other HTTP/1.1", "/", "other"),
        ("GET http://other?b HTTP/1.1", "/", "other"),
        ("OPTIONS * HTTP/1.1", "*", "h"),
        ("OPTIONS /a HTTP/1.1", "/a", "h"),
        ("GET http://x%41:81/ HTTP/1.1", "/", "x%41:81"),
        // Characters that queries have in practice.
        ("GET /a?\"<b>\\c\" HTTP/1.1", "/a", "h"),
        ("GET http://other/a?<b>? HTTP/1.1", "/a", "other"),
        ("CONNECT other:443 HTTP/1.1", "/", "other:443"),
        ("CONNECT [::1]:443 HTTP/1.1", "/", "[::1]:443"),
    ] {
        let told = read(lines(first, "A: b"));
        let method = first.split(' ').next().unwrap();
        let due = format!("{method} {path} HTTP/1.1 host={host} ");
        assert!(told.heads.first().is_some_and(|head| head.starts_with(&due)), "{first}: {told:?}");
    }
    for first in [
        "GET * HTTP/1.1",
        "GET a HTTP/1.1",
        "GET h:80 HTTP/1.1",
        "GET ?a HTTP/1.1",
        "GET ftp://h/ HTTP/1.1",
        "GET http:/h/ HTTP/1.1",
        "GET http:// HTTP/1.1",
        "GET http:///a HTTP/1.1",
        "GET http://u@h/ HTTP/1.1",
        "GET http://u:p@h/ HTTP/1.1",
        "GET http://h:x/ HTTP/1.1",
        "GET http://a,b:c/ HTTP/1.1",
        "GET http://h%zz/ HTTP/1.1",
        "GET http://h%/ HTTP/1.1",
        "GET http://:80/ HTTP/1.1",
        "GET http://h:65536/ HTTP/1.1",
        "GET http://\"/a?b HTTP/1.1",
        "GET /a#b HTTP/1.1",
        "GET /a?b#c HTTP/1.1",
        "GET /a?caf\u{e9} HTTP/1.1",
        "GET /<a>?b HTTP/1.1",
        "GET /a\\b HTTP/1.1",
        "GET /\"a\" HTTP/1.1",
        "GET /<a> HTTP/1.1",
        "GET /caf\u{e9} HTTP/1.1",
        "CONNECT / HTTP/1.1",
        "CONNECT h HTTP/1.1",
        "CONNECT h: HTTP/1.1",
        "CONNECT h:x HTTP/1.1",
        "CONNECT http://h:80/ HTTP/1.1",
        "CONNECT * HTTP/1.1",
        "POST * HTTP/1.1",
        "GET /a\x7fb HTTP/1.1",
        "GET  HTTP/1.1",
    ] {
        assert_refused(lines(first, "A: b"), Fault::InvalidTarget, 400);
    }
    assert_refused(b"GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n", Fault::InvalidTarget, 400);
}

#[test]
fn request_lines_are_strict() {
    // W4.7
    for (first, fault, status) in [
        (" GET / HTTP/1.1", Fault::InvalidMethod, 400),
        ("GET\t/ HTTP/1.1", Fault::InvalidMethod, 400),
        ("G(T / HTTP/1.1", Fault::InvalidMethod, 400),
        ("G\u{e9}T / HTTP/1.1", Fault::InvalidMethod, 400),
        ("GET", Fault::InvalidMethod, 400),
        ("GET: / HTTP/1.1", Fault::InvalidMethod, 400),
        ("G\0T / HTTP/1.1", Fault::Nul, 400),
        ("\x16\x03\x01\x02", Fault::InvalidMethod, 400),
        ("GET  / HTTP/1.1", Fault::InvalidTarget, 400),
        ("GET \t/ HTTP/1.1", Fault::InvalidTarget, 400),
        ("GET /\0 HTTP/1.1", Fault::Nul, 400),
        ("GET /", Fault::InvalidVersion, 400),
        ("GET / ", Fault::InvalidVersion, 400),
        ("GET /  HTTP/1.1", Fault::InvalidVersion, 400),
        ("GET / HTTP/1.1 ", Fault::InvalidVersion, 400),
        ("GET / HTTP/1.1\t", Fault::InvalidVersion, 400),
        ("GET / HTTP/1.10", Fault::InvalidVersion, 400),
        ("GET / HTTP/1.", Fault::InvalidVersion, 400),
        ("GET / HTTP/1", Fault::InvalidVersion, 400),
        ("GET / HTTP/", Fault::InvalidVersion, 400),
        ("GET / HTTP/+1.1", Fault::InvalidVersion, 400),
        ("GET / HTTP/01.1", Fault::InvalidVersion, 400),
        ("GET / HTTP/12.1", Fault::InvalidVersion, 400),
        ("GET / http/1.1", Fault::InvalidVersion, 400),
        ("GET / HTTPS/1.1", Fault::InvalidVersion, 400),
        ("GET / SIP/2.0", Fault::InvalidVersion, 400),
        ("GET /a b HTTP/1.1", Fault::InvalidVersion, 400),
        ("GET /\rx HTTP/1.1", Fault::InvalidVersion, 400),
        ("GET / HTTP/1.1\rx", Fault::BareCr, 400),
        ("GET / HTTP/1.1\nX: y", Fault::BareLf, 400),
        ("GET / HTTP/2.0", Fault::UnsupportedVersion, 505),
        ("PRI * HTTP/2.0", Fault::UnsupportedVersion, 505),
        ("GET / HTTP/9.9", Fault::UnsupportedVersion, 505),
        ("GET / HTTP/1.:", Fault::InvalidVersion, 400),
        ("GET / HTTP/1.23", Fault::InvalidVersion, 400),
        ("GET / HTTP/1.2 ", Fault::InvalidVersion, 400),
        ("GET  / HTTP/1.2", Fault::InvalidTarget, 400),
        ("GET / HTTP/0.9", Fault::UnsupportedVersion, 505),
        ("GET / HTTP/3", Fault::InvalidVersion, 400),
    ] {
        assert_refused(lines(first, "A: b"), fault, status);
    }
}

#[test]
fn field_lines_are_strict() {
    // W4.7, H6.4
    for (fields, fault) in [
        ("Content-Length : 2", Fault::SpaceInHeaderName),
        ("Content-Length\t: 2", Fault::SpaceInHeaderName),
        ("A: b\r\n c", Fault::FoldedHeader),
        ("A: b\r\n\tc", Fault::FoldedHeader),
        ("Transfer-Encoding:\r\n chunked", Fault::FoldedHeader),
        ("A", Fault::MissingColon),
        (": b", Fault::InvalidHeaderName),
        ("A[b]: c", Fault::InvalidHeaderName),
        ("A: b\0", Fault::Nul),
        ("A: b\x01", Fault::InvalidHeaderValue),
        ("A: b\x7f", Fault::InvalidHeaderValue),
        ("A: \x0bb", Fault::InvalidHeaderValue),
        ("A: b\x0c", Fault::InvalidHeaderValue),
        ("A\x0b: b", Fault::InvalidHeaderName),
        ("A\0: b", Fault::Nul),
        ("A\u{e9}: b", Fault::InvalidHeaderName),
        ("A b: c", Fault::SpaceInHeaderName),
        ("A\r: b", Fault::MissingColon),
        ("A: b\rC: d", Fault::BareCr),
        ("A: b\nC: d", Fault::BareLf),
        ("A: b\n\rC: d", Fault::BareLf),
        ("A: b\r\n\nGET / HTTP/1.1", Fault::BareLf),
        ("A: b\n\nGET /admin HTTP/1.1\r\nHost: h", Fault::BareLf),
    ] {
        assert_refused(lines("GET / HTTP/1.1", fields), fault, 400);
    }
    // Before the first field.
    assert_refused("GET / HTTP/1.1\r\n Host: h\r\n\r\n", Fault::FoldedHeader, 400);
}

#[test]
fn a_request_with_an_ambiguous_end_is_refused() {
    // W4.7, H6.4: CL.CL, CL.TE, TE.CL, TE.TE
    for (fields, fault, status) in [
        ("Content-Length: 0\r\nContent-Length: 44", Fault::RepeatedContentLength, 400),
        ("Content-Length: 6\r\nContent-Length: 6", Fault::RepeatedContentLength, 400),
        ("Content-Length: 6, 6", Fault::RepeatedContentLength, 400),
        ("Content-Length: 6\r\nTransfer-Encoding: chunked", Fault::LengthWithTransferEncoding, 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 6", Fault::LengthWithTransferEncoding, 400),
        ("Content-Length: 0\r\ntransfer-encoding: CHUNKED", Fault::LengthWithTransferEncoding, 400),
        ("Content-Length: +6", Fault::InvalidContentLength, 400),
        ("Content-Length: -6", Fault::InvalidContentLength, 400),
        ("Content-Length: 6 6", Fault::InvalidContentLength, 400),
        ("Content-Length: 0x6", Fault::InvalidContentLength, 400),
        ("Content-Length: 6_0", Fault::InvalidContentLength, 400),
        ("Content-Length: 6;", Fault::InvalidContentLength, 400),
        ("Content-Length: 6,", Fault::InvalidContentLength, 400),
        ("Content-Length: 6.0", Fault::InvalidContentLength, 400),
        ("Content-Length: \"6\"", Fault::InvalidContentLength, 400),
        ("Content-Length: 18446744073709551616", Fault::InvalidContentLength, 400),
        ("Content-Length: \x0b6", Fault::InvalidHeaderValue, 400),
        ("Content-Length: 6\0", Fault::Nul, 400),
        ("Content-Length: 6\rX", Fault::BareCr, 400),
        (" Content-Length: 6", Fault::FoldedHeader, 400),
        ("Content-Length: 0\r\n 6", Fault::FoldedHeader, 400),
        ("X: y\r\nContent-Length: 6\r\nContent-length: 0", Fault::RepeatedContentLength, 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", Fault::InvalidTransferEncoding, 400),
        ("Transfer-Encoding: chunked;q=1", Fault::InvalidTransferEncoding, 400),
        ("Transfer-Encoding: chunked ;", Fault::InvalidTransferEncoding, 400),
        ("Transfer-Encoding: , chunked", Fault::InvalidTransferEncoding, 400),
        ("Transfer-Encoding: \"chunked\"", Fault::UnsupportedTransferCoding, 501),
        ("Transfer-Encoding: chunked chunked", Fault::UnsupportedTransferCoding, 501),
        ("Transfer-Encoding: chunk\u{e9}d", Fault::UnsupportedTransferCoding, 501),
        ("Transfer-Encoding: identity, chunked", Fault::UnsupportedTransferCoding, 501),
        ("Transfer-Encoding: chunked\x0b", Fault::InvalidHeaderValue, 400),
        ("Transfer-Encoding: chunked\0", Fault::Nul, 400),
        ("Transfer-Encoding: chunked\r\n\t, identity", Fault::FoldedHeader, 400),
        ("Transfer-Encoding\t: chunked", Fault::SpaceInHeaderName, 400),
        ("Content-Length:", Fault::InvalidContentLength, 400),
        ("Content-Length: 99999999999999999999", Fault::InvalidContentLength, 400),
        ("Transfer-Encoding: xchunked", Fault::UnsupportedTransferCoding, 501),
        ("Transfer-Encoding: gzip, chunked", Fault::UnsupportedTransferCoding, 501),
        ("Transfer-Encoding: gzip", Fault::UnsupportedTransferCoding, 501),
        ("Transfer-Encoding: identity", Fault::UnsupportedTransferCoding, 501),
        ("Transfer-Encoding: chunked-more", Fault::UnsupportedTransferCoding, 501),
        ("Transfer-Encoding: cow\r\nTransfer-Encoding: chunked", Fault::UnsupportedTransferCoding, 501),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: cow", Fault::InvalidTransferEncoding, 400),
        ("Transfer-Encoding: chunked, identity", Fault::InvalidTransferEncoding, 400),
        ("Transfer-Encoding: chunked, chunked", Fault::InvalidTransferEncoding, 400),
        ("Transfer-Encoding: chunked;foo=bar", Fault::InvalidTransferEncoding, 400),
        ("Transfer-Encoding: chunked,", Fault::InvalidTransferEncoding, 400),
        ("Transfer-Encoding:", Fault::InvalidTransferEncoding, 400),
        ("Transfer-Encoding : chunked", Fault::SpaceInHeaderName, 400),
        (" Transfer-Encoding: chunked", Fault::FoldedHeader, 400),
        ("Transfer-Encoding: \x0bchunked", Fault::InvalidHeaderValue, 400),
        ("Transfer-Encoding\r\n: chunked", Fault::MissingColon, 400),
        ("X: x\nTransfer-Encoding: chunked", Fault::BareLf, 400),
        ("X: x\rTransfer-Encoding: chunked", Fault::BareCr, 400),
    ] {
        assert_refused(
            lines("POST / HTTP/1.1", fields) + "0\r\n\r\nGET /evil HTTP/1.1\r\n\r\n",
            fault,
            status,
        );
    }
    let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_refused(old, Fault::TransferEncodingInHttp10, 400);
    // White space around a value does not belong to it, and a length may begin with zeros.
    for (fields, body) in [
        ("Transfer-Encoding:\tchunked \t", "2\r\nab\r\n0\r\n\r\n"),
        ("transfer-encoding:CHUNKED", "0002\r\nab\r\n000\r\n\r\n"),
        ("Content-Length:\t00000000000000000000002\t", "ab"),
    ] {
        let told = read(lines("GET / HTTP/1.1", fields) + body);
        assert_eq!((told.ends, told.body.as_slice(), told.error), (1, &b"ab"[..], None), "{fields}");
    }
    // Similar names do not affect the framing.
    let told = read(lines("POST / HTTP/1.1", "Transfer_Encoding: chunked\r\nContent-Lengths: 5"));
    assert_eq!((told.ends, told.body.len()), (1, 0));
}

#[test]
fn chunk_lines_are_strict() {
    // W4, W4.3, H6, H6.3
    for (body, fault) in [
        ("5;\nHello\r\n0\r\n\r\n", Fault::BareLf),
        ("5\nHello\n0\n\n", Fault::BareLf),
        ("5;a\nxx\r\n4c\r\n0\r\n\r\nGET /evil HTTP/1.1\r\n\r\n", Fault::BareLf),
        ("5\rxHello\r\n0\r\n\r\n", Fault::BareCr),
        ("0x5\r\nHello\r\n0\r\n\r\n", Fault::InvalidChunkSize),
        ("5 \r\nHello\r\n0\r\n\r\n", Fault::InvalidChunkSize),
        ("100000000000000005\r\nHello\r\n0\r\n\r\n", Fault::InvalidChunkSize),
        ("5\r\nHelloXX0\r\n\r\n", Fault::MissingChunkEnd),
        ("5\r\nHello\n\n0\r\n\r\n", Fault::MissingChunkEnd),
        ("0\r\nGET /evil HTTP/1.1\r\n\r\n", Fault::SpaceInHeaderName),
        // Line ends hidden in, before and after extensions, and data longer than its chunk.
        ("5;a\rX\r\nHello\r\n0\r\n\r\n", Fault::BareCr),
        ("5;a=\"\nb\"\r\nHello\r\n0\r\n\r\n", Fault::BareLf),
        ("5;a\rHello\r\n0\r\n\r\n", Fault::BareCr),
        ("5;\rHello\r\n0\r\n\r\n", Fault::InvalidChunkExtension),
        ("5\r\r\nHello\r\n0\r\n\r\n", Fault::BareCr),
        ("5\n;a\r\nHello\r\n0\r\n\r\n", Fault::BareLf),
        ("5\r\nHello\r0\r\n\r\n", Fault::MissingChunkEnd),
        ("5\r\nHello\n0\r\n\r\n", Fault::MissingChunkEnd),
        ("5\r\nHello0\r\n\r\n", Fault::MissingChunkEnd),
        ("5\r\nHell\r\n0\r\n\r\n", Fault::MissingChunkEnd),
        ("5\r\nHello\r\n0\n\r\n", Fault::BareLf),
        ("5\r\nHello\r\n0\r\n\n", Fault::BareLf),
        ("5\r\nHello\r\n\r\n0\r\n\r\n", Fault::InvalidChunkSize),
        ("5;a=\0\r\nHello\r\n0\r\n\r\n", Fault::Nul),
        ("5;a=\x0b\r\nHello\r\n0\r\n\r\n", Fault::InvalidChunkExtension),
        // An extension is a name, or a name and a value.
        ("5;\r\nHello\r\n0\r\n\r\n", Fault::InvalidChunkExtension),
        ("5; \r\nHello\r\n0\r\n\r\n", Fault::InvalidChunkExtension),
        ("5;a;\r\nHello\r\n0\r\n\r\n", Fault::InvalidChunkExtension),
        ("5;;a\r\nHello\r\n0\r\n\r\n", Fault::InvalidChunkExtension),
        ("5;a \r\nHello\r\n0\r\n\r\n", Fault::InvalidChunkExtension),
        ("5;a=\r\nHello\r\n0\r\n\r\n", Fault::InvalidChunkExtension),
        ("5;=b\r\nHello\r\n0\r\n\r\n", Fault::InvalidChunkExtension),
        ("5;a=b=c\r\nHello\r\n0\r\n\r\n", Fault::InvalidChunkExtension),
        ("5;a=b c\r\nHello\r\n0\r\n\r\n", Fault::InvalidChunkSize),
        ("5;a b\r\nHello\r\n0\r\n\r\n", Fault::InvalidChunkExtension),
        ("5;a[b]\r\nHello\r\n0\r\n\r\n", Fault::InvalidChunkExtension),
        ("5;caf\u{e9}\r\nHello\r\n0\r\n\r\n", Fault::InvalidChunkExtension),
        ("5;a=\"b\r\nHello\r\n0\r\n\r\n", Fault::InvalidChunkExtension),
        ("5;a=\"b\"c\r\nHello\r\n0\r\n\r\n", Fault::InvalidChunkExtension),
        ("5;a=\"b\\\r\nHello\r\n0\r\n\r\n", Fault::InvalidChunkExtension),
        (";a\r\nHello\r\n0\r\n\r\n", Fault::InvalidChunkSize),
        (" 5\r\nHello\r\n0\r\n\r\n", Fault::InvalidChunkSize),
        ("\t5\r\nHello\r\n0\r\n\r\n", Fault::InvalidChunkSize),
        ("5\x0b\r\nHello\r\n0\r\n\r\n", Fault::InvalidChunkSize),
        ("+5\r\nHello\r\n0\r\n\r\n", Fault::InvalidChunkSize),
        ("-5\r\nHello\r\n0\r\n\r\n", Fault::InvalidChunkSize),
        ("5_0\r\nHello\r\n0\r\n\r\n", Fault::InvalidChunkSize),
        ("00000000000000005\r\nHello\r\n0\r\n\r\n", Fault::InvalidChunkSize),
        ("\r\nHello\r\n0\r\n\r\n", Fault::InvalidChunkSize),
        ("0\r\n A: b\r\n\r\n", Fault::FoldedHeader),
        ("0\r\nA : b\r\n\r\n", Fault::SpaceInHeaderName),
        ("0\r\nA: b\nC: d\r\n\r\n", Fault::BareLf),
    ] {
        assert_refused(lines("POST / HTTP/1.1", "Transfer-Encoding: chunked") + body, fault, 400);
    }
}

#[test]
fn chunk_extensions_are_skipped() {
    // W4.3
    for extension in [
        ";a",
        ";a=b",
        ";a;b",
        " ;a",
        "\t; a \t=\t b ;c",
        ";a=\"b; c\"",
        ";a=\"\\\"\" ; b",
        ";a=\"caf\u{e9}\"",
        ";a=\"\"",
    ] {
        let body = format!("5{extension}\r\nHello\r\n0{extension}\r\n\r\n");
        let told = read(lines("POST / HTTP/1.1", "Transfer-Encoding: chunked") + &body);
        assert_eq!((told.body.as_slice(), told.ends, told.error), (&b"Hello"[..], 1, None), "{extension}");
    }
}

#[test]
fn higher_minor_versions_are_read_as_http_1_1() {
    // W3.1
    for minor in 1..=9 {
        let wire =
            lines(&format!("POST / HTTP/1.{minor}"), "Transfer-Encoding: chunked") + "2\r\nok\r\n0\r\n\r\n";
        let told = read(&wire);
        let due = "POST / HTTP/1.1 host=h Chunked";
        assert!(told.heads[0].starts_with(due) && told.keep_alive, "{minor}: {told:?}");
        assert_eq!((told.ends, told.error), (1, None));
        assert_refused(format!("GET / HTTP/1.{minor}\r\n\r\n"), Fault::MissingHost, 400);
        assert_refused(lines(&format!("GET / HTTP/1.{minor}"), "A\0: b"), Fault::Nul, 400);
    }
}

#[test]
fn a_method_that_is_too_long_is_not_implemented() {
    // W4.2
    let told = read(lines(&("M".repeat(64) + " / HTTP/1.1"), "A: b"));
    assert_eq!((told.ends, told.error), (1, None));
    for length in [65, 100, 1000, 100_000] {
        let mut decoder = RequestDecoder::new(Limits::default());
        let wire = "M".repeat(length);
        let error = decoder.decode(&mut wire.as_bytes()).expect_err("the method was accepted");
        assert_eq!(error.status().as_u16(), 501, "{length}");
    }
    for wire in [lines(&("M".repeat(65) + " / HTTP/1.1"), "A: b"), "M".repeat(65) + "\0 / HTTP/1.1\r\n\r\n"] {
        assert_refused(wire, Fault::MethodTooLong, 501);
    }
    assert_refused("M".repeat(64) + "\0", Fault::Nul, 400);
    let limits = Limits { head_size: 80, ..Limits::default() };
    assert_eq!(requests(&limits, &b"M".repeat(100)).fault(), Some(Fault::MethodTooLong));
}

#[test]
fn a_malformed_line_is_refused_when_it_is_complete() {
    // W4.1
    for line in ["A : b", "A", " folded: b", "A: b\rc", "A: \x01", ": b", "A: b\nC: d"] {
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\nX: y\r\n{line}\r\n");
        let told = read(&head);
        assert!(told.fault().is_some() && told.eof.is_none(), "{line:?}: {told:?}");
        for split in 0..=head.len() {
            let mut decoder = RequestDecoder::new(Limits::default());
            let (mut first, mut second) = head.as_bytes().split_at(split);
            let error = decoder.decode(&mut first).err().or(decoder.decode(&mut second).err());
            assert_eq!(error, told.error, "{line:?} split at {split}");
        }
    }
}

#[test]
fn trailers_do_not_affect_the_request() {
    // W3.5
    let chunked = lines("POST / HTTP/1.1", "Transfer-Encoding: chunked");
    let trailers = "Content-Length: 99\r\nTransfer-Encoding: gzip\r\nHost: other\r\nConnection: close";
    let told = read(chunked + "0\r\n" + trailers + "\r\n\r\n" + &lines("GET /next HTTP/1.1", "A: b"));
    assert_eq!((told.ends, told.heads.len(), told.keep_alive, &told.error), (2, 2, true, &None));
    assert!(told.heads[1].starts_with("GET /next HTTP/1.1 host=h "), "{told:?}");
}

#[test]
fn an_offered_upgrade_is_ignored() {
    // W3.2: the following requests are HTTP/1.1 as well
    for fields in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
        "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13",
    ] {
        let told = read(lines("GET / HTTP/1.1", fields) + &lines("GET /next HTTP/1.1", "A: b"));
        assert_eq!((told.ends, told.keep_alive, told.error), (2, true, None), "{fields}");
    }
}

#[test]
fn expectations_are_met_or_refused() {
    // W3.4
    let expecting =
        |fields: &str| read(lines("POST / HTTP/1.1", fields) + "ok").heads[0].contains("continue=true");
    assert!(expecting("Expect: 100-continue\r\nContent-Length: 2"));
    assert!(expecting("Content-Length: 2\r\nexpect: 100-Continue"));
    assert!(!expecting("Content-Length: 2"));
    let none = read(lines("GET / HTTP/1.1", "Expect: 100-continue"));
    assert!(none.heads[0].contains("continue=false"), "without a body, the client does not wait");
    let old = read("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok");
    assert!(old.heads[0].contains("continue=false"), "HTTP/1.0 does not have interim responses");
    for value in ["200-ok", "100-continue, x", ""] {
        let wire = lines("POST / HTTP/1.1", &format!("Content-Length: 2\r\nExpect: {value}"));
        assert_refused(wire, Fault::UnsupportedExpectation, 417);
    }
}

#[test]
fn limits_apply_exactly_and_have_their_status() {
    // W4.7
    let wire = "GET /1234567 HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n";
    let full = Limits { head_size: wire.len(), target_size: 8, header_count: 2, ..Limits::default() };
    let told = requests(&full, wire.as_bytes());
    assert_eq!((told.ends, told.error), (1, None));

    for (limits, error, status) in [
        (
            Limits { head_size: wire.len() - 1, ..full.clone() },
            DecodeError::from(LimitExceeded::new(LimitKind::HeadSize, (wire.len() - 1) as u64)),
            431,
        ),
        (
            Limits { header_count: 1, ..full.clone() },
            LimitExceeded::new(LimitKind::HeaderCount, 1).into(),
            431,
        ),
        (Limits { target_size: 7, ..full.clone() }, LimitExceeded::new(LimitKind::TargetSize, 7).into(), 414),
        // The request line alone exceeds the limit of the head.
        (Limits { head_size: 12, ..full.clone() }, LimitExceeded::new(LimitKind::TargetSize, 8).into(), 414),
    ] {
        let told = requests(&limits, wire.as_bytes());
        assert_eq!(told.error, Some(error.clone()), "{limits:?}");
        assert_eq!(error.status().as_u16(), status);
    }

    let small = Limits { body_size: 4, ..Limits::default() };
    let error = DecodeError::from(LimitExceeded::new(LimitKind::BodySize, 4));
    assert_eq!(error.status().as_u16(), 413);
    for (fields, body, came) in [
        ("Content-Length: 4", "1234", Ok(())),
        ("Content-Length: 5", "12345", Err(&b""[..])),
        ("Transfer-Encoding: chunked", "2\r\n12\r\n2\r\n34\r\n0\r\n\r\n", Ok(())),
        ("Transfer-Encoding: chunked", "2\r\n12\r\n3\r\n345\r\n0\r\n\r\n", Err(&b"12"[..])),
    ] {
        let told = requests(&small, (lines("POST / HTTP/1.1", fields) + body).as_bytes());
        match came {
            Ok(()) => assert_eq!((told.body.as_slice(), told.error), (&b"1234"[..], None)),
            Err(came) => assert_eq!((told.body.as_slice(), told.error.as_ref()), (came, Some(&error))),
        }
    }
    let trailers = Limits { trailers_size: 8, ..Limits::default() };
    let wire = lines("POST / HTTP/1.1", "Transfer-Encoding: chunked") + "0\r\nA: bcd\r\n\r\n";
    assert_eq!(requests(&trailers, wire.as_bytes()).error.map(|error| error.status().as_u16()), Some(431));
}

#[test]
fn an_early_end_is_reported() {
    // W4.7
    for (wire, eof) in [
        ("", Eof::Idle),
        ("\r\n", Eof::InHead),
        ("GET / HT", Eof::InHead),
        ("GET / HTTP/1.1\r\nHost: h\r\n", Eof::InHead),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nHel",
            Eof::InBody { received: 3, expected: Some(5) },
        ),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nHel",
            Eof::InBody { received: 3, expected: None },
        ),
    ] {
        assert_eq!(read(wire).eof, Some(eof), "{wire:?}");
    }
}
