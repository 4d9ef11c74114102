//! Mixtures of experts: the choice of experts, and the sum of what they give.
//!
//! Scores `s` are `softmax(z)` or `σ(z)` of the logits `z`. Experts are chosen by `s + bias`; their weights are
//! `w_e = scale · s_e / S`, with `S` the sum over the chosen ones where weights are normalised and 1 where they are not.
//! Where the rows of a block choose together, an expert is as good for the block as it is for that of its rows for which it
//! is best, `max_t (s_te + bias_e)`, and a row has its own among the best of the block.

use super::{dot, sigmoid};
use crate::{Combine, Element, Router, RouterScore};

/// Added to the sum of the weights of a row, so that no row is divided by 0.
const LEAST_SUM: f64 = 1e-20;

/// The experts of one row in ascending order, and their weights.
pub(in crate::cpu) fn route_row<E: Element>(
    router: &Router,
    logits: &[E],
    bias: Option<&[E]>,
    chosen: &mut [u32],
    weights: &mut [E],
) {
    let scores = scores(router.score, logits);
    let keys = keys(&scores, bias);
    let size = router.experts / router.groups;
    let mut open = vec![true; router.experts];
    if router.groups > 1 {
        let sums: Vec<f64> = keys.chunks(size).map(best_two).collect();
        let mut allowed = vec![0; router.groups_per_token];
        greatest(&sums, &vec![true; router.groups], &mut allowed);
        open = (0..router.experts).map(|expert| allowed.contains(&((expert / size) as u32))).collect();
    }
    greatest(&keys, &open, chosen);
    weigh(router, &scores, chosen, weights);
}

/// The same of all rows of a block, which have their experts among the `per_block` best for the block.
pub(in crate::cpu) fn route_block<E: Element>(
    router: &Router,
    per_block: usize,
    logits: &[E],
    bias: Option<&[E]>,
    chosen: &mut [u32],
    weights: &mut [E],
) {
    let rows = logits.chunks_exact(router.experts).map(|logits| {
        let scores = scores(router.score, logits);
        let keys = keys(&scores, bias);
        (scores, keys)
    });
    let rows: Vec<(Vec<E>, Vec<f64>)> = rows.collect();
    let mut best = vec![f64::NEG_INFINITY; router.experts];
    for (_, keys) in &rows {
        best.iter_mut().zip(keys).for_each(|(best, &key)| *best = best.max(key));
    }
    let mut together = vec![0; per_block];
    greatest(&best, &vec![true; router.experts], &mut together);
    let mut open = vec![false; router.experts];
    together.iter().for_each(|&expert| open[expert as usize] = true);
    let places = chosen.chunks_exact_mut(router.per_token).zip(weights.chunks_exact_mut(router.per_token));
    for ((scores, keys), (chosen, weights)) in rows.iter().zip(places) {
        greatest(keys, &open, chosen);
        weigh(router, scores, chosen, weights);
    }
}

/// Gradient of the weights of one row with respect to its logits.
pub(in crate::cpu) fn route_row_backward<E: Element>(
    router: &Router,
    logits: &[E],
    chosen: &[u32],
    d_weights: &[E],
    d_logits: &mut [E],
) {
    let scores = scores(router.score, logits);
    let sum = divisor(router, &scores, chosen);
    let of = |expert: &u32| scores[*expert as usize];
    // What all weights lose when the sum grows.
    let pull = match router.normalised {
        true => d_weights.iter().zip(chosen).fold(E::default(), |pull, (&d, e)| pull + d * of(e)) / sum,
        false => E::default(),
    };
    let mut d_scores = vec![E::default(); scores.len()];
    for (&d, &expert) in d_weights.iter().zip(chosen) {
        d_scores[expert as usize] = E::from_f64(router.scale) * (d - pull) / sum;
    }
    let one = E::from_f64(1.0);
    let mean = dot(&d_scores, &scores);
    for ((d_logit, &d), &score) in d_logits.iter_mut().zip(&d_scores).zip(&scores) {
        *d_logit = match router.score {
            RouterScore::Softmax => score * (d - mean),
            RouterScore::Sigmoid => d * score * (one - score),
        };
    }
}

