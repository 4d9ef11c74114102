//! Errors of a corpus; each message says how to correct it.

use crate::{BadRow, Format, UnreadFile, UnreadReason};
use aquatint_files::LfsPointer;
use aquatint_vocabulary::VocabularyError;
use std::path::{Path, PathBuf};

/// Why texts could not be read, packed or laid out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CorpusError {
    /// A file or folder cannot be read or written.
    #[error("could not {action} `{}`: {source}", path.display())]
    Io {
        /// "read", "write", …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file is not one that is read.
    #[error("`path` is `{}`, which is not read: {reason}", path.display())]
    NotRead {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: UnreadReason,
    },
    /// A folder has no file that can be read.
    #[error("there is no file of text, JSON lines or Parquet under `{}`{}", path.display(), there(unread))]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
        /// What is there.
        unread: Vec<UnreadFile>,
    },
    /// A file holds something else than its name says.
    #[error("`{}` cannot be read: it is {found}", path.display())]
    NoText {
        /// The file.
        path: PathBuf,
        /// What it holds.
        found: &'static str,
        /// What to do about it.
        hint: &'static str,
    },
    /// A file was not downloaded: a Git LFS pointer stands in its place.
    #[error("`{}` is a Git LFS pointer: the file of {size} bytes that it stands for was not downloaded", path.display())]
    LfsPointer {
        /// The pointer.
        path: PathBuf,
        /// Bytes of the file that it stands for.
        size: u64,
    },
    /// Much of a file is no text in the encoding in which it is read.
    #[error("`{}` is not in {encoding}: {replaced} places in {bytes} bytes of text cannot be read", path.display())]
    WrongEncoding {
        /// The file.
        path: PathBuf,
        /// The encoding in which it was read.
        encoding: String,
        /// Runs of bytes that had to be replaced.
        replaced: u64,
        /// Bytes of text that were read.
        bytes: u64,
    },
    /// More rows are bad than may be.
    #[error("{bad} of {rows} rows of `{}` cannot be read: {}", path.display(), some(first))]
    BadRows {
        /// The source.
        path: PathBuf,
        /// How many are bad.
        bad: u64,
        /// How many were read.
        rows: u64,
        /// The share of them that may be bad.
        max_bad_share: f64,
        /// The first of them.
        first: Vec<BadRow>,
        /// Whether what is wrong with all of them is that they lack the field.
        all_lack_the_field: bool,
    },
    /// A text file names a picture or a sound that does not become codes.
    #[error("a file that `{}` names cannot be used: {reason}", path.display())]
    Media {
        /// The text file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Texts name pictures or sounds, and the model has codecs of neither.
    #[error("`media` is `{}`, but the model has no codecs", path.display())]
    NoCodecs {
        /// The source's media.
        path: PathBuf,
    },
    /// A line of JSON lines is too long to be one.
    #[error("line {row} of `{}` is longer than {longest} bytes", path.display())]
    LongLine {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        row: u64,
        /// The longest that is read.
        longest: u64,
    },
    /// A Parquet file has no such column, or it holds no text.
    #[error("`{field}` cannot be read from `{}`: {reason}", path.display())]
    Column {
        /// The file.
        path: PathBuf,
        /// The field that was asked for.
        field: String,
        /// What is there instead.
        reason: String,
    },
    /// A Parquet file cannot be read.
    #[error("`{}` cannot be read as Parquet: {reason}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        reason: String,
    },
    /// Conversations and preferences are in JSON lines only.
    #[error("`{}` is read as {format}, and {what}s are read from JSON lines", path.display())]
    NoRows {
        /// The file.
        path: PathBuf,
        /// How it is read.
        format: Format,
        /// What is to be read.
        what: &'static str,
        /// One of them.
        example: &'static str,
    },
    /// No document is left.
    #[error("no document is left of `{}`: {reason}", path.display())]
    Empty {
        /// The source.
        path: PathBuf,
        /// Why.
        reason: String,
        /// What to look at, where something was filtered out.
        hint: Option<&'static str>,
    },
    /// A file is not a token shard.
    #[error("`{}` is not a token shard", path.display())]
    NotAShard {
        /// The file.
        path: PathBuf,
    },
    /// A shard of another version of the format.
    #[error("`{}` is a token shard of version {found} and this program reads version {supported}", path.display())]
    ShardVersion {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        found: u32,
        /// The version that is read.
        supported: u32,
    },
    /// A shard is shorter than it says, or contradicts itself.
    #[error("the token shard `{}` is damaged: {reason}", path.display())]
    DamagedShard {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The length of a canvas is not possible.
    #[error("`canvas_length` is {given}")]
    CanvasLength {
        /// The requested length.
        given: usize,
    },
    /// A canvas of that number does not exist.
    #[error("canvas {given} was asked for")]
    NoSuchCanvas {
        /// The requested number.
        given: u64,
        /// How many there are.
        count: u64,
    },
    /// The number of canvases to order is zero.
    #[error("there are no canvases to put in order")]
    NothingToOrder,
    /// It was cancelled.
    #[error("stopped before all texts were read")]
    Stopped,
    /// The tokenizer refused.
    #[error(transparent)]
    Vocabulary(#[from] VocabularyError),
}

impl CorpusError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NotRead { reason: UnreadReason::UnknownEnding, .. } | Self::EmptyFolder { .. } => {
                "`format` says how to read it: `text`, `json` or `parquet`; known by their names are .txt, .jsonl and \
                 .parquet, the first two also with .gz, .zst or .xz behind"
            }
            Self::NotRead { reason: UnreadReason::Packed(_), .. } => {
                "unpack it; compressed by gzip, zstd or xz it is read as it is"
            }
            Self::NoText { hint, .. } => hint,
            Self::LfsPointer { path, .. } => return Some(format!("download it: {}", LfsPointer::command(path))),
            Self::WrongEncoding { .. } => "name its encoding, for example `encoding = \"windows-1252\"`",
            Self::BadRows { all_lack_the_field: true, .. } | Self::Column { .. } => {
                "name the one that holds the text as `field`; `a.b` is the field `b` inside `a`"
            }
            Self::BadRows { max_bad_share, .. } => {
                return Some(format!("mend them, or raise `max_bad_share`, which is {max_bad_share}"));
            }
            Self::Empty { hint, .. } => (*hint)?,
            Self::NoRows { example, .. } => return Some(format!("a row is an object such as {example}")),
            Self::NotAShard { .. } | Self::ShardVersion { .. } | Self::DamagedShard { .. } => {
                "remove it and pack again"
            }
            Self::NoCodecs { .. } => "leave `media` out, or begin with a model that has codecs",
            Self::CanvasLength { .. } => "it must be between 2 and 2147483647",
            Self::NoSuchCanvas { count, .. } => return Some(format!("there are {count}")),
            Self::NothingToOrder => "the corpus is empty",
            Self::Vocabulary(error) => return error.hint(),
            Self::Io { .. }
            | Self::NotRead { .. }
            | Self::Media { .. }
            | Self::LongLine { .. }
            | Self::Parquet { .. }
            | Self::Stopped => return None,
        };
        Some(hint.to_owned())
    }

    /// An error of the operating system at `path`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}

/// Names in backticks, joined by commas; the first few of many.
pub(crate) fn list(names: &[&str]) -> String {
    const LISTED: usize = 12;
    if names.is_empty() {
        return "no field at all".to_owned();
    }
    let mut text: Vec<String> = names.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
    if names.len() > LISTED {
        text.push("…".to_owned());
    }
    text.join(", ")
}

/// The first few of bad rows.
fn some(rows: &[BadRow]) -> String {
    const LISTED: usize = 3;
    let mut text: Vec<String> = rows.iter().take(LISTED).map(BadRow::to_string).collect();
    if rows.len() > LISTED {
        text.push("…".to_owned());
    }
    text.join("; ")
}

/// What is in a folder that has nothing to read.
fn there(unread: &[UnreadFile]) -> String {
    match unread {
        [] => ", which is empty".to_owned(),
        [one] => format!(": {one}"),
        [first, rest @ ..] => format!(": {first}; and {} more", rest.len()),
    }
}
