//! What samplers and trainers know of a network.

use crate::reader::RowTargets;
use crate::{KvCache, LossRow, NetworkError, NetworkInput, NetworkSpec};
use aquatint_compute::{ReadRow, summarise};
use std::sync::OnceLock;

/// Says what it believes the clean canvas is.
pub trait Denoiser: Send + Sync {
    /// What the network is.
    fn spec(&self) -> &NetworkSpec;

    /// Hands the logits of the clean token at each of `rows` to `read` while they are there: the index among `rows` and
    /// `V` logits, which may be changed. It is called by any thread, in any order; never all rows' logits are kept.
    ///
    /// Shifts are undone, and the logit of the mask is −∞, because a clean token is never the mask (MDLM, 2406.07524,
    /// section 3.2.3). A row's answer does not depend on the other sequences of the batch.
    fn forward_rows(&self, input: &NetworkInput<'_>, rows: &[u32], read: &ReadRow<'_>) -> Result<(), NetworkError>;

    /// As [`Denoiser::forward_rows`], reading only the rows `rows_to_compute`, which ascend and hold all of `rows`; of the others it
    /// takes what `kv_caches`, one for each sequence, hold from earlier readings, and what is read is remembered for the
    /// next one. A denoiser that remembers nothing reads everything.
    ///
    /// # Errors
    /// When a row that is asked for is not read, one that is read sees one that is neither read nor remembered, or a
    /// memory is of another network or of a sequence of another length.
    fn forward_cached(
        &self,
        input: &NetworkInput<'_>,
        rows_to_compute: &[u32],
        kv_caches: &mut [KvCache],
        rows: &[u32],
        read: &ReadRow<'_>,
    ) -> Result<(), NetworkError> {
        let _ = (rows_to_compute, kv_caches);
        self.forward_rows(input, rows, read)
    }

    /// All these logits, `[rows, V]`, in the order asked.
    fn forward(&self, input: &NetworkInput<'_>, rows: &[u32]) -> Result<Vec<f32>, NetworkError> {
        let slots: Vec<OnceLock<Vec<f32>>> = rows.iter().map(|_| OnceLock::new()).collect();
        self.forward_rows(input, rows, &|index, logits| {
            // Each index comes once.
            let _ = slots[index].set(logits.to_vec());
        })?;
        Ok(slots.into_iter().filter_map(OnceLock::into_inner).flatten().collect())
    }

    /// The word vectors of a gaussian field, `[V, E]`; `None` for a network without.
    fn word_vectors(&self) -> Result<Option<Vec<f32>>, NetworkError> {
        Ok(None)
    }

    /// The negative log-likelihood of each row's target, in nats; weights are not read.
    ///
    /// # Errors
    /// When a target cannot be: it is the mask, or beyond the vocabulary.
    fn nll(&self, input: &NetworkInput<'_>, rows: &[LossRow]) -> Result<Vec<f64>, NetworkError> {
        nll_from_logits(self, input, rows)
    }
}

/// Measures by looking at each row's logits.
pub(crate) fn nll_from_logits<D: Denoiser + ?Sized>(
    denoiser: &D,
    input: &NetworkInput<'_>,
    rows: &[LossRow],
) -> Result<Vec<f64>, NetworkError> {
    let asked = RowTargets::new(denoiser.spec(), rows)?;
    let costs: Vec<OnceLock<f64>> = rows.iter().map(|_| OnceLock::new()).collect();
    denoiser.forward_rows(input, &asked.rows, &|index, logits| {
        let cost = summarise(logits).log_sum_exp - f64::from(logits[asked.ids[index] as usize]);
        // Each index comes once.
        let _ = costs[index].set(cost);
    })?;
    Ok(costs.into_iter().filter_map(OnceLock::into_inner).collect())
}

/// A denoiser that can be told what was true.
pub trait Learner: Denoiser {
    /// The negative log-likelihood of each row's target, in nats; adds the gradient of `Σ weight · cost` to what was
    /// collected since the gradients were last cleared.
    fn forward_backward(&mut self, input: &NetworkInput<'_>, rows: &[LossRow]) -> Result<Vec<f64>, NetworkError>;

    /// Any other cost of beliefs: hands each row's belief, `V` probabilities, to `cost`, which turns it into the gradient of
    /// the row's cost with respect to the logits; adds the gradient of the sum to what was collected.
    ///
    /// `cost` is called by any thread, in any order; never all rows' beliefs are kept.
    fn forward_backward_with(
        &mut self,
        input: &NetworkInput<'_>,
        rows: &[u32],
        cost: &ReadRow<'_>,
    ) -> Result<(), NetworkError>;

    /// Makes each word vector of a gaussian field one of length 1 again, after an update; nothing for other networks.
    fn normalise_word_vectors(&mut self);

    /// Sets all gradients to zero.
    fn clear_gradients(&mut self);

    /// The Euclidean norm of all gradients together.
    fn gradient_norm(&self) -> f64;

    /// Of how many blocks, from the first, learning keeps the input only and runs the block again when its gradient is due:
    /// about a third more arithmetic of theirs for a fraction of the memory, and the same gradients to the bit. More than
    /// there are means all; [`Activations`](crate::Activations) says what a block's take.
    fn recompute_activations(&mut self, layers: usize);
}
