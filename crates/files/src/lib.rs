//! Whole files only: a reader finds the old file or the new one, never half of one, nor a pointer in its place.
//!
//! Every crate that writes files needs this: `corpus` for token shards, `checkpoint` for weights, `train` for run
//! folders. It is also the one place outside `compute` where `unsafe` stands, for the memory map.
#![deny(unsafe_code)]

mod atomic;
mod fingerprint;
mod lfs;
mod lock;
mod mapped;
mod space;
mod temporary;

pub use atomic::{AtomicFile, is_special, write_atomically};
pub use fingerprint::Fingerprint;
pub use lfs::LfsPointer;
pub use lock::{LockError, LockFile};
pub use mapped::MappedFile;
pub use space::available_space;
pub use temporary::{discard_unfinished, sweep};
