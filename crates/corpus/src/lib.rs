//! Texts as canvases for training.
//!
//! A [`Source`] streams documents out of files; [`pack`] turns each source once into a memory-mapped [`Shard`] of
//! tokens; [`Canvases`] lays a shard's documents into rows of fixed length; [`Order`] says which row comes when, as a
//! pure function of a seed, so that an interrupted run continues with the same canvases.
#![forbid(unsafe_code)]

mod canvases;
mod cut;
mod error;
mod fingerprint;
mod order;
mod pack;
mod sample;
mod shard;
mod source;

pub use canvases::{CanvasBatch, Canvases};
pub use error::CorpusError;
pub use order::Order;
pub use pack::{Packed, Packing, pack};
pub use sample::sample;
pub use shard::{DocumentSpan, Shard};
pub use source::{Passage, Passages, Source};
