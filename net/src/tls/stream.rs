//! Encrypts and decrypts between a socket and a protocol.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::rc::Rc;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use rustls::{Connection, Writer};
use twistor_reactor::{EventHandler, Handle, Registration};

use super::errors::{Cause, Opening};
use super::{TlsInfo, TlsTruncated};
use crate::errors::has_no_buffers;
use crate::sockets::Socket;

/// Ciphertext is read into the caller's buffer after this much free space, and decrypted into the space
/// before it. The plaintext fits, because it is never longer than the ciphertext plus one record that began
/// earlier.
const ROOM_FOR_A_RECORD: usize = 20 * 1024;

/// The range of read sizes. A peer that sends records with little or no plaintext gets the smallest reads, so
/// that it takes no more of the loop than others. The size doubles with each read that yields much plaintext.
const LEAST_READ: usize = ROOM_FOR_A_RECORD;
const MOST_READ: usize = 256 * 1024;

/// The number of handshake steps in one turn.
const STEPS_PER_TURN: usize = 32;

/// The progress of a handshake.
pub(crate) enum Handshaking {
    Done,
    /// The socket has no more data for now.
    Waiting,
    /// There may be more to do in the next turn.
    More,
}

/// A socket with a TLS session. Its methods follow the rules of [`Socket`]: a write is partial only if the
/// socket below is full, and a read that would block has emptied it.
pub(crate) struct TlsStream {
    socket: Socket,
    /// Bytes of the session that were read from the socket before.
    early: Vec<u8>,
    session: Connection,
    close_notify_sent: bool,
    /// The size of the next read.
    next_read: usize,
    /// The operating system had no memory for data to be flushed.
    starved: bool,
}

