//! Queries about rows of logits and their answers: a host gets the answers, not a vocabulary of numbers for each row.

use crate::{NetworkError, RowSlots};
use aquatint_compute::{
    DrawnRow, ReadRow, RowDraw, RowSummary, TokenVectors, draw_row, draw_row_expecting, summarise_row,
};
use aquatint_diffusion::Vectors;

/// A row of the batch and the query about its logits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowQuery<'a> {
    /// The row, counted over the whole batch.
    pub row: u32,
    /// The query.
    pub query: Query<'a>,
}

/// What can be queried of a row of logits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Query<'a> {
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

/// The answer to a [`RowQuery`].
#[derive(Debug, Clone, PartialEq)]
pub enum RowAnswer {
    /// To [`Query::Summary`].
    Summary(RowSummary),
    /// To [`Query::Draw`].
    Drawn(DrawnRow),
    /// To [`Query::DrawExpecting`]: the draw, and `E` coordinates, none where no token was drawn or there are no vectors.
    Expecting(DrawnRow, Vec<f32>),
    /// To [`Query::WholeRow`]: the reader had it.
    Read,
}

/// Answers queries from whole rows of logits on the host: for denoisers that have no device, and for wrappers that look
/// at every row.
///
/// `rows` hands each whole row over, once, in any order, from any thread: the index among the rows that it is given,
/// and its logits, `size` of them.
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
    let requested: Vec<u32> = queries.iter().map(|query| query.row).collect();
    let answers = RowSlots::new(queries.len());
    rows(&requested, &|index, logits| {
        // A row of another length answers nothing but to whoever reads it whole.
        if logits.len() == size || queries[index].query == Query::WholeRow {
            let query = queries[index].query;
            if query == Query::WholeRow {
                read(index, logits);
            }
            answers.set(index, answer_row(query, logits, vectors));
        }
    })?;
    answers.into_vec()
}

/// Answers about one row of logits, which it spoils: for rows that were combined on the host, as guidance does.
pub fn answer_row(query: Query<'_>, logits: &mut [f32], vectors: Vectors<'_>) -> RowAnswer {
    match query {
        Query::Summary { best } => RowAnswer::Summary(summarise_row(logits, best)),
        Query::Draw(draw) => RowAnswer::Drawn(draw_row(logits, &draw)),
        Query::DrawExpecting(draw) if vectors.size == 0 => RowAnswer::Expecting(draw_row(logits, &draw), Vec::new()),
        Query::DrawExpecting(draw) => {
            let vectors = TokenVectors { size: vectors.size, values: vectors.values };
            let (drawn, expected) = draw_row_expecting(logits, &draw, vectors);
            RowAnswer::Expecting(drawn, expected)
        }
        Query::WholeRow => RowAnswer::Read,
    }
}
