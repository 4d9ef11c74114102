//! What rows of logits cost, and the gradients of the costs.

use super::logits::{Evidence, ReadRow};
use super::{DeviceError, Later, Linear, LinearShape};

/// The head of a loss: as it is, or prepared where it is not trained.
#[derive(Debug)]
pub enum Head<'a, B: ?Sized, P: ?Sized> {
    /// `[V, D]`, read by the backward too.
    Values(&'a B),
    /// `[V, D]`; only the gradient of the hidden rows is made.
    Prepared(&'a P),
}

/// Rows of logits that are paid for.
#[derive(Debug)]
pub struct LossRows<'a, B: ?Sized, P: ?Sized> {
    /// `R` rows of `D` columns, `V` outputs.
    pub shape: LinearShape,
    /// `[R, D]`.
    pub hidden: &'a B,
    /// The head.
    pub head: Head<'a, B, P>,
    /// `[V]`.
    pub bias: Option<&'a B>,
    /// As in [`LogitRows`](super::LogitRows).
    pub soft_cap: Option<f64>,
    /// A token whose logit is −∞ (SUBS: a clean token is never the mask).
    pub forbidden: Option<u32>,
    /// What is added beside the head; no gradient flows through it.
    pub evidence: Option<Evidence<'a, B>>,
}

/// Where the gradients of a loss go.
#[derive(Debug)]
pub struct LossGradients<'a, B: ?Sized> {
    /// `[R, D]`, overwritten.
    pub hidden: &'a mut B,
    /// `[V, D]`, added to; `None` where the head is not learned.
    pub head: Option<&'a mut B>,
    /// `[V]`, added to; `None` where there is no bias, or it is not learned.
    pub bias: Option<&'a mut B>,
}

impl<'a, B: ?Sized> LossGradients<'a, B> {
    /// The same with other views of the buffers.
    pub(crate) fn map<C: ?Sized>(self, view: impl Fn(&'a mut B) -> &'a mut C) -> LossGradients<'a, C> {
        LossGradients { hidden: view(self.hidden), head: self.head.map(&view), bias: self.bias.map(&view) }
    }
}

/// What each row of a cross-entropy is scored against.
#[derive(Debug, Clone, Copy)]
pub struct Targets<'a> {
    /// The true id of each row.
    pub ids: &'a [u32],
    /// What each row's cost weighs in the gradient.
    pub weights: &'a [f64],
}

/// What one row costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowCost {
    /// The true token.
    pub target: u32,
    /// What the cost weighs in the gradient.
    pub weight: f64,
    /// How the row's probabilities `p` are paid for.
    pub kind: CostKind,
}

/// What a row was found to cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowLoss {
    /// The cost, by the row's own kind; not weighted.
    pub cost: f64,
    /// `−ln p(target)`, in nats, whatever the kind; a probability counts as at least the smallest normal f32.
    pub nll: f64,
}

/// How probabilities over the vocabulary are paid for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CostKind {
    /// `−ln p(target)`, in nats; a probability counts as at least the smallest normal f32.
    CrossEntropy,
    /// The ratios of the marginals of a discrete process under `p` beside the true ones, in nats.
    Ratio(RatioCost),
    /// `‖Σ p(v) e_v − e_target‖²` of the vectors given with the rows.
    Distance,
}

/// The law of what a position shows, for [`CostKind::Ratio`]: `(KL(q ‖ a) + IS(q(z) ‖ a(z))) / q(z)` with q the
/// marginal of the target, a that of `p`, z what is shown and `IS(x ‖ y) = x/y − 1 − ln(x/y)` (UDLM, 2412.10193,
/// equation 18; GIDD, 2503.04482, theorem 3.1). A marginal is `α` at the clean token and `text` or `masked` beside it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RatioCost {
    /// The token shown.
    pub shown: u32,
    /// Probability that a token is untouched.
    pub alpha: f64,
    /// Probability that noise writes one certain token of text.
    pub text: f64,
    /// Probability that noise writes the mask.
    pub masked: f64,
    /// The mask.
    pub mask: Option<u32>,
    /// Whether `p` is a posterior, which includes the evidence of the shown token; its gradient is then that of the
    /// leave-one-out prediction.
    pub posterior: bool,
}

/// Vectors of all tokens, `[V, E]`.
#[derive(Debug)]
pub struct TokenVectors<'a, B: ?Sized> {
    /// `E`.
    pub size: usize,
    /// The vectors.
    pub values: &'a B,
}

impl<B: ?Sized> Clone for TokenVectors<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<B: ?Sized> Copy for TokenVectors<'_, B> {}

/// Losses over rows of `hidden headᵀ`, never keeping the `R × V` logits whole.
///
/// Requested gradients are those of `Σ weight[i] · cost[i]`.
pub trait Loss: Linear {
    /// Softmax cross-entropy: the negative log-likelihood of each target, in nats.
    ///
    /// # Errors
    /// When the device lacks the memory.
    fn linear_cross_entropy(
        &self,
        logits: LossRows<'_, Self::Buffer, Self::Prepared>,
        targets: Targets<'_>,
        gradients: Option<LossGradients<'_, Self::Buffer>>,
    ) -> Result<Later<Vec<f64>>, DeviceError>;

    /// What each row's softmax costs, row by row of its own kind, and the negative log-likelihood of its target.
    ///
    /// # Errors
    /// When the device lacks the memory.
    fn linear_cost_rows(
        &self,
        logits: LossRows<'_, Self::Buffer, Self::Prepared>,
        costs: &[RowCost],
        vectors: Option<TokenVectors<'_, Self::Buffer>>,
        gradients: Option<LossGradients<'_, Self::Buffer>>,
    ) -> Result<Later<Vec<RowLoss>>, DeviceError>;

    /// Any other cost: hands each row of logits to `read`, which turns it into the gradient of the cost. `read` is
    /// called by any thread, in any order.
    ///
    /// # Errors
    /// When the device lacks the memory.
    fn linear_learn_rows(
        &self,
        logits: LossRows<'_, Self::Buffer, Self::Prepared>,
        read: &ReadRow<'_>,
        gradients: LossGradients<'_, Self::Buffer>,
    ) -> Result<(), DeviceError>;
}
