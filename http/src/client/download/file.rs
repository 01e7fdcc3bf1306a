//! The files of a download: the target, and the temporary file that replaces it.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The longest file name, in bytes, on nearly all systems.
const LONGEST_NAME: usize = 255;

/// The number of links that are followed before a loop is assumed, as in Linux.
const MOST_LINKS: usize = 40;

/// The file that a download replaces or creates.
pub(super) struct Target {
    path: PathBuf,
    #[cfg_attr(not(unix), expect(dead_code, reason = "only Unix has a mode and an owner to keep"))]
    old: Option<Metadata>,
}

impl Target {
    /// Follows symbolic links. Refuses devices and pipes, because a new file would replace them.
    pub(super) fn find(path: &Path) -> io::Result<Target> {
        let mut path = path.to_owned();
        for _ in 0..MOST_LINKS {
            match fs::symlink_metadata(&path) {
                Ok(link) if link.is_symlink() => {
                    let to = fs::read_link(&path)?;
                    path.pop();
                    path.push(to);
                }
                Ok(old) if old.is_file() => return Ok(Target { path, old: Some(old) }),
                Ok(old) if old.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
                Ok(_) => return Err(not_regular()),
                Err(_) => return Ok(Target { path, old: None }),
            }
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, "too many symbolic links"))
    }

    /// Returns the path of a file in the same folder, which can be renamed without copying. A name that would
    /// be too long is cut and made unique by a hash.
    pub(super) fn sibling(&self, prefix: &str, ending: &str) -> io::Result<PathBuf> {
        let name = self.path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let room = LONGEST_NAME - prefix.len() - ending.len();
        let mut sibling = std::ffi::OsString::from(prefix);
        if name.len() <= room {
            sibling.push(name);
        } else {
            let hash = format!("~{:016x}", hash(name.as_encoded_bytes()));
            let name = name.to_string_lossy();
            let mut end = (room - hash.len()).min(name.len());
            while !name.is_char_boundary(end) {
                end -= 1;
            }
            sibling.push(&name[..end]);
            sibling.push(hash);
        }
        sibling.push(ending);
        Ok(self.path.with_file_name(sibling))
    }

    /// Creates a file that will replace the target, with the permissions of the old file from the start.
    fn create(&self, path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        if self.old.is_some() {
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        }
        let file = options.open(path)?;
        self.permit(&file)?;
        Ok(file)
    }

    /// Gives a file the mode of the old one, and its owner where the system permits that.
    #[cfg(unix)]
    fn permit(&self, file: &File) -> io::Result<()> {
        use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
        let Some(old) = &self.old else { return Ok(()) };
        let new = file.metadata()?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            // Only the superuser may change the owner.
            let _ = fchown(file, Some(old.uid()), Some(old.gid()));
        }
        file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o777))
    }

    #[cfg(not(unix))]
    fn permit(&self, _: &File) -> io::Result<()> {
        Ok(())
    }
}

fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "the target exists and is not a regular file")
}

/// Hashes with FNV-1a.
fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The file being written, until it is renamed to the target.
pub(super) struct Growing {
    target: Target,
    path: PathBuf,
    file: Option<File>,
    /// Whether the file is kept for the next try if the download fails.
    stays: bool,
}

impl Growing {
    /// Creates a file with a new name. Files left by killed processes are not touched, and not in the way.
    pub(super) fn new(target: Target) -> io::Result<Growing> {
        let mut number = 0u64;
        loop {
            let path = target.sibling(".", &format!(".{}-{number}.part", std::process::id()))?;
            match target.create(&path) {
                Ok(file) => return Ok(Growing { target, path, file: Some(file), stays: false }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            // Leftovers are numbered from 1, so doubling skips them in few steps.
            number = (number * 2).max(number + 1);
        }
    }

    /// Opens the file of an earlier try, to continue it or to start again.
    pub(super) fn resumed(target: Target, path: PathBuf, continued: bool) -> io::Result<Growing> {
        let file = match OpenOptions::new().append(true).open(&path) {
            Ok(file) if !file.metadata()?.is_file() => return Err(not_regular()),
            Ok(file) => {
                if !continued {
                    file.set_len(0)?;
                }
                target.permit(&file)?;
                file
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !continued => target.create(&path)?,
            Err(error) => return Err(error),
        };
        Ok(Growing { target, path, file: Some(file), stays: true })
    }

    pub(super) fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(data))
    }

    /// Renames the file to the target once everything is stored. May take long.
    pub(super) fn keep(mut self) -> io::Result<()> {
        if let Some(file) = self.file.take() {
            // Reports errors that closing would report, and no write has.
            file.sync_all()?;
        }
        // Closed first, because some systems do not rename open files.
        fs::rename(&self.path, &self.target.path)?;
        self.stays = true;
        Ok(())
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        drop(self.file.take());
        if !self.stays {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    // H8.3: a pipe cannot be synchronized
    #[test]
    fn an_error_of_sync_keeps_the_old_file() {
        let folder = std::env::temp_dir().join(format!("twistor-sync-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        let path = folder.join("page");
        fs::write(&path, "old").unwrap();
        let mut growing = Growing::new(Target::find(&path).unwrap()).unwrap();
        growing.file = Some(OpenOptions::new().write(true).open("/dev/null").unwrap());
        growing.write(b"new").unwrap();
        growing.keep().unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }
}
