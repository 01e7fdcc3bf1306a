//! cargo run --example socks -- [--listen ADDRESS]
//!
//! A SOCKS5 proxy (RFC 1928) and its client. Both sides are conversations of several steps, written as `async`
//! functions that read like the standard. With ADDRESS it is only a proxy, for example for curl: `curl
//! --socks5-hostname ADDRESS http://example.com/`. Without ADDRESS, it talks through itself to its own server.

use std::io::{Error, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use clap::Parser;
use twistor::net::connect::{Connect, Connecting, Tcp};
use twistor::net::{Conversation, Stream, conversations};
use twistor::prelude::*;

const VERSION: u8 = 5;
const NO_PASSWORD: u8 = 0;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// The proxy's replies.
const GRANTED: u8 = 0;
const UNREACHABLE: u8 = 4;
const NO_SUCH_COMMAND: u8 = 7;
const NO_SUCH_ADDRESS: u8 = 8;

fn wrong(what: impl Into<String>) -> Failure {
    Error::new(ErrorKind::InvalidData, what.into()).into()
}

/// The proxy's side: reads a request, and fulfils or refuses it.
async fn serve(reactor: Handle, client: Conversation) -> Result<(), Failure> {
    let [version, methods] = client.read_array().await?;
    if version != VERSION {
        return Err(wrong(format!("unsupported protocol: SOCKS version {version} or not SOCKS")));
    }
    if !client.read_exact(methods.into()).await?.contains(&NO_PASSWORD) {
        client.write(&[VERSION, 0xff]);
        return Ok(());
    }
    client.write(&[VERSION, NO_PASSWORD]);

    let [_, command, _, kind] = client.read_array().await?;
    let host = match kind {
        IPV4 => IpAddr::from(client.read_array::<4>().await?).to_string(),
        IPV6 => IpAddr::from(client.read_array::<16>().await?).to_string(),
        NAME => {
            let [length] = client.read_array().await?;
            String::from_utf8(client.read_exact(length.into()).await?)?
        }
        _ => return answer(&client, NO_SUCH_ADDRESS).await,
    };
    let port = u16::from_be_bytes(client.read_array().await?);
    if command != CONNECT {
        return answer(&client, NO_SUCH_COMMAND).await;
    }
    let server = match ClientEndpoint::tcp(host, port).converse(&reactor).await {
        Ok(server) => server,
        Err(failure) => {
            println!("proxy: {failure}");
            return answer(&client, UNREACHABLE).await;
        }
    };
    answer(&client, GRANTED).await?;
    // From here on, data flows in both directions.
    let (client, server) = (Rc::new(client), Rc::new(server));
    let upward = reactor.spawn(copy(client.clone(), server.clone()));
    let downward = reactor.spawn(copy(server, client));
    join((upward, downward)).await.map(|_| ())
}

/// Sends a reply. The address in it is not used.
fn answer(client: &Conversation, reply: u8) -> Deferred<()> {
    client.write_all(&[VERSION, reply, 0, IPV4, 0, 0, 0, 0, 0, 0])
}

/// Copies one direction until its end. Reads more only after everything so far is written.
async fn copy(from: Rc<Conversation>, to: Rc<Conversation>) -> Result<(), Failure> {
    loop {
        let data = from.read_some().await?;
        if data.is_empty() {
            to.transport().lose_write_connection();
            return Ok(());
        }
        to.write_all(&data).await?;
    }
}

/// The client's side, as a connector: connects to `host` through the proxy. The library has it as `Socks5`.
async fn connect(on: Connecting, proxy: Tcp, host: &str, port: u16) -> Result<Stream, Failure> {
    let proxy = proxy.connect(&on).await?.converse(on.handle())?;
    proxy.write(&[VERSION, 1, NO_PASSWORD]);
    if proxy.read_array().await? != [VERSION, NO_PASSWORD] {
        return Err(wrong("the proxy requires a password"));
    }
    proxy.write(&[VERSION, CONNECT, 0, NAME, u8::try_from(host.len())?]);
    proxy.write(host.as_bytes());
    proxy.write(&port.to_be_bytes());
    let [_, reply, _, kind] = proxy.read_array().await?;
    if reply != GRANTED {
        return Err(wrong(format!("the proxy refused the request with reply {reply}")));
    }
    // Skips the address and port that the proxy connects from.
    let length = match kind {
        IPV4 => 4,
        IPV6 => 16,
        _ => u8::from_be_bytes(proxy.read_array().await?).into(),
    };
    proxy.read_exact(length + 2).await?;
    // Everything that follows belongs to the next owner of the connection.
    Ok(proxy.release()?)
}

fn listen(reactor: &Handle, address: SocketAddr) -> Result<SocketAddr, Failure> {
    let handle = reactor.handle();
    let proxy = conversations(move |client| handle.spawn(serve(handle.clone(), client)));
    let port = ServerEndpoint::tcp(address).listen(reactor, proxy)?;
    Ok(port.address().ip().unwrap_or(address))
}

#[derive(Parser)]
struct Options {
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
}

fn main() -> Result<(), Failure> {
    let reactor = Reactor::new()?;
    if let Some(address) = Options::parse().listen {
        println!("listening on {}", listen(&reactor, address)?);
        return Ok(reactor.run()?);
    }
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let proxy = listen(&reactor, free)?;
    let greeter = ServerEndpoint::tcp(free).listen(
        &reactor,
        conversations(|peer: Conversation| {
            peer.read_line(100).add_callback(move |name| {
                peer.write(b"good morning, ");
                peer.write_all(&name)
            })
        }),
    )?;
    let (handle, port) = (reactor.handle(), greeter.address().port().unwrap_or(0));
    let client = reactor.spawn(async move {
        let proxy = Tcp::new(proxy.ip().to_string(), proxy.port());
        let endpoint = ClientEndpoint::by(move |on: &Connecting| {
            on.handle().spawn(connect(on.clone(), proxy.clone(), "localhost", port))
        });
        let server = endpoint.converse(&handle).await?;
        server.write(b"Ada\r\n");
        let greeting = server.read_to_end(100).await?;
        println!("client: {}", String::from_utf8_lossy(&greeting));
        // The server stops, so the next attempt fails.
        greeter.stop_listening().await?;
        if let Err(failure) = endpoint.converse(&handle).await {
            println!("client: {failure}");
        }
        Ok(())
    });
    reactor.run_until(client)
}
