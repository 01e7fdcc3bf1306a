//! Endpoint strings: an accepted endpoint can be written and parsed again, whatever its host or path. Errors point
//! into the string.

#![no_main]

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use twistor_net::{ClientEndpoint, EndpointError, ServerEndpoint};

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    Text(&'a str),
    Tcp { host: &'a str, port: u16, milliseconds: Option<u32>, bind: Option<IpAddr> },
    Unix { path: &'a str, mode: Option<u16>, backlog: Option<u32> },
    Listen { address: SocketAddr, reuse_port: bool, backlog: Option<u32> },
}

fn check_error(text: &str, error: &EndpointError) {
    assert!(text.is_char_boundary(error.offset()), "{error}");
    assert!(error.to_string().contains(&format!("{text:?}")));
}

fn check_client(endpoint: &ClientEndpoint) {
    let text = endpoint.to_string();
    let again: ClientEndpoint = text.parse().unwrap_or_else(|error| panic!("{endpoint:?}: {error}"));
    assert_eq!(format!("{again:?}"), format!("{endpoint:?}"), "{text}");
}

fn check_server(endpoint: &ServerEndpoint) {
    let text = endpoint.to_string();
    let again: ServerEndpoint = text.parse().unwrap_or_else(|error| panic!("{endpoint:?}: {error}"));
    assert_eq!(format!("{again:?}"), format!("{endpoint:?}"), "{text}");
}

fuzz_target!(|input: Input<'_>| {
    match input {
        Input::Text(text) => {
            match text.parse() {
                Ok(endpoint) => check_client(&endpoint),
                Err(error) => check_error(text, &error),
            }
            match text.parse() {
                Ok(endpoint) => check_server(&endpoint),
                Err(error) => check_error(text, &error),
            }
        }
        // A string cannot express an empty host or path.
        Input::Tcp { host: "", .. } | Input::Unix { path: "", .. } => {}
        Input::Tcp { host, port, milliseconds, bind } => {
            let mut endpoint = ClientEndpoint::tcp(host, port);
            if let Some(milliseconds) = milliseconds {
                endpoint = endpoint.timeout(Duration::from_millis(milliseconds.into()));
            }
            if let Some(bind) = bind {
                endpoint = endpoint.bind_address(bind);
            }
            check_client(&endpoint);
        }
        Input::Unix { path, mode, backlog } => {
            check_client(&ClientEndpoint::unix(path));
            let mut endpoint = ServerEndpoint::unix(path);
            if let Some(mode) = mode {
                endpoint = endpoint.mode(u32::from(mode) & 0o7777);
            }
            check_server(&backlog.map_or(endpoint.clone(), |backlog| endpoint.backlog(backlog)));
        }
        Input::Listen { address, reuse_port, backlog } => {
            // A string has no place for the flow label and the scope.
            let address = SocketAddr::new(address.ip(), address.port());
            let endpoint = ServerEndpoint::tcp(address).reuse_port(reuse_port);
            check_server(&backlog.map_or(endpoint.clone(), |backlog| endpoint.backlog(backlog)));
        }
    }
});
