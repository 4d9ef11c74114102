//! The parts of a network. Each file has everything about one of them: its tensors with their names, shapes and first
//! values, the weights that operations read, its forward pass, what it keeps for the backward and how many operations
//! it is.
//!
//! Tensors have the names of Llama checkpoints as Hugging Face lays them out
//! (`model.layers.0.self_attn.q_proj.weight`); what Llama has no name for is named beside its part. What files call
//! them is up to the [`families`](crate::families).
//!
//! Initialisation: matrices and tables are normal with mean 0 and standard deviation 0.02, not truncated; the two
//! matrices of each layer that write into the residual stream have it divided by `√(2 layers)`, so that the stream's
//! variance does not grow with depth (GPT-2's rule). Norms begin at 1, biases at 0. Modulations begin at 0, so that
//! every layer begins as the identity (adaLN-Zero, 2212.09748), and so does the norm of the predicted word vectors, so
//! that a network with self-conditioning begins as one without. Each tensor draws from its own stream under the seed.

mod attention;
mod declaration;
mod embedding;
mod feed_forward;
mod head;
mod layer;
mod modulation;
mod norm;
mod self_conditioning;
mod time;

pub(crate) use declaration::{Affine, Declaration, Declared};
pub use embedding::ReadRows;
pub(crate) use embedding::{EmbeddingWeights, StoredRows};
pub(crate) use head::HeadWeights;
pub(crate) use layer::{LayerPass, LayerWeights, RequestedRows, Stack};
pub(crate) use time::TimeWeights;

use aquatint_compute::{AttentionShape, DeviceError, Tape, Value};

/// Attention over packed queries, keys and values: in full, or with what a cache holds.
pub(crate) type Attend<'a, 'p, D> =
    dyn FnMut(&mut Tape<'p, D>, AttentionShape, &Value<D>) -> Result<Value<D>, DeviceError> + 'a;
