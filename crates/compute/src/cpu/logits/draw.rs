//! One token of a row: penalty, biases, temperature, min-p (Nguyen et al., 2407.01082), top-k (Fan et al., 1805.04833),
//! top-p (Holtzman et al., 1904.09751), and the token at which the running sum passes a uniform share of the whole. All in
//! f64: categorical draws in f32 lower the temperature silently (2409.02908).

use crate::cpu::summarise_row;
use crate::{DrawnRow, LogitsSummary, RowDraw, RowSummary, Sampling};

/// Candidates that are sorted at first for top-p.
const SORTED_AT_FIRST: usize = 64;

/// Draws one token from a row of logits, which it changes: forbidden tokens lose theirs.
pub fn draw_row(logits: &mut [f32], row: &RowDraw<'_>) -> DrawnRow {
    let RowSummary { summary, best } = prepare(logits, row);
    let token = summary.likeliest.and_then(|likeliest| token(logits, likeliest, row));
    let probability = |token: usize| (f64::from(logits[token]) - summary.log_sum_exp).exp();
    DrawnRow { summary, token: token.map(|token| (token as u32, probability(token))), best }
}

/// A row of logits as [`draw_row`] draws from it, for draws that hang on more than one row.
#[derive(Debug, Clone, PartialEq)]
pub struct ShapedRow {
    /// The row at a glance, before it was shaped.
    pub summary: LogitsSummary,
    /// `V`: the logits after penalties and biases, and before the temperature; −∞ for tokens that have no part.
    pub logits: Vec<f64>,
    /// The tokens that min-p, top-k and top-p keep at the temperature; `None` where they keep all.
    pub retained: Option<Vec<u32>>,
}

/// Shapes a row of logits, which it changes as [`draw_row`] does. No likeliest tokens are listed.
pub fn shape_row(logits: &mut [f32], row: &RowDraw<'_>) -> ShapedRow {
    let summary = prepare(logits, &RowDraw { best: 0, ..*row }).summary;
    let shaped = penalised(logits, row);
    let Sampling { repetition_penalty: _, temperature, min_p, top_k, top_p } = row.sampling;
    let cuts = min_p.is_some_and(|share| share > 0.0) || top_k.is_some() || top_p.is_some_and(|share| share < 1.0);
    let cuts = temperature > 0.0 && cuts;
    let retained = if cuts { argmax(&shaped).map(|highest| retained(&shaped, highest, row)) } else { None };
    let retained = retained.map(|retained| retained.into_iter().map(|(token, _)| token as u32).collect());
    ShapedRow { summary, logits: shaped, retained }
}

/// Adds the bonus, takes out what is forbidden, and looks at the rest.
fn prepare(logits: &mut [f32], row: &RowDraw<'_>) -> RowSummary {
    if let Some((token, bonus)) = row.bonus
        && let Some(logit) = logits.get_mut(token as usize)
    {
        *logit += bonus;
    }
    for &token in row.forbidden {
        let Some(logit) = logits.get_mut(token as usize) else { continue };
        // What is forbidden may be anything that a sound network says.
        if logit.is_nan() || *logit == f32::INFINITY {
            let summary = LogitsSummary { broken: Some(token as usize), ..LogitsSummary::NOTHING };
            return RowSummary { summary, best: Vec::new() };
        }
        *logit = f32::NEG_INFINITY;
    }
    summarise_row(logits, row.best)
}

fn token(logits: &[f32], likeliest: usize, row: &RowDraw<'_>) -> Option<usize> {
    let Sampling { repetition_penalty, temperature, .. } = row.sampling;
    if temperature == 0.0 && repetition_penalty == 1.0 && row.biases.is_empty() {
        return Some(likeliest);
    }
    let shaped = penalised(logits, row);
    let highest = argmax(&shaped)?;
    if temperature == 0.0 {
        return Some(highest);
    }
    categorical(&retained(&shaped, highest, row), row.uniform)
}

/// The logits after penalties and biases.
fn penalised(logits: &[f32], row: &RowDraw<'_>) -> Vec<f64> {
    let mut shaped: Vec<f64> = logits.iter().map(|logit| f64::from(*logit)).collect();
    let repetition_penalty = row.sampling.repetition_penalty;
    if repetition_penalty != 1.0 {
        let mut repeated = row.repeated.to_vec();
        repeated.sort_unstable();
        repeated.dedup();
        for token in repeated {
            if let Some(logit) = shaped.get_mut(token as usize) {
                let penalised = *logit > 0.0;
                *logit = if penalised { *logit / repetition_penalty } else { *logit * repetition_penalty };
            }
        }
    }
    for &(token, bias) in row.biases {
        if let Some(logit) = shaped.get_mut(token as usize) {
            *logit += f64::from(bias);
        }
    }
    shaped
}

/// The tokens that a draw above temperature 0 chooses from, with their weights.
fn retained(shaped: &[f64], highest: usize, row: &RowDraw<'_>) -> Vec<(usize, f64)> {
    let temperature = row.sampling.temperature;
    let top = shaped[highest];
    let least = top + row.sampling.reach();
    let likely = shaped.iter().enumerate().filter(|(_, logit)| **logit >= least && logit.is_finite());
    let mut retained: Vec<(usize, f64)> =
        likely.map(|(index, logit)| (index, ((logit - top) / temperature).exp())).collect();
    cut(&row.sampling, &mut retained);
    retained
}

