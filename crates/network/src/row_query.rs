//! What is asked of a row, and what is answered: a host gets what it asked for, not a vocabulary of numbers.

use crate::{NetworkError, RowSlots};
use aquatint_compute::{ReadRow, softmax_row, summarise};
use aquatint_diffusion::{ProposalError, Shaping, TokenId, Vectors, propose_at};

pub use aquatint_compute::RowSummary as LogitsSummary;

/// A row of the batch and what is asked of its logits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowQuery<'a> {
    /// The row, counted over the whole batch.
    pub row: u32,
    /// What is asked.
    pub ask: Ask<'a>,
}

/// What can be asked of a row of logits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Ask<'a> {
    /// The row at a glance, with its likeliest tokens; answered by [`RowAnswer::Summary`].
    Summary {
        /// How many of the likeliest tokens.
        best: usize,
    },
    /// One token; answered by [`RowAnswer::Drawn`].
    Draw(RowDraw<'a>),
    /// One token and the word vector that is expected under the temperature of the draw, as fields need it; answered by
    /// [`RowAnswer::Expecting`].
    DrawExpecting(RowDraw<'a>),
    /// The whole row, which is handed to the reader of the pass with the index of the query; answered by
    /// [`RowAnswer::Read`].
    WholeRow,
}

/// How a row is sharpened or cut before a token is drawn from it, in this order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Divides positive logits and multiplies others of tokens that occur already; 1 changes nothing.
    pub repetition_penalty: f64,
    /// Divisor of the logits; at 0 the likeliest token is taken.
    pub temperature: f64,
    /// Keeps only that many of the likeliest tokens.
    pub top_k: Option<usize>,
    /// Keeps the fewest likeliest tokens that hold at least this share of the probability.
    pub top_p: Option<f64>,
}

/// What is drawn from one row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowDraw<'a> {
    /// A token and what is added to its logit before anything else.
    pub bonus: Option<(TokenId, f32)>,
    /// Tokens that have no part in the row. Rows may share a list.
    pub forbidden: &'a [TokenId],
    /// Tokens that the repetition penalty is for; duplicates count once. Rows may share a list.
    pub repeated: &'a [TokenId],
    /// How the row is shaped.
    pub sampling: Sampling,
    /// The uniform number in (0, 1) that decides; not looked at where the temperature is 0.
    pub uniform: f64,
}

/// What came of a [`RowDraw`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DrawnRow {
    /// The row without its forbidden tokens, at temperature 1 and before the penalty. `broken` is the first forbidden token
    /// whose logit is no number, or else the first token at all.
    pub summary: LogitsSummary,
    /// The token drawn and its probability in that row; `None` where the row is broken or nothing is left.
    pub token: Option<(TokenId, f64)>,
}

/// One row's summary and its likeliest tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct RowSummary {
    /// The row at a glance.
    pub summary: LogitsSummary,
    /// The likeliest tokens with their probabilities, descending; of equal ones the lowest first. Empty where the row is
    /// broken.
    pub best: Vec<(TokenId, f64)>,
}

/// The answer to a [`RowQuery`].
#[derive(Debug, Clone, PartialEq)]
pub enum RowAnswer {
    /// To [`Ask::Summary`].
    Summary(RowSummary),
    /// To [`Ask::Draw`].
    Drawn(DrawnRow),
    /// To [`Ask::DrawExpecting`]: the draw, and `E` coordinates, none where no token was drawn or there are no vectors.
    Expecting(DrawnRow, Vec<f32>),
    /// To [`Ask::WholeRow`]: the reader had it.
    Read,
}

