//! The likeliest tokens of a row.

use crate::cpu::summarise;
use crate::{LogitsSummary, RowSummary};
use std::cmp::Ordering;

/// A row of logits at a glance, with its `best` likeliest tokens (fewer where fewer have any probability).
pub fn summarise_row(logits: &[f32], count: usize) -> RowSummary {
    let summary = summarise(logits);
    RowSummary { summary, best: best(logits, &summary, count) }
}

/// The `count` likeliest tokens with their probabilities, descending, of equal ones the lowest first; none of a row that is
/// broken.
fn best(logits: &[f32], summary: &LogitsSummary, count: usize) -> Vec<(u32, f64)> {
    let count = if summary.likeliest.is_some() { count.min(logits.len()) } else { 0 };
    if count == 0 {
        return Vec::new();
    }
    let order =
        |a: &u32, b: &u32| -> Ordering { logits[*b as usize].total_cmp(&logits[*a as usize]).then_with(|| a.cmp(b)) };
    let mut tokens: Vec<u32> = (0..logits.len() as u32).collect();
    if count < tokens.len() {
        tokens.select_nth_unstable_by(count - 1, order);
    }
    tokens.truncate(count);
    tokens.sort_unstable_by(order);
    let probability = |token: u32| (f64::from(logits[token as usize]) - summary.log_sum_exp).exp();
    tokens.into_iter().map(|token| (token, probability(token))).filter(|(_, p)| *p > 0.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_come_first_and_equal_ones_in_their_order() {
        let ln = |p: f32| p.ln();
        let logits = [ln(0.1), ln(0.3), f32::NEG_INFINITY, ln(0.3), ln(0.2), ln(0.1)];
        for count in 0..9 {
            let found = summarise_row(&logits, count).best;
            let tokens: Vec<u32> = found.iter().map(|(token, _)| *token).collect();
            assert_eq!(tokens, [1, 3, 4, 0, 5][..count.min(5)]);
            for (token, p) in found {
                assert!((p - f64::from(logits[token as usize].exp())).abs() < 1e-6);
            }
        }
        let nothing = [f32::NEG_INFINITY; 3];
        assert!(summarise_row(&nothing, 2).best.is_empty());
        let broken = [1.0, f32::NAN];
        assert!(summarise_row(&broken, 2).best.is_empty());
    }
}
