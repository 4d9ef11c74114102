//! Collections of samples: archives (`.tar`, `.tar.zst`) and folders, with what a table in them says of each.
//!
//! A table (`pictures.tsv`, `sounds.tsv`) has a line of names of its columns; `file` names the samples, `concept` what a
//! picture shows, `words` what a sound says. Samples of one concept belong together: they are all learned, or all held
//! out.

mod archive;
mod entries;

pub use entries::{Entries, Take};

use crate::{CodecError, FileNames, Medium};
use aquatint_files::Fingerprint;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Samples of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named<S> {
    /// Their path in the collection.
    pub name: String,
    /// What they show or say: what the table says, else the name without an extension.
    pub concept: String,
    /// The samples, in the form of a codec.
    pub samples: S,
}

/// A collection, and which of its samples are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    /// An archive, or a folder that holds files at any depth.
    pub path: PathBuf,
    /// The folders in it whose files are wanted; all where none is named.
    pub folders: Vec<String>,
    /// How the files are called.
    pub files: FileNames,
}

impl Collection {
    /// All wanted samples of a medium in the order of their names, in the form of its codec. `progress` receives the number
    /// so far and returns whether to go on.
    ///
    /// # Errors
    /// When the collection cannot be read, a file is damaged or too large, there are none, or it is not to go on.
    pub fn read<M: Medium>(
        &self,
        medium: &M,
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Vec<Named<M::Samples>>, CodecError> {
        let mut all = BTreeMap::new();
        let mut concepts = BTreeMap::new();
        let mut take = |name: String, bytes: &[u8]| {
            if name == self.files.table {
                concepts = read_table(&String::from_utf8_lossy(bytes), self.files.concept);
                return Ok(());
            }
            let samples = medium.read(&name, bytes)?;
            all.insert(name, samples);
            if progress(all.len()) { Ok(()) } else { Err(CodecError::Stopped) }
        };
        self.entries().each(&|name| self.is_wanted(name), &mut take)?;
        if all.is_empty() {
            return Err(self.has_nothing(M::KIND));
        }
        let named = all.into_iter().map(|(name, samples)| {
            let stem = || Path::new(&name).file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let concept = concepts.get(&name).cloned().unwrap_or_else(stem);
            Named { name, concept, samples }
        });
        Ok(named.collect())
    }

    /// That nothing of this kind is wanted of it.
    pub fn has_nothing(&self, kind: &'static str) -> CodecError {
        CodecError::NoSamples { path: self.path.clone(), folders: self.folders.clone(), kind }
    }

    /// What the collection holds, in a few words that change with it and not with its place. `go_on` is called every so
    /// often.
    ///
    /// # Errors
    /// When it cannot be read, or it is not to go on.
    pub fn fingerprint(&self, go_on: &mut dyn FnMut() -> bool) -> Result<String, CodecError> {
        self.entries().fingerprint(&|name| self.is_wanted(name), go_on)
    }

    fn entries(&self) -> Entries<'_> {
        Entries { path: &self.path }
    }

    fn is_wanted(&self, name: &str) -> bool {
        let extension = Path::new(name).extension().unwrap_or_default().to_string_lossy().to_lowercase();
        let inside = |folder: &String| name.strip_prefix(folder.as_str()).is_some_and(|rest| rest.starts_with('/'));
        name == self.files.table
            || self.files.extensions.contains(&extension.as_str())
                && (self.folders.is_empty() || self.folders.iter().any(inside))
    }
}

/// The concept of each file of a table, from the column of this name; rows without one are left out.
fn read_table(text: &str, of: &str) -> BTreeMap<String, String> {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    let column = |name: &str| names.iter().position(|known| *known == name);
    let (Some(file), Some(concept)) = (column("file"), column(of)) else { return BTreeMap::new() };
    let row = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let concept = fields.get(concept).filter(|concept| !concept.is_empty())?;
        Some(((*fields.get(file)?).to_owned(), (*concept).to_owned()))
    };
    lines.filter_map(row).collect()
}

/// Whether samples of a concept are held out, for a share of all concepts: a function of seed and concept alone.
pub fn is_held_out(concept: &str, share: f64, seed: u64) -> bool {
    let mut fingerprint = Fingerprint::default();
    fingerprint.part(&seed.to_le_bytes());
    fingerprint.part(concept.as_bytes());
    // The upper 53 bits are a number in [0, 1).
    ((fingerprint.finish() >> 11) as f64) < share * (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_by_the_names_of_its_columns() {
        let table =
            read_table("id\tconcept\tfile\n1\tcat\ta/1.png\n2\t\ta/2.png\n3\tdog\n4\tfox\tb/4.png\textra\n", "concept");
        let expected = [("a/1.png", "cat"), ("b/4.png", "fox")].map(|(file, of)| (file.to_owned(), of.to_owned()));
        assert_eq!(table, BTreeMap::from(expected));
        assert_eq!(read_table("id\tfile\n1\ta.png", "concept"), BTreeMap::new());
        assert_eq!(read_table("", "concept"), BTreeMap::new());
    }

    #[test]
    fn about_the_share_is_held_out_and_always_the_same() {
        let concepts: Vec<String> = (0..2000).map(|number| format!("concept {number}")).collect();
        let out = |seed| concepts.iter().filter(|concept| is_held_out(concept, 0.1, seed)).collect::<Vec<_>>();
        assert!((150..250).contains(&out(0).len()), "{}", out(0).len());
        assert_eq!(out(0), out(0));
        assert_ne!(out(0), out(1));
        assert!(concepts.iter().all(|concept| !is_held_out(concept, 0.0, 0) && is_held_out(concept, 1.0, 0)));
    }
}
