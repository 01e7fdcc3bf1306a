//! Options of a connection's socket.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use super::Transport;

impl Transport {
    /// Sets whether small writes are sent at once, instead of being gathered while earlier ones are in flight
    /// (TCP_NODELAY). Default: off. Has no effect on a UNIX socket. Twisted: `setTcpNoDelay`.
    ///
    /// # Errors
    ///
    /// The error of the operating system.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.with_socket(|socket| socket.as_tcp().map_or(Ok(()), |tcp| tcp.set_nodelay(on)))
    }

    /// Turns keep-alive on, with the idle time after which the operating system probes the peer, or off with
    /// `None`. Default: off. Has no effect on a UNIX socket. Twisted: `setTcpKeepAlive`.
    ///
    /// Operating systems use whole seconds and have a maximum (Linux: nine hours). Other values are brought
    /// into range.
    ///
    /// # Errors
    ///
    /// The error of the operating system.
    pub fn set_keepalive(&self, idle: Option<Duration>) -> io::Result<()> {
        self.with_tcp(|socket| match idle {
            Some(idle) => socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(keepalive_time(idle))),
            None => socket.set_keepalive(false),
        })
    }

    /// Turns keep-alive on and sets its probes: an unanswered probe is repeated after `interval`, and after
    /// `count` of them the connection is lost with `TimedOut`. The interval has the range of
    /// [`set_keepalive`](Transport::set_keepalive), the count is at most 127.
    ///
    /// # Errors
    ///
    /// `Unsupported` if the operating system has no such option, or the error of the operating system.
    pub fn set_keepalive_pace(&self, interval: Duration, count: u32) -> io::Result<()> {
        #[cfg(any(
            target_os = "android",
            target_os = "freebsd",
            target_os = "ios",
            target_os = "linux",
            target_os = "macos",
            target_os = "netbsd",
            target_os = "windows"
        ))]
        return self.with_tcp(|socket| {
            let pace = TcpKeepalive::new().with_interval(keepalive_time(interval));
            socket.set_tcp_keepalive(&pace.with_retries(count.clamp(1, 127)))
        });
        #[cfg(not(any(
            target_os = "android",
            target_os = "freebsd",
            target_os = "ios",
            target_os = "linux",
            target_os = "macos",
            target_os = "netbsd",
            target_os = "windows"
        )))]
        {
            let _ = (interval, count);
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    /// Sets how long sent bytes may stay unacknowledged before the connection is lost with `TimedOut`
    /// (TCP_USER_TIMEOUT), in milliseconds. `None` restores the operating system's default (Linux: about a
    /// quarter of an hour). Has no effect on a UNIX socket.
    ///
    /// # Errors
    ///
    /// `Unsupported` on operating systems other than Linux and Android, or the error of the operating system.
    pub fn set_user_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        #[cfg(any(target_os = "android", target_os = "linux"))]
        return self.with_tcp(|socket| {
            // The kernel would read a larger number as negative, and zero as its default.
            let longest = Duration::from_millis(i32::MAX as u64);
            let timeout = timeout.map(|timeout| timeout.clamp(Duration::from_millis(1), longest));
            socket.set_tcp_user_timeout(timeout)
        });
        #[cfg(not(any(target_os = "android", target_os = "linux")))]
        {
            let _ = timeout;
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    /// Sets the number of unsent bytes that the operating system buffers for this connection
    /// (TCP_NOTSENT_LOWAT). With a small number, [`buffered`](Transport::buffered) reflects the progress of
    /// sending. Has no effect on a UNIX socket.
    ///
    /// # Errors
    ///
    /// `Unsupported` on operating systems other than Linux and Android, or the error of the operating system.
    pub fn set_unsent_limit(&self, bytes: usize) -> io::Result<()> {
        #[cfg(any(target_os = "android", target_os = "linux"))]
        return self
            .with_tcp(|socket| socket.set_tcp_notsent_lowat(u32::try_from(bytes).unwrap_or(u32::MAX)));
        #[cfg(not(any(target_os = "android", target_os = "linux")))]
        {
            let _ = bytes;
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    /// Duplicates the descriptor of the socket, to inspect it or to set an option that has no method here,
    /// such as with `socket2::SockRef::from(&fd)`. Under TLS, it is the descriptor of the TCP or UNIX socket.
    ///
    /// A transport does not own the socket, so it cannot lend the descriptor itself.
    ///
    /// # Errors
    ///
    /// `NotConnected` after the loss, `Unsupported` on a simulated reactor, or the error of the operating
    /// system.
    #[cfg(unix)]
    pub fn try_clone_fd(&self) -> io::Result<std::os::fd::OwnedFd> {
        self.with_socket(|socket| socket.fd().ok_or(io::ErrorKind::Unsupported)?.try_clone_to_owned())
    }

    /// Sets an option of a TCP socket. Does nothing for other sockets.
    fn with_tcp(&self, set: impl FnOnce(SockRef<'_>) -> io::Result<()>) -> io::Result<()> {
        self.with_socket(|socket| socket.as_tcp().map_or(Ok(()), |tcp| set(SockRef::from(tcp))))
    }
}

/// Rounds a keep-alive time to whole seconds in the range that every operating system accepts.
fn keepalive_time(time: Duration) -> Duration {
    let seconds = time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0));
    Duration::from_secs(seconds.clamp(1, 32_767))
}

#[cfg(test)]
mod tests {
    use twistor_deferred::Deferred;
    use twistor_reactor::Reactor;

    use super::super::connection::Connection;
    use super::super::connection::tests::{Silent, connected};
    use super::*;
    use crate::sockets::Socket;

    /// Returns options of a socket after `set` was called.
    fn options<T: 'static>(
        set: impl FnOnce(&Transport) -> io::Result<()> + 'static,
        look: impl FnOnce(SockRef<'_>) -> io::Result<T> + 'static,
    ) -> T {
        let (near, _far) = connected();
        let reactor = Reactor::new().unwrap();
        let handle = reactor.handle();
        let (told, trigger) = Deferred::new();
        reactor.call_when_running(move || {
            let peer = near.peer_addr().unwrap();
            let socket = Socket::tcp(mio::net::TcpStream::from_std(near), peer);
            let transport = Connection::start(&handle, socket, Silent).unwrap();
            set(&transport).unwrap();
            let seen = transport.with_socket(|socket| look(SockRef::from(socket.as_tcp().unwrap())));
            trigger.callback(seen.unwrap());
        });
        reactor.run_until(told).unwrap()
    }

    #[test]
    fn options_reach_the_socket() {
        let look = |socket: SockRef<'_>| Ok((socket.tcp_nodelay()?, socket.keepalive()?));
        assert_eq!(options(|_| Ok(()), look), (false, false));
        let set = |transport: &Transport| {
            transport.set_nodelay(true)?;
            transport.set_keepalive(Some(Duration::from_secs(60)))
        };
        assert_eq!(options(set, look), (true, true));
        let back = move |transport: &Transport| {
            set(transport)?;
            transport.set_nodelay(false)?;
            transport.set_keepalive(None)
        };
        assert_eq!(options(back, look), (false, false));
    }

    // P17.7
    #[cfg(target_os = "linux")]
    #[test]
    fn the_limit_of_unsent_bytes_reaches_the_socket() {
        let set = |bytes| {
            options(move |transport| transport.set_unsent_limit(bytes), |socket| socket.tcp_notsent_lowat())
        };
        assert_eq!((set(4096), set(usize::MAX)), (4096, u32::MAX));
    }

    // P17.6
    #[cfg(not(any(target_os = "android", target_os = "linux")))]
    #[test]
    fn an_option_that_the_system_lacks_is_unsupported() {
        options(
            |transport| {
                let unsupported =
                    |outcome: io::Result<()>| outcome.unwrap_err().kind() == io::ErrorKind::Unsupported;
                assert!(unsupported(transport.set_unsent_limit(4096)));
                assert!(unsupported(transport.set_user_timeout(Some(Duration::from_secs(1)))));
                Ok(())
            },
            |_| Ok(()),
        );
    }

    // P17.1, P17.4, P17.5
    #[cfg(target_os = "linux")]
    #[test]
    fn keepalive_and_user_timeout_reach_the_socket() {
        let look = |socket: SockRef<'_>| {
            let keepalive = (
                socket.tcp_keepalive_time()?.as_secs(),
                socket.tcp_keepalive_interval()?.as_secs(),
                socket.tcp_keepalive_retries()?,
            );
            Ok((socket.keepalive()?, keepalive, socket.tcp_user_timeout()?.map(|time| time.as_millis())))
        };
        let set = |idle, interval, count, timeout| {
            options(
                move |transport| {
                    transport.set_keepalive_pace(interval, count)?;
                    transport.set_keepalive(Some(idle))?;
                    transport.set_user_timeout(Some(timeout))
                },
                look,
            )
        };
        let seconds = Duration::from_secs;
        let millisecond = Duration::from_millis(1);
        assert_eq!(set(seconds(60), seconds(5), 3, seconds(9)), (true, (60, 5, 3), Some(9000)));
        let least = set(Duration::ZERO, millisecond, 0, Duration::ZERO);
        assert_eq!(least, (true, (1, 1, 1), Some(1)));
        let most = set(Duration::MAX, Duration::MAX, u32::MAX, Duration::MAX);
        assert_eq!(most, (true, (32_767, 32_767, 127), Some(i32::MAX as u128)));
    }
}
