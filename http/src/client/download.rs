//! Responses saved to files.

mod file;
mod resume;

use std::cell::{Cell, OnceCell, RefCell};
use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};

use ::http::header::RANGE;
use twistor_deferred::{Canceller, Deferred, Failure, Trigger, fail};
use twistor_reactor::Handle;

use super::errors::HttpError;
use super::fetch::Fetch;
use super::request::Request;
use super::sink::{BodySink, Ending, MOST_COLLECTED};
use crate::{LimitExceeded, LimitKind, ResponseHead, Url};
use file::{Growing, Target};
use resume::{Continued, Part};

/// Fetches a page to a file and returns its length in bytes. Twisted: `downloadPage`.
///
/// The body is written, as it arrives, to a temporary file beside `path`, which is renamed when it is
/// complete and stored. So `path` is always the old file or the complete new one, and after a failure still
/// the old one. Memory use does not depend on the size of the page. For more settings, use
/// [`Request::download_page`]. To continue after a failure, use [`Request::resume_download`].
///
/// The file has the server's bytes: no content coding is requested, and one that the server applies
/// nevertheless is left in place, unless [`Request::decode`] is set. A symbolic link is followed. The mode of
/// the old file is kept, and its owner where the system permits that.
///
/// The file is written in the reactor's thread, so a slow disk holds up the loop. The last step, which waits
/// until the disk has stored everything, runs in a thread of the [pool](Handle::defer_to_thread).
///
/// # Errors
///
/// Those of [`get_page`](super::get_page), and [`std::io::Error`] for errors of the file. A `path` that is a
/// folder, a device or a pipe is refused when the head of the response arrives, and left unchanged.
///
/// # Examples
///
/// ```no_run
/// use twistor::prelude::*;
///
/// let reactor = Reactor::new()?;
/// let bytes = reactor.run_until(download_page(&reactor, "http://example.org/", "example.html"))?;
/// println!("{bytes} bytes");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Cancel safety
///
/// Cancelling ends the transfer and closes its connection.
#[track_caller]
pub fn download_page(handle: &Handle, url: impl AsRef<str>, path: impl AsRef<Path>) -> Deferred<u64> {
    Request::get(url).download_page(handle, path, |_, _| ())
}

impl Request {
    /// Sends the request on a new connection, and saves the response like [`download_page`]. Calls `progress`
    /// after each written piece, with the current length of the file and its final length, if that is known.
    ///
    /// # Errors
    ///
    /// See [`download_page`].
    #[track_caller]
    pub fn download_page(
        mut self,
        handle: &Handle,
        path: impl AsRef<Path>,
        progress: impl FnMut(u64, Option<u64>) + 'static,
    ) -> Deferred<u64> {
        self.settings.decode.get_or_insert(false);
        save(handle, self, path.as_ref(), None, &SharedProgress::new(progress))
    }

    /// Downloads like [`download_page`](Request::download_page), but keeps the partial file if the download
    /// fails or is cancelled, and continues from there the next time. curl: `-C -`; Twisted:
    /// `downloadPage(supportPartial=True)`.
    ///
    /// The part is kept beside `path`, in a file whose name ends in `.part`. Another file, whose name ends in
    /// `.part.version`, holds the server's tag of that version. The rest is requested (`Range`, `If-Range`)
    /// only if the tag is a strong one. If the file has changed, the server sends all of it. `progress`
    /// counts the part.
    ///
    /// Only one program at a time may download to one `path` in this way. Bodies are never decoded.
    ///
    /// # Errors
    ///
    /// Those of [`download_page`], and [`io::Error`] if the request sets `Range` itself.
    #[track_caller]
    pub fn resume_download(
        mut self,
        handle: &Handle,
        path: impl AsRef<Path>,
        progress: impl FnMut(u64, Option<u64>) + 'static,
    ) -> Deferred<u64> {
        self.settings.decode = Some(false);
        let path = path.as_ref();
        let own_range = self.parts.as_ref().is_ok_and(|parts| parts.headers.contains_key(RANGE));
        let part = if own_range { Err(io::ErrorKind::InvalidInput.into()) } else { find_part(path) };
        let part = match part {
            Ok(part) => part,
            Err(error) => return fail(blame(path, error)),
        };
        let again = match &self.parts {
            Ok(parts) => Request { parts: Ok(parts.clone()), settings: self.settings.clone() },
            Err(_) => return save(handle, self, path, Some(part), &SharedProgress::new(progress)),
        };
        let progress = SharedProgress::new(progress);
        let request = part.ask(self);
        let first = save(handle, request, path, Some(part), &progress);
        let (handle, path) = (handle.clone(), path.to_owned());
        first.add_errback(move |failure| {
            if !failure.is::<UselessPart>() {
                return fail(failure);
            }
            match find_part(&path) {
                // Without its tag, the part is not continued.
                Ok(part) => save(&handle, again, &path, Some(part), &progress),
                Err(error) => fail(blame(&path, error)),
            }
        })
    }
}

