//! Pictures and sounds between files, the library and the terminal.

use crate::arguments::MediaArguments;
use crate::drawing::draw;
use crate::failure::Failure;
use crate::printer::{Printer, Shown};
use crate::terminal::Terminal;
use crate::written_files::{BegunFile, WrittenFiles, begin};
use aquatint::codec::Picture;
use aquatint::codec::read_file;
use aquatint::{FinishReason, MediaFile, MediaFiles, OutputPiece, Template, TemplateCanvas};
use aquatint_vocabulary::{Media, MediaKind};
use std::path::{Path, PathBuf};

/// Open tokens behind the text of a `/picture`.
const CONTINUATION: usize = 64;

/// The files that a template names.
pub(crate) fn files_of(template: &Template) -> Result<MediaFiles, Failure> {
    let named = template.media().filter_map(|media| media.file.as_ref());
    named.map(|file| Ok((file.clone(), read_file(Path::new(file))?))).collect()
}

/// The ending of files of a kind.
pub(crate) fn extension(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Picture => "png",
        MediaKind::Sound => "wav",
    }
}

/// What is written of a picture or a sound: by its number among all of the template, itself, and the file that it goes to.
pub(crate) type Content<'a> = dyn Fn(usize, &MediaFile, &Path) -> Result<Vec<u8>, Failure> + 'a;

/// Files for the pictures and sounds that a template makes: begun before the work, there when it is done.
#[derive(Debug, Default)]
pub(crate) struct MediaOut {
    files: Vec<(MediaKind, BegunFile)>,
}

impl MediaOut {
    /// Begins the files of all that is to be made: `FILE`, or `FILE-1`, `FILE-2` … where it is several.
    pub(crate) fn create(template_canvas: &TemplateCanvas, arguments: &MediaArguments) -> Result<Self, Failure> {
        Self::create_one_of(template_canvas, arguments, (0, 1))
    }

    /// The same of the canvas of a number, counted from 0, of so many that are filled alike: their files are numbered through.
    pub(crate) fn create_one_of(
        template_canvas: &TemplateCanvas,
        arguments: &MediaArguments,
        (canvas, canvases): (u64, u64),
    ) -> Result<Self, Failure> {
        let MediaArguments { picture_out, sound_out } = arguments;
        let mut out = Self::default();
        for (kind, path) in [(MediaKind::Picture, picture_out), (MediaKind::Sound, sound_out)] {
            let Some(path) = path else { continue };
            let count = template_canvas.media().filter(|media| media.is_made && media.kind == kind).count() as u64;
            let refuse =
                |allowed: String| Failure::new(format!("`--{kind}-out` is {}; allowed: {allowed}", path.display()));
            let ending = extension(kind);
            if !path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(ending)) {
                return Err(refuse(format!("a file whose name ends in .{ending}")));
            }
            if count == 0 {
                return Err(refuse(format!("with a {kind} that is to be made, as [[{kind}]] is")));
            }
            let Some(files) = canvases.checked_mul(count) else {
                return Err(refuse(format!("fewer than 2^64 files, not {count} for each of {canvases} canvases")));
            };
            for number in 1..=count {
                out.files.push((kind, begin(numbered(path, canvas * count + number, files))?));
            }
        }
        Ok(out)
    }

    /// Writes them; returns where each piece went, in their order. What was stopped is not kept.
    pub(crate) fn write(self, pieces: &[OutputPiece], reason: FinishReason) -> Result<Vec<Option<PathBuf>>, Failure> {
        let mut written = WrittenFiles::default();
        let places = self.write_to(&mut written, pieces, reason, &|_, media, _| Ok(media.bytes.clone()))?;
        written.finish()?;
        Ok(places)
    }

    /// The same with what `content` makes of each, among other files that get their names together.
    pub(crate) fn write_to(
        self,
        written: &mut WrittenFiles,
        pieces: &[OutputPiece],
        reason: FinishReason,
        content: &Content<'_>,
    ) -> Result<Vec<Option<PathBuf>>, Failure> {
        let mut files = self.files;
        let mut places: Vec<Option<PathBuf>> = vec![None; pieces.len()];
        if reason == FinishReason::Cancelled {
            return Ok(places);
        }
        let media = places.iter_mut().zip(pieces).filter_map(|(place, piece)| match piece {
            OutputPiece::Media { file, is_made } => Some((place, file, *is_made)),
            OutputPiece::Text(_) => None,
        });
        for (number, (place, media, is_made)) in media.enumerate() {
            let Some(index) = files.iter().position(|(kind, _)| is_made && *kind == media.kind) else { continue };
            let (_, file) = files.remove(index);
            let content = content(number, media, &file.0)?;
            *place = Some(file.0.clone());
            written.add(file, &content)?;
        }
        Ok(places)
    }
}

