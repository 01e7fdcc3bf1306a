//! The responses that the decoder accepts, and those that it refuses. Each case is read whole, at every split into
//! two reads, and one byte at a time.

use crate::support::{Told, response};
use http::{Method, Version};
use twistor_http::message::{
    DecodeError, Eof, Fault, LimitExceeded, LimitKind, Limits, MessagePart, ResponseDecoder, ResponseEvent,
};

fn get(wire: &[u8]) -> Told {
    response(&Method::GET, &Limits::default(), wire)
}

fn with(limits: Limits, wire: &[u8]) -> Told {
    response(&Method::GET, &limits, wire)
}

/// A head with these field lines, and two bytes of body.
fn fields(lines: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\nok").into_bytes()
}

fn chunks(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}").into_bytes()
}

#[track_caller]
fn assert_body(told: &Told, body: &[u8]) {
    assert_eq!((told.error.as_ref(), told.ends), (None, 1), "{told:?}");
    assert_eq!(told.body, body);
}

#[test]
fn a_body_ends_by_length_last_chunk_or_end_of_connection() {
    // H2.1
    let told = get(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHello");
    assert_body(&told, b"Hello");
    assert!(told.keep_alive);
    assert_eq!(told.eof, Some(Eof::Idle));

    let told = get(&chunks("5\r\nHello\r\n8;a=b;c=\"d; e\"\r\n, world!\r\n0\r\n\r\n"));
    assert_body(&told, b"Hello, world!");
    assert!(told.keep_alive);

    let told = get(b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\nHello");
    assert_eq!((told.body.as_slice(), told.ends, told.keep_alive), (&b"Hello"[..], 0, false));
    assert_eq!(told.eof, Some(Eof::Complete));

    let told = get(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_body(&told, b"");
}

#[test]
fn a_head_keeps_its_reason_and_its_fields_unchanged() {
    // H1.1
    let told = get(b"HTTP/1.1 404 N\xf6t  here\r\nA: 1\r\nb:\r\nC: \t caf\xc3\xa9 \t\r\nA: 2\r\nContent-Length:0\r\n\r\n");
    assert_eq!(
        told.heads,
        [
            "HTTP/1.1 404 N\\xf6t  here {\"A\": \"1\", \"b\": \"\", \"C\": \"caf\\\\xc3\\\\xa9\", \"A\": \"2\", \"Content-Length\": \"0\"}"
        ]
    );
    assert_eq!(get(b"HTTP/1.0 200\r\n\r\n").heads, ["HTTP/1.0 200  {}"]);
    assert_eq!(get(b"HTTP/1.1 200 \r\n\r\n").heads, ["HTTP/1.1 200  {}"]);
    assert_eq!(get(b"HTTP/1.1 999 Odd\r\n\r\n").heads, ["HTTP/1.1 999 Odd {}"]);
}

#[test]
fn trailers_are_returned_at_the_end() {
    // H2.1
    let told = get(&chunks("2\r\nok\r\n0\r\nDigest: x\r\nEmpty:\r\n\r\n"));
    assert_body(&told, b"ok");
    assert_eq!(told.trailers, [("Digest".into(), b"x".to_vec()), ("Empty".into(), vec![])]);
}

#[test]
fn higher_minor_versions_are_read_as_http_1_1() {
    // H6.1
    for minor in 1..=9 {
        let told =
            get(format!("HTTP/1.{minor} 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
                .as_bytes());
        assert_body(&told, b"ok");
        assert!(told.keep_alive && told.heads[0].starts_with("HTTP/1.1 200 OK "), "{minor}: {told:?}");
    }
}

#[test]
fn a_malformed_line_is_refused_when_it_is_complete() {
    // H6.2
    let told = get(b"HTTP/1.1 200 OK\r\nA: b\r\nC : d\r\n");
    assert_eq!((told.fault(), told.eof), (Some(Fault::SpaceInHeaderName), None));
}

#[test]
fn bytes_after_a_response_are_left_in_the_input() {
    // H5.10
    for message in [&b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"[..], &chunks("2\r\nok\r\n0\r\n\r\n")] {
        let told = get(&[message, b"HTTP/1.1 200 Evil\r\n\r\n"].concat());
        assert_body(&told, b"ok");
        assert_eq!(told.rest, b"HTTP/1.1 200 Evil\r\n\r\n");
    }
}

#[test]
fn some_responses_never_have_a_body() {
    // H2.3
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    let told = response(&Method::HEAD, &Limits::default(), head);
    assert_body(&told, b"");
    assert!(told.keep_alive);
    let told =
        response(&Method::HEAD, &Limits::default(), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_body(&told, b"");
    for head in [
        &b"HTTP/1.1 204 No Content\r\n\r\n"[..],
        b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    ] {
        let told = get(head);
        assert_body(&told, b"");
        assert!(told.keep_alive);
    }
    // If such a body is announced, some clients would read it, so the connection is not reused.
    for head in [
        &b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nHello"[..],
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let told = get(head);
        assert_body(&told, b"");
        assert!(!told.keep_alive);
    }
    let told =
        response(&Method::CONNECT, &Limits::default(), b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ntunnel");
    assert_body(&told, b"");
    assert_eq!((told.rest.as_slice(), told.keep_alive), (&b"tunnel"[..], false));
}

#[test]
fn interim_responses_are_skipped() {
    // H2.4
    let told = get(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 9\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_body(&told, b"ok");
    assert_eq!((told.interim, told.heads.len()), (2, 1));

    let limits = Limits { interim_count: 2, ..Limits::default() };
    let told = with(limits, &b"HTTP/1.1 102 Processing\r\n\r\n".repeat(3));
    assert_eq!((told.interim, told.fault()), (2, Some(Fault::TooManyInterim)));
    assert_eq!(get(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").fault(), Some(Fault::UnexpectedUpgrade));
}

#[test]
fn a_connection_persists_if_the_end_of_the_response_is_clear() {
    // H5.7, H6.6, H6.7
    for (wire, stays) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: foo, CLOSE ,keep-alive\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: upgrade\r\nConnection: close\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: closed\r\n\r\n", true),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive\r\n\r\n", true),
        ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", false),
    ] {
        assert_eq!(get(wire.as_bytes()).keep_alive, stays, "{wire}");
    }
}

#[test]
fn an_early_end_reports_the_received_and_expected_length() {
    // H2.2
    for (wire, eof) in [
        (&b""[..], Eof::Nothing),
        (b"HTTP/1.1 200 OK\r\nContent-Le", Eof::InHead),
        (b"HT", Eof::InHead),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHello",
            Eof::InBody { received: 5, expected: Some(9) },
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nHel",
            Eof::InBody { received: 3, expected: None },
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nHello\r\n0\r\n",
            Eof::InBody { received: 5, expected: None },
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nA: b\r\n",
            Eof::InBody { received: 2, expected: None },
        ),
    ] {
        let told = get(wire);
        assert_eq!((told.eof, told.ends), (Some(eof), 0), "{}", wire.escape_ascii());
    }
    // An incomplete head with a malformed line is malformed.
    assert_eq!(get(b"HTTP/1.1 200 OK\r\nA b: c\r\nD").fault(), Some(Fault::SpaceInHeaderName));
}

#[test]
fn status_lines_are_strict() {
    // H6.4
    for (line, fault) in [
        ("HTTP/1.1  200 OK", Fault::InvalidStatusLine),
        ("HTTP/1.1 20 OK", Fault::InvalidStatusLine),
        ("HTTP/1.1 2000 OK", Fault::InvalidStatusLine),
        ("HTTP/1.1 2x0 OK", Fault::InvalidStatusLine),
        ("HTTP/1.1 +20 OK", Fault::InvalidStatusLine),
        ("HTTP/1.1 099 OK", Fault::InvalidStatusLine),
        ("HTTP/1.1\t200 OK", Fault::InvalidStatusLine),
        ("HTTP/1.1", Fault::InvalidStatusLine),
        ("HTTP/2.0 200 OK", Fault::UnsupportedVersion),
        ("HTTP/3 200 OK", Fault::InvalidStatusLine),
        ("HTTP/1.23 200 OK", Fault::InvalidStatusLine),
        ("HTTP/0.9 200 OK", Fault::UnsupportedVersion),
        ("HTTP/1.x 200 OK", Fault::InvalidStatusLine),
        ("HTTP/11.1 200 OK", Fault::InvalidStatusLine),
        ("http/1.1 200 OK", Fault::InvalidStatusLine),
        ("ICY 200 OK", Fault::InvalidStatusLine),
        ("SSH-2.0-OpenSSH_9.2", Fault::InvalidStatusLine),
        ("\x15\x03\x03\0\x02\x02\x46", Fault::TlsRecord),
        ("\x16\x03\x01\0\x05", Fault::TlsRecord),
        ("\x15\x04", Fault::InvalidStatusLine),
        ("\x17\x03\x03", Fault::InvalidStatusLine),
        (" HTTP/1.1 200 OK", Fault::InvalidStatusLine),
        ("\r\nHTTP/1.1 200 OK", Fault::InvalidStatusLine),
        ("\nHTTP/1.1 200 OK", Fault::BareLf),
        ("HTTP/1.1 200 O\rK", Fault::BareCr),
        ("HTTP/1.1 200 O\0K", Fault::Nul),
        ("HTTP/1.1 200 O\x7fK", Fault::InvalidStatusLine),
        ("HTTP/1.1 200 O\nK: 1", Fault::BareLf),
    ] {
        let wire = format!("{line}\r\nContent-Length: 2\r\n\r\nok");
        let told = get(wire.as_bytes());
        assert_eq!(told.fault(), Some(fault), "{line:?}: {told:?}");
        assert!(told.heads.is_empty() && !told.keep_alive);
    }
    // A head cannot begin with this byte, so it is refused immediately.
    let mut decoder = ResponseDecoder::new(Limits::default());
    decoder.start(&Method::GET);
    assert!(decoder.decode(&mut &b"\x15\x03\x01"[..]).is_err());
}

#[test]
fn field_lines_are_strict() {
    // H6.4
    for (lines, fault) in [
        ("Content-Length : 2", Fault::SpaceInHeaderName),
        ("Content-Length\t: 2", Fault::SpaceInHeaderName),
        ("Content Length: 2", Fault::SpaceInHeaderName),
        (" Content-Length: 2", Fault::FoldedHeader),
        ("\tContent-Length: 2", Fault::FoldedHeader),
        ("A: b\r\n c", Fault::FoldedHeader),
        ("A: b\r\n\tc\r\nContent-Length: 2", Fault::FoldedHeader),
        ("A:\r\n \r\nContent-Length: 2", Fault::FoldedHeader),
        (": 2", Fault::InvalidHeaderName),
        ("A", Fault::MissingColon),
        ("A(b): 2", Fault::InvalidHeaderName),
        ("A\u{e9}: 2", Fault::InvalidHeaderName),
        ("A\0: 2", Fault::Nul),
        ("A: \0", Fault::Nul),
        ("A: b\0c", Fault::Nul),
        ("A: b\x0bc", Fault::InvalidHeaderValue),
        ("A: b\x7fc", Fault::InvalidHeaderValue),
        ("A: b\x1b[2J", Fault::InvalidHeaderValue),
        ("A: b\rContent-Length: 2", Fault::BareCr),
        ("A: b\r\rContent-Length: 2", Fault::BareCr),
        ("\rA: b", Fault::BareCr),
        ("A: b\nContent-Length: 2", Fault::BareLf),
        ("A: b\r\nC: d\nContent-Length: 2", Fault::BareLf),
        ("A: b\n", Fault::BareLf),
        ("A:\nB: c", Fault::BareLf),
    ] {
        let told = get(&fields(lines));
        assert_eq!(told.fault(), Some(fault), "{lines:?}: {told:?}");
        assert!(told.heads.is_empty() && told.body.is_empty());
    }
    // Every line ends in a bare LF.
    assert_eq!(get(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok").fault(), Some(Fault::BareLf));
    assert_eq!(get(b"HTTP/1.1 200 OK\r\nA: b\r\n\n").fault(), Some(Fault::BareLf));
    assert_eq!(get(b"HTTP/1.1 200 OK\r\n\n").fault(), Some(Fault::BareLf));
}

#[test]
fn ambiguous_lengths_are_refused() {
    // H6.4, H6.6
    for (lines, fault) in [
        ("Content-Length: 2\r\nContent-Length: 3", Fault::RepeatedContentLength),
        ("Content-Length: 2, 3", Fault::RepeatedContentLength),
        ("Content-Length: 2\r\nA: b\r\ncontent-length: 3", Fault::RepeatedContentLength),
        ("Content-Length:", Fault::InvalidContentLength),
        ("Content-Length: +2", Fault::InvalidContentLength),
        ("Content-Length: -2", Fault::InvalidContentLength),
        ("Content-Length: 0x2", Fault::InvalidContentLength),
        ("Content-Length: 2_0", Fault::InvalidContentLength),
        ("Content-Length: 2 0", Fault::InvalidContentLength),
        ("Content-Length: 2.0", Fault::InvalidContentLength),
        ("Content-Length: 2e0", Fault::InvalidContentLength),
        ("Content-Length: 2,", Fault::InvalidContentLength),
        ("Content-Length: ,2", Fault::InvalidContentLength),
        ("Content-Length: two", Fault::InvalidContentLength),
        ("Content-Length: \"2\"", Fault::InvalidContentLength),
        ("Content-Length: \u{ff12}", Fault::InvalidContentLength),
        ("Content-Length: 18446744073709551616", Fault::InvalidContentLength),
        ("Content-Length: 18446744073709551618", Fault::InvalidContentLength),
        ("Content-Length: 2\r\nTransfer-Encoding: chunked", Fault::LengthWithTransferEncoding),
        ("Transfer-Encoding: chunked\r\nContent-Length: 2", Fault::LengthWithTransferEncoding),
        ("Transfer-Encoding: chunked\r\nContent-Length: 2, 3", Fault::RepeatedContentLength),
    ] {
        let told = get(&fields(lines));
        assert_eq!(told.fault(), Some(fault), "{lines:?}: {told:?}");
        assert!(told.heads.is_empty() && !told.keep_alive);
    }
    // A repeated equal length is unambiguous (RFC 9112, section 6.3).
    for lines in ["Content-Length: 2\r\nContent-Length: 2", "Content-Length: 2, 2", "Content-Length: 002"] {
        assert_body(&get(&fields(lines)), b"ok");
    }
    // The same rules apply to a response to HEAD.
    let told = response(&Method::HEAD, &Limits::default(), &fields("Content-Length: 2\r\nContent-Length: 3"));
    assert_eq!(told.fault(), Some(Fault::RepeatedContentLength));
}

#[test]
fn transfer_codings_other_than_chunked_are_refused() {
    // H6.4
    for (lines, fault) in [
        ("Transfer-Encoding: gzip", Fault::UnsupportedTransferCoding),
        ("Transfer-Encoding: gzip, chunked", Fault::UnsupportedTransferCoding),
        ("Transfer-Encoding: identity", Fault::UnsupportedTransferCoding),
        ("Transfer-Encoding: xchunked", Fault::UnsupportedTransferCoding),
        ("Transfer-Encoding: \"chunked\"", Fault::UnsupportedTransferCoding),
        ("Transfer-Encoding: 'chunked'", Fault::UnsupportedTransferCoding),
        ("Transfer-Encoding: chunked chunked", Fault::UnsupportedTransferCoding),
        ("Transfer-Encoding: chunk\u{e9}d", Fault::UnsupportedTransferCoding),
        ("Transfer-Encoding: chunked, gzip", Fault::InvalidTransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip", Fault::InvalidTransferEncoding),
        ("Transfer-Encoding: chunked, chunked", Fault::InvalidTransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", Fault::InvalidTransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-encoding: identity", Fault::InvalidTransferEncoding),
        ("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", Fault::UnsupportedTransferCoding),
        ("Transfer-Encoding: chunked;q=1", Fault::InvalidTransferEncoding),
        ("Transfer-Encoding: chunked ; q", Fault::InvalidTransferEncoding),
        ("Transfer-Encoding: chunked,", Fault::InvalidTransferEncoding),
        ("Transfer-Encoding: , chunked", Fault::InvalidTransferEncoding),
        ("Transfer-Encoding:", Fault::InvalidTransferEncoding),
        ("Transfer-Encoding : chunked", Fault::SpaceInHeaderName),
        ("Transfer-Encoding\0: chunked", Fault::Nul),
        ("Transfer-Encoding: \x0bchunked", Fault::InvalidHeaderValue),
        ("Transfer-Encoding: chunked\x0c", Fault::InvalidHeaderValue),
        ("Transfer-Encoding:\r\n chunked", Fault::FoldedHeader),
        ("Transfer-Encoding:\rchunked", Fault::BareCr),
        ("A: b\rTransfer-Encoding: chunked", Fault::BareCr),
        ("A: b\nTransfer-Encoding: chunked", Fault::BareLf),
    ] {
        let told = get(&fields(lines));
        assert_eq!(told.fault(), Some(fault), "{lines:?}: {told:?}");
        assert!(told.heads.is_empty() && !told.keep_alive);
    }
    for value in ["chunked", "CHUNKED", "\t chunked \t"] {
        let wire = format!("HTTP/1.1 200 OK\r\ntransfer-encoding:{value}\r\n\r\n2\r\nok\r\n0\r\n\r\n");
        assert_body(&get(wire.as_bytes()), b"ok");
    }
    let told = get(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    assert_eq!(told.fault(), Some(Fault::TransferEncodingInHttp10));
}

#[test]
fn chunk_lines_are_strict() {
    // H6.4
    for (body, fault) in [
        ("\r\nok", Fault::InvalidChunkSize),
        (" 2\r\nok\r\n0\r\n\r\n", Fault::InvalidChunkSize),
        ("2 \r\nok\r\n0\r\n\r\n", Fault::InvalidChunkSize),
        ("2\t\r\nok\r\n0\r\n\r\n", Fault::InvalidChunkSize),
        ("2 2\r\nok\r\n0\r\n\r\n", Fault::InvalidChunkSize),
        ("+2\r\nok\r\n0\r\n\r\n", Fault::InvalidChunkSize),
        ("-2\r\nok\r\n0\r\n\r\n", Fault::InvalidChunkSize),
        ("0x2\r\nok\r\n0\r\n\r\n", Fault::InvalidChunkSize),
        ("2_0\r\nok\r\n0\r\n\r\n", Fault::InvalidChunkSize),
        ("2h\r\nok\r\n0\r\n\r\n", Fault::InvalidChunkSize),
        ("G\r\nok\r\n0\r\n\r\n", Fault::InvalidChunkSize),
        (";a=b\r\nok\r\n0\r\n\r\n", Fault::InvalidChunkSize),
        ("2,2\r\nok\r\n0\r\n\r\n", Fault::InvalidChunkSize),
        ("\u{ff12}\r\nok\r\n0\r\n\r\n", Fault::InvalidChunkSize),
        ("10000000000000002\r\nok\r\n0\r\n\r\n", Fault::InvalidChunkSize),
        ("00000000000000002\r\nok\r\n0\r\n\r\n", Fault::InvalidChunkSize),
        ("2\0\r\nok\r\n0\r\n\r\n", Fault::Nul),
        ("2\nok\r\n0\r\n\r\n", Fault::BareLf),
        ("2\rok\r\n0\r\n\r\n", Fault::BareCr),
        ("2\r\r\nok\r\n0\r\n\r\n", Fault::BareCr),
        ("2;\nok\r\n0\r\n\r\n", Fault::BareLf),
        ("2;a=b\nok\r\n0\r\n\r\n", Fault::BareLf),
        ("2;a=\"\n\"\r\nok\r\n0\r\n\r\n", Fault::BareLf),
        ("2;a\rb\r\nok\r\n0\r\n\r\n", Fault::BareCr),
        ("2;a\0\r\nok\r\n0\r\n\r\n", Fault::Nul),
        ("2;a\x08\r\nok\r\n0\r\n\r\n", Fault::InvalidChunkExtension),
        ("2\r\nokk\r\n0\r\n\r\n", Fault::MissingChunkEnd),
        ("2\r\no\r\n0\r\n\r\n", Fault::MissingChunkEnd),
        ("2\r\nok\n0\r\n\r\n", Fault::MissingChunkEnd),
        ("2\r\nok\r0\r\n\r\n", Fault::MissingChunkEnd),
        ("2\r\nok0\r\n\r\n", Fault::MissingChunkEnd),
        ("2\r\nok\r\n\r\n0\r\n\r\n", Fault::InvalidChunkSize),
        ("2\r\nok\r\n0\r\nA b: c\r\n\r\n", Fault::SpaceInHeaderName),
        ("2\r\nok\r\n0\r\n A: c\r\n\r\n", Fault::FoldedHeader),
        ("2\r\nok\r\n0\r\nA: b\nC: d\r\n\r\n", Fault::BareLf),
        ("2\r\nok\r\n0\r\n\n", Fault::BareLf),
        ("2\r\nok\r\n0\r\nGET / HTTP/1.1\r\n\r\n", Fault::SpaceInHeaderName),
    ] {
        let told = get(&chunks(body));
        assert_eq!(told.fault(), Some(fault), "{body:?}: {told:?}");
        assert_eq!((told.ends, told.keep_alive), (0, false));
    }
    for body in [
        "2\r\nok\r\n0\r\n\r\n",
        "0000000000000002\r\nok\r\n000\r\n\r\n",
        "2 ;a\r\nok\r\n0\t; b = c\r\n\r\n",
        "1\r\no\r\n1;x=\"\\\"\u{e9}\"\r\nk\r\n0;last\r\n\r\n",
    ] {
        assert_body(&get(&chunks(body)), b"ok");
    }
}

#[test]
fn limits_apply_exactly() {
    // H4.8
    let small = b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 2\r\n\r\nok";
    let head = small.len() - 2;
    assert_body(&with(Limits { head_size: head, ..Limits::default() }, small), b"ok");
    let told = with(Limits { head_size: head - 1, ..Limits::default() }, small);
    assert_eq!(told.error, Some(LimitExceeded::new(LimitKind::HeadSize, (head - 1) as u64).into()));

    assert_body(&with(Limits { header_count: 2, ..Limits::default() }, small), b"ok");
    let told = with(Limits { header_count: 1, ..Limits::default() }, small);
    assert_eq!(told.error, Some(LimitExceeded::new(LimitKind::HeaderCount, 1).into()));
    let told = with(Limits { header_count: 0, ..Limits::default() }, small);
    assert_eq!(told.error, Some(LimitExceeded::new(LimitKind::HeaderCount, 0).into()));

    for wire in [&small[..], b"HTTP/1.1 200 OK\r\n\r\nok", &chunks("1\r\no\r\n1\r\nk\r\n0\r\n\r\n")] {
        let told = with(Limits { body_size: 2, ..Limits::default() }, wire);
        assert_eq!((told.error, told.body.as_slice()), (None, &b"ok"[..]));
        let told = with(Limits { body_size: 1, ..Limits::default() }, wire);
        assert_eq!(told.error, Some(LimitExceeded::new(LimitKind::BodySize, 1).into()));
    }
    let told = get(&chunks("FFFFFFFFFFFFFFFF\r\n"));
    assert_eq!(told.error, None);
    let told = get(&chunks("1\r\no\r\nFFFFFFFFFFFFFFFF\r\n"));
    assert_eq!(told.error, Some(LimitExceeded::new(LimitKind::BodySize, u64::MAX).into()));

    let trailers = chunks("0\r\nA: b\r\nC: d\r\n\r\n");
    assert_body(&with(Limits { trailers_size: 14, ..Limits::default() }, &trailers), b"");
    let told = with(Limits { trailers_size: 13, ..Limits::default() }, &trailers);
    assert_eq!(told.error, Some(LimitExceeded::new(LimitKind::TrailersSize, 13).into()));
    let told = with(Limits { header_count: 1, ..Limits::default() }, &trailers);
    assert_eq!(told.error, Some(LimitExceeded::new(LimitKind::HeaderCount, 1).into()));

    let line = Limits { chunk_line_size: 8, ..Limits::default() };
    assert_body(&with(line.clone(), &chunks("2;abcd\r\nok\r\n0\r\n\r\n")), b"ok");
    let told = with(line, &chunks("2;abcde\r\nok\r\n0\r\n\r\n"));
    assert_eq!(told.fault(), Some(Fault::OversizedChunkExtensions));
}

#[test]
fn a_fault_within_the_limit_is_reported_first_and_early() {
    // H4.8, H6.5
    let limits = || Limits { head_size: 50, ..Limits::default() };
    let fault = with(limits(), &[b"HTTP/1.1 200 OK\r\nA b: c\r\nD: ", &[b'x'; 50][..]].concat());
    assert_eq!(fault.fault(), Some(Fault::SpaceInHeaderName), "{fault:?}");
    // At the last byte within the limit, without further input.
    let full = with(limits(), &[b"HTTP/1.1 200 OK\r\nA: ", &[b'x'; 30][..]].concat());
    assert_eq!(full.error, Some(LimitExceeded::new(LimitKind::HeadSize, 50).into()));
    // The first line alone, without further input.
    let mut decoder = ResponseDecoder::new(Limits::default());
    decoder.start(&Method::GET);
    for (mut piece, fine) in [(&b"HTTP/1.1 2"[..], true), (&b"x0 OK\r\n"[..], false)] {
        assert_eq!(decoder.decode(&mut piece).is_ok(), fine);
    }
}

#[test]
fn hundreds_of_headers_are_accepted_if_the_limit_allows() {
    // H4.8
    let mut wire = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n".to_vec();
    for number in 0..300 {
        wire.extend_from_slice(format!("X-{number}: {number}\r\n").as_bytes());
    }
    wire.extend_from_slice(b"\r\n");
    let mut decoder = ResponseDecoder::new(Limits { header_count: 301, ..Limits::default() });
    decoder.start(&Method::GET);
    let mut input = &wire[..];
    let Ok(Some(ResponseEvent::Head(head))) = decoder.decode(&mut input) else { panic!("no head") };
    assert_eq!((head.headers.len(), head.headers.get("x-299")), (301, Some(&b"299"[..])));
    let told = LimitExceeded::new(LimitKind::HeaderCount, 300);
    let mut decoder = ResponseDecoder::new(Limits { header_count: 300, ..Limits::default() });
    decoder.start(&Method::GET);
    assert_eq!(decoder.decode(&mut &wire[..]).err(), Some(told.into()));
}

#[test]
fn a_body_cannot_consist_of_chunk_extensions() {
    // H6.4
    let mut body = String::new();
    for _ in 0..200 {
        body.push_str(&format!("1;{}\r\nx\r\n", "e".repeat(100)));
    }
    body.push_str("0\r\n\r\n");
    let mut decoder = ResponseDecoder::new(Limits::default());
    decoder.start(&Method::GET);
    let wire = chunks(&body);
    let mut input = &wire[..];
    let error = loop {
        match decoder.decode(&mut input) {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the whole body was accepted"),
            Err(error) => break error,
        }
    };
    let DecodeError::Malformed(malformed) = error else { panic!("{error}") };
    assert_eq!(malformed.fault, Fault::OversizedChunkExtensions);
    // The same extensions on chunks of a usual size, as signing clients send them, are accepted.
    let chunk = format!("400;chunk-signature={}\r\n{}\r\n", "e".repeat(64), "x".repeat(1024));
    let wire = chunks(&(chunk.repeat(1000) + "0\r\n\r\n"));
    let mut decoder = ResponseDecoder::new(Limits::default());
    decoder.start(&Method::GET);
    let mut input = &wire[..];
    while decoder.decode(&mut input).unwrap().is_some() {}
    assert!(decoder.is_idle() && input.is_empty());
}

#[test]
fn an_error_names_the_fault_and_its_position() {
    // H6.5
    let told = get(b"HTTP/1.1 200 OK\r\nA: b\r\nC : d\r\n\r\n");
    let error = told.error.unwrap();
    assert_eq!(
        error.to_string(),
        "malformed message: white space in or after a header name at byte 24 of the head"
    );
    let told = get(&chunks("2\r\nokk\r\n"));
    let Some(DecodeError::Malformed(malformed)) = told.error else { panic!("{told:?}") };
    assert_eq!((malformed.part, malformed.at), (MessagePart::Body, 5));
    assert_eq!(
        DecodeError::from(LimitExceeded::new(LimitKind::BodySize, 9)).to_string(),
        "the body of the message is larger than 9 bytes"
    );
}

#[test]
fn headers_outlive_the_input_and_convert_to_a_map() {
    // H1.1
    let mut decoder = ResponseDecoder::new(Limits::default());
    decoder.start(&Method::GET);
    let headers = {
        let wire = b"HTTP/1.0 200 OK\r\nSet-Cookie: a\r\nset-cookie: b\r\nX: \xff\r\n\r\n".to_vec();
        let mut input = &wire[..];
        let Ok(Some(ResponseEvent::Head(head))) = decoder.decode(&mut input) else { panic!("no head") };
        assert_eq!(head.version, Version::HTTP_10);
        head.headers.to_headers()
    };
    assert_eq!(headers.get("SET-COOKIE"), Some(&b"a"[..]));
    assert_eq!(headers.get_all("Set-Cookie").collect::<Vec<_>>(), [b"a", b"b"]);
    assert_eq!(headers.map().get_all("set-cookie").iter().count(), 2);
    assert_eq!(headers.map()["x"].as_bytes(), b"\xff");
    assert_eq!(headers.clone().into_map().len(), 3);
}

#[test]
fn a_decoder_reads_many_responses_and_releases_its_memory() {
    // H5.7
    let mut decoder = ResponseDecoder::new(Limits::default());
    for round in 0..3 {
        for method in [Method::GET, Method::HEAD] {
            decoder.start(&method);
            let mut ended = false;
            for mut input in [&b"HTTP/1.1 200 OK\r\nContent-"[..], b"Length: 2\r\n\r\n", b"ok"] {
                if method == Method::HEAD && input == b"ok" {
                    break;
                }
                while let Some(event) = decoder.decode(&mut input).unwrap() {
                    ended |= matches!(event, ResponseEvent::End(_));
                }
                assert!(input.is_empty());
            }
            assert!(ended && decoder.is_idle() && decoder.keep_alive(), "round {round}");
            decoder.release();
        }
    }
}
