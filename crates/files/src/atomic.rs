//! Atomic writes: a temporary file beside the target, synced, then renamed over it.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Writes `path` by what `write` puts into the stream; on any error, or a kill at any moment, the old file stands.
///
/// # Errors
/// Whatever the file system or `write` fails with; the temporary file is removed then.
pub fn write_atomically(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder)?;
    let mut temporary = tempfile::Builder::new().prefix(".writing-").tempfile_in(folder)?;
    {
        let mut stream = BufWriter::with_capacity(1 << 20, temporary.as_file_mut());
        write(&mut stream)?;
        stream.flush()?;
    }
    temporary.as_file().sync_all()?;
    // A temporary file is private to its owner; the finished one gets the permissions that the user's mask allows.
    let permissions = {
        let sample = tempfile::Builder::new().prefix(".mode-").make_in(folder, |path| File::create_new(path))?;
        sample.as_file().metadata()?.permissions()
    };
    temporary.as_file().set_permissions(permissions)?;
    temporary.persist(path).map_err(|error| error.error)?;
    // The rename is durable only once its folder is; not every file system lets a folder be synced.
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
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
}
