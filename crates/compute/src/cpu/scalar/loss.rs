//! What rows of logits of a linear head cost, and the gradients of hidden rows and head.
//!
//! Softmax cross-entropy: `nll = ln Σ_v exp(l_v) − l_target` with `l = head h + bias`; `∂(w · nll)/∂l = w (softmax(l) −
//! onehot(target))`. Under a soft cap `l = c tanh((head h + bias) / c)`, whose slope is `1 − (l/c)²`. What other costs are stands in [`crate::cpu::cost`].

use super::{dot, linear, linear_backward_input, linear_quantised, sigmoid};
use crate::cpu::{cost, softmax_row};
use crate::{
    BackwardInput, DType, Element, Evidence, LinearOperands, LinearShape, LossGradients, Quantised, ReadRow, RowCost,
    RowLoss, Targets,
};
use std::borrow::Cow;

/// The head of a loss.
pub(in crate::cpu) enum ScalarHead<'a, E: Element> {
    /// Real numbers; both factors of each product are rounded first.
    Real { values: Cow<'a, [E]>, round: fn(E) -> E },
    /// Integers for the forward pass, and what they stand for with how it is rounded for the backward.
    Quantised { matrix: &'a Quantised, values: Cow<'a, [E]>, round: fn(E) -> E },
}

/// Rows that are paid for.
pub(in crate::cpu) struct ScalarLoss<'a, E: Element> {
    pub(in crate::cpu) shape: LinearShape,
    pub(in crate::cpu) hidden: &'a [E],
    pub(in crate::cpu) head: ScalarHead<'a, E>,
    pub(in crate::cpu) bias: Option<&'a [E]>,
    pub(in crate::cpu) soft_cap: Option<f64>,
    pub(in crate::cpu) forbidden: Option<u32>,
    pub(in crate::cpu) evidence: Option<Evidence<'a, [E]>>,
}

impl<E: Element> ScalarLoss<'_, E> {
    /// What `pay` says of each row of logits, which it turns into the gradient where there are gradients to be made:
    /// overwrites that of the hidden rows and accumulates those of the head and its bias.
    fn each<R>(
        &self,
        mut gradients: Option<LossGradients<'_, [E]>>,
        mut pay: impl FnMut(usize, &mut [E]) -> R,
    ) -> Vec<R> {
        let LinearShape { rows, inputs, outputs } = self.shape;
        let mut costs = Vec::with_capacity(rows);
        let mut line = vec![E::default(); outputs];
        for r in 0..rows {
            let x = &self.hidden[r * inputs..][..inputs];
            self.forward(x, &mut line);
            if let Some(bias) = self.bias {
                line.iter_mut().zip(bias).for_each(|(logit, &bias)| *logit += bias);
            }
            let slopes = self.soft_cap.map(|bound| cap(&mut line, bound));
            if let Some(token) = self.forbidden {
                line[token as usize] = E::from_f64(f64::NEG_INFINITY);
            }
            if let Some(evidence) = &self.evidence {
                let point = &evidence.points[r * evidence.size..][..evidence.size];
                for (logit, vector) in line.iter_mut().zip(evidence.vectors.chunks_exact(evidence.size)) {
                    *logit += dot(point, vector);
                }
            }
            costs.push(pay(r, &mut line));
            if let Some(gradients) = &mut gradients {
                if let Some(slopes) = slopes {
                    line.iter_mut().zip(slopes).for_each(|(d, slope)| *d *= slope);
                }
                let d_head = gradients.head.as_deref_mut();
                self.backward(x, &line, &mut gradients.hidden[r * inputs..][..inputs], d_head);
                if let Some(d_bias) = gradients.bias.as_deref_mut() {
                    d_bias.iter_mut().zip(&line).for_each(|(sum, &d)| *sum += d);
                }
            }
        }
        costs
    }

    fn forward(&self, x: &[E], out: &mut [E]) {
        match &self.head {
            ScalarHead::Real { values, round } => {
                let shape = LinearShape { rows: 1, ..self.shape };
                linear(LinearOperands { shape, x, weight: values, bias: None, accumulate: false }, *round, out);
            }
            ScalarHead::Quantised { matrix, .. } => linear_quantised(1, x, matrix, None, false, out),
        }
    }

    fn backward(&self, x: &[E], d_out: &[E], d_x: &mut [E], d_head: Option<&mut [E]>) {
        let (ScalarHead::Real { values, round } | ScalarHead::Quantised { values, round, .. }) = &self.head;
        let shape = LinearShape { rows: 1, ..self.shape };
        linear_backward_input(BackwardInput { shape, d_out, weight: values, accumulate: false }, *round, d_x);
        let Some(d_head) = d_head else { return };
        for (&d, d_row) in d_out.iter().zip(d_head.chunks_exact_mut(self.shape.inputs)) {
            for (sum, &x) in d_row.iter_mut().zip(x) {
                *sum += round(d) * round(x);
            }
        }
    }
}

