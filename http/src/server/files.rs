//! The files of a folder.

mod conditions;
mod kinds;

use std::error::Error;
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use ::http::{Method, StatusCode, header};
use twistor_deferred::Failure;
use twistor_reactor::Handle;

use self::conditions::{Conditions, Part, Verdict};
use super::exchange::answer::{Answer, IntoAnswer, StatusError};
use super::exchange::request::{Request, decode};
use super::exchange::response::Response;
use super::resource::Resource;
use super::tree::{is_known, not_allowed, options};
use super::wire::body_writer::BodyWriter;
use super::wire::date;

/// Files up to this size are read as a whole; larger ones in pieces of this size, as the client reads them.
const PIECE: u64 = 256 * 1024;

/// The longest name of a file, and of a path below its root.
const LONGEST_NAME: usize = 255;
const LONGEST_PATH: usize = 2048;

/// Serves the files of a folder and its subfolders, for `GET` and `HEAD`. Twisted: `static.File`.
///
/// It answers for all paths below its place in the site. A folder is answered with its `index.html`; without
/// a slash at the end, it redirects to the path with it. Ranges (one at a time), `If-Match`, `If-None-Match`,
/// `If-Modified-Since`, `If-Unmodified-Since` and `If-Range` are supported. The `ETag` consists of the time
/// of the last change and the size.
///
/// No path leads out of the folder: neither `..`, encoded or not, nor a symbolic link.
///
/// Files are opened and read on the reactor's threads.
///
/// # Examples
///
/// ```
/// use twistor::http::server::{Files, Tree};
///
/// let root = Tree::new().get(|_| "Hello, world!").put_child("static", Files::new("/srv/www"));
/// # drop(root);
/// ```
#[derive(Clone, Debug)]
pub struct Files {
    root: PathBuf,
    /// Whether the log says that the root cannot be read. Clones share it.
    reported: Arc<AtomicBool>,
}

impl Files {
    /// Serves the files in `root`. Whether it exists is checked at each request. The first request that cannot
    /// read it is logged as a warning.
    pub fn new(root: impl Into<PathBuf>) -> Files {
        Files { root: root.into(), reported: Arc::default() }
    }
}

impl Resource for Files {
    fn render(&self, request: &mut Request<'_>) -> Answer {
        match *request.method() {
            Method::GET | Method::HEAD => {}
            Method::OPTIONS => return options(self.methods()),
            ref method if is_known(method) => return not_allowed(self.methods()),
            _ => return StatusCode::NOT_IMPLEMENTED.into_answer(),
        }
        let Some((below, folder)) = relative(request.rest()) else {
            return StatusCode::NOT_FOUND.into_answer();
        };
        let slashed = redirect_target(request);
        let conditions = Conditions::of(request.method(), request.headers());
        let (root, handle) = (self.root.clone(), request.reactor().clone());
        let found = handle.defer_to_thread(move || Ok(Found::look_up(&root, &below, folder)?));
        let reported = self.reported.clone();
        let found = found.add_callbacks(
            move |found| {
                Ok(match found {
                    Found::Folder => Response::redirect(&slashed).status(StatusCode::MOVED_PERMANENTLY),
                    Found::File(file) => file.response(&conditions, &handle),
                })
            },
            move |failure| {
                if is_of_root(&failure) && !reported.swap(true, Ordering::Relaxed) {
                    log::warn!("{failure}");
                }
                Err(told(failure))
            },
        );
        found.into_answer()
    }

    fn is_leaf(&self) -> bool {
        true
    }

    fn methods(&self) -> Vec<Method> {
        vec![Method::GET, Method::HEAD]
    }
}

