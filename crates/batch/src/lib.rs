//! Collation, shared by training and measuring: from canvases to the rows that a network reads.
//!
//! A [`PackedBatch`] drops padding and says what each row sees; a [`NoisyBatch`] puts noise on it and says which rows cost
//! what. [`corrupt_evenly`] and [`stratified_time`] draw that noise with as little variance as the process allows.
//! [`BoundSamples`] keeps several noisy versions of each canvas, so that several networks are measured under the same noise.
#![forbid(unsafe_code)]

mod bound_samples;
mod noise;
mod noisy_batch;
mod packed_batch;
mod times;

pub use bound_samples::{BoundSamples, BoundSampling};
pub use noise::{complement, corrupt_evenly};
pub use noisy_batch::NoisyBatch;
pub use packed_batch::PackedBatch;
pub use times::{golden_point, stratified_time};
