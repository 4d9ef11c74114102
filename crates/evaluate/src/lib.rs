//! What a model is worth: likelihood, in units that compare across vocabularies.
#![forbid(unsafe_code)]

mod error;
mod flow;
mod likelihood;
mod question;
mod rows;
pub mod sudoku;
mod texts;

pub use error::EvaluateError;
pub use likelihood::{Estimate, Likelihood, Rule, corrupt_evenly, likelihood};
pub use question::{Asked, Question};
pub use rows::{Rows, byte_lengths};
pub use texts::{canvases_of, distinct_bigrams, unigram_entropy};