/// Returns the path below the root, and whether it means a folder. `None` if a segment is not a valid name.
fn relative(rest: &str) -> Option<(PathBuf, bool)> {
    let mut below = PathBuf::new();
    // Without a slash, the links of the root's index would lead beside the root.
    let folder = rest.ends_with('/');
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.is_empty() {
        return Some((below, folder));
    }
    for segment in rest.split('/') {
        let name = decode(segment)?;
        let mut parts = Path::new(&*name).components();
        match (parts.next(), parts.next()) {
            (Some(Component::Normal(part)), None)
                if part.to_str() == Some(&*name) && name.len() <= LONGEST_NAME =>
            {
                below.push(part);
            }
            _ => return None,
        }
    }
    (below.as_os_str().len() <= LONGEST_PATH).then_some((below, folder))
}

/// Returns the same path with a slash at its end. It has no host, so that it cannot lead to another one.
fn redirect_target(request: &Request<'_>) -> String {
    let mut target = format!("/{}/", request.path().trim_start_matches('/'));
    if let Some(query) = request.query() {
        target.push('?');
        for character in query.chars() {
            match character {
                // Accepted in a query, but not valid in a header.
                '"' => target.push_str("%22"),
                '<' => target.push_str("%3C"),
                '>' => target.push_str("%3E"),
                '\\' => target.push_str("%5C"),
                other => target.push(other),
            }
        }
    }
    target
}

/// Converts the failure to open a file to the answer for the client.
fn told(failure: Failure) -> Failure {
    use io::ErrorKind as Kind;
    match failure.check::<io::Error>().map(io::Error::kind) {
        Some(Kind::NotFound | Kind::NotADirectory | Kind::InvalidInput) => {
            StatusError::new(StatusCode::NOT_FOUND).into()
        }
        Some(Kind::PermissionDenied) => StatusError::new(StatusCode::FORBIDDEN).into(),
        _ if failure.check().is_some_and(lacks_descriptors) => {
            log::warn!("opening a file failed: {failure}");
            StatusError::new(StatusCode::SERVICE_UNAVAILABLE).into()
        }
        _ => failure,
    }
}

/// Returns whether opening may succeed later: the process or the system has no free descriptor.
fn lacks_descriptors(error: &io::Error) -> bool {
    #[cfg(unix)]
    return matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE));
    #[cfg(windows)]
    return error.raw_os_error() == Some(ERROR_TOO_MANY_OPEN_FILES);
    #[cfg(not(any(unix, windows)))]
    return false;
}

#[cfg(windows)]
const ERROR_TOO_MANY_OPEN_FILES: i32 = 4;

/// The folder cannot be read, so no request finds a file.
#[derive(Debug)]
struct RootUnreadable {
    root: PathBuf,
    error: io::Error,
}

impl RootUnreadable {
    /// Keeps the kind, which determines the answer, and an error that is not about the folder.
    fn of(root: &Path, error: io::Error) -> io::Error {
        match error.kind() {
            kind @ (io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::PermissionDenied) => {
                io::Error::new(kind, RootUnreadable { root: root.to_owned(), error })
            }
            _ => error,
        }
    }
}

impl fmt::Display for RootUnreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot serve files from {:?}: {}", self.root, self.error)
    }
}

impl Error for RootUnreadable {}

fn is_of_root(failure: &Failure) -> bool {
    let error = failure.check::<io::Error>().and_then(io::Error::get_ref);
    error.is_some_and(|error| error.is::<RootUnreadable>())
}

/// The result of looking up a path.
enum Found {
    /// A folder, requested without a slash.
    Folder,
    File(Opened),
}

struct Opened {
    file: File,
    path: PathBuf,
    length: u64,
    changed: Option<SystemTime>,
    opened: SystemTime,
    /// The complete content of a small file.
    content: Option<Vec<u8>>,
}