impl TlsStream {
    pub(crate) fn new(socket: Socket, session: Connection, early: Vec<u8>) -> TlsStream {
        TlsStream { socket, early, session, close_notify_sent: false, next_read: LEAST_READ, starved: false }
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(crate) fn watch(
        &mut self,
        handle: &Handle,
        handler: Rc<dyn EventHandler>,
    ) -> io::Result<Registration> {
        self.socket.watch(handle, handler)
    }

    pub(crate) fn info(&self) -> TlsInfo {
        TlsInfo::of(&self.session)
    }

    /// Continues the handshake.
    pub(crate) fn shake_hands(&mut self, opening: &mut Opening) -> Result<Handshaking, Cause> {
        for _ in 0..STEPS_PER_TURN {
            self.flush().map_err(Cause::Io)?;
            if !self.session.is_handshaking() {
                return Ok(Handshaking::Done);
            }
            let (socket, early) = (&mut self.socket, &mut self.early);
            match self.session.read_tls(&mut Opened { socket, early, opening }) {
                Ok(0) => return Err(Cause::Closed),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Handshaking::Waiting);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Cause::Io(error)),
            }
            match self.session.process_new_packets() {
                // The invalid data came after the handshake. The session reports the error again to the
                // reader.
                Err(_) if !self.session.is_handshaking() => return Ok(Handshaking::Done),
                Err(error) => {
                    // Sends the alert, if the peer still reads.
                    let _ = self.flush();
                    let alien = matches!(error, rustls::Error::InvalidMessage(_)) && !opening.is_tls();
                    let side = &self.session;
                    return Err(if alien { Cause::NotTls(*opening) } else { Cause::of_session(error, side) });
                }
                Ok(_) => {}
            }
        }
        Ok(Handshaking::More)
    }

    /// Reads plaintext. Returns `Ok(0)` after the peer's close_notify, and [`TlsTruncated`] if the connection
    /// ended without one. `Interrupted` means that the data held no plaintext, and that there may be more to
    /// read.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, TlsTruncated));
                }
                outcome => return outcome,
            }
            self.process()?;
            let room = ROOM_FOR_A_RECORD.min(buffer.len() / 2);
            let most = self.next_read.min(buffer.len() - room);
            let count = read(&mut self.socket, &mut self.early, &mut buffer[room..room + most])?;
            if count == 0 {
                self.session.read_tls(&mut io::empty())?;
                continue;
            }
            let plain = self.decrypt(buffer, room, room + count)?;
            self.next_read = if plain < count / 2 { LEAST_READ } else { MOST_READ.min(2 * self.next_read) };
            return if plain > 0 { Ok(plain) } else { Err(io::ErrorKind::Interrupted.into()) };
        }
    }

    /// Decrypts `buffer[at..end]` into the beginning of `buffer`.
    fn decrypt(&mut self, buffer: &mut [u8], mut at: usize, end: usize) -> io::Result<usize> {
        let mut plain = 0;
        while at < end {
            let taken = self.session.read_tls(&mut &buffer[at..end])?;
            if taken == 0 {
                break; // after the peer's close_notify
            }
            at += taken;
            let processed = self.process();
            while plain < at {
                match self.session.reader().read(&mut buffer[plain..at]) {
                    Ok(0) | Err(_) => break,
                    Ok(count) => plain += count,
                }
            }
            match processed {
                Err(error) if plain == 0 => return Err(error),
                // The session reports the error again in the next read, after this plaintext is delivered.
                Err(_) => return Ok(plain),
                Ok(()) => {}
            }
        }
        // Sends the session's own replies. If that fails, the next write reports it.
        let _ = self.flush();
        Ok(plain)
    }

    fn process(&mut self) -> io::Result<()> {
        if let Err(error) = self.session.process_new_packets() {
            let _ = self.flush();
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        Ok(())
    }

    pub(crate) fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.encrypt(data.len(), |writer, taken| writer.write(&data[taken..]))
    }

    pub(crate) fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let offered = slices.iter().map(|slice| slice.len()).sum();
        self.encrypt(offered, |writer, mut taken| {
            if taken == 0 {
                return writer.write_vectored(slices);
            }
            for slice in slices {
                if taken < slice.len() {
                    return writer.write(&slice[taken..]);
                }
                taken -= slice.len();
            }
            Ok(0)
        })
    }

    /// Encrypts and sends alternately, because the session limits how much `next` can encrypt before a flush.
    fn encrypt(
        &mut self,
        offered: usize,
        mut next: impl FnMut(&mut Writer<'_>, usize) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut taken = 0;
        while self.flush()? {
            if taken == offered {
                return Ok(taken);
            }
            taken += next(&mut self.session.writer(), taken)?;
        }
        if taken == 0 && offered > 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(taken)
    }

    /// Sends encrypted data. Returns whether all of it is sent.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Wire(&mut self.socket)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if has_no_buffers(&error) => {
                    self.starved = true;
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        // The socket below may use TLS itself.
        self.socket.flush()
    }

    pub(crate) fn is_starved(&mut self) -> bool {
        std::mem::take(&mut self.starved) | self.socket.is_starved()
    }

    pub(crate) fn is_flushed(&self) -> bool {
        !self.session.wants_write() && self.socket.is_flushed()
    }

    /// Sends close_notify. Returns whether it is sent.
    pub(crate) fn finish(&mut self) -> io::Result<bool> {
        if !std::mem::replace(&mut self.close_notify_sent, true) {
            self.session.send_close_notify();
        }
        Ok(self.flush()? && self.socket.finish()?)
    }

    pub(crate) fn shutdown(&self, _: Shutdown) -> io::Result<()> {
        self.socket.shutdown_write()
    }

    /// Returns whether there is something to read: plaintext, or bytes of the socket that may contain some.
    pub(crate) fn has_data(&mut self) -> io::Result<bool> {
        let plain = self.session.process_new_packets().is_ok_and(|state| state.plaintext_bytes_to_read() > 0);
        if plain || !self.early.is_empty() { Ok(true) } else { self.socket.has_data() }
    }

    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(self.socket.take_error())
    }
}

impl Source for TlsStream {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.socket.register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.socket.reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.socket.deregister(registry)
    }
}

/// Adapts a socket to the trait that rustls writes to.
struct Wire<'a>(&'a mut Socket);

/// Adapts a socket to the trait that rustls reads a handshake from, and records the first bytes.
struct Opened<'a> {
    socket: &'a mut Socket,
    early: &'a mut Vec<u8>,
    opening: &'a mut Opening,
}

impl Read for Opened<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = read(self.socket, self.early, buffer)?;
        self.opening.add(&buffer[..count]);
        Ok(count)
    }
}

/// Reads from the socket, after the bytes that were read from it before.
#[inline]
fn read(socket: &mut Socket, early: &mut Vec<u8>, buffer: &mut [u8]) -> io::Result<usize> {
    if early.is_empty() { socket.read(buffer) } else { Ok(read_early(early, buffer)) }
}

#[cold]
fn read_early(early: &mut Vec<u8>, buffer: &mut [u8]) -> usize {
    let count = early.len().min(buffer.len());
    buffer[..count].copy_from_slice(&early[..count]);
    early.drain(..count);
    if early.is_empty() {
        *early = Vec::new();
    }
    count
}

impl Write for Wire<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.write(data)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
