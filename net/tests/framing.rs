//! Frames of a stream, however it is split. P8.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod support;

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::rc::Rc;

use support::*;
use twistor_net::framing::{FrameBuffer, FrameError, Framing, Lines, Netstrings, Prefixed};
use twistor_net::{Failure, FrameReceiver, Framed, Transport};

/// Returns all frames of `input`, fed in pieces of `piece` bytes.
fn frames<F: Framing>(framing: F, input: &[u8], piece: usize) -> Result<Vec<Vec<u8>>, FrameError> {
    let mut buffer = FrameBuffer::new(framing);
    let mut frames = Vec::new();
    for piece in input.chunks(piece) {
        buffer.feed(piece);
        while let Some(frame) = buffer.next_frame()? {
            frames.push(frame.to_vec());
        }
    }
    Ok(frames)
}

fn encoded(framing: &impl Framing, payloads: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for payload in payloads {
        framing.encode(payload, &mut bytes).unwrap();
    }
    bytes
}

/// Checks that encoded frames are found however they are split, and not before they are complete.
fn survives_every_split<F: Framing + Clone>(framing: &F) {
    let payloads: [&[u8]; 6] = [b"", b"one", b"\r", b"two and more", b"\n\n\x00", b"x"];
    let bytes = encoded(framing, &payloads);
    for piece in 1..=bytes.len() {
        assert_eq!(frames(framing.clone(), &bytes, piece).unwrap(), payloads, "in pieces of {piece}");
    }
    let cut = &bytes[..bytes.len() - 1];
    assert_eq!(frames(framing.clone(), cut, cut.len()).unwrap(), payloads[..5]);
}

// P8.1, P8.4
#[test]
fn frames_survive_every_split() {
    survives_every_split(&Lines::new());
    survives_every_split(&Lines::new().delimiter("<end of it>"));
    survives_every_split(&Netstrings::new());
    survives_every_split(&Prefixed::int8());
    survives_every_split(&Prefixed::int16());
    survives_every_split(&Prefixed::int32());
}

// P8
#[test]
fn a_line_of_the_longest_length_is_accepted() {
    let lines = Lines::new().max_length(5);
    for piece in 1..10 {
        assert_eq!(frames(lines.clone(), b"12345\r\n", piece).unwrap(), [b"12345"]);
        assert_eq!(frames(lines.clone(), b"123456\r\n", piece), Err(FrameError::TooLong { limit: 5 }));
    }
}

// P8.2: without a delimiter
#[test]
fn a_line_without_an_end_is_refused_early() {
    let mut buffer = FrameBuffer::new(Lines::new().max_length(5));
    buffer.feed(b"12345\r");
    assert_eq!(buffer.next_frame(), Ok(None));
    buffer.feed(b"x");
    assert_eq!(buffer.next_frame(), Err(FrameError::TooLong { limit: 5 }));
}

// P8.6
#[test]
fn any_ending_accepts_both_line_ends_in_every_split() {
    let input = b"\none\ntwo\r\n\r\nth\rree\r\r\nend\r";
    for piece in 1..=input.len() {
        let expected = [&b""[..], b"one", b"two", b"", b"th\rree\r"];
        assert_eq!(frames(Lines::any_ending(), input, piece).unwrap(), expected, "in pieces of {piece}");
    }
    assert_eq!(encoded(&Lines::any_ending(), &[b"", b"a\r"]), b"\r\na\r\r\n");
    let error = Lines::any_ending().encode(b"a\nb", &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "malformed frame: the line contains the delimiter at byte 1");
}

// P8.2, P8.6
#[test]
fn any_ending_does_not_count_the_line_end() {
    let lines = Lines::any_ending().max_length(5);
    let too_long = Err(FrameError::TooLong { limit: 5 });
    for piece in 1..10 {
        for input in [&b"12345\r\n"[..], b"12345\n"] {
            assert_eq!(frames(lines.clone(), input, piece).unwrap(), [b"12345"]);
        }
        for input in [&b"123456\r\n"[..], b"123456\n", b"12345\r\r\n", b"12345\rx"] {
            assert_eq!(frames(lines.clone(), input, piece), too_long);
        }
    }
    assert_eq!(frames(lines, b"12345\r", 1), Ok(Vec::new()));
}

