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

mod adapter;
pub mod builtin;
mod checkpoint;
mod codec_files;
mod codecs;
mod config_value;
mod error;
mod generation;
mod gguf;
mod memory;
mod merge;
mod order;
mod packed_words;
mod quantise;
mod quantised_tensors;
mod quantised_writer;
mod quantization_config;
mod read;
mod roles;
mod rows;
mod safetensors_writer;
mod save;
mod shards;
mod state;
mod storage;
mod tensor;
mod tied_head;
mod weights;

pub use adapter::{AdapterConfig, AdapterDescription, adapter_name, save_adapter};
pub use checkpoint::{Checkpoint, Origin};
pub use codec_files::CodecFiles;
pub use codecs::ModelCodec;
pub use error::CheckpointError;
pub use generation::GenerationDefaults;
pub use order::{is_order, save_order};
pub use quantise::{QuantisePlan, QuantisedFolder};
pub use quantised_writer::PlannedTensor;
pub use quantization_config::{Packing, Quantisation, Scheme};
pub use read::open_vocabulary;
pub use roles::name_marks;
pub use safetensors_writer::write_weights;
pub use save::{Description, save, save_learner, save_planned, save_quantised};
pub use state::{RunState, quantised_state, save_state, state_file};
pub use storage::Storage;
pub use tensor::{Exact, Tensor};
pub use weights::Weights;
