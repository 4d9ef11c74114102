//! Rows of logits that are reduced where they are: summaries, draws, and whole rows for those who need them.
//!
//! Some rows of `hidden headᵀ` are multiplied at a time; never are all `R × V` kept, and on a GPU only results come back.

use super::{DeviceError, Linear, TokenVectors};
use crate::LogitsSummary;

/// Reads one row of logits: its index and its numbers, which may be changed in place.
pub type ReadRow<'a> = dyn Fn(usize, &mut [f32]) + Sync + 'a;

/// What is added to logits beside the head: row `r` of `points` times the vector of each token.
#[derive(Debug)]
pub struct Evidence<'a, B: ?Sized> {
    /// `E`: coordinates of a vector.
    pub size: usize,
    /// `[R, E]`; a row of zeros adds nothing.
    pub points: &'a B,
    /// `[V, E]`.
    pub vectors: &'a B,
}

impl<B: ?Sized> Clone for Evidence<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<B: ?Sized> Copy for Evidence<'_, B> {}

impl<'a, B: ?Sized> Evidence<'a, B> {
    /// The same with other views of the buffers.
    pub(crate) fn map<C: ?Sized>(self, view: impl Fn(&'a B) -> &'a C) -> Evidence<'a, C> {
        Evidence { size: self.size, points: view(self.points), vectors: view(self.vectors) }
    }
}

/// Rows of logits: `hidden headᵀ + bias` under a soft cap, the logit of `forbidden` −∞, and evidence added.
#[derive(Debug)]
pub struct LogitRows<'a, B: ?Sized, P: ?Sized> {
    /// `R`.
    pub rows: usize,
    /// `[R, D]`.
    pub hidden: &'a B,
    /// `[V, D]`.
    pub head: &'a P,
    /// `[V]`.
    pub bias: Option<&'a B>,
    /// `c`: each logit `l` is `c tanh(l / c)` (Gemma 2, 2408.00118, section 2).
    pub soft_cap: Option<f64>,
    /// A token that no row may be: the mask.
    pub forbidden: Option<u32>,
    /// What is added beside the head.
    pub evidence: Option<Evidence<'a, B>>,
}

/// One row's summary and its likeliest tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct RowSummary {
    /// The row at a glance.
    pub summary: LogitsSummary,
    /// The likeliest tokens with their probabilities, descending; of equal ones the lowest first. Empty where the row is
    /// broken.
    pub best: Vec<(u32, f64)>,
}

/// How a row is sharpened or cut before a token is drawn from it, in this order; the biases of a [`RowDraw`] are added
/// behind the penalty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Divides positive logits and multiplies others of tokens that occur already; 1 changes nothing.
    pub repetition_penalty: f64,
    /// Divisor of the logits; at 0 the likeliest token is taken.
    pub temperature: f64,
    /// Keeps only tokens that are at least this share as likely as the likeliest one, from 0 to 1 (min-p sampling,
    /// 2407.01082).
    pub min_p: Option<f64>,
    /// Keeps only that many of the likeliest tokens.
    pub top_k: Option<usize>,
    /// Keeps the fewest likeliest tokens that hold at least this share of the probability.
    pub top_p: Option<f64>,
}

/// Tokens whose logits are this far below the likeliest one's, in units of the temperature, change no sum in f64.
const NEGLIGIBLE: f64 = -40.0;

impl Sampling {
    /// Draws from the row as it is.
    pub const NONE: Self = Self { repetition_penalty: 1.0, temperature: 1.0, min_p: None, top_k: None, top_p: None };

    /// What is added to the largest logit for the least one that is drawn: below it tokens are negligible, or min-p
    /// leaves them out.
    pub(crate) fn reach(&self) -> f64 {
        self.min_p.map_or(NEGLIGIBLE, |share| share.ln().max(NEGLIGIBLE)) * self.temperature
    }
}

