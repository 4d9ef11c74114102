//! What samplers know of a network.
//!
//! Every method of [`Denoiser`] is required, so that a wrapper which forgets to delegate one does not compile. Whole
//! rows of logits are asked for by name, through [`WholeRows`].

use crate::reader::RowTargets;
use crate::row_query::{Query, RowAnswer, RowQuery, answer_on_host};
use crate::{KvCache, LossRow, NetworkError, NetworkInput, NetworkSpec, RowSlots};
use aquatint_compute::{ReadRow, softmax_row, summarise};
use aquatint_diffusion::{LossTerm, WordVectors};

/// One forward pass: its batch, and the KV caches that it uses.
#[derive(Debug)]
pub struct ForwardPass<'a> {
    /// The batch.
    pub input: &'a NetworkInput<'a>,
    /// Where only some rows are computed; without it all are, and nothing is cached.
    pub cached: Option<CachedRows<'a>>,
}

/// Which rows of a batch are computed, and the KV caches of the others.
#[derive(Debug)]
pub struct CachedRows<'a> {
    /// The rows that are computed, ascending, and with them the [`answering_row`](crate::HeadSpec::answering_row) of each
    /// query. Their keys and values are cached for the next pass.
    pub rows_to_compute: &'a [u32],
    /// One for each sequence.
    pub kv_caches: &'a mut [KvCache],
}

/// Predicts the clean canvas.
pub trait Denoiser: Send + Sync {
    /// What the network is.
    fn spec(&self) -> &NetworkSpec;

    /// The word vectors of a gaussian field; none for other networks.
    ///
    /// # Errors
    /// When the device fails.
    fn word_vectors(&self) -> Result<WordVectors, NetworkError>;