/// Index of the largest finite value, the first one of several.
fn argmax(values: &[f64]) -> Option<usize> {
    let mut best: Option<usize> = None;
    for (index, value) in values.iter().enumerate() {
        if value.is_finite() && best.is_none_or(|b| *value > values[b]) {
            best = Some(index);
        }
    }
    best
}

/// Leaves of the candidates, pairs of a token and its weight, those that top-k and top-p keep.
fn cut(sampling: &Sampling, candidates: &mut Vec<(usize, f64)>) {
    if let Some(k) = sampling.top_k.filter(|k| *k < candidates.len()) {
        bring_forward(candidates, k.max(1));
        candidates.truncate(k.max(1));
    }
    if let Some(share) = sampling.top_p.filter(|p| *p < 1.0) {
        let wanted = share * candidates.iter().map(|c| c.1).sum::<f64>();
        // Sorting a whole vocabulary for a handful of tokens would cost more than the rest of the step.
        let mut sorted = SORTED_AT_FIRST.min(candidates.len());
        loop {
            bring_forward(candidates, sorted);
            let mut held = 0.0;
            let retained = candidates[..sorted].iter().position(|c| {
                held += c.1;
                held >= wanted
            });
            match retained {
                Some(last) => break candidates.truncate(last + 1),
                None if sorted == candidates.len() => break,
                None => sorted = (sorted * 8).min(candidates.len()),
            }
        }
    }
}

