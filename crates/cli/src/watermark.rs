//! Key files of watermarks.

use crate::failure::Failure;
use aquatint::provenance::{KeyError, WatermarkKey};
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Reads a key.
pub(crate) fn read(path: &Path) -> Result<WatermarkKey, Failure> {
    let bytes = std::fs::read(path).map_err(|error| Failure::of_file("read", path, &error))?;
    // What is no text is damaged, as what is no JSON is.
    WatermarkKey::from_json(&String::from_utf8_lossy(&bytes)).map_err(|error| refused(path, &error))
}

/// Writes a key to a new file that only its owner can read.
pub(crate) fn write(path: &Path, key: &WatermarkKey) -> Result<(), Failure> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::new(format!("`{}` is there already", path.display()))
            .hint("choose another name: texts that were marked by a key need it to be found again"),
        _ => Failure::of_file("write", path, &error),
    })?;
    file.write_all(key.to_json().as_bytes()).map_err(|error| {
        // Half a key would be in the place of the next try. What cannot be removed was reported already.
        let _ = std::fs::remove_file(path);
        Failure::of_file("write", path, &error)
    })
}

fn refused(path: &Path, error: &KeyError) -> Failure {
    Failure::new(format!("`{}`: {error}", path.display())).maybe_hint(error.hint())
}
