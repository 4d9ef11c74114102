//! A file that one process holds at a time.
//!
//! The lock is the operating system's, which ends with the process, however it ends. What stands in the file is for
//! people: who holds it. So a file that a killed process left behind is no lock.

use crate::temporary::Unfinished;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// How often a lock file is opened anew that its last holder removed meanwhile.
const ATTEMPTS: usize = 8;

/// A lock, held until it is dropped, which removes the file.
#[derive(Debug)]
pub struct LockFile {
    path: PathBuf,
    /// Locked; closing it ends the lock.
    _file: File,
    _unfinished: Unfinished,
}

/// Why a lock was not obtained.
#[derive(Debug)]
pub enum LockError {
    /// Another process, or another part of this one, holds it.
    Held {
        /// What that one wrote into the file; empty where it cannot be read.
        holder: String,
    },
    /// The file system has no locks.
    Unsupported(io::Error),
    /// The file cannot be made.
    Io(io::Error),
}

impl LockFile {
    /// Locks the file `path`, which is made where it is missing, and writes `holder` into it: something that no other
    /// process writes. Returns at once.
    ///
    /// # Errors
    /// When somebody else holds it, the file system has no locks, or the file cannot be made.
    pub fn acquire(path: &Path, holder: &str) -> Result<Self, LockError> {
        for _ in 0..ATTEMPTS {
            let mut file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)
                .map_err(LockError::Io)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::Error(error)) => return Err(LockError::Unsupported(error)),
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    // Where a locked file cannot be read, nobody is named.
                    let _ = file.read_to_string(&mut holder);
                    return Err(LockError::Held { holder: holder.trim().to_owned() });
                }
            }
            let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(holder.as_bytes()));
            written.map_err(LockError::Io)?;
            // Its last holder may have removed the file between its opening and its lock: then this is another file.
            if std::fs::read_to_string(path).is_ok_and(|there| there == holder) {
                let unfinished = Unfinished::new(path);
                return Ok(Self { path: path.to_path_buf(), _file: file, _unfinished: unfinished });
            }
        }
        Err(LockError::Io(io::Error::other("another process removes the file again and again")))
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // Removed while it is locked, so that nobody else holds the file that goes.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_the_lock_and_the_next_one_gets_it_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = LockFile::acquire(&path, "process 1\n").unwrap();
        match LockFile::acquire(&path, "process 2\n") {
            Err(LockError::Held { holder }) => assert_eq!(holder, "process 1"),
            other => panic!("{other:?}"),
        }
        drop(first);
        assert!(!path.exists());
        // What a killed process left is a file, but no lock.
        std::fs::write(&path, "process 3, which was killed, and said more about itself\n").unwrap();
        let next = LockFile::acquire(&path, "process 4\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "process 4\n");
        drop(next);
    }

    #[test]
    fn a_lock_is_never_held_twice_while_it_comes_and_goes() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let (held, obtained) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (path, held, obtained) = (&path, &held, &obtained);
                scope.spawn(move || {
                    for turn in 0..200 {
                        if let Ok(lock) = LockFile::acquire(path, &format!("{thread} {turn}")) {
                            assert_eq!(held.fetch_add(1, Ordering::SeqCst), 0);
                            obtained.fetch_add(1, Ordering::SeqCst);
                            held.fetch_sub(1, Ordering::SeqCst);
                            drop(lock);
                        }
                    }
                });
            }
        });
        assert!(obtained.into_inner() > 0);
    }

    #[test]
    fn a_folder_that_is_not_there_is_no_lock_of_somebody_else() {
        let folder = tempfile::tempdir().unwrap();
        let error = LockFile::acquire(&folder.path().join("nowhere/lock"), "me").unwrap_err();
        assert!(matches!(error, LockError::Io(error) if error.kind() == io::ErrorKind::NotFound));
    }
}
