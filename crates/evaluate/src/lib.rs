//! What a model is worth: likelihood, in units that compare across vocabularies ([`HeldOut`], [`likelihood()`]); what it
//! writes, under a causal judge ([`Compare`]); words, pictures and sounds on
//! one canvas ([`spans`]); whom it wrongs ([`bias()`]); how sure it is
//! ([`calibration()`]); and puzzles, where every answer can be checked ([`sudoku`]).
#![forbid(unsafe_code)]

mod agreement;
pub mod answers;
mod bias;
mod calibration;
mod catalogue;
mod comparison;
mod documents;
mod error;
mod held_out;
mod held_out_batch;
mod json_lines;
mod judge;
mod likelihood;
mod memory;
mod page;
mod share;
mod shared_noise;
mod sound_catalogue;
pub mod spans;
mod standard_error;
pub mod sudoku;
mod text_requests;
mod texts;
mod writer;

pub use agreement::DraftAgreement;
pub use bias::{
    AtCount, BiasFigures, BiasRow, BiasSettings, Choice, ChoiceFigures, Choices, ContinuationSettings, Continuations,
    OpenPart, Pair, PairFigures, Pairs, Prompt, Prompts, ToxicityFigures, bias, bias_page, bias_rows, bias_tables,
};
pub use calibration::{
    Abstained, Bin, Calibrated, CalibrationFigures, CalibrationSettings, Scored, Signal, calibration, calibration_page,
    calibration_tables,
};
pub use catalogue::{Catalogue, Nearest, says};
pub use comparison::{Compare, CompareEvent, CompareSettings, Comparison, Contestant, Measured, Setting, Written};
pub use documents::{Costs, Documents, PassPart};
pub use error::EvaluateError;
pub use held_out::{HeldOut, HeldOutEvent, MeasureSettings, measure};
pub use held_out_batch::HeldOutBatch;
pub use json_lines::{json_lines_of, not_empty};
pub use judge::{Judge, Judgement};
pub use likelihood::{
    CANVASES_PER_PASS, CausalLikelihood, CodesLikelihood, DiffusionBound, Estimate, Likelihood, MeasuredCanvases,
    ProbabilityFlow, Rule, likelihood,
};
pub use memory::{
    Canary, CommonRun, CorpusIndex, Exposure, GivenPart, TextMemory, canaries, exposures, memory_page, memory_tables,
    text_words,
};
pub use page::{Axis, Curve, Interval, Page};
pub use share::{Share, percent_with_interval};
pub use shared_noise::{NoiseRule, Variant, shared_costs};
pub use sound_catalogue::{Frames, NearestSound, SoundCatalogue};
pub use standard_error::{StandardError, Units};
pub use text_requests::TextRequests;
pub use texts::{canvases_of, distinct_bigrams, entropy_of_counts, unigram_entropy};
pub use writer::Writer;
