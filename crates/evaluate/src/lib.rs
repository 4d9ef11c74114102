//! What a model is worth: likelihood, in units that compare across vocabularies ([`HeldOut`], [`likelihood()`]); what it
//! writes, under a causal judge ([`Compare`]); and puzzles, where every answer can be checked ([`sudoku`]).
#![forbid(unsafe_code)]

mod comparison;
mod error;
mod held_out;
mod judge;
mod likelihood;
pub mod sudoku;
mod text_requests;
mod texts;
mod writer;

pub use comparison::{Compare, CompareEvent, CompareSettings, Comparison, Contestant, Measured, Setting, Written};
pub use error::EvaluateError;
pub use held_out::{HeldOut, HeldOutEvent, MeasureSettings};
pub use judge::{Judge, Judgement};
pub use likelihood::{
    CANVASES_PER_PASS, CausalLikelihood, DiffusionBound, Estimate, Likelihood, MeasuredCanvases, ProbabilityFlow, Rule,
    likelihood,
};
pub use text_requests::TextRequests;
pub use texts::{canvases_of, distinct_bigrams, entropy_of_counts, unigram_entropy};
pub use writer::Writer;
