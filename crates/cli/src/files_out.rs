//! The files that `generate` writes: pictures, sounds and the text, signed where somebody signs.

use crate::arguments::GenerateArguments;
use crate::credentials::{Signed, Signing};
use crate::failure::Failure;
use crate::media::{MediaOut, numbered};
use crate::wire;
use aquatint::{FinishReason, OutputPiece, TemplateCanvas};
use aquatint_files::AtomicFile;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What the name of a sidecar ends with.
pub(crate) const SIDECAR: &str = "c2pa";

/// Refuses signing where there is nothing to sign, and a text whose sidecar would have its name.
pub(crate) fn check(arguments: &GenerateArguments) -> Result<(), Failure> {
    let is_signed = arguments.signing.sign_cert.is_some();
    let media = &arguments.media;
    if is_signed && arguments.text_out.is_none() && media.picture_out.is_none() && media.sound_out.is_none() {
        return Err(Failure::new(
            "`--sign-cert` has nothing to sign; allowed: with --text-out, --picture-out or --sound-out",
        )
        .hint("content credentials stand in a file or beside it, and standard output is none"));
    }
    if let Some(path) = &arguments.text_out
        && path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case(SIDECAR))
    {
        return Err(Failure::new(format!(
            "`--text-out` is {}; allowed: a file whose name does not end in .{SIDECAR}, which its credentials have",
            path.display()
        )));
    }
    Ok(())
}

/// Files for what a canvas gives: begun before the work, there when it is done.
pub(crate) struct FilesOut<'a> {
    media: MediaOut,
    text: Option<TextOut>,
    signing: Option<&'a Signing>,
}

/// The file of a text, and that of its credentials.
struct TextOut {
    text: (PathBuf, AtomicFile),
    sidecar: Option<(PathBuf, AtomicFile)>,
}

/// Where everything went.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// Of each piece, in their order.
    pub(crate) pieces: Vec<Option<PathBuf>>,
    /// Of the text and its credentials.
    pub(crate) text: Vec<PathBuf>,
}

impl<'a> FilesOut<'a> {
    /// Begins the files of the canvas of a number, counted from 0, of so many that are filled alike.
    pub(crate) fn create(
        template_canvas: &TemplateCanvas,
        arguments: &GenerateArguments,
        signing: Option<&'a Signing>,
        (canvas, canvases): (u64, u64),
    ) -> Result<Self, Failure> {
        let begin = |path: PathBuf| {
            let file = AtomicFile::create(&path).map_err(|error| Failure::of_file("write", &path, &error))?;
            Ok::<_, Failure>((path, file))
        };
        let media = MediaOut::create_one_of(template_canvas, &arguments.media, (canvas, canvases))?;
        let text = arguments.text_out.as_deref().map(|path| {
            let path = numbered(path, canvas + 1, canvases);
            let sidecar = signing.map(|_| begin(path.with_extension(SIDECAR))).transpose()?;
            Ok::<_, Failure>(TextOut { text: begin(path)?, sidecar })
        });
        Ok(Self { media, text: text.transpose()?, signing })
    }

    /// Writes them. What was stopped is not kept.
    pub(crate) fn write(
        self,
        (outcome, pieces): (&wire::Outcome, &[OutputPiece]),
        reason: FinishReason,
    ) -> Result<Places, Failure> {
        let signing = self.signing;
        let pieces = self.media.write_as(pieces, reason, &|number, file, path| match signing {
            Some(signing) => signing.sign(path, Signed::Media(number, file), outcome),
            None => Ok(file.bytes.clone()),
        })?;
        let text = match self.text {
            Some(out) if reason != FinishReason::Cancelled => out.write(outcome, signing)?,
            _ => Vec::new(),
        };
        Ok(Places { pieces, text })
    }
}

impl TextOut {
    fn write(self, outcome: &wire::Outcome, signing: Option<&Signing>) -> Result<Vec<PathBuf>, Failure> {
        // As on standard output.
        let text = format!("{}\n", outcome.text);
        let credentials =
            signing.map(|signing| signing.sign(&self.text.0, Signed::Text(&text), outcome)).transpose()?;
        let sidecar = self.sidecar.zip(credentials).map(|((path, file), bytes)| (path, file, bytes));
        let (path, file) = self.text;
        let all = [Some((path, file, text.into_bytes())), sidecar];
        let mut places = Vec::new();
        for (path, mut file, bytes) in all.into_iter().flatten() {
            finish(&path, file.write_all(&bytes).and_then(|()| file.finish()))?;
            places.push(path);
        }
        Ok(places)
    }
}

fn finish(path: &Path, written: std::io::Result<()>) -> Result<(), Failure> {
    written.map_err(|error| Failure::of_file("write", path, &error))
}
