//! Endpoint strings, in Twisted's syntax. P16.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

use twistor_net::{ClientEndpoint, ServerEndpoint};

/// Parses and prints a client endpoint.
fn client(text: &str) -> String {
    text.parse::<ClientEndpoint>().unwrap().to_string()
}

fn server(text: &str) -> String {
    text.parse::<ServerEndpoint>().unwrap().to_string()
}

#[track_caller]
fn refused<T: std::str::FromStr<Err = twistor_net::EndpointError>>(text: &str, message: &str, offset: usize) {
    let Err(error) = text.parse::<T>() else { panic!("{text:?} was taken") };
    assert_eq!(error.to_string(), format!("{message} at byte {offset} of endpoint {text:?}"));
    assert_eq!(error.offset(), offset);
}

// P16.1, P16.5
#[test]
fn client_arguments_are_positional_or_named() {
    assert_eq!(client("tcp:example.com:80"), "tcp:example.com:80");
    assert_eq!(client("tcp:example.com:port=80"), "tcp:example.com:80");
    assert_eq!(client("tcp:port=80:host=example.com"), "tcp:example.com:80");
    assert_eq!(
        client("tcp:example.com:80:timeout=1.5:bindAddress=127.0.0.1"),
        "tcp:example.com:80:timeout=1.5:bindAddress=127.0.0.1"
    );
    assert_eq!(client("tcp:port=80:example.com"), "tcp:example.com:80");
    assert_eq!(client("TCP:example.com:80"), "tcp:example.com:80");
    assert_eq!(client("unix:/run/x.sock"), "unix:/run/x.sock");
    assert_eq!(client("unix:path=/run/x.sock:timeout=3"), "unix:/run/x.sock:timeout=3");
}

// P16.5
#[test]
fn ipv6_addresses_may_stand_in_brackets() {
    assert_eq!(client("tcp:[::1]:80"), r"tcp:\:\:1:80");
    assert_eq!(client("tcp:port=80:host=[::1]:timeout=1"), r"tcp:\:\:1:80:timeout=1");
    assert_eq!(client("tcp:h:80:bindAddress=[::1]"), r"tcp:h:80:bindAddress=\:\:1");
    assert_eq!(server("tcp:80:interface=[::]"), r"tcp:80:interface=\:\:");
    // With the number of an interface as their zone.
    assert_eq!(client("tcp:[fe80::1%7]:80"), r"tcp:fe80\:\:1%7:80");
    assert_eq!(server("tcp:[fe80::1%7]:80"), r"tcp:80:interface=fe80\:\:1%7");
    assert_eq!(server(r"tcp:80:interface=fe80\:\:1%7"), r"tcp:80:interface=fe80\:\:1%7");
    let unknown = "this machine has no network interface \"no-such-link\"";
    refused::<ServerEndpoint>("tcp:[fe80::1%no-such-link]:80", unknown, 4);
    refused::<ServerEndpoint>("tcp:80:interface=[fe80::1%no-such-link]", unknown, 17);
    refused::<ServerEndpoint>("tcp:80:interface=fe80%1", "\"fe80%1\" is not an IP address", 17);
    // Any other text that begins with a bracket is taken literally, and reads back.
    assert_eq!(client("unix:[a]"), "unix:[a]");
    assert_eq!(client(r"unix:\[\:\:1]"), r"unix:\[\:\:1]");
    refused::<ClientEndpoint>("tcp:[::1:80", "empty port", 6);
    refused::<ClientEndpoint>("tcp:[example]x:y", "\"y\" is not a port number", 15);
}

// P16.5
#[test]
fn a_backslash_escapes_the_next_character() {
    assert_eq!(client(r"tcp:\:\:1:80"), r"tcp:\:\:1:80");
    assert_eq!(client(r"unix:/a\:b\\c\=d"), r"unix:/a\:b\\c\=d");
    assert_eq!(client(r"unix:path=/a=b"), r"unix:/a\=b");
    assert_eq!(server(r"tcp:80:interface=\:\:1"), r"tcp:80:interface=\:\:1");
}

// P16.5
#[test]
fn server_arguments_have_defaults() {
    assert_eq!(server("tcp:8080"), "tcp:8080:interface=0.0.0.0");
    assert_eq!(server("tcp:port=8080:backlog=5"), "tcp:8080:interface=0.0.0.0:backlog=5");
    assert_eq!(server("tcp:1:reusePort=1"), "tcp:1:interface=0.0.0.0:reusePort=1");
    assert_eq!(server("tcp6:1"), r"tcp:1:interface=\:\:");
    assert_eq!(server(r"tcp6:1:interface=\:\:1"), r"tcp:1:interface=\:\:1");
    assert_eq!(server("unix:/run/x:mode=660"), "unix:/run/x:mode=660");
}

