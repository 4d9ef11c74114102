//! What trainers know of a network, without knowing its device: a `Box<dyn Learner>` is a network on any, with its
//! parameters as numbers on the host.

use crate::parameter_group::ParameterGroup;
use crate::{Denoiser, LossRow, NetworkError, NetworkInput, ParameterInfo, TensorData};
use aquatint_compute::{ReadRow, RowLoss};
use aquatint_diffusion::LossTerm;

/// A denoiser that can be trained.
pub trait Learner: Denoiser {
    /// The negative log-likelihood of each row's target, in nats; adds the gradient of `Σ weight · cost` to what was
    /// collected since the gradients were last cleared.
    ///
    /// # Errors
    /// As [`Denoiser::nll`], and when the device lacks the memory.
    fn forward_backward(&mut self, input: &NetworkInput<'_>, rows: &[LossRow]) -> Result<Vec<f64>, NetworkError>;

    /// What the prediction at each term's row costs by the term's own [`Cost`](aquatint_diffusion::Cost), and the
    /// negative log-likelihood of its target; adds the gradient of `Σ weight · cost` to what was collected. The position
    /// of a term is its row in the batch. It is made where the logits are: a row brings two numbers to the host.
    ///
    /// # Errors
    /// As [`Learner::forward_backward`].
    fn forward_backward_costs(
        &mut self,
        input: &NetworkInput<'_>,
        terms: &[LossTerm],
    ) -> Result<Vec<RowLoss>, NetworkError>;

    /// A cost that is none of those, such as the divergence from a teacher: hands each row's prediction, `V`
    /// probabilities, to `cost`, which turns it into the gradient of the row's cost with respect to the logits; adds the
    /// gradient of the sum to what was collected.
    ///
    /// `cost` is called by any thread, in any order; never all rows' predictions are kept.
    ///
    /// # Errors
    /// When the input does not fit the network, or the device lacks the memory.
    fn forward_backward_with(
        &mut self,
        input: &NetworkInput<'_>,
        rows: &[u32],
        cost: &ReadRow<'_>,
    ) -> Result<(), NetworkError>;

    /// The same network, without its adapter: it predicts what the model does that the adapter stands beside. The network
    /// itself where it has none.
    fn without_adapter(&self) -> Box<dyn Denoiser + '_>;

    /// Makes each word vector of a gaussian field one of length 1 again, after an update; nothing for other networks.
    fn normalise_word_vectors(&mut self);

    /// Sets all gradients to zero.
    fn clear_gradients(&mut self);

    /// The Euclidean norm of all gradients together.
    fn gradient_norm(&self) -> f64;

    /// Of how many layers, from the first, training keeps the input only and runs the layer again when its gradient is
    /// due: about a third more arithmetic of theirs for a fraction of the memory, and the same gradients to the bit.
    /// More than there are means all; [`Activations`](crate::Activations) counts the bytes of each.
    fn recompute_activations(&mut self, layers: usize);

    /// One line for people: the device, its precision, its threads.
    fn describe_device(&self) -> String;

    /// All parameters, in a stable order, one for each tensor of a checkpoint.
    fn parameter_list(&self) -> Vec<ParameterInfo>;

    /// Says which parameters learn, and how fast: each by the first group that chooses it, and by default where none does.
    /// Collected gradients are dropped. Returns how many parameters each group got, so that one that got
    /// none can be refused.
    ///
    /// Matrices of a group with a [`precision`](ParameterGroup::precision) are kept in it from now on, and in nothing
    /// else: what they were before is forgotten, and a later group that wants them otherwise gets what they stand for.
    ///
    /// # Errors
    /// When a group with a precision learns or has no matrix of products, one of several matrices that are multiplied as
    /// one is not of the same, a matrix cannot be quantised, or the device lacks the memory.
    fn set_groups(&mut self, groups: &[ParameterGroup]) -> Result<Vec<usize>, NetworkError>;

    /// A parameter as the network has it: integers with scales where it is kept so.
    ///
    /// # Errors
    /// When there is none of that name, or the device fails.
    fn read_tensor(&self, name: &str) -> Result<TensorData, NetworkError>;

    /// The values of a parameter, row-major; what they stand for where it is kept otherwise.
    ///
    /// # Errors
    /// When there is none of that name.
    fn read_parameter(&self, name: &str) -> Result<Vec<f32>, NetworkError>;

    /// Replaces the values of a parameter.
    ///
    /// # Errors
    /// When there is none of that name, it has another length, or is kept in other numbers than f32.
    fn write_parameter(&mut self, name: &str, values: &[f32]) -> Result<(), NetworkError>;

    /// The gradient of a parameter, row-major; empty before the network first learns, and where the parameter does not.
    ///
    /// # Errors
    /// When there is none of that name.
    fn read_gradient(&self, name: &str) -> Result<Vec<f32>, NetworkError>;
}
