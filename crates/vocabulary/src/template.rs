//! The template language: text with holes.
//!
//! ```text
//! The [[3]] sat on the [[~8]].     three open tokens; at most eight, closed early by an end token
//! A fox in the snow. [[picture]]   a picture to be made
//! [[picture:fox.png]] [[12]]       a picture that is given
//! [[picture:fox.png,mask=2x2+4x4]] a given picture of which a part is made anew; see [`Mask`]
//! [[sound]], [[sound:owl.wav]]     the same for sounds, which have no masks
//! [[sound,seconds=1.5]]            a sound to be made of a length; see [`Seconds`]
//! \[[not a hole]]                  a literal `[[`
//! ```
//! A `]]` outside a hole is text, and so is a `\` anywhere but before `[[`. Blanks just inside a hole do not count. A file
//! may have a comma in its name, but none with `NAME=` behind it: such are options. Several masks are several options.

mod error;
mod media;

pub use error::{TemplateError, TemplateProblem};
pub use media::{Mask, Media, MediaKind, Seconds};

use std::fmt;
use std::ops::Range;

/// A longer span is taken for a typing error.
const LONGEST: usize = 1 << 20;

/// One stretch of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Piece {
    /// Given text, its escapes resolved; never empty.
    Text(String),
    /// Open positions.
    Open {
        /// How many; at least one.
        count: usize,
        /// Whether an end token may close them early.
        approximate: bool,
    },
    /// A picture or a sound: given in a file, or to be made.
    Media(Media),
}

/// A canvas as text with holes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template {
    pieces: Vec<Piece>,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// When a hole is not closed or its content is unknown; the error shows the place.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut at = 0;
        while let Some(next) = source[at..].find("[[").map(|offset| at + offset) {
            if source[at..next].ends_with('\\') {
                text.push_str(&source[at..next - 1]);
                text.push_str("[[");
                at = next + 2;
                continue;
            }
            text.push_str(&source[at..next]);
            let start = next + 2;
            let fail = |problem, range: Range<usize>| Err(TemplateError::new(problem, source, range));
            let Some(inside) = hole_at(source, next) else {
                return fail(TemplateProblem::Unclosed, next..next + 2);
            };
            let end = start + inside.len();
            let piece = hole(inside.trim());
            match piece {
                Ok(piece) => {
                    if !text.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut text)));
                    }
                    pieces.push(piece);
                }
                Err(problem) => return fail(problem, next..end + 2),
            }
            at = end + 2;
        }
        text.push_str(&source[at..]);
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        Ok(Self { pieces })
    }

    /// A template that is all text: nothing in it is a hole.
    pub fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { pieces: if text.is_empty() { Vec::new() } else { vec![Piece::Text(text)] } }
    }

    /// This template with open positions behind it, as a prompt that is to be continued.
    #[must_use]
    pub fn continued(mut self, count: usize, approximate: bool) -> Self {
        if count > 0 {
            self.pieces.push(Piece::Open { count, approximate });
        }
        self
    }

    /// This template with given text behind it, as an infilling request has it. Nothing in the text is a hole.
    #[must_use]
    pub fn followed_by(mut self, text: impl Into<String>) -> Self {
        let text = text.into();
        match self.pieces.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Text(before)) => before.push_str(&text),
            _ => self.pieces.push(Piece::Text(text)),
        }
        self
    }

    /// This template with a picture or a sound behind it.
    #[must_use]
    pub fn with_media(mut self, media: Media) -> Self {
        self.pieces.push(Piece::Media(media));
        self
    }

    /// The pieces in reading order. No two texts are neighbours.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Whether there is anything to fill.
    pub fn has_holes(&self) -> bool {
        self.pieces.iter().any(|piece| match piece {
            Piece::Text(_) => false,
            Piece::Open { .. } => true,
            Piece::Media(media) => media.is_open(),
        })
    }

    /// The pictures and sounds in reading order.
    pub fn media(&self) -> impl Iterator<Item = &Media> {
        self.pieces.iter().filter_map(|piece| if let Piece::Media(media) = piece { Some(media) } else { None })
    }
}

/// The template as people type it. It reads back as the same pieces, but for a text that ends in `\` or `[` before a hole and
/// for files with brackets, line ends or options in their names: those cannot be typed.
impl fmt::Display for Template {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => formatter.write_str(&text.replace("[[", "\\[[")),
            Piece::Open { count, approximate: false } => write!(formatter, "[[{count}]]"),
            Piece::Open { count, approximate: true } => write!(formatter, "[[~{count}]]"),
            Piece::Media(media) => write!(formatter, "[[{media}]]"),
        })
    }
}

/// The content of the hole that the `[[` at byte `open` begins; `None` where its line ends or another hole begins before it
/// is closed: it was forgotten and not closed far away.
fn hole_at(source: &str, open: usize) -> Option<&str> {
    let behind = &source[open + 2..];
    let bytes = behind.as_bytes();
    let end = (0..bytes.len()).find(|&index| match bytes[index] {
        b'\n' | b'\r' => true,
        bracket @ (b'[' | b']') => bytes.get(index + 1) == Some(&bracket),
        _ => false,
    })?;
    (bytes[end] == b']').then(|| &behind[..end])
}

/// What stands between the brackets, without blanks around it.
fn hole(inside: &str) -> Result<Piece, TemplateProblem> {
    if let Some(media) = Media::parse(inside) {
        return media.map(Piece::Media);
    }
    let (digits, approximate) = match inside.strip_prefix('~') {
        Some(digits) => (digits, true),
        None => (inside, false),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(if inside.is_empty() { TemplateProblem::Nothing } else { TemplateProblem::Unknown });
    }
    match digits.parse() {
        Ok(count @ 1..=LONGEST) => Ok(Piece::Open { count, approximate }),
        _ => Err(TemplateProblem::Count { given: digits.to_owned(), largest: LONGEST }),
    }
}
