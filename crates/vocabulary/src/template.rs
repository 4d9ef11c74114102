//! The template language: text with holes.
//!
//! ```text
//! The [[3]] sat on the [[~8]].     three open tokens; at most eight, closed early by an end token
//! A fox in the snow. [[picture]]   a picture to be made
//! [[picture:fox.png]] [[12]]       a picture that is given
//! [[sound]], [[sound:owl.wav]]     the same for sounds
//! \[[not a hole]]                  a literal `[[`
//! ```
//! A `]]` outside a hole is text, and so is a `\` anywhere but before `[[`. Blanks just inside a hole do not count.

mod error;

pub use error::{TemplateError, TemplateProblem};

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
    /// A picture: given in a file, or to be made.
    Picture {
        /// The file that gives it.
        file: Option<String>,
    },
    /// A sound: given in a file, or to be made.
    Sound {
        /// The file that gives it.
        file: Option<String>,
    },
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
            // A hole that opens another, or that the line ends in, was forgotten and not closed far away.
            let limit = source[start..].find(['\n', '\r']).map_or(source.len(), |offset| start + offset);
            let limit = source[start..limit].find("[[").map_or(limit, |offset| start + offset);
            let Some(end) = source[start..limit].find("]]").map(|offset| start + offset) else {
                return fail(TemplateProblem::Unclosed, next..next + 2);
            };
            let piece = hole(source[start..end].trim());
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

    /// The pieces in reading order. No two texts are neighbours.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Whether there is anything to fill.
    pub fn has_holes(&self) -> bool {
        self.pieces.iter().any(|piece| {
            matches!(piece, Piece::Open { .. } | Piece::Picture { file: None } | Piece::Sound { file: None })
        })
    }
}

/// What stands between the brackets, without blanks around it.
fn hole(inside: &str) -> Result<Piece, TemplateProblem> {
    let (word, file) = match inside.split_once(':') {
        Some((word, file)) => (word.trim_end(), Some(file.trim_start())),
        None => (inside, None),
    };
    if let "picture" | "sound" = word {
        if file == Some("") {
            return Err(TemplateProblem::NoFile { word: word.to_owned() });
        }
        let file = file.map(str::to_owned);
        return Ok(if word == "picture" { Piece::Picture { file } } else { Piece::Sound { file } });
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
