//! Collections of pictures: archives (`.tar`, `.tar.zst`) and folders, with what a table in them says of each.
//!
//! A table (`pictures.tsv`) has a line of names of its columns; `file` names the picture, `concept` what it shows. Pictures
//! of one concept belong together: they are all learned, or all held out.

mod archive;
mod entries;

pub use entries::{Entries, Take};

use crate::{CodecError, Picture};
use aquatint_files::Fingerprint;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The name of the table.
const TABLE: &str = "pictures.tsv";
/// Extensions of pictures.
const EXTENSIONS: [&str; 4] = ["png", "jpg", "jpeg", "webp"];

/// A picture of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPicture {
    /// Its path in the collection.
    pub name: String,
    /// What it shows: the table's concept, else its name without an extension.
    pub concept: String,
    /// The picture, fitted.
    pub picture: Picture,
}

/// A collection, and which of its pictures are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    /// An archive, or a folder that holds pictures at any depth.
    pub path: PathBuf,
    /// The folders in it whose pictures are wanted; all where none is named.
    pub folders: Vec<String>,
}

impl Collection {
    /// All wanted pictures in the order of their names, fitted into squares of `size` pixels. `progress` receives the
    /// number so far and returns whether to go on.
    ///
    /// # Errors
    /// When the collection cannot be read, a picture is damaged or too large, there are none, or it is not to go on.
    pub fn read(&self, size: usize, progress: &mut dyn FnMut(usize) -> bool) -> Result<Vec<NamedPicture>, CodecError> {
        let mut pictures = BTreeMap::new();
        let mut concepts = BTreeMap::new();
        let mut take = |name: String, bytes: &[u8]| {
            if name == TABLE {
                concepts = read_table(&String::from_utf8_lossy(bytes));
                return Ok(());
            }
            let picture = Picture::decode(&name, bytes)?.fitted(size);
            pictures.insert(name, picture);
            if progress(pictures.len()) { Ok(()) } else { Err(CodecError::Stopped) }
        };
        self.entries().each(&|name| self.is_wanted(name), &mut take)?;
        if pictures.is_empty() {
            let (path, folders) = (self.path.clone(), self.folders.clone());
            return Err(CodecError::NoPictures { path, folders });
        }
        let named = pictures.into_iter().map(|(name, picture)| {
            let stem = || Path::new(&name).file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let concept = concepts.get(&name).cloned().unwrap_or_else(stem);
            NamedPicture { name, concept, picture }
        });
        Ok(named.collect())
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
        name == TABLE
            || EXTENSIONS.contains(&extension.as_str()) && (self.folders.is_empty() || self.folders.iter().any(inside))
    }
}

/// The concept of each file of a table; rows without one are left out.
fn read_table(text: &str) -> BTreeMap<String, String> {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    let column = |name: &str| names.iter().position(|known| *known == name);
    let (Some(file), Some(concept)) = (column("file"), column("concept")) else { return BTreeMap::new() };
    let row = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let concept = fields.get(concept).filter(|concept| !concept.is_empty())?;
        Some(((*fields.get(file)?).to_owned(), (*concept).to_owned()))
    };
    lines.filter_map(row).collect()
}

/// Whether pictures of a concept are held out, for a share of all concepts: a function of seed and concept alone.
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
        let table = read_table("id\tconcept\tfile\n1\tcat\ta/1.png\n2\t\ta/2.png\n3\tdog\n4\tfox\tb/4.png\textra\n");
        let expected = [("a/1.png", "cat"), ("b/4.png", "fox")].map(|(file, of)| (file.to_owned(), of.to_owned()));
        assert_eq!(table, BTreeMap::from(expected));
        assert_eq!(read_table("id\tfile\n1\ta.png"), BTreeMap::new());
        assert_eq!(read_table(""), BTreeMap::new());
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
