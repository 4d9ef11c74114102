//! Models of the Hugging Face Hub: which revision of which repository, where the shared cache keeps it, and how it gets
//! there.
//!
//! The crate `hf-hub` 0.5 gives the layout of the cache, the addresses and an authenticated client. It resumes downloads,
//! but checks neither what it downloaded nor whether the server began where it was told to, and moves a branch to a new
//! commit before all files of it are there; so files are fetched here. Version 1 of it wants a hundred crates more, a
//! storage client of its own among them.
#![forbid(unsafe_code)]

mod name;

pub use name::{ModelName, NameError};
