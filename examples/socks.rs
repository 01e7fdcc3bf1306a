//! cargo run --example socks -- [--listen ADDRESS]
//!
//! A SOCKS5 proxy (RFC 1928) and a client of it: a conversation of several steps on either side, each written as an
//! `async` function that reads like the standard. With ADDRESS it is a proxy only, for curl: `curl --socks5-hostname
//! ADDRESS http://example.com/`. Without, it talks to a server of its own through itself.

use std::io::{Error, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use clap::Parser;
use twistor::net::{Conversation, conversations};
use twistor::prelude::*;

const VERSION: u8 = 5;
const NO_PASSWORD: u8 = 0;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// What the proxy answers.
const GRANTED: u8 = 0;
const UNREACHABLE: u8 = 4;
const NO_SUCH_COMMAND: u8 = 7;
const NO_SUCH_ADDRESS: u8 = 8;

fn wrong(what: impl Into<String>) -> Failure {
    Error::new(ErrorKind::InvalidData, what.into()).into()
}

/// The proxy's side: what the client wants, done or refused.
async fn serve(reactor: Handle, client: Conversation) -> Result<(), Failure> {
    let [version, methods] = client.read_array().await?;
    if version != VERSION {
        return Err(wrong(format!("version {version} of SOCKS, or something else")));
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
    // From here on, both directions at once.
    let (client, server) = (Rc::new(client), Rc::new(server));
    let upward = reactor.spawn(copy(client.clone(), server.clone()));
    let downward = reactor.spawn(copy(server, client));
    join((upward, downward)).await.map(|_| ())
}

/// An answer; the address in it is of no use to anyone.
fn answer(client: &Conversation, reply: u8) -> Deferred<()> {
    client.write_all(&[VERSION, reply, 0, IPV4, 0, 0, 0, 0, 0, 0])
}

/// One direction to its end: no more is read than was written on.
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

/// The client's side: a connection to `host`, through the proxy.
async fn connect(
    reactor: &Handle,
    proxy: &ClientEndpoint,
    host: &str,
    port: u16,
) -> Result<Conversation, Failure> {
    let proxy = proxy.converse(reactor).await?;
    proxy.write(&[VERSION, 1, NO_PASSWORD]);
    if proxy.read_array().await? != [VERSION, NO_PASSWORD] {
        return Err(wrong("the proxy wants a password"));
    }
    proxy.write(&[VERSION, CONNECT, 0, NAME, u8::try_from(host.len())?]);
    proxy.write(host.as_bytes());
    proxy.write(&port.to_be_bytes());
    let [_, reply, _, kind] = proxy.read_array().await?;
    if reply != GRANTED {
        return Err(wrong(format!("the proxy answers {reply}")));
    }
    // The address that the proxy connects from, and its port, of which nothing is made.
    let length = match kind {
        IPV4 => 4,
        IPV6 => 16,
        _ => u8::from_be_bytes(proxy.read_array().await?).into(),
    };
    proxy.read_exact(length + 2).await?;
    Ok(proxy)
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
        let proxy = ClientEndpoint::tcp(proxy.ip().to_string(), proxy.port());
        let server = connect(&handle, &proxy, "localhost", port).await?;
        server.write(b"Ada\r\n");
        let greeting = server.read_to_end(100).await?;
        println!("client: {}", String::from_utf8_lossy(&greeting));
        // Now there is nobody.
        greeter.stop_listening().await?;
        if let Err(failure) = connect(&handle, &proxy, "localhost", port).await {
            println!("client: {failure}");
        }
        Ok(())
    });
    reactor.run_until(client)
}
