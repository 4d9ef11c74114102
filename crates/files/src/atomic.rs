//! Atomic writes: a temporary file beside the target, synced, then renamed over it. Nothing may take the place of what is no
//! ordinary file (a pipe, a terminal, a descriptor of a process, whatever stands behind it): it is written to directly, from
//! beginning to end.

use crate::temporary::{self, Temporary};
use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Writes `path` by what `write` puts into the stream; on any error, or a kill at any moment, the old file stands. What a
/// killed process leaves is removed by [`sweep`](crate::sweep).
///
/// # Errors
/// Whatever the file system or `write` fails with; the temporary file is removed then.
pub fn write_atomically(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    std::fs::create_dir_all(folder_of(path))?;
    let mut file = AtomicFile::create(path)?;
    write(&mut file)?;
    file.finish()
}

/// A file that is written little by little, in any order, and appears whole under its name when it is finished. Dropped
/// before, it leaves nothing. What is no ordinary file is written in order alone, and keeps what was written.
#[derive(Debug)]
pub struct AtomicFile {
    stream: BufWriter<File>,
    /// What takes the place of `path`; `None` where that is no ordinary file.
    temporary: Option<Temporary>,
    path: PathBuf,
}

impl AtomicFile {
    /// Begins to write `path`, whose folder has to exist.
    ///
    /// # Errors
    /// When nothing can be written there.
    pub fn create(path: &Path) -> io::Result<Self> {
        let (file, temporary) = if is_special(path) {
            // Behind a descriptor an ordinary file may stand, of which others have written the beginning.
            (File::options().append(true).open(path)?, None)
        } else {
            let temporary = temporary::create(folder_of(path))?;
            (temporary.file.as_file().try_clone()?, Some(temporary))
        };
        Ok(Self { stream: BufWriter::with_capacity(1 << 20, file), temporary, path: path.to_path_buf() })
    }

    /// Puts the file under its name.
    ///
    /// # Errors
    /// Whatever the file system fails with; the old file stands then.
    pub fn finish(mut self) -> io::Result<()> {
        self.stream.flush()?;
        let Some(temporary) = self.temporary else { return Ok(()) };
        temporary.file.as_file().sync_all()?;
        temporary.persist(&self.path)?;
        // The rename is durable only once its folder is; not every file system lets a folder be synced.
        if let Ok(folder) = File::open(folder_of(&self.path)) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        match self.temporary {
            Some(_) => self.stream.seek(position),
            // A descriptor that appends would take it for done.
            None => Err(io::Error::from(io::ErrorKind::NotSeekable)),
        }
    }
}

/// Whether there is something that is no ordinary file: a pipe, a terminal, or a descriptor of a process, such as
/// `/dev/stdout`, whatever stands behind it. A folder is none of these.
pub fn is_special(path: &Path) -> bool {
    let is_descriptor = |path: &Path| match path.parent() {
        Some(folder) => folder == Path::new("/dev/fd") || folder.starts_with("/proc") && folder.ends_with("fd"),
        None => false,
    };
    let mut place = path.to_path_buf();
    // As many links as Linux follows.
    for _ in 0..40 {
        if is_descriptor(&place) {
            return place.exists();
        }
        let Ok(target) = std::fs::read_link(&place) else { break };
        place = folder_of(&place).join(target);
    }
    std::fs::metadata(path).is_ok_and(|about| !about.is_file() && !about.is_dir())
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_litter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write_atomically(&path, |out| out.write_all(b"old")).unwrap();
        let failed = write_atomically(&path, |out| {
            out.write_all(b"new but only ha")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        });
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn folders_are_made_and_files_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/file");
        for content in [b"one".as_slice(), b"two"] {
            write_atomically(&path, |out| out.write_all(content)).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), content);
        }
    }

    /// Standard output is one, also where it goes to an ordinary file, as in `program > file`.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_descriptor_is_written_to_and_stays() {
        use std::os::fd::AsRawFd;
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        let mut open = File::create(&target).unwrap();
        open.write_all(b"first, ").unwrap();
        std::os::unix::fs::symlink(format!("/proc/self/fd/{}", open.as_raw_fd()), &link).unwrap();
        assert!(is_special(&link) && !is_special(&target) && !is_special(&folder.path().join("nothing")));
        write_atomically(&link, |out| out.write_all(b"second")).unwrap();
        assert!(link.is_symlink());
        assert_eq!(std::fs::read(&target).unwrap(), b"first, second");
        // It is written from beginning to end.
        let sought = write_atomically(&link, |_| Ok(())).and_then(|()| AtomicFile::create(&link)?.rewind());
        assert_eq!(sought.unwrap_err().kind(), io::ErrorKind::NotSeekable);
        // Other links of a process lead to files and folders like any others.
        let elsewhere = Path::new("/proc/self/root").join(target.strip_prefix("/").unwrap());
        assert!(!is_special(&elsewhere) && !is_special(Path::new("/proc/self/cwd")));
        write_atomically(&elsewhere, |out| out.write_all(b"third")).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"third");
    }

    /// A device is written to; a file in its place would be what everybody else finds there.
    #[cfg(unix)]
    #[test]
    fn what_is_no_ordinary_file_stays_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nothing");
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        write_atomically(&path, |out| out.write_all(b"lost")).unwrap();
        assert_eq!(std::fs::read_link(&path).unwrap(), Path::new("/dev/null"));
        assert_eq!(std::fs::read(&path).unwrap(), b"");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write_atomically(folder.path(), |_| Ok(())).is_err(), "a folder is no file");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_has_the_permissions_that_any_new_file_has() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (usual, atomic) = (folder.path().join("usual"), folder.path().join("atomic"));
        std::fs::write(&usual, b"").unwrap();
        write_atomically(&atomic, |_| Ok(())).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&atomic), mode(&usual));
    }
}
