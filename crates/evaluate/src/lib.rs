//! What a model is worth: likelihood, in units that compare across vocabularies.
#![forbid(unsafe_code)]

mod error;
mod flow;
mod likelihood;
mod noisy_batch;
mod packed_batch;
pub mod sudoku;
mod texts;

pub use error::EvaluateError;
pub use likelihood::{Estimate, Likelihood, Rule, corrupt_evenly, likelihood};
pub use noisy_batch::{NoisyBatch, RowTerm};
pub use packed_batch::{PackedBatch, byte_lengths};
pub use texts::{canvases_of, distinct_bigrams, unigram_entropy};