// P16.1, P16.5
#[test]
fn server_arguments_are_positional_or_named() {
    assert_eq!(server("tcp:8080:127.0.0.1"), "tcp:8080:interface=127.0.0.1");
    assert_eq!(server("tcp:interface=127.0.0.1:8080"), "tcp:8080:interface=127.0.0.1");
    assert_eq!(server("tcp:8080:127.0.0.1:5"), "tcp:8080:interface=127.0.0.1:backlog=5");
    assert_eq!(server("tcp:8080:5:interface=127.0.0.1"), "tcp:8080:interface=127.0.0.1:backlog=5");
    assert_eq!(server("unix:mode=600:/run/x"), "unix:/run/x:mode=600");
    assert_eq!(server("unix:address=/run/x"), "unix:/run/x");
    assert_eq!(server("unix:/run/x:660:5"), "unix:/run/x:mode=660:backlog=5");
}

// P16.6
#[test]
fn the_address_of_a_server_may_precede_its_port() {
    assert_eq!(server("tcp:127.0.0.1:8080"), "tcp:8080:interface=127.0.0.1");
    assert_eq!(server("tcp:[::1]:8080"), r"tcp:8080:interface=\:\:1");
    assert_eq!(server("tcp6:[::1]:8080"), r"tcp:8080:interface=\:\:1");
    assert_eq!(server("tcp:127.0.0.1:port=8080"), "tcp:8080:interface=127.0.0.1");
    assert_eq!(
        server("tcp:127.0.0.1:8080:5:reusePort=1"),
        "tcp:8080:interface=127.0.0.1:reusePort=1:backlog=5"
    );
    let hint = "is not a port number (expected tcp:PORT or tcp:PORT:interface=ADDRESS)";
    refused::<ServerEndpoint>("tcp:localhost:8080", &format!("\"localhost\" {hint}"), 4);
    refused::<ServerEndpoint>("tcp:127.0.0.1:http", &format!("\"http\" {hint}"), 14);
    refused::<ServerEndpoint>("tcp:port=127.0.0.1:80", &format!("\"127.0.0.1\" {hint}"), 9);
    refused::<ServerEndpoint>("tcp:127.0.0.1:80:interface=::1", "duplicate interface", 27);
    refused::<ServerEndpoint>(
        "tcp:127.0.0.1:80:127.0.0.2",
        "\"127.0.0.2\" is not a number of connections",
        17,
    );
    refused::<ServerEndpoint>("tcp:127.0.0.1", "missing port", 13);
    #[cfg(feature = "tls")]
    refused::<ServerEndpoint>("tls:127.0.0.1:443", "missing privateKey", 17);
}

// P16.7
#[test]
fn errors_name_the_problem_and_its_position() {
    let known = if cfg!(feature = "tls") { "tcp, tls, ssl, unix" } else { "tcp, unix" };
    refused::<ClientEndpoint>("", &format!("unknown kind \"\" (known: {known})"), 0);
    refused::<ClientEndpoint>("udp:x", &format!("unknown kind \"udp\" (known: {known})"), 0);
    refused::<ClientEndpoint>("tcp", "missing host", 3);
    refused::<ClientEndpoint>("tcp::80", "empty host", 4);
    refused::<ClientEndpoint>("tcp:h", "missing port", 5);
    refused::<ClientEndpoint>("tcp:h:http", "\"http\" is not a port number", 6);
    refused::<ClientEndpoint>("tcp:h:65536", "\"65536\" is not a port number", 6);
    refused::<ClientEndpoint>("tcp:h:80:90", "unexpected argument \"90\"", 9);
    refused::<ClientEndpoint>("tcp:h:80:colour=red", "unknown argument \"colour\" of a tcp endpoint", 9);
    refused::<ClientEndpoint>("tcp:h:80:timeout=1:timeout=2", "duplicate \"timeout\"", 19);
    refused::<ClientEndpoint>("tcp:h:80:timeout=soon", "\"soon\" is not a number of seconds", 17);
    refused::<ClientEndpoint>("tcp:h:80:timeout=-1", "\"-1\" is not a valid number of seconds", 17);
    refused::<ClientEndpoint>("tcp:h\\", "a backslash at the end", 5);
    refused::<ServerEndpoint>("tcp:80:interface=localhost", "\"localhost\" is not an IP address", 17);
    refused::<ServerEndpoint>("unix:/x:mode=999", "\"999\" is not an octal mode", 13);
    refused::<ServerEndpoint>("unix:/x:interface=::", "\"\" is not an octal mode", 19);
    refused::<ServerEndpoint>("tcp:80:nowhere", "\"nowhere\" is not an IP address", 7);
    refused::<ServerEndpoint>("tcp:80:127.0.0.1:many", "\"many\" is not a number of connections", 17);
    refused::<ServerEndpoint>("tcp:80:127.0.0.1:5:6", "unexpected argument \"6\"", 19);
    refused::<ServerEndpoint>("tcp:", "empty port", 4);
    // P16.1: named as positional
    refused::<ServerEndpoint>("tcp:port=", "empty port", 9);
    refused::<ServerEndpoint>("unix:060:address=", "empty address", 17);
    refused::<ServerEndpoint>("unix:path=", "empty path", 10);
    refused::<ServerEndpoint>("unix:abstract=", "empty abstract", 14);
    refused::<ServerEndpoint>("unix:/x:backlog=", "empty backlog", 16);
    refused::<ServerEndpoint>("tcp:80:interface=", "empty interface", 17);
    refused::<ServerEndpoint>("tcp:80:reusePort=", "empty reusePort", 17);
    refused::<ClientEndpoint>("tcp:h:80:timeout=", "empty timeout", 17);
    refused::<ClientEndpoint>("tcp:host=:80", "empty host", 9);
    refused::<ClientEndpoint>("unix:address=", "empty address", 13);
    let known = if cfg!(feature = "tls") { "tcp, tcp6, tls, ssl, unix" } else { "tcp, tcp6, unix" };
    refused::<ServerEndpoint>("stdio:", &format!("unknown kind \"stdio\" (known: {known})"), 0);
    #[cfg(feature = "tls")]
    refused::<ServerEndpoint>("ssl:443", "missing privateKey", 7);
}