fn find_part(path: &Path) -> io::Result<Part> {
    Part::find(&Target::find(path)?)
}

/// Creates the failure of an operation on a file, with its path.
#[track_caller]
fn blame(path: &Path, error: io::Error) -> Failure {
    Failure::from(error).context(path.display())
}

/// Sends a request and saves the response.
#[track_caller]
fn save(
    handle: &Handle,
    request: Request,
    path: &Path,
    part: Option<Part>,
    progress: &SharedProgress,
) -> Deferred<u64> {
    let saver = Rc::new(Saver {
        handle: handle.clone(),
        trigger: Cell::new(None),
        fetch: OnceCell::new(),
        path: path.to_owned(),
        part,
        answer: RefCell::new(Answer::None),
        finishing: RefCell::new(None),
        progress: progress.clone(),
        received: Cell::new(0),
        expected: Cell::new(None),
        due: Cell::new(None),
    });
    let cancelled = Rc::downgrade(&saver);
    let (deferred, trigger) = Deferred::with_canceller(move |_| {
        if let Some(saver) = cancelled.upgrade() {
            saver.cancel();
        }
    });
    saver.trigger.set(Some(trigger));
    if let Some(fetch) = Fetch::start(handle, None, request, saver.clone()) {
        let _ = saver.fetch.set(Rc::downgrade(&fetch));
        fetch.attempt(false);
    }
    deferred
}

type OnProgress = Box<dyn FnMut(u64, Option<u64>)>;

/// The caller's function, passed from one try to the next.
#[derive(Clone)]
struct SharedProgress(Rc<Cell<Option<OnProgress>>>);

impl SharedProgress {
    fn new(progress: impl FnMut(u64, Option<u64>) + 'static) -> SharedProgress {
        SharedProgress(Rc::new(Cell::new(Some(Box::new(progress)))))
    }

    fn report(&self, received: u64, expected: Option<u64>) {
        if let Some(mut progress) = self.0.take() {
            progress(received, expected);
            self.0.set(Some(progress));
        }
    }
}

/// The server's file is a different version from the part.
#[derive(Debug)]
struct UselessPart;

impl fmt::Display for UselessPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the partial file cannot be continued")
    }
}

impl Error for UselessPart {}

struct Saver {
    handle: Handle,
    trigger: Cell<Option<Trigger<u64>>>,
    fetch: OnceCell<Weak<Fetch>>,
    path: PathBuf,
    /// The part to continue, if there is one.
    part: Option<Part>,
    answer: RefCell<Answer>,
    finishing: RefCell<Option<Canceller>>,
    progress: SharedProgress,
    received: Cell<u64>,
    expected: Cell<Option<u64>>,
    /// The length of the complete file, of which the server may send a part.
    due: Cell<Option<u64>>,
}

enum Answer {
    None,
    Saved(Growing),
    /// The part is already complete.
    Complete(Growing),
    /// A status other than success, whose page must not be saved.
    Refused(Box<HttpError>),
}

impl Saver {
    fn cancel(&self) {
        if let Some(fetch) = self.fetch.get().and_then(Weak::upgrade) {
            fetch.abandon();
        }
        // Removes the temporary file.
        drop(self.answer.replace(Answer::None));
        if let Some(canceller) = self.finishing.take() {
            canceller.cancel();
        }
    }

