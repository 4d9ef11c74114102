//! Norms of rows and heads, and rotary positions.

use super::{AttentionShape, Memory};
use crate::{QueryGrowth, Rotation};

/// What [`Norm::rms_norm`] reads.
#[derive(Debug)]
pub struct RmsNorm<'a, B: ?Sized> {
    /// `D`: columns of a row.
    pub columns: usize,
    /// Added to the mean of squares.
    pub epsilon: f64,
    /// `[T, D]`.
    pub x: &'a B,
    /// `[D]`; without it the factor is 1.
    pub weight: Option<&'a B>,
}

impl<'a, B: ?Sized> RmsNorm<'a, B> {
    /// The same with other views of the buffers.
    pub(crate) fn map<C: ?Sized>(self, view: impl Fn(&'a B) -> &'a C) -> RmsNorm<'a, C> {
        let Self { columns, epsilon, x, weight } = self;
        RmsNorm { columns, epsilon, x: view(x), weight: weight.map(view) }
    }
}

/// What [`Norm::rms_norm_backward`] reads.
#[derive(Debug)]
pub struct RmsNormBackward<'a, B: ?Sized> {
    /// `D`: columns of a row.
    pub columns: usize,
    /// `[T, D]`.
    pub x: &'a B,
    /// `[D]`; without it the factor is 1.
    pub weight: Option<&'a B>,
    /// `[T]`, as the forward pass left it.
    pub inverse_rms: &'a B,
    /// `[T, D]`.
    pub d_out: &'a B,
    /// Whether to add to the gradient of the input that is there.
    pub accumulate: bool,
}

impl<'a, B: ?Sized> RmsNormBackward<'a, B> {
    /// The same with other views of the buffers.
    pub(crate) fn map<C: ?Sized>(self, view: impl Fn(&'a B) -> &'a C) -> RmsNormBackward<'a, C> {
        let Self { columns, x, weight, inverse_rms, d_out, accumulate } = self;
        let (x, weight, inverse_rms, d_out) = (view(x), weight.map(&view), view(inverse_rms), view(d_out));
        RmsNormBackward { columns, x, weight, inverse_rms, d_out, accumulate }
    }
}

/// What [`Norm::layer_norm`] reads.
#[derive(Debug)]
pub struct LayerNorm<'a, B: ?Sized> {
    /// `D`: columns of a row.
    pub columns: usize,
    /// Added to the variance.
    pub epsilon: f64,
    /// `[T, D]`.
    pub x: &'a B,
    /// `[D]`.
    pub weight: &'a B,
}

impl<'a, B: ?Sized> LayerNorm<'a, B> {
    /// The same with other views of the buffers.
    pub(crate) fn map<C: ?Sized>(self, view: impl Fn(&'a B) -> &'a C) -> LayerNorm<'a, C> {
        let Self { columns, epsilon, x, weight } = self;
        LayerNorm { columns, epsilon, x: view(x), weight: view(weight) }
    }
}

/// What [`Norm::layer_norm_backward`] reads.
#[derive(Debug)]
pub struct LayerNormBackward<'a, B: ?Sized> {
    /// `D`: columns of a row.
    pub columns: usize,
    /// `[T, D]`.
    pub x: &'a B,
    /// `[D]`.
    pub weight: &'a B,
    /// `[T, 2]`, as the forward pass left them.
    pub moments: &'a B,
    /// `[T, D]`.
    pub d_out: &'a B,
    /// Whether to add to the gradient of the input that is there.
    pub accumulate: bool,
}

impl<'a, B: ?Sized> LayerNormBackward<'a, B> {
    /// The same with other views of the buffers.
    pub(crate) fn map<C: ?Sized>(self, view: impl Fn(&'a B) -> &'a C) -> LayerNormBackward<'a, C> {
        let Self { columns, x, weight, moments, d_out, accumulate } = self;
        let (x, weight, moments, d_out) = (view(x), view(weight), view(moments), view(d_out));
        LayerNormBackward { columns, x, weight, moments, d_out, accumulate }
    }
}

/// Rotary positions and per-head norms of queries, keys and values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RopeShape {
    /// Heads and sizes.
    pub attention: AttentionShape,
    /// How queries and keys turn.
    pub rotation: Rotation,
    /// Epsilon of the per-head RMS norms.
    pub epsilon: f64,
    /// Whether values are normed too, without a weight.
    pub value_norm: bool,
    /// What queries are multiplied by; 1 leaves them. It makes another scale of the scores than `1/√E`.
    pub query_scale: f64,
    /// What queries are multiplied by besides, as their position says.
    pub query_growth: Option<QueryGrowth>,
}

impl RopeShape {
    /// Whole heads that turn by geometric frequencies, no norm of values, queries as they are.
    pub fn new(attention: AttentionShape, theta: f64, epsilon: f64) -> Self {
        let rotation = Rotation::new(theta, attention.head_size);
        Self { attention, rotation, epsilon, value_norm: false, query_scale: 1.0, query_growth: None }
    }