// P16.2
#[test]
fn a_timeout_is_read_and_written_exactly() {
    use std::time::Duration;
    let endpoint = |timeout| ClientEndpoint::tcp("h", 1).timeout(timeout);
    let times = [
        (Duration::ZERO, "0"),
        (Duration::from_nanos(1), "0.000000001"),
        (Duration::new(u64::MAX, 999_999_999), "18446744073709551615.999999999"),
        (Duration::MAX, "18446744073709551615.999999999"),
        (Duration::from_millis(1500), "1.5"),
    ];
    for (timeout, text) in times {
        let text = format!("tcp:h:1:timeout={text}");
        assert_eq!(endpoint(timeout).to_string(), text);
        assert_eq!(client(&text), text);
    }
    assert_eq!(client("tcp:h:1:timeout=1e3"), "tcp:h:1:timeout=1000");
    assert_eq!(client("tcp:h:1:timeout=.5"), "tcp:h:1:timeout=0.5");
    refused::<ClientEndpoint>(
        "tcp:h:1:timeout=18446744073709551616",
        "\"18446744073709551616\" is not a valid number of seconds",
        16,
    );
}

/// Words of endpoint strings, and a few others.
const WORDS: &[&str] = &[
    "tcp",
    "tcp6",
    "ssl",
    "tls",
    "unix",
    ":",
    ":",
    ":",
    ":",
    "=",
    "=",
    "\\",
    "[",
    "]",
    "[::1]",
    "::1",
    "fe80::1%1",
    "127.0.0.1",
    "localhost",
    "80",
    "0",
    "65536",
    "060",
    "1777",
    "1",
    "-1",
    "1.5",
    "1e9",
    "inf",
    "NaN",
    "host",
    "port",
    "path",
    "address",
    "abstract",
    "mode",
    "interface",
    "backlog",
    "reusePort",
    "onlyV6",
    "timeout",
    "bindAddress",
    "hostname",
    "alpn",
    "a,b",
    ",",
    "/x",
    "\0",
    "é",
    " ",
    "@",
    "%",
];

// P16.3, P16.8: the same property as in the fuzz target `endpoint`
#[test]
fn an_endpoint_reads_back_and_errors_point_into_the_string() {
    fn check<T>(text: &str, reads_back: &mut u32)
    where
        T: std::str::FromStr<Err = twistor_net::EndpointError> + std::fmt::Display + std::fmt::Debug,
    {
        match text.parse::<T>() {
            Ok(endpoint) => {
                *reads_back += 1;
                let printed = endpoint.to_string();
                let again = printed.parse::<T>().unwrap_or_else(|error| panic!("{text:?}: {error}"));
                assert_eq!(format!("{again:?}"), format!("{endpoint:?}"), "{text:?}, {printed:?}");
            }
            Err(error) => assert!(text.is_char_boundary(error.offset()), "{text:?}: {error}"),
        }
    }
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |limit: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 11) as usize % limit
    };
    let (mut clients, mut servers) = (0, 0);
    for _ in 0..60_000 {
        // Two in three begin like an endpoint, so that more of them are valid.
        let mut text = match draw(3) {
            0 => String::new(),
            1 => ["tcp:", "unix:", "tcp6:"][draw(3)].to_owned(),
            _ => ["tcp:h:80:", "unix:/x:", "tcp:80:", "unix:060:", "tcp:port=80:"][draw(5)].to_owned(),
        };
        for _ in 0..draw(8) {
            text += WORDS[draw(WORDS.len())];
        }
        check::<ClientEndpoint>(&text, &mut clients);
        check::<ServerEndpoint>(&text, &mut servers);
    }
    assert!(clients > 600 && servers > 600, "{clients} {servers}");
}