/// Answers queries from whole rows of logits on the host: for denoisers that have no device, and for wrappers that look at
/// every row.
///
/// `rows` hands each whole row over, once, in any order, from any thread: the index among the rows that it is given, and
/// its logits, `size` of them.
///
/// # Errors
/// When `rows` fails, or does not hand over each row at its full length.
pub fn answer_on_host(
    queries: &[RowQuery<'_>],
    size: usize,
    vectors: Vectors<'_>,
    read: &ReadRow<'_>,
    rows: impl FnOnce(&[u32], &ReadRow<'_>) -> Result<(), NetworkError>,
) -> Result<Vec<RowAnswer>, NetworkError> {
    let asked: Vec<u32> = queries.iter().map(|query| query.row).collect();
    let answers = RowSlots::new(queries.len());
    rows(&asked, &|index, logits| {
        // A row of another length answers nothing but to whoever reads it whole.
        if logits.len() == size || queries[index].ask == Ask::WholeRow {
            let ask = queries[index].ask;
            if ask == Ask::WholeRow {
                read(index, logits);
            }
            answers.set(index, answer_row(ask, logits, vectors));
        }
    })?;
    answers.into_vec()
}

/// Answers about one row of logits, which it spoils: for whoever has combined rows on the host, such as guidance.
pub fn answer_row(ask: Ask<'_>, logits: &mut [f32], vectors: Vectors<'_>) -> RowAnswer {
    match ask {
        Ask::Summary { best } => RowAnswer::Summary(summarise_row(logits, best)),
        Ask::Draw(draw) => RowAnswer::Drawn(draw_row(logits, &draw)),
        Ask::DrawExpecting(draw) => {
            let drawn = draw_row(logits, &draw);
            let expected = match (drawn.summary.likeliest, drawn.token) {
                (Some(likeliest), Some(_)) if vectors.size > 0 => {
                    expected(logits, likeliest, draw.sampling.temperature as f32, vectors)
                }
                _ => Vec::new(),
            };
            RowAnswer::Expecting(drawn, expected)
        }
        Ask::WholeRow => RowAnswer::Read,
    }
}

/// The word vector expected under a temperature, by which a field is sharpened like a draw; spoils the logits.
fn expected(logits: &mut [f32], likeliest: usize, temperature: f32, vectors: Vectors<'_>) -> Vec<f32> {
    if temperature == 0.0 {
        return vectors.of(likeliest as TokenId).to_vec();
    }
    logits.iter_mut().for_each(|logit| *logit /= temperature);
    softmax_row(logits);
    vectors.expected(logits)
}

fn summarise_row(logits: &[f32], best: usize) -> RowSummary {
    let summary = summarise(logits);
    if best == 0 || summary.broken.is_some() {
        return RowSummary { summary, best: Vec::new() };
    }
    let mut order: Vec<usize> = (0..logits.len()).filter(|token| logits[*token].is_finite()).collect();
    let descending = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
    if best < order.len() {
        order.select_nth_unstable_by(best, descending);
        order.truncate(best);
    }
    order.sort_unstable_by(descending);
    let probability = |token: usize| (f64::from(logits[token]) - summary.log_sum_exp).exp();
    let best = order.into_iter().map(|token| (token as TokenId, probability(token))).filter(|(_, p)| *p > 0.0);
    RowSummary { summary, best: best.collect() }
}

/// Draws from one row, whose forbidden tokens lose their logits.
fn draw_row(logits: &mut [f32], draw: &RowDraw<'_>) -> DrawnRow {
    if let Some((token, bonus)) = draw.bonus
        && let Some(logit) = logits.get_mut(token as usize)
    {
        *logit += bonus;
    }
    for &token in draw.forbidden {
        if let Some(logit) = logits.get_mut(token as usize) {
            // What is not allowed may be anything that a sound network says.
            if logit.is_nan() || *logit == f32::INFINITY {
                let summary = LogitsSummary { broken: Some(token as usize), ..summarise(&[]) };
                return DrawnRow { summary, token: None };
            }
            *logit = f32::NEG_INFINITY;
        }
    }
    let summary = summarise(logits);
    let (Some(likeliest), None) = (summary.likeliest, summary.broken) else {
        return DrawnRow { summary, token: None };
    };
    let LogitsSummary { log_sum_exp, entropy, margin, .. } = summary;
    let belief = aquatint_diffusion::LogitsSummary { likeliest, log_sum_exp, entropy, margin };
    let Sampling { repetition_penalty, temperature, top_k, top_p } = draw.sampling;
    let shaping = Shaping { temperature, top_k, top_p, repetition_penalty };
    let candidate: Result<_, ProposalError> = propose_at(&belief, logits, &shaping, draw.repeated, draw.uniform);
    DrawnRow { summary, token: candidate.ok().map(|candidate| (candidate.token, candidate.probability)) }
}
