//! Errors in a template, shown under the template itself.

use super::{MediaKind, Seconds};
use std::fmt;
use std::ops::Range;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// What is wrong in a template.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TemplateProblem {
    /// A hole has no `]]` on its line.
    Unclosed,
    /// A hole is empty.
    Nothing,
    /// A hole holds something else than a number, a picture or a sound.
    Unknown,
    /// A number of tokens is zero or absurd.
    Count {
        /// The digits.
        given: String,
        /// The largest number.
        largest: usize,
    },
    /// A `:` is not followed by a file.
    NoFile {
        /// What the file would give.
        kind: MediaKind,
    },
    /// A picture or a sound has an option that there is not.
    Option {
        /// What has it.
        kind: MediaKind,
        /// Its name.
        given: String,
    },
    /// A mask is no part of a picture.
    Mask {
        /// What stands there.
        given: String,
    },
    /// A length is none, or there are two.
    Seconds {
        /// What stands there.
        given: String,
    },
    /// A sound has a length and a file.
    LengthOfFile,
    /// There is a mask, and no given picture for it.
    NothingToMask {
        /// What has the mask.
        kind: MediaKind,
    },
}

impl TemplateProblem {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Unclosed => "close it with `]]`, or write `\\[[` for the two characters themselves".to_owned(),
            Self::Nothing => "say how many tokens: `[[3]]`, or `[[~8]]` for at most eight".to_owned(),
            Self::Unknown => "a hole is `[[3]]`, `[[~8]]`, `[[picture]]`, `[[picture:fox.png]]`, \
                              `[[picture:fox.png,mask=2x2+4x4]]`, `[[sound]]`, `[[sound,seconds=1.5]]` or `[[sound:owl.wav]]`; write `\\[[` for the two characters themselves"
                .to_owned(),
            Self::Count { .. } => "several holes can stand one behind the other".to_owned(),
            Self::NoFile { kind } => {
                format!("name a file, `[[{kind}:{}]]`, or leave the `:` out to have a {kind} made", kind.example())
            }
            Self::Option { kind: MediaKind::Sound, .. } | Self::Seconds { .. } => {
                "`[[sound,seconds=1.5]]` is a second and a half long".to_owned()
            }
            Self::LengthOfFile => "a sound that a file gives is as long as its file".to_owned(),
            Self::Option { kind: MediaKind::Picture, .. } | Self::Mask { .. } => {
                "`[[picture:fox.png,mask=2x2+4x4]]` makes two columns and two rows anew, behind the first four columns \
                 and under the first four rows of the codes of `fox.png`"
                    .to_owned()
            }
            Self::NothingToMask { kind: MediaKind::Picture } => {
                "name the picture, `[[picture:fox.png,mask=2x2+4x4]]`, or leave the mask out to have all of it made".to_owned()
            }
            Self::NothingToMask { kind: MediaKind::Sound } => "a sound is given or made as a whole".to_owned(),
        }
    }
}

impl fmt::Display for TemplateProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unclosed => formatter.write_str("`[[` opens a hole that is not closed"),
            Self::Nothing => formatter.write_str("the hole is empty"),
            Self::Unknown => formatter.write_str("the hole is not understood"),
            Self::Count { given, largest } => {
                write!(formatter, "the number of tokens is {}; it must be between 1 and {largest}", shortened(given))
            }
            Self::NoFile { kind } => write!(formatter, "the {kind} has no file"),
            Self::Option { kind, given } => {
                let allowed = match kind {
                    MediaKind::Picture => "mask",
                    MediaKind::Sound => "seconds",
                };
                write!(formatter, "`{}` is no option; allowed: {allowed}", shortened(given))
            }
            Self::Seconds { given } => {
                let (given, most) = (shortened(given), Seconds::LONGEST);
                write!(formatter, "`seconds` is {given}; allowed: once, 0.001 to {most}, with three decimals at most")
            }
            Self::LengthOfFile => formatter.write_str("the sound has `seconds` and a file; allowed: one of them"),
            Self::Mask { given } => {
                let given = shortened(given);
                write!(formatter, "`mask` is {given}; allowed: WIDTHxHEIGHT+COLUMNxROW, with sides of 1 or more")
            }
            Self::NothingToMask { kind } => {
                write!(formatter, "the {kind} has a mask; allowed: for a picture that a file gives")
            }
        }
    }
}

/// More than fits a line says no more than the beginning.
fn shortened(given: &str) -> String {
    let start: String = given.chars().take(24).collect();
    let more = if start.len() < given.len() { "…" } else { "" };
    start + more
}

/// A problem with its place. Its text has three lines: the problem, the line of the template, and a caret under the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// What is wrong.
    pub problem: TemplateProblem,
    /// Line of the template, from 1.
    pub line: usize,
    /// Character in that line at which the hole begins, from 1.
    pub column: usize,
    excerpt: String,
    indent: usize,
    carets: usize,
}

/// Characters shown before and after the beginning of a hole.
const BEFORE: usize = 36;
const AFTER: usize = 40;

impl TemplateError {
    /// A problem at bytes `range` of `source`, which lie on one line.
    pub(super) fn new(problem: TemplateProblem, source: &str, range: Range<usize>) -> Self {
        let line_start = source[..range.start].rfind(['\n', '\r']).map_or(0, |index| index + 1);
        let before: Vec<char> = source[line_start..range.start].chars().collect();
        let rest = source[range.start..].split(['\n', '\r']).next().unwrap_or_default();
        // Anything without a width of its own would shift the caret.
        let visible = |character: char| if character.width().unwrap_or(0) == 0 { '·' } else { character };
        let skipped = before.len().saturating_sub(BEFORE);
        let mut lead: String = before[skipped..].iter().map(|&character| visible(character)).collect();
        if skipped > 0 {
            lead.insert(0, '…');
        }
        let tail: String = rest.chars().take(AFTER).map(visible).collect();
        let hole: String = source[range.clone()].chars().take(AFTER).map(visible).collect();
        let more = if rest.chars().nth(AFTER).is_some() { "…" } else { "" };
        let head = &source[..range.start];
        Self {
            problem,
            // A carriage return and a line feed together end one line.
            line: head.matches('\n').count() + head.replace("\r\n", "\n").matches('\r').count() + 1,
            column: before.len() + 1,
            indent: lead.width(),
            carets: hole.width(),
            excerpt: format!("{lead}{tail}{more}"),
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(self.problem.hint())
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { problem, line, column, excerpt, indent, carets } = self;
        match line {
            1 => writeln!(formatter, "{problem} (column {column} of the template)")?,
            _ => writeln!(formatter, "{problem} (line {line}, column {column} of the template)")?,
        }
        writeln!(formatter, "  {excerpt}")?;
        write!(formatter, "  {:indent$}{}", "", "^".repeat(*carets))
    }
}

impl std::error::Error for TemplateError {}
