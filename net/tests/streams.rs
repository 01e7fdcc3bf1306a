//! Connections and listeners as values. P19.

#![allow(clippy::unwrap_used, reason = "in tests, a panic is the report")]

mod support;

#[cfg(unix)]
use std::io::ErrorKind;
use std::io::{Read, Write};
#[cfg(unix)]
use std::net::UdpSocket;
use std::net::{TcpListener, TcpStream};

use support::*;
use twistor_deferred::Deferred;
use twistor_net::{ClientEndpoint, ConnectionDone, Listener, ServerEndpoint, Stream, Transport};
use twistor_reactor::{Handle, Reactor};

/// Runs an echo on this end, and sends a line through it from the other end.
fn echoes(near: Stream, mut far: impl Read + Write + Send + 'static) {
    run(move |reactor| {
        near.run(reactor, Echo).unwrap();
        reactor.defer_to_thread(move || {
            far.write_all(b"hello")?;
            let mut back = [0; 5];
            far.read_exact(&mut back)?;
            assert_eq!(&back, b"hello");
            Ok(())
        })
    });
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    far.set_read_timeout(Some(DEADLINE)).unwrap();
    (listener.accept().unwrap().0, far)
}

// P19.1
#[test]
fn a_tcp_socket_of_the_standard_library_is_adopted() {
    let (near, far) = tcp_pair();
    let stream = Stream::try_from(near).unwrap();
    assert_eq!(stream.peer().unwrap().ip(), far.local_addr().ok());
    assert_eq!(stream.local_addr().unwrap().ip(), far.peer_addr().ok());
    echoes(stream, far);
}

// P19.1
#[cfg(unix)]
#[test]
fn a_unix_socket_of_the_standard_library_is_adopted() {
    let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    echoes(Stream::try_from(near).unwrap(), far);
}

// P19.1
#[cfg(unix)]
#[test]
fn a_descriptor_of_a_connection_is_adopted() {
    use std::os::fd::OwnedFd;
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    let (near, far) = tcp_pair();
    echoes(Stream::try_from(OwnedFd::from(near)).unwrap(), far);
    let (near, far) = UnixStream::pair().unwrap();
    echoes(Stream::try_from(OwnedFd::from(near)).unwrap(), far);

    let folder = support::folder::Folder::new("adopted");
    let others: Vec<OwnedFd> = vec![
        TcpListener::bind("127.0.0.1:0").unwrap().into(),
        UdpSocket::bind("127.0.0.1:0").unwrap().into(),
        UnixListener::bind(folder.join("socket")).unwrap().into(),
        UnixDatagram::unbound().unwrap().into(),
        std::fs::File::open(folder.path()).unwrap().into(),
    ];
    for (number, other) in others.into_iter().enumerate() {
        assert_eq!(Stream::try_from(other).unwrap_err().kind(), ErrorKind::InvalidInput, "{number}");
    }
    let unconnected = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    assert_eq!(Stream::try_from(OwnedFd::from(unconnected)).unwrap_err().kind(), ErrorKind::NotConnected);
}

// P19.1
#[cfg(unix)]
#[test]
fn a_descriptor_of_a_listener_is_adopted() {
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixListener;

    let reactor = Reactor::new().unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = tcp.local_addr().unwrap();
    let port = Listener::try_from(OwnedFd::from(tcp)).unwrap().serve(&reactor, |_| Echo).unwrap();
    assert_eq!(port.address().ip(), Some(place));
    let folder = support::folder::Folder::new("listening");
    let path = folder.join("socket");
    let unix = OwnedFd::from(UnixListener::bind(&path).unwrap());
    let unix = Listener::try_from(unix).unwrap();
    assert_eq!(unix.address().path(), Some(path.as_path()));
    let unix = unix.serve(&reactor, |_| Echo).unwrap();
    let (one, other) = (ClientEndpoint::tcp("127.0.0.1", place.port()), ClientEndpoint::unix(&path));
    let both = twistor_deferred::join((one.connect(&reactor, Echo), other.connect(&reactor, Echo)));
    let handle = Handle::clone(&reactor);
    reactor.call_later(DEADLINE, move || handle.stop());
    reactor.run_until(both).unwrap();
    drop((port.stop_listening(), unix.stop_listening()));
    assert!(path.exists(), "the file belongs to another listener");
    let (near, _far) = tcp_pair();
    assert_eq!(Listener::try_from(OwnedFd::from(near)).unwrap_err().kind(), ErrorKind::InvalidInput);
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    assert_eq!(Listener::try_from(OwnedFd::from(udp)).unwrap_err().kind(), ErrorKind::InvalidInput);
}

