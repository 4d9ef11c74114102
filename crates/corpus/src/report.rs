//! What a source gave, and what it did not.

use crate::{ReadCounts, UnreadFile};
use std::path::PathBuf;

/// What reading a source found; the same for a shard that was there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceReport {
    /// The source.
    pub path: PathBuf,
    /// Its documents that have a text.
    pub documents: u64,
    /// What was counted while it was read.
    pub counts: ReadCounts,
    /// Its files that are not read, by path.
    pub unread: Vec<UnreadFile>,
}
