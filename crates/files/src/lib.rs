//! Whole files only: a reader finds the old file or the new one, never half of one.
//!
//! Two crates need this and neither may depend on the other: `corpus` for token shards and `checkpoint` for weights. It
//! is also the one place outside `compute` where `unsafe` stands, for the memory map.
#![deny(unsafe_code)]

mod atomic;
mod mapped;

pub use atomic::write_atomically;
pub use mapped::MappedFile;
