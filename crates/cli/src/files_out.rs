//! The files that `generate` writes: pictures, sounds and the text, signed where somebody signs.

use crate::arguments::GenerateArguments;
use crate::credentials::{Signed, Signing};
use crate::failure::Failure;
use crate::media::{MediaOut, numbered};
use crate::wire;
use crate::written_files::{BegunFile, WrittenFiles, begin, check_distinct};
use aquatint::{FinishReason, OutputPiece, TemplateCanvas};
use aquatint_files::is_special;
use std::path::{Path, PathBuf};

/// What the name of a sidecar ends with.
pub(crate) const SIDECAR: &str = "c2pa";

/// Where the sidecar of a file stands, by the name that other programs look for.
pub(crate) fn sidecar_of(path: &Path) -> PathBuf {
    path.with_extension(SIDECAR)
}

/// Refuses two files of one name, signing where there is nothing to sign, and a text that can have no sidecar.
pub(crate) fn check(arguments: &GenerateArguments) -> Result<(), Failure> {
    let is_signed = arguments.signing.sign_cert.is_some();
    let (text, media) = (arguments.text_out.as_deref(), &arguments.media);
    if is_signed && text.is_none() && media.picture_out.is_none() && media.sound_out.is_none() {
        return Err(Failure::new(
            "`--sign-cert` has nothing to sign; allowed: with --text-out, --picture-out or --sound-out",
        )
        .hint("content credentials stand in a file or beside it, and standard output is none"));
    }
    if let Some(path) = text {
        let refused =
            |allowed: &str| Err(Failure::new(format!("`--text-out` is {}; allowed: {allowed}", path.display())));
        if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case(SIDECAR)) {
            return refused("a file whose name does not end in .c2pa, which its credentials have");
        }
        if is_signed && is_special(path) {
            return refused("an ordinary file with --sign-cert, whose credentials stand beside it");
        }
    }
    let sidecar = text.filter(|_| is_signed).map(sidecar_of);
    check_distinct(&[
        ("--text-out", text),
        ("the sidecar of --text-out", sidecar.as_deref()),
        ("--picture-out", media.picture_out.as_deref()),
        ("--sound-out", media.sound_out.as_deref()),
        ("--trace", arguments.trace.as_deref()),
    ])
}

/// Files for what a canvas gives: begun before the work, there when it is done.
pub(crate) struct FilesOut<'a> {
    media: MediaOut,
    text: Option<TextOut>,
    signing: Option<&'a Signing>,
}

/// The file of a text, and that of its credentials.
struct TextOut {
    text: BegunFile,
    sidecar: Option<BegunFile>,
}

/// Where everything went.
#[derive(Debug, Default)]
pub(crate) struct OutPaths {
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
        let media = MediaOut::create_one_of(template_canvas, &arguments.media, (canvas, canvases))?;
        let text = arguments.text_out.as_deref().map(|path| {
            let path = numbered(path, canvas + 1, canvases);
            let sidecar = signing.map(|_| begin(sidecar_of(&path))).transpose()?;
            Ok::<_, Failure>(TextOut { text: begin(path)?, sidecar })
        });
        Ok(Self { media, text: text.transpose()?, signing })
    }

    /// Writes them. What was stopped is not kept.
    pub(crate) fn write(
        self,
        (outcome, pieces): (&wire::Outcome, &[OutputPiece]),
        reason: FinishReason,
    ) -> Result<OutPaths, Failure> {
        let mut written = WrittenFiles::default();
        let signing = self.signing;
        let pieces = self.media.write_to(&mut written, pieces, reason, &|number, file, path| match signing {
            Some(signing) => signing.sign(path, Signed::Media(number, file), outcome),
            None => Ok(file.bytes.clone()),
        })?;
        let text = match self.text {
            Some(out) if reason != FinishReason::Cancelled => out.write_to(&mut written, outcome, signing)?,
            _ => Vec::new(),
        };
        written.finish()?;
        Ok(OutPaths { pieces, text })
    }
}

impl TextOut {
    fn write_to(
        self,
        written: &mut WrittenFiles,
        outcome: &wire::Outcome,
        signing: Option<&Signing>,
    ) -> Result<Vec<PathBuf>, Failure> {
        // As on standard output.
        let content = format!("{}\n", outcome.text);
        let path = &self.text.0;
        let mut places = vec![path.clone()];
        if let (Some(sidecar), Some(signing)) = (self.sidecar, signing) {
            let credentials = signing.sign(path, Signed::Text(&content), outcome)?;
            places.push(sidecar.0.clone());
            written.add(sidecar, &credentials)?;
        }
        written.add(self.text, content.as_bytes())?;
        Ok(places)
    }
}