// P19.2
#[test]
fn connection_made_has_run_when_run_returns() {
    let diary = Diary::new();
    run(|reactor| {
        let (near, far) = tcp_pair();
        let stream = Stream::try_from(near).unwrap();
        drop(far);
        stream.run(reactor, scripted(&diary)).unwrap();
        assert_eq!(diary.entries(), ["made"]);
        diary.when_lost()
    });
    assert!(diary.reason().is::<ConnectionDone>());
}

// P19.3
#[test]
fn a_bound_listener_keeps_connections_until_it_is_served() {
    on_every_network(|world| {
        world.run(|reactor| {
            let listener = ServerEndpoint::tcp("127.0.0.1:0".parse().unwrap()).bind(reactor).unwrap();
            let place = listener.address().ip().unwrap();
            assert_ne!(place.port(), 0);
            let handle = Handle::clone(reactor);
            let connecting = ClientEndpoint::tcp("127.0.0.1", place.port()).converse(reactor);
            let (served, trigger) = Deferred::new();
            // After the client has connected.
            reactor.call_later(std::time::Duration::from_millis(100), move || {
                trigger.callback(listener.serve(&handle, |_| Echo).unwrap());
            });
            reactor.spawn(async move {
                let peer = connecting.await?;
                peer.write(b"early");
                assert_eq!(peer.read_exact(5).await?, b"early");
                served.await?.stop_listening().await
            })
        });
    });
}

// P19.3
#[test]
fn dropping_a_bound_listener_closes_it() {
    let reactor = Reactor::new().unwrap();
    let place = ServerEndpoint::tcp("127.0.0.1:0".parse().unwrap());
    let listener = place.bind(&reactor).unwrap();
    let address = listener.address().ip().unwrap();
    drop(listener);
    assert!(TcpStream::connect(address).is_err());
    #[cfg(unix)]
    {
        let folder = support::folder::Folder::new("bound");
        let path = folder.join("socket");
        let listener = ServerEndpoint::unix(&path).bind(&reactor).unwrap();
        assert!(path.exists());
        drop(listener);
        assert!(!path.exists());
    }
}

// P19.4
#[cfg(unix)]
#[test]
fn descriptors_are_lent_by_real_sockets_only() {
    let (near, _far) = tcp_pair();
    let stream = Stream::try_from(near).unwrap();
    let socket = stream.fd().map(|fd| fd.try_clone_to_owned().unwrap()).map(socket2::Socket::from).unwrap();
    assert_eq!(socket.peer_addr().unwrap().as_socket(), stream.peer().unwrap().ip());
    let reactor = Reactor::simulated(1);
    let listener = ServerEndpoint::tcp("127.0.0.1:0".parse().unwrap()).bind(&reactor).unwrap();
    assert!(listener.fd().is_none());
    let reactor = Reactor::new().unwrap();
    let listener = ServerEndpoint::tcp("127.0.0.1:0".parse().unwrap()).bind(&reactor).unwrap();
    assert!(listener.fd().is_some());
}

#[cfg(feature = "tls")]
mod tls_support;

// P19.1, P10
#[cfg(feature = "tls")]
#[test]
fn an_adopted_listener_may_be_secured() {
    let authority = tls_support::Authority::new();
    run(|reactor| {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let listener = Listener::try_from(socket).unwrap().tls(authority.signs("localhost").server());
        listener.serve(reactor, |_| Echo).unwrap();
        let connecting = ClientEndpoint::tls("localhost", port, authority.client()).connect(reactor, Echo);
        connecting.add_callback(|transport: Transport| assert!(transport.tls().is_some()))
    });
}