fn scores<E: Element>(score: RouterScore, logits: &[E]) -> Vec<E> {
    match score {
        RouterScore::Sigmoid => logits.iter().map(|&logit| sigmoid(logit)).collect(),
        RouterScore::Softmax => {
            let largest = logits.iter().skip(1).fold(logits[0], |most, &logit| if logit > most { logit } else { most });
            let powers: Vec<E> = logits.iter().map(|&logit| (logit - largest).exp()).collect();
            let sum = powers.iter().fold(E::default(), |sum, &power| sum + power);
            powers.into_iter().map(|power| power / sum).collect()
        }
    }
}

/// What the experts of a row are compared by.
fn keys<E: Element>(scores: &[E], bias: Option<&[E]>) -> Vec<f64> {
    match bias {
        Some(bias) => scores.iter().zip(bias).map(|(&score, &bias)| key(score + bias)).collect(),
        None => scores.iter().map(|&score| key(score)).collect(),
    }
}

/// The weights of chosen experts.
fn weigh<E: Element>(router: &Router, scores: &[E], chosen: &[u32], weights: &mut [E]) {
    let sum = divisor(router, scores, chosen);
    for (weight, &expert) in weights.iter_mut().zip(chosen) {
        *weight = E::from_f64(router.scale) * scores[expert as usize] / sum;
    }
}

/// What experts are compared by: what is no number is the least.
fn key<E: Element>(score: E) -> f64 {
    let key = score.to_f64();
    if key.is_nan() { f64::NEG_INFINITY } else { key }
}

/// What a group is compared by: its two best experts together, or its only one.
fn best_two(keys: &[f64]) -> f64 {
    let (mut first, mut second) = (keys[0], None);
    for &key in &keys[1..] {
        if key > first {
            second = Some(first);
            first = key;
        } else if second.is_none_or(|second| key > second) {
            second = Some(key);
        }
    }
    first + second.unwrap_or(0.0)
}

/// The places of the greatest of the keys that are open, in ascending order; of equals the first are taken.
fn greatest(keys: &[f64], open: &[bool], chosen: &mut [u32]) {
    let mut taken = vec![false; keys.len()];
    for chosen in chosen.iter_mut() {
        let free = (0..keys.len()).filter(|&place| open[place] && !taken[place]);
        let best = free.reduce(|best, place| if keys[place] > keys[best] { place } else { best });
        if let Some(best) = best {
            taken[best] = true;
            *chosen = best as u32;
        }
    }
    chosen.sort_unstable();
}

/// What the scores of the chosen experts are divided by.
fn divisor<E: Element>(router: &Router, scores: &[E], chosen: &[u32]) -> E {
    match router.normalised {
        true => chosen.iter().fold(E::from_f64(LEAST_SUM), |sum, &expert| sum + scores[expert as usize]),
        false => E::from_f64(1.0),
    }
}

/// `out[t] = Σ_k weights[t, k] · sorted[places[t, k]]`.
pub(in crate::cpu) fn combine<E: Element>(operands: Combine<'_, [E], [u32]>, out: &mut [E]) {
    let Combine { columns, per_token, places, weights, sorted } = operands;
    let rows = places.chunks_exact(per_token).zip(weights.chunks_exact(per_token));
    for ((places, weights), out) in rows.zip(out.chunks_exact_mut(columns)) {
        out.fill(E::default());
        for (&place, &weight) in places.iter().zip(weights) {
            let row = &sorted[place as usize * columns..][..columns];
            for (out, &value) in out.iter_mut().zip(row) {
                *out += weight * value;
            }
        }
    }
}

/// Gradients of [`combine`]; overwrites both.
pub(in crate::cpu) fn combine_backward<E: Element>(
    operands: Combine<'_, [E], [u32]>,
    d_out: &[E],
    d_weights: &mut [E],
    d_sorted: &mut [E],
) {
    let Combine { columns, per_token, places, weights, sorted } = operands;
    for (i, (&place, &weight)) in places.iter().zip(weights).enumerate() {
        let d_out = &d_out[i / per_token * columns..][..columns];
        let at = place as usize * columns;
        d_weights[i] = dot(d_out, &sorted[at..][..columns]);
        for (d_sorted, &d) in d_sorted[at..][..columns].iter_mut().zip(d_out) {
            *d_sorted = weight * d;
        }
    }
}
