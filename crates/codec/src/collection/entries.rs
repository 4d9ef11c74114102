//! The files of a folder or an archive, one after another.

use super::archive;
use crate::CodecError;
use crate::file::{MOST_FILE_BYTES, read_file};
use aquatint_files::Fingerprint;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

/// Takes the name and the bytes of a file.
pub type Take<'a> = dyn FnMut(String, &[u8]) -> Result<(), CodecError> + 'a;

/// An archive (`.tar`, `.tar.zst`), or a folder with all that it holds at any depth.
#[derive(Debug, Clone, Copy)]
pub struct Entries<'a> {
    /// The archive or the folder.
    pub path: &'a Path,
}

impl Entries<'_> {
    /// Hands over the files that are wanted, by their paths within it with `/` between folders, in the order of an archive
    /// and in no order of a folder.
    ///
    /// # Errors
    /// When something cannot be read, a file has more than 2²⁸ bytes, and what `take` fails with.
    pub fn each(&self, is_wanted: &dyn Fn(&str) -> bool, take: &mut Take<'_>) -> Result<(), CodecError> {
        if self.path.is_dir() { self.each_of_folder(is_wanted, take) } else { self.each_of_archive(is_wanted, take) }
    }

    /// What it holds, in a few words that change with it and not with its place: of a folder, the files that are wanted.
    /// `go_on` is called every so often.
    ///
    /// # Errors
    /// As [`Entries::each`], and when it is not to go on.
    pub fn fingerprint(
        &self,
        is_wanted: &dyn Fn(&str) -> bool,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<String, CodecError> {
        let mut fingerprint = Fingerprint::default();
        if self.path.is_dir() {
            let mut files = BTreeMap::new();
            self.each_of_folder(is_wanted, &mut |name, bytes| {
                let mut one = Fingerprint::default();
                one.part(bytes);
                files.insert(name, one.finish());
                if go_on() { Ok(()) } else { Err(CodecError::Stopped) }
            })?;
            for (name, content) in &files {
                fingerprint.part(name.as_bytes());
                fingerprint.part(&content.to_le_bytes());
            }
            return Ok(format!("{} files, {:016x}", files.len(), fingerprint.finish()));
        }
        let whole = fingerprint.file(self.path, &mut |_| go_on());
        match whole.map_err(|source| CodecError::io("read", self.path, source))? {
            true => Ok(format!("1 archive, {:016x}", fingerprint.finish())),
            false => Err(CodecError::Stopped),
        }
    }

    fn each_of_archive(&self, is_wanted: &dyn Fn(&str) -> bool, take: &mut Take<'_>) -> Result<(), CodecError> {
        let failed = |source| CodecError::io("read", self.path, of_content(source));
        let (unpacked, allowance) = archive::open(self.path).map_err(failed)?;
        let mut archive = tar::Archive::new(unpacked);
        for entry in archive.entries().map_err(failed)? {
            let mut entry = entry.map_err(failed)?;
            allowance.renew(&entry).map_err(failed)?;
            let name = entry.path().map_err(failed)?.to_string_lossy().trim_start_matches("./").to_owned();
            if !entry.header().entry_type().is_file() || !is_wanted(&name) {
                continue;
            }
            if entry.size() > MOST_FILE_BYTES {
                return Err(CodecError::LargeEntry { name, archive: self.path.to_path_buf(), most: MOST_FILE_BYTES });
            }
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(failed)?;
            take(name, &bytes)?;
        }
        Ok(())
    }

    fn each_of_folder(&self, is_wanted: &dyn Fn(&str) -> bool, take: &mut Take<'_>) -> Result<(), CodecError> {
        let mut open = vec![self.path.to_path_buf()];
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(&folder).map_err(|source| CodecError::io("read", &folder, source))? {
                let entry = entry.map_err(|source| CodecError::io("read", &folder, source))?;
                let (path, kind) = (entry.path(), entry.file_type());
                // Links are not followed: a circle would have no end.
                match kind.map_err(|source| CodecError::io("read", &path, source))? {
                    kind if kind.is_dir() => open.push(path),
                    kind if kind.is_file() => {
                        let name = path.strip_prefix(self.path).unwrap_or(&path);
                        let parts: Vec<_> = name.iter().map(|part| part.to_string_lossy()).collect();
                        let name = parts.join("/");
                        if is_wanted(&name) {
                            take(name, &read_file(&path)?)?;
                        }
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// What no system call answered is wrong with what the archive holds.
fn of_content(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::Other => io::Error::new(io::ErrorKind::InvalidData, error),
        _ => error,
    }
}
