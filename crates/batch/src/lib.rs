//! Collation, shared by training and measuring: from canvases to the rows that a network reads.
//!
//! A [`PackedBatch`] drops padding and says what each row sees; a [`NoisyBatch`] puts noise on it and says which rows cost
//! what. [`corrupt_evenly`] and [`stratified_time`] draw that noise with as little variance as the process allows.
#![forbid(unsafe_code)]

mod noise;
mod noisy_batch;
mod packed_batch;
mod times;

pub use noise::corrupt_evenly;
pub use noisy_batch::NoisyBatch;
pub use packed_batch::PackedBatch;
pub use times::{golden_point, stratified_time};
