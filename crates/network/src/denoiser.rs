//! What samplers and trainers know of a network.

use crate::{LossRow, NetworkError, NetworkInput, NetworkSpec};

/// Says what it believes the clean canvas is.
pub trait Denoiser: Send + Sync {
    /// What the network is.
    fn spec(&self) -> &NetworkSpec;

    /// The logits `[rows, V]` of the clean token at each of `rows`, in the order asked.
    ///
    /// Shifts are undone, and the logit of the mask is −∞, because a clean token is never the mask (MDLM, 2406.07524,
    /// section 3.2.3). A row's answer does not depend on the other sequences of the batch.
    fn denoise(&self, input: &NetworkInput<'_>, rows: &[u32]) -> Result<Vec<f32>, NetworkError>;
}

/// A denoiser that can be told what was true.
pub trait Learner: Denoiser {
    /// The negative log-likelihood of each row's target, in nats; adds the gradient of `Σ weight · cost` to what was
    /// collected since the gradients were last cleared.
    fn learn(&mut self, input: &NetworkInput<'_>, rows: &[LossRow]) -> Result<Vec<f64>, NetworkError>;

    /// The negative log-likelihood of each row's target, in nats, and nothing else; weights are not read.
    fn measure(&self, input: &NetworkInput<'_>, rows: &[LossRow]) -> Result<Vec<f64>, NetworkError>;

    /// Sets all gradients to zero.
    fn clear_gradients(&mut self);

    /// The Euclidean norm of all gradients together.
    fn gradient_norm(&self) -> f64;

    /// Of how many blocks, from the first, learning keeps the input only and runs the block again when its gradient is due:
    /// about a third more arithmetic of theirs for a fraction of the memory, and the same gradients to the bit. More than
    /// there are means all; [`Activations`](crate::Activations) says what a block's take.
    fn recompute_activations(&mut self, layers: usize);
}
