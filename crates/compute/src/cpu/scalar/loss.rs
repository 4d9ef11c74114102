//! Softmax cross-entropy of a linear head at chosen rows.
//!
//! `nll = ln Σ_v exp(l_v) − l_target` with `l = head h`; `∂(w · nll)/∂l = w (softmax(l) − onehot(target))`.

use super::dot;
use crate::{Element, LinearShape, ReadRow};

/// What each chosen row is scored against.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Targets<'a> {
    /// The true id of each row.
    pub(in crate::cpu) ids: &'a [u32],
    /// The weight of each row's loss in the gradient.
    pub(in crate::cpu) weights: &'a [f64],
    /// An id whose logit is −∞. A row whose target it is costs +∞, and its gradient lacks the target's term.
    pub(in crate::cpu) forbidden: Option<u32>,
}

/// The negative log-likelihood of each row; overwrites `d_hidden` and accumulates `d_head` where they are given.
pub(in crate::cpu) fn linear_cross_entropy<E: Element>(
    shape: LinearShape,
    hidden: &[E],
    head: &[E],
    targets: Targets<'_>,
    round: fn(E) -> E,
    mut gradients: Option<(&mut [E], &mut [E])>,
) -> Vec<f64> {
    let LinearShape { rows, inputs, outputs } = shape;
    let rounded = |values: &[E]| values.iter().map(|&value| round(value)).collect::<Vec<E>>();
    let (hidden, head) = (rounded(hidden), rounded(head));
    let allowed = |v: usize| targets.forbidden.is_none_or(|id| id as usize != v);
    let mut losses = Vec::with_capacity(rows);
    for r in 0..rows {
        let hidden = &hidden[r * inputs..][..inputs];
        let logits: Vec<E> = (0..outputs).map(|v| dot(hidden, &head[v * inputs..][..inputs])).collect();
        let mut largest = None;
        for v in (0..outputs).filter(|&v| allowed(v)) {
            largest = Some(largest.map_or(logits[v], |best| if logits[v] > best { logits[v] } else { best }));
        }
        let largest = largest.unwrap_or_default();
        let mut sum = E::default();
        for v in (0..outputs).filter(|&v| allowed(v)) {
            sum += (logits[v] - largest).exp();
        }
        let target = targets.ids[r] as usize;
        losses.push(if allowed(target) { (largest + sum.ln() - logits[target]).to_f64() } else { f64::INFINITY });

        let Some((d_hidden, d_head)) = gradients.as_mut() else { continue };
        let weight = E::from_f64(targets.weights[r]);
        let d_hidden = &mut d_hidden[r * inputs..][..inputs];
        d_hidden.fill(E::default());
        for v in (0..outputs).filter(|&v| allowed(v)) {
            let hit = E::from_f64(if v == target { 1.0 } else { 0.0 });
            let d_logit = round(weight * ((logits[v] - largest).exp() / sum - hit));
            for k in 0..inputs {
                d_hidden[k] += d_logit * head[v * inputs + k];
                d_head[v * inputs + k] += d_logit * hidden[k];
            }
        }
    }
    losses
}

/// Hands each row of logits to `read`, which turns it into the gradient; overwrites `d_hidden`, accumulates `d_head`.
pub(in crate::cpu) fn linear_learn_rows<E: Element>(
    shape: LinearShape,
    hidden: &[E],
    head: &[E],
    read: &ReadRow<'_>,
    round: fn(E) -> E,
    (d_hidden, d_head): (&mut [E], &mut [E]),
) {
    let LinearShape { rows, inputs, outputs } = shape;
    let rounded = |values: &[E]| values.iter().map(|&value| round(value)).collect::<Vec<E>>();
    let (hidden, head) = (rounded(hidden), rounded(head));
    for r in 0..rows {
        let hidden = &hidden[r * inputs..][..inputs];
        let logit = |v: usize| dot(hidden, &head[v * inputs..][..inputs]).to_f64() as f32;
        let mut line: Vec<f32> = (0..outputs).map(logit).collect();
        read(r, &mut line);
        let d_hidden = &mut d_hidden[r * inputs..][..inputs];
        d_hidden.fill(E::default());
        for (v, d_logit) in line.into_iter().enumerate() {
            let d_logit = round(E::from_f64(f64::from(d_logit)));
            for k in 0..inputs {
                d_hidden[k] += d_logit * head[v * inputs + k];
                d_head[v * inputs + k] += d_logit * hidden[k];
            }
        }
    }
}
