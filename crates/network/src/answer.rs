//! How a network answers row queries: each kind of query by one operation of the device, so that no more
//! comes to the host than was requested.

use crate::reader::{Evidence, Reader};
use crate::row_query::{Query, RowAnswer, RowQuery};
use crate::{NetworkError, RowSlots};
use aquatint_compute::{Device, DeviceError, LogitRows, ReadRow, RowDraw, Value};

/// The queries of one kind, their hidden rows, and the points of what is added to their logits. Buffers are there where
/// there are other queries too; without them all rows are meant.
struct Kind<D: Device> {
    queries: Vec<usize>,
    hidden: Option<D::Buffer>,
    points: Option<D::Buffer>,
}

/// What all queries of a pass are answered from.
struct Rows<'a, D: Device> {
    reader: &'a Reader<'a, D>,
    hidden: &'a Value<D>,
    evidence: Option<&'a Evidence<'a, D>>,
}

impl<D: Device> Rows<'_, D> {
    /// The rows of some of `count` queries.
    fn select(&self, queries: Vec<usize>, count: usize) -> Result<Kind<D>, DeviceError> {
        if queries.len() == count {
            return Ok(Kind { queries, hidden: None, points: None });
        }
        let device = self.reader.parameters.device();
        let rows: Vec<u32> = queries.iter().map(|&query| query as u32).collect();
        let rows = device.upload_indices(&rows)?;
        let gather = |columns: usize, buffer: &D::Buffer| {
            let mut part = device.uninitialised(queries.len() * columns)?;
            device.gather(columns, buffer, &rows, &mut part);
            Ok::<_, DeviceError>(part)
        };
        let hidden = Some(gather(self.hidden.columns(), self.hidden.buffer())?);
        let points = self.evidence.map(|evidence| gather(evidence.size, &evidence.points)).transpose()?;
        Ok(Kind { queries, hidden, points })
    }

    fn logits<'a>(&'a self, kind: &'a Kind<D>) -> Result<LogitRows<'a, D::Buffer, D::Prepared>, DeviceError> {
        let evidence = self.evidence.map(|evidence| {
            let points = kind.points.as_ref().unwrap_or(&evidence.points);
            aquatint_compute::Evidence { size: evidence.size, points, vectors: evidence.vectors }
        });
        Ok(LogitRows {
            rows: kind.queries.len(),
            hidden: kind.hidden.as_ref().unwrap_or(self.hidden.buffer()),
            head: self.reader.parameters.prepared(self.reader.weight_index.head.matrix)?,
            bias: self.reader.head_bias()?,
            soft_cap: self.reader.spec.head.soft_cap,
            forbidden: self.reader.spec.mask_token,
            evidence,
        })
    }
}

impl<D: Device> Reader<'_, D> {
    /// Answers queries from hidden rows, one for each.
    pub(crate) fn answer(
        &self,
        hidden: &Value<D>,
        evidence: Option<&Evidence<'_, D>>,
        queries: &[RowQuery<'_>],
        read: &ReadRow<'_>,
    ) -> Result<Vec<RowAnswer>, NetworkError> {
        let device = self.parameters.device();
        let rows = Rows { reader: self, hidden, evidence };
        let of = |wanted: fn(&Query<'_>) -> bool| -> Vec<usize> {
            (0..queries.len()).filter(|&index| wanted(&queries[index].query)).collect()
        };
        let answers = RowSlots::new(queries.len());

        let summaries = of(|query| matches!(query, Query::Summary { .. }));
        if !summaries.is_empty() {
            let kind = rows.select(summaries, queries.len())?;
            let wanted = |index: usize| if let Query::Summary { best } = queries[index].query { best } else { 0 };
            let most = kind.queries.iter().map(|&index| wanted(index)).max().unwrap_or(0);
            let found = device.summarise_rows(rows.logits(&kind)?, most)?;
            for (&index, mut summary) in kind.queries.iter().zip(found) {
                summary.best.truncate(wanted(index));
                answers.set(index, RowAnswer::Summary(summary));
            }
        }

        let draws = of(|query| matches!(query, Query::Draw(_)));
        if !draws.is_empty() {
            let kind = rows.select(draws, queries.len())?;
            let draw = |&index: &usize| if let Query::Draw(draw) = queries[index].query { Some(draw) } else { None };
            let draws: Vec<RowDraw<'_>> = kind.queries.iter().filter_map(draw).collect();
            let drawn = device.draw_rows(rows.logits(&kind)?, &draws)?;
            for (&index, drawn) in kind.queries.iter().zip(drawn) {
                answers.set(index, RowAnswer::Drawn(drawn));
            }
        }

        let expecting = of(|query| matches!(query, Query::DrawExpecting(_)));
        if !expecting.is_empty() {
            let kind = rows.select(expecting, queries.len())?;
            let draw =
                |&index: &usize| if let Query::DrawExpecting(draw) = queries[index].query { Some(draw) } else { None };
            let draws: Vec<RowDraw<'_>> = kind.queries.iter().filter_map(draw).collect();
            let drawn = match self.token_vectors()? {
                Some(vectors) => device.draw_rows_expecting(rows.logits(&kind)?, &draws, vectors)?,
                None => {
                    let drawn = device.draw_rows(rows.logits(&kind)?, &draws)?;
                    drawn.into_iter().map(|drawn| (drawn, Vec::new())).collect()
                }
            };
            for (&index, (drawn, expected)) in kind.queries.iter().zip(drawn) {
                answers.set(index, RowAnswer::Expecting(drawn, expected));
            }
        }

        let whole = of(|query| *query == Query::WholeRow);
        if !whole.is_empty() {
            let kind = rows.select(whole, queries.len())?;
            device.linear_rows(rows.logits(&kind)?, &|row, logits| {
                let index = kind.queries[row];
                read(index, logits);
                answers.set(index, RowAnswer::Read);
            })?;
        }
        answers.into_vec()
    }
}
