//! Softmax cross-entropy and other costs of a linear head, some rows at a time.

use super::pack::Matrix;
use super::vector::{exponentials, largest, vectorised};
use super::{Fast, Prepared, softmax_row};
use crate::cpu::cost;
use crate::cpu::finish::Finish;
use crate::{
    DeviceError, Head, LinearShape, LossGradients, LossRows, PreparedBackwardInput, PreparedOperands, ReadRow, RowCost,
    RowLoss, Targets,
};

/// Logits that are there at a time: 16 MiB, half of a usual third cache.
const LOGITS_AT_A_TIME: usize = 4 << 20;
/// Fewer rows at a time than this make the products slow, more are of no use.
const ROWS_AT_A_TIME: (usize, usize) = (96, 1024);

/// Columns of the gradient of a bias that one task adds up.
const COLUMNS_AT_A_TIME: usize = 2048;

vectorised! {
    /// Turns one row of logits into `e^(l − shift)`; returns the shift and the sum.
    fn exponentiate(logits: &mut [f32]) -> (f32, f32) {
        let shift = largest(logits, f32::NEG_INFINITY);
        (shift, exponentials(logits, 1.0, shift))
    }
}

vectorised! {
    /// `x *= factor`.
    fn scale(x: &mut [f32], factor: f32) {
        for x in x {
            *x *= factor;
        }
    }
}

/// Rows that are paid for.
pub(in crate::cpu) type Paid<'a> = LossRows<'a, [f32], Prepared>;

impl Fast {
    /// See [`crate::Loss::linear_cross_entropy`].
    pub(in crate::cpu) fn linear_cross_entropy(
        &self,
        rows: Paid<'_>,
        targets: Targets<'_>,
        gradients: Option<LossGradients<'_, [f32]>>,
    ) -> Result<Vec<f64>, DeviceError> {
        let (learns, forbidden) = (gradients.is_some(), rows.forbidden);
        self.pay_rows(rows, gradients, |row, line| {
            self.score(line, targets.ids[row], targets.weights[row], forbidden, learns)
        })
    }

    /// See [`crate::Loss::linear_cost_rows`].
    pub(in crate::cpu) fn linear_cost_rows(
        &self,
        rows: Paid<'_>,
        costs: &[RowCost],
        vectors: Option<cost::Vectors<'_, f32>>,
        gradients: Option<LossGradients<'_, [f32]>>,
    ) -> Result<Vec<RowLoss>, DeviceError> {
        let learns = gradients.is_some();
        self.pay_rows(rows, gradients, |row, line| {
            softmax_row(line);
            if learns { cost::learn(&costs[row], line, vectors) } else { cost::value(&costs[row], line, vectors) }
        })
    }

    /// See [`crate::Loss::linear_learn_rows`].
    pub(in crate::cpu) fn linear_learn_rows(
        &self,
        rows: Paid<'_>,
        read: &ReadRow<'_>,
        gradients: LossGradients<'_, [f32]>,
    ) -> Result<(), DeviceError> {
        self.pay_rows(rows, Some(gradients), |row, line| read(row, line)).map(|_| ())
    }

    /// What `pay` says of each row of logits, which it turns into its gradient where gradients are requested.
    fn pay_rows<R: Send>(
        &self,
        rows: Paid<'_>,
        gradients: Option<LossGradients<'_, [f32]>>,
        pay: impl Fn(usize, &mut [f32]) -> R + Sync,
    ) -> Result<Vec<R>, DeviceError> {
        let LossRows { shape, hidden, head, bias, soft_cap, forbidden, evidence } = rows;
        let finish = Finish { bias, soft_cap: soft_cap.map(|bound| (bound, self.path)), forbidden, evidence };
        let learns = gradients.is_some();
        let pay = |row: usize, line: &mut [f32]| {
            if !learns {
                finish.row(row, line);
                return pay(row, line);
            }
            let slopes = finish.row_with_slopes(row, line);
            let paid = pay(row, line);
            slopes.iter().for_each(|slopes| line.iter_mut().zip(slopes).for_each(|(d, slope)| *d *= slope));
            paid
        };
        match head {
            Head::Values(head) => Ok(self.pay_values(shape, hidden, head, gradients, pay)),
            Head::Prepared(head) => self.pay_prepared(shape, hidden, head, gradients, pay),
        }
    }