    /// Answers queries about the logits of the clean token at some rows, in the order of the queries, which may be of
    /// any kinds and several of one row. Only whole rows ([`Query::WholeRow`]) go to `read`, with the
    /// index of their query; it may change them, and is called by any thread, in any order. Never all rows' logits are
    /// kept.
    ///
    /// Shifts are undone, and the logit of the mask is −∞, because a clean token is never the mask (MDLM, 2406.07524,
    /// section 3.2.3). A row's answer depends neither on the other sequences of the batch nor on the other queries.
    ///
    /// A denoiser without a KV cache computes all rows, whatever the pass says.
    ///
    /// # Errors
    /// When the input does not fit the network, a row that is asked for is not computed, one that is computed sees one
    /// that is neither computed nor cached, or a cache is of another network or of a longer sequence.
    fn forward(
        &self,
        pass: ForwardPass<'_>,
        queries: &[RowQuery<'_>],
        read: &ReadRow<'_>,
    ) -> Result<Vec<RowAnswer>, NetworkError>;

    /// The negative log-likelihood of each row's target, in nats; weights are not read.
    ///
    /// # Errors
    /// When the input does not fit the network, or a target cannot be: it is the mask, or beyond the vocabulary.
    fn nll(&self, input: &NetworkInput<'_>, rows: &[LossRow]) -> Result<Vec<f64>, NetworkError>;

    /// What the prediction at each term's row costs by the term's own [`Cost`](aquatint_diffusion::Cost); the position
    /// of a term is its row in the batch, its weight is not read.
    ///
    /// # Errors
    /// As [`Denoiser::nll`].
    fn costs(&self, input: &NetworkInput<'_>, terms: &[LossTerm]) -> Result<Vec<f64>, NetworkError>;

    /// By how much `Σ weight · log p(target)` of the targets grows with the share of each token in what each of `rows` reads,
    /// `[rows, V]`: the gradient with respect to the rows as one-hot vectors, `⟨E_v, ∂/∂x⟩` with `E` the embedding table.
    /// To first order, a row that reads `v` in place of `u` changes the sum by the difference of their entries (D-CBG,
    /// 2412.10193, section 3.2). Nothing is learned.
    ///
    /// # Errors
    /// As [`Denoiser::nll`]; when the input has points; and [`NetworkError::NoGradients`] of a denoiser that has none.
    fn token_gradients(
        &self,
        input: &NetworkInput<'_>,
        targets: &[LossRow],
        rows: &[u32],
    ) -> Result<Vec<f32>, NetworkError>;

    /// Bytes that a [`KvCache`] of so many rows takes; 0 for a denoiser without one.
    fn kv_cache_bytes(&self, rows: usize) -> usize;
}

/// Whole rows of logits, by name: for guidance, constraints and teachers. Every [`Denoiser`] has these methods and none
/// implements them.
pub trait WholeRows: Denoiser {
    /// Hands the logits of the clean token at each of `rows` to `read` while they are there: the index among `rows` and
    /// `V` logits, which may be changed. It is called by any thread, in any order; never all rows' logits are kept.
    ///
    /// # Errors
    /// As [`Denoiser::forward`].
    fn forward_rows(&self, input: &NetworkInput<'_>, rows: &[u32], read: &ReadRow<'_>) -> Result<(), NetworkError> {
        self.forward(ForwardPass { input, cached: None }, &whole(rows), read).map(drop)
    }

    /// The same, computing only some rows; all of `rows` have to be among them.
    ///
    /// # Errors
    /// As [`Denoiser::forward`].
    fn forward_cached(
        &self,
        input: &NetworkInput<'_>,
        cached: CachedRows<'_>,
        rows: &[u32],
        read: &ReadRow<'_>,
    ) -> Result<(), NetworkError> {
        self.forward(ForwardPass { input, cached: Some(cached) }, &whole(rows), read).map(drop)
    }

    /// All these logits, `[rows, V]`, in the order asked.
    ///
    /// # Errors
    /// As [`Denoiser::forward`].
    fn logits(&self, input: &NetworkInput<'_>, rows: &[u32]) -> Result<Vec<f32>, NetworkError> {
        let slots = RowSlots::new(rows.len());
        self.forward_rows(input, rows, &|index, logits| {
            slots.set(index, logits.to_vec());
        })?;
        Ok(slots.into_vec()?.concat())
    }
}

impl<D: Denoiser + ?Sized> WholeRows for D {}

fn whole(rows: &[u32]) -> Vec<RowQuery<'static>> {
    rows.iter().map(|&row| RowQuery { row, query: Query::WholeRow }).collect()
}

/// A denoiser whose logits are made on the host, such as a prediction in closed form: it has only to hand them over,
/// and is a [`Denoiser`] by that. It has no KV cache.
pub trait HostDenoiser: Send + Sync {
    /// What the network is, or would be.
    fn host_spec(&self) -> &NetworkSpec;

    /// The word vectors of a gaussian field; none for other networks.
    fn host_word_vectors(&self) -> WordVectors;

    /// Hands the logits at each of `rows` to `read`, once: the index among `rows` and `V` logits.
    ///
    /// # Errors
    /// When the input does not fit.
    fn host_rows(&self, input: &NetworkInput<'_>, rows: &[u32], read: &ReadRow<'_>) -> Result<(), NetworkError>;
}

impl<H: HostDenoiser> Denoiser for H {
    fn spec(&self) -> &NetworkSpec {
        self.host_spec()
    }

    fn word_vectors(&self) -> Result<WordVectors, NetworkError> {
        Ok(self.host_word_vectors())
    }

    fn forward(
        &self,
        pass: ForwardPass<'_>,
        queries: &[RowQuery<'_>],
        read: &ReadRow<'_>,
    ) -> Result<Vec<RowAnswer>, NetworkError> {
        let (size, vectors) = (self.host_spec().vocabulary_size, self.host_word_vectors());
        answer_on_host(queries, size, vectors.view(), read, |rows, read| self.host_rows(pass.input, rows, read))
    }

    fn nll(&self, input: &NetworkInput<'_>, rows: &[LossRow]) -> Result<Vec<f64>, NetworkError> {
        nll_on_host(self, input, rows)
    }

    fn costs(&self, input: &NetworkInput<'_>, terms: &[LossTerm]) -> Result<Vec<f64>, NetworkError> {
        costs_on_host(self, input, terms)
    }

    fn token_gradients(&self, _: &NetworkInput<'_>, _: &[LossRow], _: &[u32]) -> Result<Vec<f32>, NetworkError> {
        Err(NetworkError::NoGradients { reason: "predictions are in closed form" })
    }

    fn kv_cache_bytes(&self, _: usize) -> usize {
        0
    }
}

/// [`Denoiser::nll`] from whole rows.
pub(crate) fn nll_on_host<D: Denoiser + ?Sized>(
    denoiser: &D,
    input: &NetworkInput<'_>,
    rows: &[LossRow],
) -> Result<Vec<f64>, NetworkError> {
    let requested = RowTargets::new(denoiser.spec(), rows)?;
    let costs = RowSlots::new(rows.len());
    denoiser.forward_rows(input, &requested.rows, &|index, logits| {
        let cost = summarise(logits).log_sum_exp - f64::from(logits[requested.ids[index] as usize]);
        costs.set(index, cost);
    })?;
    costs.into_vec()
}

/// [`Denoiser::costs`] from whole rows.
pub(crate) fn costs_on_host<D: Denoiser + ?Sized>(
    denoiser: &D,
    input: &NetworkInput<'_>,
    terms: &[LossTerm],
) -> Result<Vec<f64>, NetworkError> {
    let requested = RowTargets::of_terms(denoiser.spec(), terms)?;
    let vectors = denoiser.word_vectors()?;
    let costs = RowSlots::new(terms.len());
    denoiser.forward_rows(input, &requested.rows, &|index, logits| {
        softmax_row(logits);
        let LossTerm { target, cost, .. } = terms[index];
        costs.set(index, cost.value(target, logits, vectors.view()));
    })?;
    costs.into_vec()
}
