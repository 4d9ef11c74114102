//! The files that a command writes: begun before its work, so that what cannot be written is refused then, and whole before one
//! of them gets its name.

use crate::failure::Failure;
use aquatint_files::AtomicFile;
use std::io::Write;
use std::path::{Path, PathBuf};

/// A file that is begun, and what it will be called.
pub(crate) type BegunFile = (PathBuf, AtomicFile);

/// Begins a file, whose folder has to exist.
pub(crate) fn begin(path: PathBuf) -> Result<BegunFile, Failure> {
    let file = AtomicFile::create(&path).map_err(|error| Failure::of_file("write", &path, &error))?;
    Ok((path, file))
}

/// Refuses two files of one name, each with the flag that asks for it.
pub(crate) fn check_distinct(files: &[(&str, Option<&Path>)]) -> Result<(), Failure> {
    let places: Vec<(&str, PathBuf)> =
        files.iter().filter_map(|(flag, path)| Some((*flag, place_of((*path)?)))).collect();
    for (index, (flag, place)) in places.iter().enumerate() {
        if let Some((other, _)) = places[..index].iter().find(|(_, earlier)| earlier == place) {
            return Err(Failure::new(format!("{other} and {flag} are both {}; allowed: two files", place.display())));
        }
    }
    Ok(())
}

/// Where a file stands, by the one name of its folder, where that exists.
fn place_of(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (folder.canonicalize(), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_path_buf(),
    }
}

/// Files that are written and have no name yet: all are there before one gets its name.
#[derive(Debug, Default)]
pub(crate) struct WrittenFiles(Vec<BegunFile>);

impl WrittenFiles {
    /// Writes one whole.
    pub(crate) fn add(&mut self, (path, mut file): BegunFile, bytes: &[u8]) -> Result<(), Failure> {
        file.write_all(bytes).map_err(|error| Failure::of_file("write", &path, &error))?;
        self.0.push((path, file));
        Ok(())
    }

    /// Gives them their names.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        let finish = |(path, file): BegunFile| file.finish().map_err(|error| Failure::of_file("write", &path, &error));
        self.0.into_iter().try_for_each(finish)
    }
}

/// What a measurement writes: its rows as JSON lines (`--out`), and a page of its figures (`--report`).
pub(crate) struct ReportFiles {
    out: Option<BegunFile>,
    report: Option<BegunFile>,
}

impl ReportFiles {
    /// Begins them; their folders are made.
    pub(crate) fn begin(out: Option<&Path>, report: Option<&Path>) -> Result<Self, Failure> {
        check_distinct(&[("--out", out), ("--report", report)])?;
        let begun = |path: &Path| {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(|error| Failure::of_file("write", path, &error))?;
            }
            begin(path.to_path_buf())
        };
        Ok(Self { out: out.map(begun).transpose()?, report: report.map(begun).transpose()? })
    }

    /// Writes those that are asked for.
    pub(crate) fn write(
        self,
        lines: impl FnOnce() -> Result<String, Failure>,
        page: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        let mut written = WrittenFiles::default();
        if let Some(out) = self.out {
            written.add(out, lines()?.as_bytes())?;
        }
        if let Some(report) = self.report {
            written.add(report, page().as_bytes())?;
        }
        written.finish()
    }
}
