//! A response saved to a file.

use std::cell::{Cell, OnceCell, RefCell};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};

use twistor_deferred::{Deferred, Failure, Trigger};
use twistor_reactor::Handle;

use super::destination::{Destination, Ending};
use super::errors::HttpError;
use super::fetch::Fetch;
use super::request::Request;
use crate::http::{Headers, ResponseHead, Url};

/// Fetches a page into a file, and tells how many bytes it has. Twisted: `downloadPage`.
///
/// The body is written, as it comes, to a temporary file beside `path`, which takes that name when it is whole. So
/// `path` is the old file or the whole new one at any time, and after a failure still the old one; the memory taken
/// does not grow with the page. [`Request::download_page`] is the long form.
///
/// Files are written from the reactor's thread; a slow disk holds up the loop.
///
/// # Errors
///
/// Those of [`get_page`](super::get_page), and [`std::io::Error`] for what goes wrong with the file. A `path` that is a
/// folder, a device or a pipe is refused, when the head of the response is there, and left as it is.
///
/// # Examples
///
/// ```no_run
/// use twistor_net::http::download_page;
/// use twistor_reactor::Reactor;
///
/// let reactor = Reactor::new()?;
/// let bytes = reactor.run_until(download_page(&reactor, "http://example.org/", "example.html"))?;
/// println!("{bytes} bytes");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn download_page(handle: &Handle, url: impl AsRef<str>, path: impl AsRef<Path>) -> Deferred<u64> {
    Request::get(url).download_page(handle, path, |_, _| ())
}

impl Request {
    /// Sends the request over a connection of its own, and saves the response as [`download_page`] does. `progress` is
    /// told, whenever a piece has been written, how many bytes there are, and how many there will be where the server
    /// has said.
    ///
    /// # Errors
    ///
    /// See [`download_page`].
    #[track_caller]
    pub fn download_page(
        self,
        handle: &Handle,
        path: impl AsRef<Path>,
        progress: impl FnMut(u64, Option<u64>) + 'static,
    ) -> Deferred<u64> {
        fetch(handle, self, path.as_ref(), Box::new(progress))
    }
}

/// Sends a request and saves the response.
#[track_caller]
fn fetch(handle: &Handle, request: Request, path: &Path, progress: Progress) -> Deferred<u64> {
    let saver = Rc::new(Saver {
        trigger: Cell::new(None),
        fetch: OnceCell::new(),
        path: path.to_owned(),
        answer: RefCell::new(Answer::None),
        progress: Cell::new(Some(progress)),
        received: Cell::new(0),
        expected: Cell::new(None),
    });
    let cancelled = Rc::downgrade(&saver);
    let (deferred, trigger) = Deferred::with_canceller(move |_| {
        if let Some(saver) = cancelled.upgrade() {
            if let Some(fetch) = saver.fetch.get().and_then(Weak::upgrade) {
                fetch.abandon();
            }
            // The temporary file goes with it.
            drop(saver.answer.replace(Answer::None));
        }
    });
    saver.trigger.set(Some(trigger));
    if let Some(fetch) = Fetch::start(handle, None, request, saver.clone()) {
        let _ = saver.fetch.set(Rc::downgrade(&fetch));
        fetch.attempt(false);
    }
    deferred
}

/// Told how many bytes came, of how many where that is known.
type Progress = Box<dyn FnMut(u64, Option<u64>)>;

struct Saver {
    trigger: Cell<Option<Trigger<u64>>>,
    fetch: OnceCell<Weak<Fetch>>,
    path: PathBuf,
    answer: RefCell<Answer>,
    progress: Cell<Option<Progress>>,
    received: Cell<u64>,
    expected: Cell<Option<u64>>,
}

enum Answer {
    None,
    Saved(Temporary),
    /// A failed status: its page is not what was wanted.
    Refused(Box<HttpError>),
}

impl Saver {
    /// What went wrong with the file, and with which.
    #[track_caller]
    fn blame(&self, error: io::Error) -> Failure {
        Failure::from(error).context(self.path.display())
    }

    fn tell(&self) {
        if let Some(mut progress) = self.progress.take() {
            progress(self.received.get(), self.expected.get());
            self.progress.set(Some(progress));
        }
    }
}

impl Destination for Saver {
    fn head(self: Rc<Self>, head: &ResponseHead<'_>, _: Url) -> Result<(), Failure> {
        let answer = if head.status.is_success() {
            Answer::Saved(Temporary::beside(&self.path).map_err(|error| self.blame(error))?)
        } else {
            let headers: Headers = head.headers.to_headers();
            Answer::Refused(Box::new(HttpError {
                status: head.status,
                reason: head.words(),
                headers,
                body: Vec::new(),
            }))
        };
        drop(self.answer.replace(answer));
        self.expected.set(head.length());
        Ok(())
    }

    fn data(&self, data: &[u8]) -> Result<(), Failure> {
        match &mut *self.answer.borrow_mut() {
            Answer::None => return Ok(()),
            Answer::Refused(error) => {
                error.body.extend_from_slice(data);
                return Ok(());
            }
            Answer::Saved(temporary) => temporary.write(data).map_err(|error| self.blame(error))?,
        }
        self.received.set(self.received.get() + data.len() as u64);
        self.tell();
        Ok(())
    }

    fn ended(&self, ending: Ending) {
        let Some(trigger) = self.trigger.take() else { return };
        let received = self.received.get();
        let answer = self.answer.replace(Answer::None);
        let result: Result<u64, Failure> = match (ending, answer) {
            (ending, Answer::Refused(error)) if ending.is_of_the_body() => Err((*error).into()),
            (Ending::Complete, Answer::Saved(temporary)) => {
                temporary.keep(&self.path).map(|()| received).map_err(|error| self.blame(error))
            }
            (ending, _) => match ending.into_result(received, Vec::new()) {
                Err(failure) => Err(failure),
                Ok(()) => return drop(trigger),
            },
        };
        trigger.fire(result);
    }
}

/// A file that is removed again, unless it is kept.
struct Temporary {
    path: PathBuf,
    file: Option<File>,
}

impl Temporary {
    /// A new file in the same folder, so that it can take the name without being copied.
    fn beside(target: &Path) -> io::Result<Temporary> {
        // The new file would take the place of a device, too, and of a pipe that somebody reads.
        match fs::metadata(target) {
            Ok(there) if there.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(there) if !there.is_file() => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is there, and no regular file"));
            }
            _ => {}
        }
        let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        for attempt in 0..1000u32 {
            let mut temporary = std::ffi::OsString::from(".");
            temporary.push(name);
            temporary.push(format!(".{}-{attempt}.part", std::process::id()));
            let path = target.with_file_name(temporary);
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok(Temporary { path, file: Some(file) }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(data))
    }

    fn keep(mut self, target: &Path) -> io::Result<()> {
        // Closed first, since some systems rename no open file.
        drop(self.file.take());
        fs::rename(&self.path, target)?;
        self.path = PathBuf::new();
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            drop(self.file.take());
            let _ = fs::remove_file(&self.path);
        }
    }
}
