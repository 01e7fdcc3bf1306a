//! Names of UNIX sockets, and the files of listening ones.

#[cfg(any(target_os = "android", target_os = "linux"))]
use std::ffi::OsString;
use std::io;
#[cfg(target_os = "android")]
use std::os::android::net::SocketAddrExt;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
#[cfg(any(target_os = "android", target_os = "linux"))]
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};

use mio::net::UnixListener;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::Address;

/// Returns the name of an abstract socket: the path's bytes after a leading NUL byte, as in Twisted and
/// Python.
pub(crate) fn abstract_name(path: &Path) -> Option<&[u8]> {
    path.as_os_str().as_bytes().strip_prefix(b"\0")
}

/// Returns the socket address of a path or abstract name.
pub(crate) fn address(path: &Path) -> io::Result<SocketAddr> {
    match abstract_name(path) {
        None => SocketAddr::from_pathname(path),
        #[cfg(any(target_os = "android", target_os = "linux"))]
        Some(name) => SocketAddr::from_abstract_name(name),
        #[cfg(not(any(target_os = "android", target_os = "linux")))]
        Some(_) => Err(io::Error::new(io::ErrorKind::Unsupported, "abstract names exist on Linux only")),
    }
}

/// Converts the socket address of either end.
pub(crate) fn address_of(address: SocketAddr) -> Address {
    #[cfg(any(target_os = "android", target_os = "linux"))]
    if let Some(name) = address.as_abstract_name() {
        return Address::Unix(Some(OsString::from_vec([b"\0", name].concat()).into()));
    }
    Address::Unix(address.as_pathname().map(Path::to_owned))
}

/// Binds and listens. Replaces the file of a dead listener. Dropping the second value removes the file; an
/// abstract name has none.
pub(crate) fn listen(
    path: &Path,
    mode: Option<u32>,
    backlog: i32,
) -> io::Result<(UnixListener, Option<SocketFile>)> {
    let is_file = abstract_name(path).is_none();
    let address = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_file && is_dead(path, &address) => {
            std::fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        outcome => outcome?,
    }
    let file = if is_file { Some(SocketFile::new(path)?) } else { None };
    if let (Some(mode), true) = (mode, is_file) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    socket.listen(backlog)?;
    Ok((UnixListener::from_std(socket.into()), file))
}

/// Returns whether `path` is a socket without a listener. Does not block: a listener whose queue is full is
/// alive.
fn is_dead(path: &Path, address: &SockAddr) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    let probe = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(address)
    };
    is_socket && probe().is_err_and(|error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// The file of a listening UNIX socket. Dropping it removes the file.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and inode. If they differ, another listener has taken over the path, and its file must stay.
    identity: (u64, u64),
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<SocketFile> {
        Ok(SocketFile { path: path.to_owned(), identity: SocketFile::identity(path)? })
    }

    fn identity(path: &Path) -> io::Result<(u64, u64)> {
        let metadata = std::fs::symlink_metadata(path)?;
        Ok((metadata.dev(), metadata.ino()))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if SocketFile::identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
