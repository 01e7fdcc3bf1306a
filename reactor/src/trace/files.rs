//! The views of a recording as files, and recordings that the environment requests.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::Recording;

/// The environment variable that names the folder for recordings.
const VARIABLE: &str = "TWISTOR_RECORD";
/// The maximum number of ladders that are written.
const LADDERS: usize = 40;

impl Recording {
    /// Writes all views to a folder, which is created if it does not exist: `page.html`, `timeline.svg`,
    /// `recording.txt`, `chrome.json`, and `ladder-1.svg` and so on for the first 40 Deferreds.
    ///
    /// # Errors
    ///
    /// If the folder or a file cannot be written.
    pub fn write_views(&self, folder: impl AsRef<Path>, title: &str) -> io::Result<()> {
        let folder = folder.as_ref();
        fs::create_dir_all(folder)?;
        fs::write(folder.join("page.html"), self.page(title))?;
        fs::write(folder.join("timeline.svg"), self.timeline())?;
        fs::write(folder.join("recording.txt"), format!("{self}\n"))?;
        fs::write(folder.join("chrome.json"), self.chrome_trace())?;
        for ladder in self.ladders().iter().take(LADDERS) {
            fs::write(folder.join(format!("ladder-{}.svg", ladder.id())), ladder.svg())?;
        }
        Ok(())
    }
}

/// A recording that the environment requested. Its views are written when it is dropped.
pub(crate) struct RecordedByEnvironment {
    recording: Recording,
    folder: PathBuf,
}

impl RecordedByEnvironment {
    /// The folder, if the environment names one.
    pub(crate) fn folder() -> Option<OsString> {
        std::env::var_os(VARIABLE).filter(|folder| !folder.is_empty())
    }

    pub(crate) fn new(recording: Recording, folder: OsString) -> RecordedByEnvironment {
        RecordedByEnvironment { recording, folder: folder.into() }
    }
}

impl Drop for RecordedByEnvironment {
    fn drop(&mut self) {
        self.recording.stop();
        // A program may have several reactors.
        let folder = (1_u32..).map(|number| match number {
            1 => self.folder.clone(),
            number => self.folder.join(format!("reactor-{number}")),
        });
        let Some(folder) = folder.into_iter().find(|folder| !folder.join("page.html").exists()) else {
            return;
        };
        let program = std::env::args().next().unwrap_or_default();
        let title = Path::new(&program).file_stem().unwrap_or_default().to_string_lossy();
        if let Err(error) = self.recording.write_views(&folder, &title) {
            log::error!("could not write the recording to {}: {error}", folder.display());
        }
    }
}
