//! The folder of sounds that something else listens to: WAV files and `sounds.tsv`, which says what each should say.

use crate::failure::Failure;
use aquatint_evaluate::spans::{HeardSound, MediaSampling, SoundOrigin};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The list in the folder.
const LIST: &str = "sounds.tsv";

/// A folder that is being written.
pub(super) struct SoundsOut {
    folder: PathBuf,
    list: fs::File,
    /// Sounds of each origin so far.
    written: BTreeMap<String, usize>,
}

impl SoundsOut {
    /// A new folder, or one that is empty.
    pub(super) fn create(folder: &Path) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::of_file("write", folder, &error);
        fs::create_dir_all(folder).map_err(failed)?;
        if fs::read_dir(folder).map_err(failed)?.next().is_some() {
            let message = format!("`--sounds-out` is `{}`, which is not empty", folder.display());
            return Err(Failure::new(message).hint("choose a new folder"));
        }
        let path = folder.join(LIST);
        let failed = |error: std::io::Error| Failure::of_file("write", &path, &error);
        let mut list = fs::File::create(&path).map_err(failed)?;
        writeln!(list, "file\twords\tlang\tsource\torigin\tsteps\tguidance_scale").map_err(failed)?;
        Ok(Self { folder: folder.to_path_buf(), list, written: BTreeMap::new() })
    }

    /// One more sound.
    pub(super) fn write(&mut self, sound: HeardSound<'_>) -> Result<(), Failure> {
        let HeardSound { words, lang, source, origin, wav } = sound;
        let (origin, steps, guidance_scale) = match origin {
            SoundOrigin::Original => ("original", String::new(), String::new()),
            SoundOrigin::Reconstruction => ("reconstruction", String::new(), String::new()),
            SoundOrigin::Made(MediaSampling { steps, guidance_scale, .. }) => {
                ("made", steps.to_string(), guidance_scale.to_string())
            }
        };
        let parts = [origin, &steps, &guidance_scale].into_iter().filter(|part| !part.is_empty());
        let within = parts.collect::<Vec<_>>().join("-");
        let number = self.written.entry(within.clone()).or_default();
        *number += 1;
        let file = format!("{within}/{number:04}.wav");
        let path = self.folder.join(&file);
        let failed = |error: std::io::Error| Failure::of_file("write", &path, &error);
        fs::create_dir_all(self.folder.join(within)).map_err(failed)?;
        fs::write(&path, wav).map_err(failed)?;
        // Fields of a table have no tabs and no line feeds.
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        let failed = |error: std::io::Error| Failure::of_file("write", &self.folder.join(LIST), &error);
        writeln!(self.list, "{file}\t{words}\t{lang}\t{source}\t{origin}\t{steps}\t{guidance_scale}").map_err(failed)
    }
}
