//! Mixtures of experts: which experts a row goes to, products over rows sorted by expert, and the way back to the rows.
//!
//! A row has `K` experts of `N`. Its copies, one for each of its experts, are the *places* of a matrix `[T·K, D]` that
//! is sorted by expert, so that the rows of one expert are neighbours and one product serves them all. A copy's result
//! does not depend on the other rows of its expert.

use super::{Activation, DeviceError, Linear, LinearShape};
use std::fmt::Debug;
use std::ops::Range;

/// How a row chooses its experts, from one logit for each of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Router {
    /// Experts that there are.
    pub experts: usize,
    /// `K`: experts of a row, no more than there are in the groups that it may choose from.
    pub per_token: usize,
    /// What becomes of the logits.
    pub score: RouterScore,
    /// Groups of neighbouring experts, a divisor of `experts`; 1 where all are one group.
    pub groups: usize,
    /// Groups from which a row may choose: those whose two best experts have the greatest sum.
    pub groups_per_token: usize,
    /// Experts among which the rows of a block have theirs: those of the greatest score with the bias that any row of the
    /// block has, of equals the first (LLaDA2.2). No fewer than `per_token`, and only where all experts are one group;
    /// `None` where each row chooses by itself.
    pub per_block: Option<usize>,
    /// Whether the weights of a row's experts are divided by their sum.
    pub normalised: bool,
    /// What the weights are multiplied by in the end.
    pub scale: f64,
}

/// What becomes of a router's logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouterScore {
    /// Probabilities over all experts (Switch Transformer: Fedus et al., 2101.03961, equation 1).
    Softmax,
    /// Each by itself between 0 and 1 (DeepSeek-V3: 2412.19437, equation 15).
    Sigmoid,
}

/// What [`Experts::route`] reads.
#[derive(Debug)]
pub struct RouterLogits<'a, B: ?Sized, I: ?Sized> {
    /// `[T, N]`.
    pub logits: &'a B,
    /// `[N]`: added to the scores where experts are chosen, and not to their weights (2408.15664).
    pub bias: Option<&'a B>,
    /// `[B + 1]`, for a router with [`Router::per_block`]: the first row of each block, and `T`. Ascending from 0; without
    /// it each row is a block.
    pub blocks: Option<&'a I>,
}

/// What [`Experts::route_backward`] reads.
#[derive(Debug)]
pub struct RouteBackward<'a, B: ?Sized, I: ?Sized> {
    /// `[T, N]`.
    pub logits: &'a B,
    /// `[T, K]`: the experts of each row, as the forward pass chose them.
    pub chosen: &'a I,
    /// `[T, K]`.
    pub d_weights: &'a B,
}

/// What [`Experts::combine`] reads.
#[derive(Debug)]
pub struct Combine<'a, B: ?Sized, I: ?Sized> {
    /// `D`.
    pub columns: usize,
    /// `K`.
    pub per_token: usize,
    /// `[T, K]`: where the results for each row are.
    pub places: &'a I,
    /// `[T, K]`.
    pub weights: &'a B,
    /// `[T·K, D]`, sorted by expert.
    pub sorted: &'a B,
}

impl<'a, B: ?Sized, I: ?Sized> Combine<'a, B, I> {
    /// The same with other views of the buffers.
    pub(crate) fn map<C: ?Sized>(self, view: impl Fn(&'a B) -> &'a C) -> Combine<'a, C, I> {
        let Self { columns, per_token, places, weights, sorted } = self;
        Combine { columns, per_token, places, weights: view(weights), sorted: view(sorted) }
    }
}

/// Neighbouring rows that are multiplied by one matrix.
#[derive(Debug, Clone)]
pub struct RowGroup<W> {
    /// Which rows.
    pub rows: Range<usize>,
    /// The matrix.
    pub weight: W,
}

