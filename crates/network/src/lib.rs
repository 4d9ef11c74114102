//! One description of a transformer, and the one interpreter that runs it on any device, for belief and for learning.
//!
//! A [`NetworkSpec`] says what a network is; [`Network`] runs it on a [`Device`](aquatint_compute::Device). Samplers see
//! a [`Denoiser`], trainers a [`Learner`]; conventions about masks and shifted logits end here. [`families`] translates
//! checkpoint descriptions.
#![forbid(unsafe_code)]

mod activations;
mod denoiser;
mod error;
pub mod families;
mod forward;
mod frozen;
mod input;
mod inventory;
mod memory;
mod network;
mod reader;
mod spec;
mod tensor;
mod time;
mod wiring;

pub use activations::Activations;
pub use denoiser::{Denoiser, Learner};
pub use error::NetworkError;
pub use frozen::Frozen;
pub use input::{LossRow, NetworkInput};
pub use inventory::Role;
pub use memory::Memory;
pub use network::{Network, Parameter, ParameterMut};
pub use spec::{NetworkSpec, ProcessSpec};
pub use tensor::TensorData;
