//! One description of a transformer, and the one interpreter that runs it on any device, for inference and for
//! training.
//!
//! A [`NetworkSpec`] says what a network is; [`Network`] runs it on a [`Device`](aquatint_compute::Device). Samplers
//! see a [`Denoiser`], trainers a [`Learner`]; conventions about masks and shifted logits end here. [`families`]
//! translates checkpoints of others.
#![forbid(unsafe_code)]

mod activations;
mod answer;
mod autoencoder;
mod cached_pass;
mod compressed;
mod denoiser;
mod error;
mod expert_loads;
pub mod families;
mod forward;
mod inference;
mod input;
mod kv_cache;
mod kv_rows;
mod layer_visibility;
mod layers;
mod learner;
mod network;
mod operations;
mod parameter;
mod parameter_group;
mod places;
mod reader;
mod routing_blocks;
mod row_layout;
mod row_query;
mod row_slots;
mod source;
mod spec;
mod tensor;
mod tower;
mod two_towers;
mod weight_index;
mod weights;

pub use activations::{Activations, LayerActivations};
pub use aquatint_compute::{
    DrawnRow, Dropout, LogitsSummary, QueryGrowth, RotationScaling, RowDraw, RowLoss, RowSummary, Sampling, Yarn,
};
pub use aquatint_diffusion::ProcessSpec;
pub use autoencoder::{Autoencoder, AutoencoderSpec, CostOfRows, Levels, Reconstructed};
pub use denoiser::{CachedRows, Denoiser, ForwardPass, HostDenoiser, WholeRows};
pub use error::NetworkError;
pub use expert_loads::ExpertLoads;
pub use inference::{ExpertSource, InferenceNetwork, ReadTensor, StoredWeights};
pub use input::{LossRow, NetworkInput};
pub use kv_cache::KvCache;
pub use kv_rows::KvRows;
pub use layers::ReadRows;
pub use learner::Learner;
pub use network::Network;
pub use parameter::{Parameter, ParameterInfo};
pub use parameter_group::{ParameterGroup, ParameterPattern, RoleError};
pub use places::Places;
pub use row_layout::RowLayout;
pub use row_query::{Query, RowAnswer, RowQuery, answer_on_host, answer_row};
pub use row_slots::RowSlots;
pub use spec::{
    Activation, AdapterSpec, AttentionSpec, BlockRouting, ExpertsSpec, FeedForwardKind, FeedForwardSpec, GatedSpec,
    HeadSpec, LayerSpec, LowRankHalf, LowRankSpec, NetworkKind, NetworkSpec, NormSpec, ParallelSpec, PlainSpec,
    RopeSpec, RouterScore, RouterSpec, SelfConditioningSpec, TimeInput, TimeSpec,
};
pub use tensor::{Role, TensorData, TensorSpec};
pub use two_towers::{Matched, Pairs, TwoTowers, TwoTowersSpec};
pub use weights::Weights;
