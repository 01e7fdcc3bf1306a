//! A client and a server as turmoil's hosts, on tokio.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use turmoil::net::{TcpListener, TcpStream};

use crate::runner::child::Arguments;
use crate::runner::sample::Stopwatch;

const PORT: u16 = 1234;

/// `TRIPS`.
pub fn run(arguments: &Arguments<'_>) {
    let trips = arguments.number(0);
    let mut simulation = turmoil::Builder::new()
        .simulation_duration(Duration::from_secs(10_000_000))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(10))
        .build();
    let clock = Stopwatch::start();
    simulation.host("server", || async {
        let listener = TcpListener::bind((IpAddr::from(Ipv4Addr::UNSPECIFIED), PORT)).await?;
        loop {
            let (mut stream, _) = listener.accept().await?;
            tokio::spawn(async move {
                let mut buffer = [0; 64];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    stream.write_all(&buffer[..count]).await.expect("write");
                }
            });
        }
    });
    simulation.client("client", async move {
        let mut stream = TcpStream::connect(("server", PORT)).await?;
        let mut buffer = [b'm'; 64];
        for _ in 0..trips {
            stream.write_all(&buffer).await?;
            stream.read_exact(&mut buffer).await?;
        }
        Ok(())
    });
    simulation.run().expect("a run");
    clock.stop(trips).report();
}
