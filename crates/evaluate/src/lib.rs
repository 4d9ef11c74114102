//! What a model is worth: likelihood, in units that compare across vocabularies.
#![forbid(unsafe_code)]

mod error;
mod flow;
mod likelihood;
pub mod sudoku;
mod texts;

pub use error::EvaluateError;
pub use likelihood::{Estimate, Likelihood, Rule, likelihood};
pub use texts::{canvases_of, distinct_bigrams, unigram_entropy};