// P8
#[test]
fn a_delimiter_that_begins_twice_is_found() {
    assert_eq!(frames(Lines::new(), b"a\r\r\nb\r\n", 1).unwrap(), [&b"a\r"[..], b"b"]);
    assert_eq!(frames(Lines::new().delimiter("aab"), b"xaaab", 1).unwrap(), [b"xa"]);
}

// P8.5
#[test]
fn a_line_with_its_delimiter_inside_is_not_encoded() {
    let mut out = b"kept".to_vec();
    let error = Lines::new().encode(b"a\r\nb", &mut out).unwrap_err();
    assert_eq!(error.to_string(), "malformed frame: the line contains the delimiter at byte 1");
    assert_eq!(out, b"kept");
}

// P8.5: the payload's last byte and the delimiter's first one form another delimiter
#[test]
fn a_line_whose_end_forms_a_delimiter_is_not_encoded() {
    let lines = Lines::new().delimiter("\0\0");
    let mut out = b"kept".to_vec();
    let error = lines.encode(b"ab\0", &mut out).unwrap_err();
    assert_eq!(error, FrameError::Malformed { what: "the line contains the delimiter", at: 2 });
    assert_eq!(out, b"kept");
    assert_eq!(encoded(&Lines::new(), &[b"a\r"]), b"a\r\r\n");
}

// P8.2, P8.4
#[test]
fn malformed_netstrings_are_refused_with_a_position() {
    let cases: [(&[u8], &str); 5] = [
        (b"x", "malformed frame: invalid length of a netstring at byte 0"),
        (b":,", "malformed frame: invalid length of a netstring at byte 0"),
        (b"01:x,", "malformed frame: leading zero in the length of a netstring at byte 1"),
        (b"1:xy", "malformed frame: missing comma after the payload of a netstring at byte 3"),
        (b"-1:,", "malformed frame: invalid length of a netstring at byte 0"),
    ];
    for (input, message) in cases {
        for piece in 1..=input.len() {
            assert_eq!(frames(Netstrings::new(), input, piece).unwrap_err().to_string(), message);
        }
    }
}

// P8.2, P8.4
#[test]
fn a_length_above_the_limit_is_refused_before_its_payload() {
    let too_long = Err(FrameError::TooLong { limit: 100 });
    assert_eq!(frames(Netstrings::new().max_length(100), b"101", 1), too_long);
    assert_eq!(frames(Netstrings::new().max_length(100), &[b'9'; 1000], 1), too_long);
    assert_eq!(frames(Prefixed::int8().max_length(100), &[101], 1), too_long);
    assert_eq!(frames(Prefixed::int32().max_length(100), &[0, 0, 0, 101], 1), too_long);
    assert!(frames(Prefixed::int32(), &[0xff; 4], 1).is_err());
}

// P8
#[test]
fn a_frame_of_the_longest_length_is_accepted() {
    for width in [Prefixed::int8, Prefixed::int16, Prefixed::int32] {
        let framing = width().max_length(3);
        let input = encoded(&framing, &[b"abc"]);
        assert_eq!(frames(framing, &input, input.len()).unwrap(), [b"abc"]);
    }
    assert_eq!(frames(Netstrings::new().max_length(3), b"3:abc,", 6).unwrap(), [b"abc"]);
}

// P8.5
#[test]
fn a_prefix_limits_the_payload() {
    let mut out = Vec::new();
    assert!(Prefixed::int8().encode(&[0; 256], &mut out).is_err());
    assert!(Prefixed::int16().encode(&[0; 65_536], &mut out).is_err());
    assert!(out.is_empty());
    Prefixed::int16().encode(&[7; 300], &mut out).unwrap();
    assert_eq!(out[..3], [1, 44, 7]);
}

// P8
#[test]
fn the_rest_after_the_frames_can_be_taken_raw() {
    let mut buffer = FrameBuffer::new(Lines::new());
    buffer.feed(b"head\r\nraw \r\n bytes");
    assert_eq!(buffer.next_frame(), Ok(Some(&b"head"[..])));
    assert_eq!(buffer.take_rest(), b"raw \r\n bytes");
    assert!(buffer.is_empty());
}

struct Collect {
    frames: Rc<RefCell<Vec<Vec<u8>>>>,
    each: Box<dyn FnMut(&Transport)>,
    reason: Rc<RefCell<Option<Failure>>>,
}