/// What is drawn from one row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowDraw<'a> {
    /// A token and what is added to its logit before anything else.
    pub bonus: Option<(u32, f32)>,
    /// Tokens that have no part in the row. Rows may share a list.
    pub forbidden: &'a [u32],
    /// Tokens that the repetition penalty is for; duplicates count once. Rows may share a list.
    pub repeated: &'a [u32],
    /// What is added to the logits of tokens behind the penalty, ascending by token, each of them once. Rows may share a
    /// list.
    pub biases: &'a [(u32, f32)],
    /// How the row is shaped.
    pub sampling: Sampling,
    /// The uniform number in (0, 1) that decides; not looked at where the temperature is 0.
    pub uniform: f64,
    /// How many of the row's likeliest tokens are listed beside the draw.
    pub best: usize,
}

impl RowDraw<'_> {
    /// A draw from the row as it is but for the sampling.
    pub fn new(sampling: Sampling, uniform: f64) -> Self {
        Self { bonus: None, forbidden: &[], repeated: &[], biases: &[], sampling, uniform, best: 0 }
    }
}

/// What came of a [`RowDraw`].
#[derive(Debug, Clone, PartialEq)]
pub struct DrawnRow {
    /// The row without its forbidden tokens, at temperature 1 and before penalty and biases. `broken` is the first forbidden token
    /// whose logit is no number, or else the first token at all.
    pub summary: LogitsSummary,
    /// The token drawn and its probability in that row; `None` where the row is broken or nothing is left.
    pub token: Option<(u32, f64)>,
    /// As many of the likeliest tokens of that row as the draw lists, with their probabilities, descending; of equal ones
    /// the lowest first.
    pub best: Vec<(u32, f64)>,
}

/// Reductions of rows of logits.
pub trait Logits: Linear {
    /// With how many rows a pass is to be made that asks for the logits of so many: the same number, or a larger one of few
    /// where shapes that come again are worth more than the rows. Rows do not depend on each other.
    fn padded_rows(&self, rows: usize) -> usize;

    /// Hands each whole row to `read` while it is there. `read` is called by any thread, in any order.
    ///
    /// # Errors
    /// When the device lacks the memory.
    fn linear_rows(
        &self,
        logits: LogitRows<'_, Self::Buffer, Self::Prepared>,
        read: &ReadRow<'_>,
    ) -> Result<(), DeviceError>;
    /// Each row at a glance, with its `best` likeliest tokens (fewer where fewer have any probability).
    ///
    /// # Errors
    /// When the device lacks the memory.
    fn summarise_rows(
        &self,
        logits: LogitRows<'_, Self::Buffer, Self::Prepared>,
        best: usize,
    ) -> Result<Vec<RowSummary>, DeviceError>;
    /// The negative log-likelihood of one token of each row, in nats; +∞ for the forbidden one. On the CPU it is
    /// [`summarise`](crate::summarise)'s `log_sum_exp` less the token's logit, to the bit.
    ///
    /// # Errors
    /// When the device lacks the memory.
    fn nll_rows(
        &self,
        logits: LogitRows<'_, Self::Buffer, Self::Prepared>,
        targets: &[u32],
    ) -> Result<Vec<f64>, DeviceError>;
    /// One token of each row; as many draws as rows.
    ///
    /// # Errors
    /// When the device lacks the memory.
    fn draw_rows(
        &self,
        logits: LogitRows<'_, Self::Buffer, Self::Prepared>,
        draws: &[RowDraw<'_>],
    ) -> Result<Vec<DrawnRow>, DeviceError>;
    /// The same, and with each draw the token vector expected under its temperature: `Σ p(v) e_v`, where `p` is the
    /// softmax of the row without its forbidden tokens, at that temperature and before penalty and biases; at temperature 0 the
    /// vector of the likeliest token. It has `E` coordinates, none where no token was drawn.
    ///
    /// # Errors
    /// When the device lacks the memory.
    fn draw_rows_expecting(
        &self,
        logits: LogitRows<'_, Self::Buffer, Self::Prepared>,
        draws: &[RowDraw<'_>],
        vectors: TokenVectors<'_, Self::Buffer>,
    ) -> Result<Vec<(DrawnRow, Vec<f32>)>, DeviceError>;
}