impl Found {
    fn look_up(root: &Path, below: &Path, folder: bool) -> io::Result<Found> {
        let root = root.canonicalize().map_err(|error| RootUnreadable::of(root, error))?;
        let inside = |path: &Path| -> io::Result<(PathBuf, Metadata)> {
            let path = path.canonicalize().map_err(leads_nowhere)?;
            if !path.starts_with(&root) {
                return Err(io::ErrorKind::NotFound.into());
            }
            let metadata = path.metadata()?;
            Ok((path, metadata))
        };
        let (mut path, mut metadata) = inside(&root.join(below))?;
        match (metadata.is_dir(), folder) {
            (true, false) => return Ok(Found::Folder),
            (true, true) => (path, metadata) = inside(&path.join("index.html"))?,
            (false, true) => return Err(io::ErrorKind::NotFound.into()),
            (false, false) => {}
        }
        // Checked before opening, because opening a pipe would wait for its writer.
        if !metadata.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut file = File::open(&path)?;
        let metadata = file.metadata()?;
        // The times of files use the system's clock, whatever the reactor's is.
        #[allow(clippy::disallowed_methods, reason = "the files that a simulation reads are real too")]
        let opened = SystemTime::now();
        let length = metadata.len();
        let content = if length <= PIECE { Some(read_exactly(&mut file, length)?) } else { None };
        Ok(Found::File(Opened { file, path, length, changed: metadata.modified().ok(), opened, content }))
    }
}

/// Converts the error of a path that is too long, or of a loop of links, to "not found".
fn leads_nowhere(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        #[cfg(unix)]
        Some(libc::ELOOP | libc::ENAMETOOLONG) => io::ErrorKind::NotFound.into(),
        _ => error,
    }
}

fn read_exactly(file: &mut File, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

impl Opened {
    fn response(self, conditions: &Conditions, handle: &Handle) -> Response {
        let changed = self.changed.map(date::seconds);
        let tag = self.tag();
        let verdict = conditions.judge(self.length, &tag, changed, date::seconds(self.opened));
        let kind = kinds::of(&self.path);
        let response = match verdict {
            Verdict::NotModified => Response::new(StatusCode::NOT_MODIFIED),
            Verdict::Changed => Response::from(StatusCode::PRECONDITION_FAILED),
            Verdict::OutOfRange => Response::from(StatusCode::RANGE_NOT_SATISFIABLE)
                .header(header::CONTENT_RANGE, format!("bytes */{}", self.length)),
            Verdict::Whole => {
                let part = Part { start: 0, length: self.length };
                self.part(part, handle).content_type(kind).header(header::ACCEPT_RANGES, "bytes")
            }
            Verdict::Part(part) => {
                let range = format!("bytes {}-{}/{}", part.start, part.start + part.length - 1, self.length);
                let response = self.part(part, handle).content_type(kind);
                response.status(StatusCode::PARTIAL_CONTENT).header(header::CONTENT_RANGE, range)
            }
        };
        let response = response.header(header::ETAG, tag);
        match changed {
            Some(changed) => response.header(header::LAST_MODIFIED, &date::format(changed)[..]),
            None => response,
        }
    }

    fn tag(&self) -> String {
        let since = self.changed.and_then(|changed| changed.duration_since(SystemTime::UNIX_EPOCH).ok());
        format!("\"{:x}-{:x}\"", since.map_or(0, |since| since.as_nanos()), self.length)
    }

    fn part(self, part: Part, handle: &Handle) -> Response {
        let Opened { file, content, .. } = self;
        if let Some(mut content) = content {
            // At most one piece, so the numbers fit.
            content.truncate((part.start + part.length) as usize);
            content.drain(..part.start as usize);
            return Response::from(content);
        }
        let handle = handle.clone();
        Response::sized(part.length, move |out| handle.clone().spawn(send(file, part, handle, out)))
    }
}

/// Sends a part of a file, piece by piece.
async fn send(mut file: File, part: Part, handle: Handle, out: BodyWriter) -> Result<(), Failure> {
    let (mut at, end) = (part.start, part.start + part.length);
    while at < end {
        let length = PIECE.min(end - at);
        let read = handle.defer_to_thread(move || {
            file.seek(SeekFrom::Start(at))?;
            let piece = read_exactly(&mut file, length)?;
            Ok((file, piece))
        });
        let piece;
        (file, piece) = read.await?;
        at += length;
        out.write_vec(piece);
        // Cancelled here when the client leaves.
        out.drained().await?;
    }
    Ok(())
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opened({}, {} bytes)", self.path.display(), self.length)
    }
}