impl FrameReceiver for Collect {
    fn frame_received(&mut self, transport: &Transport, frame: &[u8]) -> Result<(), Failure> {
        assert!(!transport.is_paused(), "a frame was delivered while paused");
        self.frames.borrow_mut().push(frame.to_vec());
        (self.each)(transport);
        Ok(())
    }

    fn frame_refused(&mut self, transport: &Transport, error: FrameError) -> Result<(), Failure> {
        transport.write(error.to_string().as_bytes());
        Ok(())
    }

    fn connection_lost(&mut self, reason: Failure) {
        self.reason.replace(Some(reason));
    }
}

// P8.3
#[test]
fn pausing_stops_in_the_middle_of_a_buffer() {
    let frames = Rc::new(RefCell::new(Vec::new()));
    let got = run(|reactor| {
        let handle = (**reactor).clone();
        let pauses = Rc::new(Cell::new(0));
        let server = Collect {
            frames: frames.clone(),
            each: Box::new(move |transport| {
                transport.pause_producing();
                pauses.set(pauses.get() + 1);
                let (transport, pauses) = (transport.clone(), pauses.clone());
                handle.call_later(std::time::Duration::ZERO, move || {
                    assert!(pauses.get() > 0);
                    transport.resume_producing();
                });
            }),
            reason: Rc::default(),
        };
        let port = listen_once(reactor, Framed::new(Lines::new(), server));
        peer(reactor, address(&port), |mut stream| {
            stream.write_all(b"one\r\ntwo\r\nthree\r\nfour\r\nno line")?;
            stream.shutdown(std::net::Shutdown::Write)?;
            stream.read(&mut [0])
        })
    });
    assert_eq!(got, 0);
    assert_eq!(*frames.borrow(), [&b"one"[..], b"two", b"three", b"four"]);
}

// P8.2: reported, then closed
#[test]
fn a_line_above_the_limit_closes_the_connection() {
    let frames = Rc::new(RefCell::new(Vec::new()));
    let reason = Rc::new(RefCell::new(None));
    let got = run(|reactor| {
        let server = Collect { frames: frames.clone(), each: Box::new(|_| {}), reason: reason.clone() };
        let port = listen_once(reactor, Framed::new(Lines::new().max_length(10), server));
        peer(reactor, address(&port), |mut stream| {
            stream.write_all(b"short\r\nfar too long a line\r\nnever\r\n")?;
            let mut got = String::new();
            stream.read_to_string(&mut got)?;
            Ok(got)
        })
    });
    assert_eq!(got, "frame is longer than the limit of 10 bytes");
    assert_eq!(*frames.borrow(), [b"short"]);
    assert!(reason.take().unwrap().is::<FrameError>());
}

// P8: after lose_connection, frames that were already read are not delivered
#[test]
fn no_frame_comes_after_lose_connection() {
    let frames = Rc::new(RefCell::new(Vec::new()));
    run(|reactor| {
        let server = Collect {
            frames: frames.clone(),
            each: Box::new(Transport::lose_connection),
            reason: Rc::default(),
        };
        let port = listen_once(reactor, Framed::new(Netstrings::new(), server));
        peer(reactor, address(&port), |mut stream| {
            stream.write_all(b"3:one,3:two,")?;
            stream.read(&mut [0])
        })
    });
    assert_eq!(*frames.borrow(), [b"one"]);
}

// P8.5: a payload that cannot be encoded is not sent, not even in part
#[test]
fn a_frame_is_written_completely_or_not_at_all() {
    let got = run(|reactor| {
        let server = scripted(&Diary::new()).on_made(|transport| {
            assert_eq!(transport.write_frame(&Lines::new(), b"a line"), Ok(true));
            assert!(transport.write_frame(&Lines::new(), b"two\r\nlines").is_err());
            assert_eq!(transport.write_frame(&Netstrings::new(), b"hello"), Ok(true));
            transport.lose_connection();
            assert_eq!(transport.write_frame(&Prefixed::int8(), b"too late"), Ok(false));
            Ok(())
        });
        let port = listen_once(reactor, server);
        peer(reactor, address(&port), |mut stream| {
            let mut got = Vec::new();
            stream.read_to_end(&mut got)?;
            Ok(got)
        })
    });
    assert_eq!(got, b"a line\r\n5:hello,");
}
