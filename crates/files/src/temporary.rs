//! Temporary files of writes under way: locked by the process that writes them, so that another one can tell those of
//! a killed process from those that are still written.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tempfile::NamedTempFile;

/// What the names of temporary files begin with.
const PREFIX: &str = ".writing-";
/// How often a file is made anew that another process swept away between its making and its lock.
const ATTEMPTS: usize = 8;

/// What this process has to remove when it ends without unwinding.
static UNFINISHED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn unfinished() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    // A set of paths is whole whatever a panicking thread was doing.
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A path that [`discard_unfinished`] removes for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Unfinished(PathBuf);

impl Unfinished {
    pub(crate) fn new(path: &Path) -> Self {
        unfinished().insert(path.to_path_buf());
        Self(path.to_path_buf())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        unfinished().remove(&self.0);
    }
}

/// Removes the temporary files and the lock files of this process. For a process that ends at once, from whichever
/// thread: what is being written is not finished after this.
pub fn discard_unfinished() {
    for path in &*unfinished() {
        // Nothing more can be done about a file that cannot be removed.
        let _ = std::fs::remove_file(path);
    }
}

/// A temporary file under way. Dropped without [`Temporary::persist`], it is removed.
#[derive(Debug)]
pub(crate) struct Temporary {
    pub(crate) file: NamedTempFile,
    _unfinished: Unfinished,
}

impl Temporary {
    /// Renames the file to `path`.
    pub(crate) fn persist(self, path: &Path) -> io::Result<()> {
        self.file.persist(path).map(|_| ()).map_err(|error| error.error)
    }
}

/// A new temporary file in `folder`, locked where the file system has locks.
pub(crate) fn create(folder: &Path) -> io::Result<Temporary> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // What the user's mask leaves of it, as for every other file.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    for _ in 0..ATTEMPTS {
        let file = builder.tempfile_in(folder)?;
        let unfinished = Unfinished::new(file.path());
        let swept = match file.as_file().try_lock() {
            Err(TryLockError::WouldBlock) => true,
            // Where there are no locks, nobody sweeps.
            Err(TryLockError::Error(_)) => false,
            Ok(()) => !file.path().try_exists()?,
        };
        if !swept {
            return Ok(Temporary { file, _unfinished: unfinished });
        }
    }
    Err(io::Error::other("another process removes every temporary file"))
}

/// Removes the temporary files that killed processes left in `folder`, and returns how many there were. Files that a
/// process is writing are locked and stay.
///
/// # Errors
/// When the folder cannot be read; one that does not exist has nothing to remove.
pub fn sweep(folder: &Path) -> io::Result<usize> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut removed = 0;
    for entry in entries {
        let entry = entry?;
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if ours && entry.file_type()?.is_file() && is_abandoned(&entry.path()) {
            removed += usize::from(std::fs::remove_file(entry.path()).is_ok());
        }
    }
    Ok(removed)
}

/// Whether a temporary file is written by nobody. One that cannot be opened or locked may be somebody's.
fn is_abandoned(path: &Path) -> bool {
    File::options().read(true).write(true).open(path).is_ok_and(|file| file.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_a_killed_process_left_is_swept_and_what_is_written_stays() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        for name in [".writing-abandoned", ".writing-folder/inner", ".hidden", "writing-visible"] {
            std::fs::create_dir_all(place(name).parent().unwrap()).unwrap();
            std::fs::write(place(name), b"half").unwrap();
        }
        crate::write_atomically(&place("file"), |out| {
            assert_eq!(sweep(folder.path())?, 1);
            assert!(!place(".writing-abandoned").exists());
            out.write_all(b"whole")
        })
        .unwrap();
        assert_eq!(std::fs::read(place("file")).unwrap(), b"whole");
        assert_eq!(sweep(folder.path()).unwrap(), 0);
        for name in [".writing-folder/inner", ".hidden", "writing-visible"] {
            assert!(place(name).exists(), "{name} is none of ours");
        }
        assert_eq!(sweep(&place("nowhere")).unwrap(), 0);
    }

    #[test]
    fn a_path_is_discarded_only_while_it_is_unfinished() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let unfinished_path = Unfinished::new(&path);
        assert!(unfinished().contains(&path));
        drop(unfinished_path);
        assert!(!unfinished().contains(&path));
        let mut temporary = create(folder.path()).unwrap();
        temporary.file.write_all(b"text").unwrap();
        assert!(unfinished().contains(temporary.file.path()));
        temporary.persist(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"text");
        assert!(!unfinished().iter().any(|path| path.starts_with(folder.path())));
    }
}