/// `l = bound · tanh(l / bound)`, and the slopes there.
fn cap<E: Element>(line: &mut [E], bound: f64) -> Vec<E> {
    let (one, two, bound) = (E::from_f64(1.0), E::from_f64(2.0), E::from_f64(bound));
    let each = line.iter_mut().map(|logit| {
        let share = two * sigmoid(two * *logit / bound) - one;
        *logit = bound * share;
        one - share * share
    });
    each.collect()
}

/// The negative log-likelihood of each target. A row whose target is forbidden costs +∞, and its gradient lacks the
/// target's term.
pub(in crate::cpu) fn linear_cross_entropy<E: Element>(
    loss: ScalarLoss<'_, E>,
    targets: Targets<'_>,
    gradients: Option<LossGradients<'_, [E]>>,
) -> Vec<f64> {
    let learns = gradients.is_some();
    let forbidden = loss.forbidden;
    loss.each(gradients, |row, logits| {
        let target = targets.ids[row];
        let truth = logits[target as usize];
        let mut largest = logits[0];
        for &logit in &*logits {
            largest = if logit > largest { logit } else { largest };
        }
        let mut sum = E::default();
        for &logit in &*logits {
            sum += (logit - largest).exp();
        }
        if learns {
            let weight = E::from_f64(targets.weights[row]);
            for (v, logit) in logits.iter_mut().enumerate() {
                let hit = v == target as usize && forbidden != Some(target);
                *logit = weight * ((*logit - largest).exp() / sum - E::from_f64(f64::from(u8::from(hit))));
            }
        }
        (largest + sum.ln() - truth).to_f64()
    })
}

/// What each row's softmax costs, and the negative log-likelihood of its target.
pub(in crate::cpu) fn linear_cost_rows<E: Element>(
    loss: ScalarLoss<'_, E>,
    costs: &[RowCost],
    vectors: Option<cost::Vectors<'_, E>>,
    gradients: Option<LossGradients<'_, [E]>>,
) -> Vec<RowLoss> {
    let learns = gradients.is_some();
    loss.each(gradients, |row, line| {
        softmax(line);
        if learns { cost::learn(&costs[row], line, vectors) } else { cost::value(&costs[row], line, vectors) }
    })
}

/// Softmax of a row; of f32 it is that of [`softmax_row`], so that a cost is the same to the bit wherever it is made.
fn softmax<E: Element>(line: &mut [E]) {
    if E::DTYPE == DType::F32 {
        let mut numbers: Vec<f32> = line.iter().map(|value| value.to_f64() as f32).collect();
        softmax_row(&mut numbers);
        line.iter_mut().zip(numbers).for_each(|(value, number)| *value = E::from_f64(f64::from(number)));
        return;
    }
    let largest = line.iter().copied().fold(line[0], |a, b| if b > a { b } else { a });
    let mut sum = E::default();
    for p in &mut *line {
        *p = (*p - largest).exp();
        sum += *p;
    }
    for p in &mut *line {
        *p = *p / sum;
    }
}

/// Hands each row of logits to `read`, which turns it into the gradient.
pub(in crate::cpu) fn linear_learn_rows<E: Element>(
    loss: ScalarLoss<'_, E>,
    read: &ReadRow<'_>,
    gradients: LossGradients<'_, [E]>,
) {
    loss.each(Some(gradients), |row, line| {
        let mut numbers: Vec<f32> = line.iter().map(|value| value.to_f64() as f32).collect();
        read(row, &mut numbers);
        for (value, number) in line.iter_mut().zip(numbers) {
            *value = E::from_f64(f64::from(number));
        }
    });
}
