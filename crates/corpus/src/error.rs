//! Errors of a corpus; each message says how to correct it.

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
    /// The name of a file does not say how to read it.
    #[error("`path` is `{}`, which is none of .txt, .jsonl, .jsonl.zst and .parquet", path.display())]
    UnknownKind {
        /// The file.
        path: PathBuf,
    },
    /// A folder has no file that can be read.
    #[error("there is no .txt, .jsonl, .jsonl.zst or .parquet file under `{}`", path.display())]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
    },
    /// A row is not what its kind of file promises.
    #[error("row {row} of `{}` cannot be read: {reason}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Number of the row, from 1.
        row: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A row or table has no field of the requested name.
    #[error("row {row} of `{}` has no `{field}`; it has {}", path.display(), list(present))]
    MissingField {
        /// The file.
        path: PathBuf,
        /// Number of the row, from 1.
        row: u64,
        /// The requested field.
        field: String,
        /// The fields that are there.
        present: Vec<String>,
    },
    /// A Parquet file cannot be read.
    #[error("`{}` cannot be read as Parquet: {reason}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        reason: String,
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
            Self::UnknownKind { .. } => "rename or convert it",
            Self::MissingField { .. } => "name the one that holds the text as `field`",
            Self::Empty { hint, .. } => (*hint)?,
            Self::NotAShard { .. } | Self::ShardVersion { .. } | Self::DamagedShard { .. } => {
                "remove it and pack again"
            }
            Self::CanvasLength { .. } => "it must be between 2 and 2147483647",
            Self::NoSuchCanvas { count, .. } => return Some(format!("there are {count}")),
            Self::NothingToOrder => "the corpus is empty",
            Self::Vocabulary(error) => return error.hint(),
            Self::Io { .. } | Self::Stopped | Self::EmptyFolder { .. } | Self::Row { .. } | Self::Parquet { .. } => {
                return None;
            }
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
fn list(names: &[String]) -> String {
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
