//! Models on disk: folders of Hugging Face shape, the models inside the binary, and the state of a training run.
//!
//! ```no_run
//! use aquatint_checkpoint::Checkpoint;
//! use aquatint_compute::Cpu;
//!
//! # fn main() -> Result<(), aquatint_checkpoint::CheckpointError> {
//! let checkpoint = Checkpoint::open("tales")?;
//! let network = checkpoint.network(Cpu::<f32>::scalar())?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod builtin;
mod error;
mod folder;
mod generation;
mod quantisation;
mod quantise;
mod quantised;
mod read;
mod shards;
mod state;
mod storage;
mod tied_head;
mod weights;

pub use error::CheckpointError;
pub use folder::{Checkpoint, Description, Origin, save, save_learner, save_quantised};
pub use generation::GenerationDefaults;
pub use quantisation::{Quantisation, Scheme};
pub use quantise::{QuantisePlan, QuantisedWeights};
pub use state::{RunState, quantised_state, save_state, state_file};
pub use storage::Storage;
pub use weights::{Exact, Tensor, Weights, write_weights};
