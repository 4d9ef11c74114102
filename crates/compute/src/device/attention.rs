//! Attention over visible rows.

use super::Memory;
use super::memory::Columns;

/// Shape of attention over a packed `[T, (H + 2 G) E]` matrix: queries, then keys, then values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionShape {
    /// `H`.
    pub heads: usize,
    /// `G`, a divisor of `H`: query head `h` reads key/value head `h / (H / G)`.
    pub key_value_heads: usize,
    /// `E`, even.
    pub head_size: usize,
}

impl AttentionShape {
    /// Columns of the packed matrix: `(H + 2 G) E`.
    pub fn packed_columns(&self) -> usize {
        self.output_columns() + self.key_value_columns()
    }
    /// Columns of keys and values, in the packed matrix and in a cache: `2 G E`.
    pub fn key_value_columns(&self) -> usize {
        2 * self.key_value_heads * self.head_size
    }
    /// Columns of the output and of the queries: `H E`.
    pub fn output_columns(&self) -> usize {
        self.heads * self.head_size
    }
}

/// Rows of a matrix: all of them, or those of a list.
#[derive(Debug)]
pub enum Rows<'a, I: ?Sized> {
    /// All.
    All,
    /// These, ascending.
    At(&'a I),
}

/// What [`Attention::attention`] reads.
#[derive(Debug)]
pub struct AttentionOperands<'a, B: ?Sized, V: ?Sized> {
    /// Heads and sizes.
    pub shape: AttentionShape,
    /// What each of the `T` rows sees.
    pub visible: &'a V,
    /// `[T, (H + 2 G) E]`.
    pub packed: &'a B,
}

impl<'a, B: ?Sized, V: ?Sized> AttentionOperands<'a, B, V> {
    /// The same with other views of the buffers.
    pub(crate) fn map<C: ?Sized>(self, view: impl Fn(&'a B) -> &'a C) -> AttentionOperands<'a, C, V> {
        AttentionOperands { shape: self.shape, visible: self.visible, packed: view(self.packed) }
    }
}

/// What [`Attention::attention_rows`] reads.
#[derive(Debug)]
pub struct AttentionRows<'a, B: ?Sized, I: ?Sized, V: ?Sized> {
    /// Heads and sizes.
    pub shape: AttentionShape,
    /// What each of the `T` rows sees.
    pub visible: &'a V,
    /// Which of the `T` rows the `R` queries are.
    pub rows: Rows<'a, I>,
    /// `[R, H E]`.
    pub queries: Columns<'a, B>,
    /// `[T, 2 G E]`: keys, then values.
    pub keys_values: Columns<'a, B>,
}

impl<'a, B: ?Sized, I: ?Sized, V: ?Sized> AttentionRows<'a, B, I, V> {
    /// All rows of a packed matrix `[T, (H + 2 G) E]`.
    pub fn packed(shape: AttentionShape, visible: &'a V, packed: &'a B) -> Self {
        let columns = |first| Columns { buffer: packed, stride: shape.packed_columns(), first };
        let (queries, keys_values) = (columns(0), columns(shape.output_columns()));
        Self { shape, visible, rows: Rows::All, queries, keys_values }
    }
}

impl<'a, B: ?Sized, I: ?Sized, V: ?Sized> AttentionRows<'a, B, I, V> {
    /// The same with other views of the buffers.
    pub(crate) fn map<C: ?Sized>(self, view: impl Fn(&'a B) -> &'a C) -> AttentionRows<'a, C, I, V> {
        let Self { shape, visible, rows, queries, keys_values } = self;
        AttentionRows { shape, visible, rows, queries: queries.map(&view), keys_values: keys_values.map(view) }
    }
}

/// What [`Attention::attention_backward`] reads.
#[derive(Debug)]
pub struct AttentionBackward<'a, B: ?Sized, V: ?Sized> {
    /// What the forward pass read.
    pub forward: AttentionOperands<'a, B, V>,
    /// `[T, H E]`, as the forward pass left it.
    pub out: &'a B,
    /// `[T, H]`, as the forward pass left it.
    pub log_sum_exp: &'a B,
    /// `[T, H E]`.
    pub d_out: &'a B,
}

impl<'a, B: ?Sized, V: ?Sized> AttentionBackward<'a, B, V> {
    /// The same with other views of the buffers.
    pub(crate) fn map<C: ?Sized>(self, view: impl Fn(&'a B) -> &'a C) -> AttentionBackward<'a, C, V> {
        let Self { forward, out, log_sum_exp, d_out } = self;
        let (out, log_sum_exp, d_out) = (view(out), view(log_sum_exp), view(d_out));
        AttentionBackward { forward: forward.map(view), out, log_sum_exp, d_out }
    }
}

/// Attention.
pub trait Attention: Memory {
    /// `softmax(q kᵀ / √E) v` over the visible rows, `[T, H E]`; never keeps an L × L matrix. `log_sum_exp` is `[T,
    /// H]`.
    fn attention(
        &self,
        operands: AttentionOperands<'_, Self::Buffer, Self::Visible>,
        out: &mut Self::Buffer,
        log_sum_exp: &mut Self::Buffer,
    );
    /// Attention of some rows, for inference; `out` is `[R, H E]`. Its two products are in the device's
    /// precision, in f32 those of [`Attention::attention`] to the bit. A row does not depend on which others are
    /// computed.
    fn attention_rows(
        &self,
        operands: AttentionRows<'_, Self::Buffer, Self::Indices, Self::Visible>,
        out: &mut Self::Buffer,
    );
    /// Gradient of [`Attention::attention`] with respect to the packed matrix, which it overwrites.
    fn attention_backward(
        &self,
        operands: AttentionBackward<'_, Self::Buffer, Self::Visible>,
        d_packed: &mut Self::Buffer,
    );
}