/// Sorts the `count` largest weights to the front; equal ones by index, so that nothing depends on the input's order.
fn bring_forward(candidates: &mut [(usize, f64)], count: usize) {
    let order = |a: &(usize, f64), b: &(usize, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if count < candidates.len() {
        candidates.select_nth_unstable_by(count, order);
    }
    candidates[..count].sort_unstable_by(order);
}

/// The candidate at which the running sum of weights passes a share of the whole.
fn categorical(candidates: &[(usize, f64)], share: f64) -> Option<usize> {
    let total: f64 = candidates.iter().map(|c| c.1).sum();
    let mut left = share * total;
    let mut last = None;
    for (token, weight) in candidates.iter().filter(|c| c.1 > 0.0) {
        last = Some(*token);
        left -= weight;
        if left < 0.0 {
            break;
        }
    }
    // Where rounding lets the walk run past the end, the last token that has any weight is meant.
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Sampling = Sampling::NONE;

    fn drawn(logits: &[f32], sampling: Sampling, forbidden: &[u32], repeated: &[u32], uniform: f64) -> DrawnRow {
        draw_row(&mut logits.to_vec(), &RowDraw { forbidden, repeated, ..RowDraw::new(sampling, uniform) })
    }

    #[test]
    fn each_token_has_its_share_of_the_uniform_numbers() {
        let logits: Vec<f32> = [0.1_f32, 0.4, 0.2, 0.3].iter().map(|p| p.ln()).collect();
        let counts = |sampling| {
            let mut counts = [0; 4];
            for i in 0..1000 {
                let uniform = (f64::from(i) + 0.5) / 1000.0;
                counts[drawn(&logits, sampling, &[], &[], uniform).token.unwrap().0 as usize] += 1;
            }
            counts
        };
        assert_eq!(counts(PLAIN), [100, 400, 200, 300]);
        let near = |counts: [i32; 4], expected: [i32; 4]| counts.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 1);
        assert!(near(counts(Sampling { top_k: Some(2), ..PLAIN }), [0, 571, 0, 429]));
        assert!(near(counts(Sampling { top_p: Some(0.75), ..PLAIN }), [0, 444, 222, 333]));
        assert!(near(counts(Sampling { temperature: 0.5, ..PLAIN }), [33, 533, 133, 300]));
        assert!(near(counts(Sampling { min_p: Some(0.45), ..PLAIN }), [0, 444, 222, 333]));
        // What min-p compares has been tempered, and top-p shares out what it has left.
        assert!(near(counts(Sampling { temperature: 0.5, min_p: Some(0.45), ..PLAIN }), [0, 640, 0, 360]));
        assert!(near(counts(Sampling { min_p: Some(0.45), top_p: Some(0.7), ..PLAIN }), [0, 571, 0, 429]));
        assert_eq!(counts(Sampling { min_p: Some(1.0), ..PLAIN }), [0, 1000, 0, 0]);
        assert_eq!(counts(Sampling { min_p: Some(0.0), ..PLAIN }), counts(PLAIN));
    }

    #[test]
    fn a_penalty_counts_once_and_forbidden_tokens_have_no_part() {
        let greedy = Sampling { temperature: 0.0, repetition_penalty: 2.0, ..PLAIN };
        assert_eq!(drawn(&[1.0, 3.0, 2.0], greedy, &[], &[1, 1, 1], 0.5).token.unwrap().0, 2);
        assert_eq!(drawn(&[1.0, 3.0, 2.0], greedy, &[2], &[1, 1, 1], 0.5).token.unwrap().0, 1);
        let row = drawn(&[1.0, 3.0, 2.0], PLAIN, &[1], &[], 0.5);
        assert_eq!(row.summary.likeliest, Some(2));
        let all = drawn(&[1.0, 3.0], PLAIN, &[0, 1, 7], &[], 0.5);
        assert_eq!((all.token, all.summary.likeliest, all.summary.broken), (None, None, None));
        let broken = drawn(&[1.0, f32::NAN, 2.0], PLAIN, &[2, 1], &[], 0.5);
        assert_eq!((broken.token, broken.summary.broken), (None, Some(1)));
    }

    #[test]
    fn a_shaped_row_is_what_is_drawn_from() {
        let logits = [1.0_f32, 3.0, 2.0, 0.5];
        let sampling =
            Sampling { repetition_penalty: 2.0, temperature: 0.5, top_k: Some(2), top_p: Some(0.99), ..PLAIN };
        let draw = RowDraw::new(sampling, 0.5);
        let draw = RowDraw { bonus: Some((3, 0.25)), forbidden: &[0], repeated: &[1, 1], ..draw };
        let row = shape_row(&mut logits.to_vec(), &draw);
        assert_eq!(row.summary, draw_row(&mut logits.to_vec(), &draw).summary);
        assert_eq!(row.logits, [f64::NEG_INFINITY, 1.5, 2.0, 0.75]);
        assert_eq!(row.retained.as_deref(), Some(&[2, 1][..]));
        for uniform in [0.01, 0.3, 0.6, 0.9, 0.99] {
            let drawn = draw_row(&mut logits.to_vec(), &RowDraw { uniform, ..draw }).token.unwrap().0;
            assert!(row.retained.as_ref().unwrap().contains(&drawn));
        }
        let of_min_p = |share| Sampling { min_p: Some(share), temperature: 0.5, ..PLAIN };
        let biased = RowDraw { biases: &[(3, 2.0)], sampling: of_min_p(0.1), ..draw };
        let row = shape_row(&mut logits.to_vec(), &biased);
        assert_eq!((row.logits[3], row.retained.as_deref()), (2.75, Some(&[1, 2, 3][..])));
        let row = shape_row(&mut logits.to_vec(), &RowDraw { sampling: of_min_p(0.3), ..biased });
        assert_eq!(row.retained.as_deref(), Some(&[1, 3][..]));
        for sampling in [PLAIN, of_min_p(0.0), Sampling { temperature: 0.0, ..sampling }] {
            assert_eq!(shape_row(&mut logits.to_vec(), &RowDraw { sampling, ..draw }).retained, None);
        }
        assert_eq!(shape_row(&mut [f32::NAN, 1.0], &RowDraw { forbidden: &[], ..draw }).summary.broken, Some(0));
    }

    #[test]
    fn a_bonus_comes_before_everything_else() {
        let row = RowDraw { bonus: Some((0, 5.0)), ..RowDraw::new(Sampling { temperature: 0.0, ..PLAIN }, 0.5) };
        assert_eq!(draw_row(&mut [1.0, 3.0], &row).token.unwrap().0, 0);
        assert_eq!(draw_row(&mut [1.0, 3.0], &RowDraw { forbidden: &[0], ..row }).token.unwrap().0, 1);
    }

    #[test]
    fn biases_come_behind_the_penalty_and_leave_the_prediction_alone() {
        let greedy = Sampling { temperature: 0.0, ..PLAIN };
        let penalised = Sampling { repetition_penalty: 2.0, ..greedy };
        let drawn = |sampling, biases: &[(u32, f32)], forbidden: &[u32]| {
            let row = RowDraw { biases, forbidden, repeated: &[1], best: 2, ..RowDraw::new(sampling, 0.5) };
            draw_row(&mut [1.0, 3.0, 2.0], &row)
        };
        let plain = drawn(greedy, &[], &[]);
        for (sampling, biases, token) in [
            (greedy, &[(2, 1.5)][..], 2),
            (greedy, &[(0, 1.75), (1, -0.5), (77, 9.0)], 0),
            // (3 / 2) + 0.75 beats 2; (3 + 0.75) / 2 would not.
            (penalised, &[(1, 0.75)], 1),
            (penalised, &[(1, 0.25)], 2),
            (Sampling { temperature: 1.0, ..penalised }, &[(0, 100.0)], 0),
            (PLAIN, &[(1, -100.0), (2, -100.0)], 0),
        ] {
            let row = drawn(sampling, biases, &[]);
            assert_eq!(row.token.unwrap().0, token, "{sampling:?} {biases:?}");
            assert_eq!((&row.summary, &row.best), (&plain.summary, &plain.best));
        }
        // What is forbidden stays so.
        assert_eq!(drawn(greedy, &[(0, 100.0)], &[0]).token.unwrap().0, 1);
        assert_eq!(plain.best.iter().map(|(token, _)| *token).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(drawn(greedy, &[], &[1]).best.len(), 2);
        assert_eq!(drawn(greedy, &[], &[1, 2]).best, [(0, 1.0)]);
    }
}
