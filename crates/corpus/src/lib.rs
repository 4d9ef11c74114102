//! Texts as canvases for training.
//!
//! A [`Source`] streams documents out of files; its [`SourceSnapshot`] says what they hold at this moment; [`pack`] turns
//! each source once into a memory-mapped [`Shard`] of tokens and reports what it passed over ([`SourceReport`]);
//! [`Canvases`] lays a shard's documents into rows of fixed length; [`Order`] says which row comes when, as a pure
//! function of a seed, so that an interrupted run continues with the same canvases.
#![forbid(unsafe_code)]

mod best_fit;
mod canvases;
mod conversations;
mod cut;
mod document_hash;
mod error;
mod media;
mod order;
mod overlap;
mod pack;
mod preferences;
mod report;
mod sample;
mod shard;
mod snapshot;
mod source;

pub use canvases::{CanvasBatch, Canvases, DocumentPart, spread};
pub use conversations::{
    ConversationCanvases, ConversationLayout, ConversationReport, ConversationTokens, LongConversation,
};
pub use error::CorpusError;
pub use media::{MediaCodes, TextOnly};
pub use order::Order;
pub use overlap::{Overlap, overlap};
pub use pack::{Packed, Packing, pack};
pub use preferences::PreferenceCanvases;
pub use report::SourceReport;
pub use sample::sample;
pub use shard::{DocumentSpan, Shard};
pub use snapshot::SourceSnapshot;
pub use source::{
    BadRow, Conversation, Conversations, Encoding, Format, Passage, Passages, Preference, Preferences,
    PreferredAnswers, ReadCounts, Source, SourceFiles, StructuredRow, StructuredRows, UnreadFile, UnreadReason,
};
