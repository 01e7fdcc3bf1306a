//! A client and a server that share two buffers, made with `message` alone.

use twistor_http::message::{
    BodyLength, ChunkWriter, Eof, HeadWriter, Limits, RequestDecoder, RequestEvent, ResponseDecoder,
    ResponseEvent,
};
use twistor_http::{Method, StatusCode};

/// Answers the requests in a buffer with their own bodies, in chunks, and returns the undecoded rest.
fn serve<'i>(decoder: &mut RequestDecoder, mut input: &'i [u8], out: &mut Vec<u8>) -> &'i [u8] {
    while let Some(event) = decoder.decode(&mut input).unwrap() {
        match event {
            RequestEvent::Head(head) => {
                let status =
                    if head.method == "POST" { StatusCode::OK } else { StatusCode::METHOD_NOT_ALLOWED };
                let mut answer = HeadWriter::response(out, status, None).unwrap();
                answer.field("X-Target", head.target.path()).unwrap();
                answer.chunked().unwrap();
                answer.finish();
            }
            RequestEvent::Body(data) => ChunkWriter::chunk(out, data),
            RequestEvent::End(_) => ChunkWriter::finish(out),
        }
    }
    input
}

// H2.1, W3.2, W3.5: two pipelined requests, in pieces of each size
#[test]
fn a_request_is_answered_without_a_socket() {
    let mut requests = Vec::new();
    let mut head = HeadWriter::request(&mut requests, &Method::POST, "/echo").unwrap();
    head.field("Host", "example.test").unwrap();
    head.length(5).unwrap();
    head.finish();
    requests.extend_from_slice(b"Hello");
    let mut head = HeadWriter::request(&mut requests, &Method::GET, "/page").unwrap();
    head.field("Host", "example.test").unwrap();
    head.finish();
    for size in 1..=requests.len() {
        let mut server = RequestDecoder::new(Limits::default());
        let mut answers = Vec::new();
        for piece in requests.chunks(size) {
            assert!(serve(&mut server, piece, &mut answers).is_empty());
        }
        assert!(server.is_idle());

        let mut client = ResponseDecoder::new(Limits::default());
        let mut input = &answers[..];
        for (method, target, status, body) in
            [(Method::POST, "/echo", 200, &b"Hello"[..]), (Method::GET, "/page", 405, b"")]
        {
            client.start(&method);
            let Some(ResponseEvent::Head(head)) = client.decode(&mut input).unwrap() else {
                panic!("no head")
            };
            assert_eq!((head.status.as_u16(), head.body), (status, BodyLength::Chunked));
            assert_eq!(head.headers.get("x-target"), Some(target.as_bytes()));
            let mut got = Vec::new();
            while let Some(event) = client.decode(&mut input).unwrap() {
                if let ResponseEvent::Body(data) = event {
                    got.extend_from_slice(data);
                }
            }
            assert!(client.is_idle() && client.keep_alive());
            assert_eq!(got, body, "in pieces of {size}");
        }
        assert!(input.is_empty());
        assert_eq!(client.eof(), Ok(Eof::Idle));
    }
}