/// `fox.png`, or `fox-2.png` where there are several.
pub(crate) fn numbered(path: &Path, number: u64, of: u64) -> PathBuf {
    if of == 1 {
        return path.to_path_buf();
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let ending = path.extension().map(|ending| format!(".{}", ending.to_string_lossy())).unwrap_or_default();
    path.with_file_name(format!("{stem}-{number}{ending}"))
}

/// Prints what a model wrote: text, pictures where the terminal shows them, and for everything else where it went.
pub(crate) fn print(pieces: &[OutputPiece], places: &[Option<PathBuf>], printer: &Printer) -> Result<(), Failure> {
    let has_pictures =
        pieces.iter().any(|piece| matches!(piece, OutputPiece::Media { file, .. } if file.kind == MediaKind::Picture));
    let terminal = if has_pictures { Terminal::of_output(printer.color()) } else { None };
    let mut lost: Vec<MediaKind> = Vec::new();
    let mut shown = |(piece, place): (&OutputPiece, &Option<PathBuf>)| match piece {
        OutputPiece::Text(text) => Shown::Text(text.clone()),
        OutputPiece::Media { file, is_made } => {
            let drawn = terminal.as_ref().and_then(|terminal| draw(&picture_of(file)?, terminal));
            if let Some(drawn) = drawn {
                return Shown::Drawn(drawn);
            }
            if *is_made && place.is_none() && !lost.contains(&file.kind) {
                lost.push(file.kind);
            }
            let name = place.as_ref().map_or_else(String::new, |path| format!(": {}", path.display()));
            Shown::Text(format!("[{}{name}]", file.kind))
        }
    };
    let shown: Vec<Shown> = pieces.iter().zip(places).map(&mut shown).collect();
    printer.pieces(&shown)?;
    for path in places.iter().flatten() {
        printer.note(format_args!("wrote {}", path.display()));
    }
    for kind in lost {
        let ending = extension(kind);
        printer.note(format_args!(
            "a {kind} was made that this output does not show; --{kind}-out FILE.{ending} keeps it"
        ));
    }
    Ok(())
}

/// The pictures and sounds that were made.
pub(crate) fn made(pieces: Vec<OutputPiece>) -> Vec<MediaFile> {
    let media = |piece| if let OutputPiece::Media { file, is_made: true } = piece { Some(file) } else { None };
    pieces.into_iter().filter_map(media).collect()
}

/// Keeps the last of these files whose kind the ending of `path` names.
pub(crate) fn save(made: &[MediaFile], path: &Path) -> Result<(), Failure> {
    let is_of = |kind: MediaKind| path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case(extension(kind)));
    let Some(kind) = MediaKind::ALL.into_iter().find(|kind| is_of(*kind)) else {
        let message = format!("`/save` is for {}; allowed: a file whose name ends in .png or .wav", path.display());
        return Err(Failure::new(message));
    };
    let Some(file) = made.iter().rfind(|file| file.kind == kind) else {
        return Err(Failure::new(format!("no {kind} was made that could be kept")).hint(match kind {
            MediaKind::Picture => "/picture A fox in the snow.",
            MediaKind::Sound => "/say fox",
        }));
    };
    let written = aquatint_files::write_atomically(path, |out| out.write_all(&file.bytes));
    written.map_err(|error| Failure::of_file("write", path, &error))
}

/// The template of `/picture TEXT`, in which a text without a hole goes on, and of `/say TEXT`.
pub(crate) fn template_of(kind: MediaKind, text: &str) -> Result<Template, Failure> {
    let template = Template::parse(text)?;
    let template = match kind {
        MediaKind::Picture if template.has_holes() => template,
        MediaKind::Picture => template.continued(CONTINUATION, true),
        MediaKind::Sound => template.followed_by(" "),
    };
    Ok(template.with_media(Media::open(kind)))
}

/// The pixels of a picture that the library made; `None` of a sound.
pub(crate) fn picture_of(file: &MediaFile) -> Option<Picture> {
    let is_picture = file.kind == MediaKind::Picture;
    is_picture.then(|| Picture::decode("the picture", &file.bytes).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_made_behind_a_text_that_goes_on_and_a_sound_behind_its_word() {
        let of = |kind, text: &str| template_of(kind, text).unwrap().to_string();
        assert_eq!(of(MediaKind::Picture, "A fox."), "A fox.[[~64]][[picture]]");
        assert_eq!(of(MediaKind::Picture, "A [[3]] fox."), "A [[3]] fox.[[picture]]");
        assert_eq!(of(MediaKind::Sound, "fox"), "fox [[sound]]");
        assert!(template_of(MediaKind::Sound, "[[x]]").is_err());
    }

    #[test]
    fn several_files_are_numbered_before_their_ending() {
        let of = |path: &str, number, count| numbered(Path::new(path), number, count);
        assert_eq!(of("a/fox.png", 1, 1), Path::new("a/fox.png"));
        assert_eq!(of("a/fox.png", 2, 3), Path::new("a/fox-2.png"));
        assert_eq!(of("a.b/fox.red.PNG", 3, 3), Path::new("a.b/fox.red-3.PNG"));
        assert_eq!(of("a.b/story", 3, 3), Path::new("a.b/story-3"));
    }
}
