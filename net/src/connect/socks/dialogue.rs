//! The dialogue with the proxy. As a task that reads from a `Conversation` it would be shorter, but the code for tasks
//! and for reads as Deferreds would add 44 kB to each HTTP client.

use std::net::IpAddr;
use std::rc::Rc;

use twistor_deferred::{Deferred, Failure, Trigger, fail};
use twistor_reactor::Handle;

use super::SocksError;
use crate::{EndOfData, Protocol, Stream, Transport};

const VERSION: u8 = 5;
const NO_PASSWORD: u8 = 0;
const PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xff;
const PASSWORD_VERSION: u8 = 1;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// User name and password.
pub(super) type Credentials = Option<Rc<(String, String)>>;

/// Asks a proxy for a connection.
pub(super) struct Dialogue {
    credentials: Credentials,
    request: Vec<u8>,
    /// The host and port asked for.
    target: String,
    awaited: Awaited,
    received: Vec<u8>,
    trigger: Option<Trigger<Stream>>,
}

/// The answer that the proxy sends next.
#[derive(Clone, Copy)]
enum Awaited {
    Method,
    Login,
    Reply,
}

impl Dialogue {
    /// Prepares to ask for an address, or for the host by its name.
    pub(super) fn new(
        credentials: Credentials,
        host: &str,
        address: Option<IpAddr>,
        port: u16,
    ) -> Result<Dialogue, SocksError> {
        let mut request = vec![VERSION, CONNECT, 0];
        match address {
            Some(IpAddr::V4(address)) => {
                request.push(IPV4);
                request.extend(address.octets());
            }
            Some(IpAddr::V6(address)) => {
                request.push(IPV6);
                request.extend(address.octets());
            }
            None => {
                request.push(NAME);
                push_short(&mut request, host)?;
            }
        }
        request.extend(port.to_be_bytes());
        Ok(Dialogue {
            credentials,
            request,
            target: format!("{host}:{port}"),
            awaited: Awaited::Method,
            received: Vec::new(),
            trigger: None,
        })
    }

    /// Talks to the proxy. Returns the same stream, which then leads to the target. Cancelling closes it.
    pub(super) fn hold(mut self, handle: &Handle, stream: Stream) -> Deferred<Stream> {
        let connection: Rc<std::cell::OnceCell<Transport>> = Rc::default();
        let to_cancel = connection.clone();
        let (deferred, trigger) = Deferred::with_canceller(move |_| {
            if let Some(transport) = to_cancel.get() {
                transport.abort_connection();
            }
        });
        self.trigger = Some(trigger);
        match stream.run(handle, self) {
            Ok(transport) => {
                let _ = connection.set(transport);
                deferred
            }
            Err(error) => fail(error),
        }
    }

    /// Answers the proxy. Returns true if the connection to the target is established.
    fn go_on(&mut self, transport: &Transport) -> Result<bool, SocksError> {
        loop {
            let used = match (self.awaited, &*self.received) {
                (Awaited::Method, [VERSION, NO_PASSWORD, ..]) | (Awaited::Login, [_, 0, ..]) => {
                    transport.write(&self.request);
                    self.awaited = Awaited::Reply;
                    2
                }
                (Awaited::Method, [VERSION, PASSWORD, ..]) => {
                    let (user, password) = self.credentials.as_deref().ok_or(SocksError::Unauthorized)?;
                    let mut login = vec![PASSWORD_VERSION];
                    push_short(&mut login, user)?;
                    push_short(&mut login, password)?;
                    transport.write(&login);
                    self.awaited = Awaited::Login;
                    2
                }
                (Awaited::Method, [VERSION, NO_METHOD, ..]) | (Awaited::Login, [_, _, ..]) => {
                    return Err(SocksError::Unauthorized);
                }
                (Awaited::Method, [VERSION, _, ..]) => return Err(SocksError::InvalidAnswer),
                (Awaited::Reply, [VERSION, 0, _, kind, address @ ..]) => {
                    // The address and port that the proxy connects from are not used.
                    let length = match (*kind, address.first()) {
                        (IPV4, _) => 4,
                        (IPV6, _) => 16,
                        (NAME, Some(length)) => 1 + usize::from(*length),
                        (NAME, None) => return Ok(false),
                        _ => return Err(SocksError::InvalidAnswer),
                    };
                    if address.len() < length + 2 {
                        return Ok(false);
                    }
                    self.received.drain(..4 + length + 2);
                    return Ok(true);
                }
                (Awaited::Reply, [VERSION, reply, _, _, ..]) => {
                    return Err(SocksError::Refused { target: self.target.clone(), reply: *reply });
                }
                (Awaited::Method, [version, _, ..]) | (Awaited::Reply, [version, _, _, _, ..]) => {
                    return Err(SocksError::NotSocks5(*version));
                }
                _ => return Ok(false),
            };
            self.received.drain(..used);
        }
    }

    /// Releases the connection, with the bytes that follow the answer.
    fn finish(&mut self, transport: &Transport) -> Result<(), Failure> {
        let mut stream = transport.release()?;
        stream.put_back(&std::mem::take(&mut self.received));
        if let Some(trigger) = self.trigger.take() {
            trigger.callback(stream);
        }
        Ok(())
    }

    fn fail(&mut self, failure: Failure) {
        if let Some(trigger) = self.trigger.take() {
            trigger.errback(failure.context("talking to the SOCKS proxy"));
        }
    }
}

impl Protocol for Dialogue {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        transport.write(match self.credentials {
            Some(_) => &[VERSION, 2, NO_PASSWORD, PASSWORD],
            None => &[VERSION, 1, NO_PASSWORD],
        });
        Ok(())
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.received.extend_from_slice(data);
        match self.go_on(transport) {
            Ok(true) => self.finish(transport)?,
            Ok(false) => {}
            Err(error) => {
                transport.lose_connection();
                self.fail(error.into());
            }
        }
        Ok(())
    }

    fn read_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        transport.lose_connection();
        let left = std::mem::take(&mut self.received);
        self.fail(EndOfData { left }.into());
        Ok(())
    }

    fn connection_lost(&mut self, reason: Failure) {
        self.fail(reason);
    }
}

/// Appends a text of up to 255 bytes, with its length in front.
fn push_short(message: &mut Vec<u8>, text: &str) -> Result<(), SocksError> {
    let length = u8::try_from(text.len()).map_err(|_| SocksError::TooLong)?;
    message.push(length);
    message.extend_from_slice(text.as_bytes());
    Ok(())
}
