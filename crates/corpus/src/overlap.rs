//! Held-out documents that are training documents, too.

use crate::Shard;
use std::collections::HashMap;

/// How much of the held-out text is in the training text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Overlap {
    /// Held-out documents that stand as whole documents among those that are trained on.
    pub documents: u64,
    /// Held-out documents in all; those without a text do not count.
    pub of: u64,
    /// UTF-8 bytes of those that stand in both.
    pub text_bytes: u64,
}

/// Compares the documents of shards by their text, whatever files it came from. Nothing but the shards' tables of
/// documents is read.
pub fn overlap<'shard>(
    train: impl IntoIterator<Item = &'shard Shard>,
    held_out: impl IntoIterator<Item = &'shard Shard>,
) -> Overlap {
    // Documents and bytes of each text; they are moved into the result when a training document has it.
    let mut wanted: HashMap<u64, (u64, u64)> = HashMap::new();
    let mut overlap = Overlap::default();
    for document in held_out.into_iter().flat_map(Shard::all_documents).filter(|document| document.content != 0) {
        let (documents, bytes) = wanted.entry(document.content).or_default();
        *documents += 1;
        *bytes += document.text_bytes;
        overlap.of += 1;
    }
    for document in train.into_iter().flat_map(Shard::all_documents) {
        if let Some((documents, bytes)) = wanted.remove(&document.content) {
            overlap.documents += documents;
            overlap.text_bytes += bytes;
        }
    }
    overlap
}