    fn begin(&self, head: &ResponseHead<'_>) -> io::Result<Option<Answer>> {
        let target = Target::find(&self.path)?;
        let Some(part) = &self.part else {
            let is_success = head.status.is_success();
            return Ok(if is_success { Some(Answer::Saved(Growing::new(target)?)) } else { None });
        };
        Ok(match part.continued(target, head)? {
            Continued::Rest(growing, length) => {
                self.received.set(part.have());
                self.due.set(Some(length));
                Some(Answer::Saved(growing))
            }
            Continued::Anew(growing) => Some(Answer::Saved(growing)),
            Continued::Complete(growing) => {
                self.received.set(part.have());
                Some(Answer::Complete(growing))
            }
            Continued::Useless => return Err(io::Error::other(UselessPart)),
            Continued::Refused => None,
        })
    }

    /// Waits in a thread until the file is stored.
    fn finish(&self, growing: Growing, trigger: Trigger<u64>) {
        let (received, path) = (self.received.get(), self.path.clone());
        let tag = self.part.as_ref().map(Part::tag_path);
        let kept = self.handle.defer_to_thread(move || {
            growing
                .keep()
                .and_then(|()| tag.map_or(Ok(()), |tag| resume::forget(&tag)))
                .map_err(|error| blame(&path, error))?;
            Ok(received)
        });
        self.finishing.replace(Some(kept.canceller()));
        drop(kept.add_both(move |result| trigger.fire(result)));
    }
}

impl BodySink for Saver {
    fn head(self: Rc<Self>, head: &ResponseHead<'_>, _: Url) -> Result<(), Failure> {
        let begun = match self.begin(head) {
            Ok(begun) => begun,
            Err(error) if error.get_ref().is_some_and(|inner| inner.is::<UselessPart>()) => {
                return Err(UselessPart.into());
            }
            Err(error) => return Err(blame(&self.path, error)),
        };
        let answer = begun.unwrap_or_else(|| {
            Answer::Refused(Box::new(HttpError {
                status: head.status,
                reason: head.reason_phrase(),
                headers: head.headers.to_headers(),
                body: Vec::new(),
            }))
        });
        drop(self.answer.replace(answer));
        self.expected.set(head.length().map(|length| self.received.get() + length));
        Ok(())
    }

    fn data(&self, data: &[u8]) -> Result<(), Failure> {
        match &mut *self.answer.borrow_mut() {
            Answer::None | Answer::Complete(_) => return Ok(()),
            Answer::Refused(error) => {
                if (error.body.len() + data.len()) as u64 > MOST_COLLECTED {
                    return Err(LimitExceeded::new(LimitKind::BodySize, MOST_COLLECTED).into());
                }
                error.body.extend_from_slice(data);
                return Ok(());
            }
            Answer::Saved(growing) => growing.write(data).map_err(|error| blame(&self.path, error))?,
        }
        self.received.set(self.received.get() + data.len() as u64);
        self.progress.report(self.received.get(), self.expected.get());
        Ok(())
    }

    fn ended(&self, ending: Ending) {
        let Some(trigger) = self.trigger.take() else { return };
        let received = self.received.get();
        let ending = match (ending, self.due.get()) {
            (Ending::Complete, Some(due)) if due != received => {
                let cause = "the server sent only a part of the rest".to_owned();
                Ending::Cut { expected: Some(due), cause }
            }
            (ending, _) => ending,
        };
        let failed = match (ending, self.answer.replace(Answer::None)) {
            (Ending::Complete, Answer::Saved(growing)) => return self.finish(growing, trigger),
            (ending, Answer::Complete(growing)) if ending.is_of_the_body() => {
                return self.finish(growing, trigger);
            }
            (ending, Answer::Refused(error)) if ending.is_of_the_body() => Err((*error).into()),
            (ending, _) => ending.into_result(received, Vec::new()),
        };
        match failed {
            Err(failure) => trigger.errback(failure),
            Ok(()) => drop(trigger),
        }
    }
}