    /// Whether the query of any position is multiplied by something.
    pub(crate) fn scales_queries(&self) -> bool {
        self.query_scale != 1.0 || self.query_growth.is_some()
    }

    /// What the query of a position is multiplied by.
    pub(crate) fn query_factor(&self, position: u32) -> f64 {
        self.query_growth.map_or(self.query_scale, |growth| self.query_scale * growth.at(position))
    }
}

/// Weights of the norms of query and key heads, `[E]` each.
#[derive(Debug)]
pub struct HeadNorms<'a, B: ?Sized> {
    /// Of queries.
    pub query: &'a B,
    /// Of keys.
    pub key: &'a B,
}

impl<B: ?Sized> Clone for HeadNorms<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<B: ?Sized> Copy for HeadNorms<'_, B> {}

impl<'a, B: ?Sized> HeadNorms<'a, B> {
    /// The same with other views of the buffers.
    pub(crate) fn map<C: ?Sized>(self, view: impl Fn(&'a B) -> &'a C) -> HeadNorms<'a, C> {
        HeadNorms { query: view(self.query), key: view(self.key) }
    }
}

/// Gradients of [`HeadNorms`], which are added to.
#[derive(Debug)]
pub struct HeadNormGradients<'a, B: ?Sized> {
    /// Of queries.
    pub query: &'a mut B,
    /// Of keys.
    pub key: &'a mut B,
}

impl<'a, B: ?Sized> HeadNormGradients<'a, B> {
    /// The same with other views of the buffers.
    pub(crate) fn map<C: ?Sized>(self, view: impl Fn(&'a mut B) -> &'a mut C) -> HeadNormGradients<'a, C> {
        HeadNormGradients { query: view(self.query), key: view(self.key) }
    }
}

/// What [`Norm::rope`] reads.
#[derive(Debug)]
pub struct Rope<'a, B: ?Sized, I: ?Sized> {
    /// Heads, sizes and frequencies.
    pub shape: RopeShape,
    /// `[T, A]`: the index of each row on each axis of the rotation; with one axis, the position of each row.
    pub positions: &'a I,
    /// `[T, (H + 2 G) E]`.
    pub packed: &'a B,
    /// Where heads are normed before they turn.
    pub norms: Option<HeadNorms<'a, B>>,
}

impl<'a, B: ?Sized, I: ?Sized> Rope<'a, B, I> {
    /// The same with other views of the buffers.
    pub(crate) fn map<C: ?Sized>(self, view: impl Fn(&'a B) -> &'a C) -> Rope<'a, C, I> {
        let Self { shape, positions, packed, norms } = self;
        Rope { shape, positions, packed: view(packed), norms: norms.map(|norms| norms.map(view)) }
    }
}

/// Norms and positions.
pub trait Norm: Memory {
    /// RMS norm of each row: `out = x / rms(x) · weight`, `inverse_rms[T] = 1 / sqrt(mean(x²) + ε)` kept for the
    /// backward pass.
    fn rms_norm(&self, operands: RmsNorm<'_, Self::Buffer>, out: &mut Self::Buffer, inverse_rms: &mut Self::Buffer);
    /// Gradients of [`Norm::rms_norm`]: overwrites `d_x` (adds when `accumulate`), accumulates `d_weight`.
    fn rms_norm_backward(
        &self,
        operands: RmsNormBackward<'_, Self::Buffer>,
        d_x: &mut Self::Buffer,
        d_weight: Option<&mut Self::Buffer>,
    );
    /// Layer norm of each row: `out = (x − mean(x)) / √(var(x) + ε) · weight`; `moments[T, 2]`, the mean and
    /// `1 / √(var(x) + ε)`, are kept for the backward pass.
    fn layer_norm(&self, operands: LayerNorm<'_, Self::Buffer>, out: &mut Self::Buffer, moments: &mut Self::Buffer);
    /// Gradients of [`Norm::layer_norm`]: overwrites `d_x` (adds when `accumulate`), accumulates `d_weight`.
    fn layer_norm_backward(
        &self,
        operands: LayerNormBackward<'_, Self::Buffer>,
        d_x: &mut Self::Buffer,
        d_weight: Option<&mut Self::Buffer>,
    );
    /// Per-head RMS norm of queries and keys (where weights are given), rotation by position, and the factor of queries;
    /// values are copied, or normed. `out` is `[T, (H + 2 G) E]`.
    fn rope(&self, operands: Rope<'_, Self::Buffer, Self::Indices>, out: &mut Self::Buffer);
    /// Gradients of [`Norm::rope`]: overwrites `d_packed`, accumulates `d_norms`.
    fn rope_backward(
        &self,
        operands: Rope<'_, Self::Buffer, Self::Indices>,
        d_out: &Self::Buffer,
        d_packed: &mut Self::Buffer,
        d_norms: Option<HeadNormGradients<'_, Self::Buffer>>,
    );
}