/// A matrix `[N, K]` of a product: as it is where it is learned, else prepared.
#[derive(Debug)]
pub enum Factor<'a, B: ?Sized, P: ?Sized> {
    /// Row-major values.
    Values(&'a B),
    /// As the device prepared it.
    Prepared(&'a P),
}

impl<B: ?Sized, P: ?Sized> Clone for Factor<'_, B, P> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<B: ?Sized, P: ?Sized> Copy for Factor<'_, B, P> {}

/// What [`Experts::grouped_linear`] reads. Groups follow each other without gaps, and no group is empty. They may be some
/// of all: rows of the output that are of no group stay as they are.
#[derive(Debug)]
pub struct GroupedOperands<'a, B: ?Sized, W> {
    /// The shape of all groups together.
    pub shape: LinearShape,
    /// `[T, K]`.
    pub x: &'a B,
    /// The rows of each matrix `[N, K]`.
    pub groups: &'a [RowGroup<W>],
}

/// What [`Experts::grouped_backward_weight`] reads.
#[derive(Debug)]
pub struct GroupBackwardWeight<'a, B: ?Sized> {
    /// The shape of all groups together.
    pub shape: LinearShape,
    /// `[T, N]`.
    pub d_out: &'a B,
    /// `[T, K]`.
    pub x: &'a B,
    /// The rows of the one group.
    pub rows: Range<usize>,
}

/// Operations of mixtures of experts.
pub trait Experts: Linear {
    /// The experts of each row, `[T, K]` in ascending order, and their weights `[T, K]`: those of the greatest score with
    /// the bias, in the groups of the greatest scores or among those of the row's block; of equals the first. A score that
    /// is no number is the least. The rows of a block are all there, and no other row changes what they choose.
    ///
    /// # Errors
    /// When the device fails.
    fn route(
        &self,
        router: &Router,
        operands: RouterLogits<'_, Self::Buffer, Self::Indices>,
        weights: &mut Self::Buffer,
    ) -> Result<Vec<u32>, DeviceError>;
    /// Gradient of the weights of [`Experts::route`] with respect to the logits, `[T, N]`; the choice is constant.
    fn route_backward(
        &self,
        router: &Router,
        operands: RouteBackward<'_, Self::Buffer, Self::Indices>,
        d_logits: &mut Self::Buffer,
    );

    /// `out[t] = Σ_k weights[t, k] · sorted[places[t, k]]`, in the order of `k`; out `[T, D]`.
    fn combine(&self, operands: Combine<'_, Self::Buffer, Self::Indices>, out: &mut Self::Buffer);
    /// Gradients of [`Experts::combine`]; overwrites both.
    fn combine_backward(
        &self,
        operands: Combine<'_, Self::Buffer, Self::Indices>,
        d_out: &Self::Buffer,
        d_weights: &mut Self::Buffer,
        d_sorted: &mut Self::Buffer,
    );

    /// `out = x wᵀ`, each group of rows with its own matrix; out `[T, N]`.
    fn grouped_linear(
        &self,
        operands: GroupedOperands<'_, Self::Buffer, Factor<'_, Self::Buffer, Self::Prepared>>,
        out: &mut Self::Buffer,
    );
    /// `out = f(x gateᵀ) · (x upᵀ)`, each group of rows with its own pair of gate and what it is for; `N` of the shape
    /// is the width of each.
    fn grouped_glu(
        &self,
        activation: Activation,
        operands: GroupedOperands<'_, Self::Buffer, (&Self::Prepared, &Self::Prepared)>,
        out: &mut Self::Buffer,
    );
    /// `d_x = d_out w`, each group of rows with its own matrix; `x` of the operands is `d_out`, `[T, N]`.
    fn grouped_backward_input(
        &self,
        operands: GroupedOperands<'_, Self::Buffer, Factor<'_, Self::Buffer, Self::Prepared>>,
        d_x: &mut Self::Buffer,
    );
    /// `d_weight += d_outᵀ x` over the rows of one group.
    fn grouped_backward_weight(&self, operands: GroupBackwardWeight<'_, Self::Buffer>, d_weight: &mut Self::Buffer);
}