    fn pay_values<R: Send>(
        &self,
        shape: LinearShape,
        hidden: &[f32],
        head: &[f32],
        mut gradients: Option<LossGradients<'_, [f32]>>,
        pay: impl Fn(usize, &mut [f32]) -> R + Sync,
    ) -> Vec<R> {
        let LinearShape { rows, inputs, outputs } = shape;
        let at_a_time = rows_at_a_time(outputs);
        let forward = self.pack_scratch(Matrix::columns(head, inputs), (0, inputs), outputs);
        let backward = gradients.is_some().then(|| self.pack_scratch(Matrix::rows(head, inputs), (0, outputs), inputs));
        let mut logits = self.scratch(at_a_time.min(rows) * outputs);
        let mut paid = Vec::with_capacity(rows);
        for start in (0..rows).step_by(at_a_time) {
            let count = at_a_time.min(rows - start);
            let hidden = &hidden[start * inputs..][..count * inputs];
            let logits = &mut logits.as_mut_slice()[..count * outputs];
            self.multiply(count, Matrix::rows(hidden, inputs), &forward, false, logits);
            let lines = logits.chunks_exact_mut(outputs).enumerate().collect();
            let pay = |(i, line): (usize, &mut [f32])| pay(start + i, line);
            paid.extend(self.pool.map(8 * count * outputs, lines, pay));
            if let (Some(gradients), Some(backward)) = (&mut gradients, &backward) {
                let d_hidden = &mut gradients.hidden[start * inputs..][..count * inputs];
                self.multiply(count, Matrix::rows(logits, outputs), backward, false, d_hidden);
                if let Some(d_head) = gradients.head.as_deref_mut() {
                    let (a, b) = (Matrix::columns(logits, outputs), Matrix::rows(hidden, inputs));
                    self.product((outputs, inputs, count), a, b, true, d_head);
                }
                self.add_lines(logits, gradients.bias.as_deref_mut());
            }
        }
        paid
    }

    fn pay_prepared<R: Send>(
        &self,
        shape: LinearShape,
        hidden: &[f32],
        head: &Prepared,
        mut gradients: Option<LossGradients<'_, [f32]>>,
        pay: impl Fn(usize, &mut [f32]) -> R + Sync,
    ) -> Result<Vec<R>, DeviceError> {
        let LinearShape { rows, inputs, outputs } = shape;
        let at_a_time = rows_at_a_time(outputs);
        let mut logits = self.arena.take(at_a_time.min(rows) * outputs)?;
        let mut paid = Vec::with_capacity(rows);
        for start in (0..rows).step_by(at_a_time) {
            let count = at_a_time.min(rows - start);
            let x = &hidden[start * inputs..][..count * inputs];
            let logits = &mut logits.as_mut_slice()[..count * outputs];
            let operands = PreparedOperands { rows: count, x, weight: head, bias: None, accumulate: false };
            self.linear_prepared(operands, logits);
            let lines = logits.chunks_exact_mut(outputs).enumerate().collect();
            let pay = |(i, line): (usize, &mut [f32])| pay(start + i, line);
            paid.extend(self.pool.map(8 * count * outputs, lines, pay));
            if let Some(gradients) = &mut gradients {
                let d_hidden = &mut gradients.hidden[start * inputs..][..count * inputs];
                let operands = PreparedBackwardInput { rows: count, d_out: &*logits, weight: head, accumulate: false };
                self.linear_prepared_backward_input(operands, d_hidden);
                self.add_lines(logits, gradients.bias.as_deref_mut());
            }
        }
        Ok(paid)
    }

    /// Adds the rows to `sum`, one after the other, where there is one.
    fn add_lines(&self, lines: &[f32], sum: Option<&mut [f32]>) {
        let Some(sum) = sum else { return };
        let outputs = sum.len();
        let parts = sum.chunks_mut(COLUMNS_AT_A_TIME).enumerate().collect();
        self.pool.each(lines.len(), parts, |(part, sum): (usize, &mut [f32])| {
            for line in lines.chunks_exact(outputs) {
                let own = &line[part * COLUMNS_AT_A_TIME..][..sum.len()];
                sum.iter_mut().zip(own).for_each(|(sum, d)| *sum += d);
            }
        });
    }

    /// The negative log-likelihood of one row; on request, turns its logits into their gradient.
    fn score(&self, logits: &mut [f32], target: u32, weight: f64, forbidden: Option<u32>, gradient: bool) -> f64 {
        let target = target as usize;
        if let Some(id) = forbidden {
            logits[id as usize] = f32::NEG_INFINITY;
        }
        let truth = f64::from(logits[target]);
        let (shift, sum) = exponentiate(self.path, logits);
        if gradient {
            scale(self.path, logits, (weight / f64::from(sum)) as f32);
            if forbidden != Some(target as u32) {
                logits[target] -= weight as f32;
            }
        }
        f64::from(shift) + f64::from(sum).ln() - truth
    }
}

fn rows_at_a_time(outputs: usize) -> usize {
    (LOGITS_AT_A_TIME / outputs.max(1)).clamp(ROWS_AT_A_TIME.0, ROWS_AT_A_TIME.1)
}
