//! Mixtures of experts.

use super::*;
use crate::{Combine, Router, RouterScore};

/// Numbers in any order, no two closer than `step / 2`.
fn apart(count: usize, step: f64, n: &mut Numbers) -> Vec<f64> {
    let mut values: Vec<f64> =
        n.many(count).into_iter().enumerate().map(|(i, x)| step * (i as f64 + x / 4.0)).collect();
    for i in (1..count).rev() {
        values.swap(i, n.below(i + 1) as usize);
    }
    values
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn routing(groups in 1..4_usize, size in 2..4_usize, sigmoids: bool, biased: bool, normalised: bool, seed: u64) {
        let mut n = Numbers(seed);
        let groups_per_token = 1 + n.below(groups) as usize;
        let per_token = 1 + n.below(groups_per_token * size) as usize;
        let score = if sigmoids { RouterScore::Sigmoid } else { RouterScore::Softmax };
        let experts = groups * size;
        let per_block = None;
        let router = Router { experts, per_token, score, groups, groups_per_token, per_block, normalised, scale: 2.5 };
        let bias = biased.then(|| apart(experts, 2.0, &mut n));
        let g = n.many(per_token);
        let run = |logits: &[f64]| {
            let (mut chosen, mut weights) = (vec![0; per_token], zeros(per_token));
            route_row(&router, logits, bias.as_deref(), &mut chosen, &mut weights);
            (chosen, weights)
        };
        check(
            vec![apart(experts, 0.4, &mut n)],
            |v| dot(&run(&v[0]).1, &g),
            |v| {
                let mut d = zeros(experts);
                route_row_backward(&router, &v[0], &run(&v[0]).0, &g, &mut d);
                vec![d]
            },
        )?;
    }

    #[test]
    fn rows_of_a_block_have_their_experts_among_the_best_of_the_block(
        rows in 1..6_usize, experts in 1..9_usize, sigmoids: bool, biased: bool, normalised: bool, few: bool, seed: u64
    ) {
        let mut n = Numbers(seed);
        let per_block = 1 + n.below(experts) as usize;
        let per_token = 1 + n.below(per_block) as usize;
        let score = if sigmoids { RouterScore::Sigmoid } else { RouterScore::Softmax };
        let router = Router {
            experts, per_token, score, groups: 1, groups_per_token: 1, per_block: Some(per_block), normalised, scale: 2.5,
        };
        // Of few values many are equal.
        let mut many = |count| n.many(count).into_iter().map(|x| if few { x.round() } else { x }).collect::<Vec<f64>>();
        let (logits, bias) = (many(rows * experts), biased.then(|| many(experts)));
        let (mut chosen, mut weights) = (vec![0; rows * per_token], zeros(rows * per_token));
        route_block(&router, per_block, &logits, bias.as_deref(), &mut chosen, &mut weights);
        let scores = logits.chunks(experts).map(|row| match score {
            RouterScore::Sigmoid => row.iter().map(|&z| sigmoid(z)).collect::<Vec<f64>>(),
            RouterScore::Softmax => {
                let most = row.iter().copied().fold(f64::MIN, f64::max);
                let sum: f64 = row.iter().map(|z| (z - most).exp()).sum();
                row.iter().map(|z| (z - most).exp() / sum).collect()
            }
        });
        let scores: Vec<Vec<f64>> = scores.collect();
        let key = |row: usize, expert: usize| scores[row][expert] + bias.as_ref().map_or(0.0, |bias| bias[expert]);
        let best = |expert: usize| (0..rows).map(|row| key(row, expert)).fold(f64::MIN, f64::max);
        // The first of an order from the greatest down; a stable sort leaves equals as they are.
        let first = |mut experts: Vec<usize>, count: usize, key: &dyn Fn(usize) -> f64| {
            experts.sort_by(|a, b| key(*b).total_cmp(&key(*a)));
            experts.truncate(count);
            experts.sort_unstable();
            experts
        };
        let together = first((0..experts).collect(), per_block, &best);
        for row in 0..rows {
            let own = first(together.clone(), per_token, &|expert| key(row, expert));
            let given = &chosen[row * per_token..][..per_token];
            prop_assert_eq!(given.iter().map(|&expert| expert as usize).collect::<Vec<_>>(), own.clone());
            let sum: f64 = if normalised { own.iter().map(|&expert| scores[row][expert]).sum() } else { 1.0 };
            for (weight, expert) in weights[row * per_token..].iter().zip(own) {
                prop_assert!((weight - 2.5 * scores[row][expert] / sum).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn sums_over_experts(rows in 1..4_usize, per_token in 1..4_usize, columns in 1..5_usize, seed: u64) {
        let mut n = Numbers(seed);
        let count = rows * per_token;
        // Any order in which each place occurs once.
        let mut places: Vec<u32> = (0..count as u32).collect();
        places.rotate_left(n.below(count) as usize);
        let g = n.many(rows * columns);
        fn operands<'a>(columns: usize, per_token: usize, places: &'a [u32], v: &'a [Vec<f64>]) -> Combine<'a, [f64], [u32]> {
            Combine { columns, per_token, places, weights: &v[0], sorted: &v[1] }
        }
        check(
            vec![n.many(count), n.many(count * columns)],
            |v| {
                let mut out = zeros(rows * columns);
                combine(operands(columns, per_token, &places, v), &mut out);
                dot(&out, &g)
            },
            |v| {
                let (mut d_weights, mut d_sorted) = (zeros(count), zeros(count * columns));
                combine_backward(operands(columns, per_token, &places, v), &g, &mut d_weights, &mut d_sorted);
                vec![d_weights, d_sorted]
            },
        )?;
    }
}

#[test]
fn the_bias_of_an_expert_counts_for_the_choice_and_not_for_the_weight() {
    let router = Router {
        experts: 4,
        per_token: 2,
        score: RouterScore::Sigmoid,
        groups: 1,
        groups_per_token: 1,
        per_block: None,
        normalised: false,
        scale: 1.0,
    };
    let (mut chosen, mut weights) = ([0; 2], [0.0_f64; 2]);
    route_row(&router, &[0.0, 1.0, 2.0, 3.0], Some(&[1.0, 0.0, 0.0, 0.0]), &mut chosen, &mut weights);
    assert_eq!((chosen, weights), ([0, 3], [0.5, sigmoid(3.0)]));
    // Of equals the first are chosen, and what is no number is chosen last.
    route_row(&router, &[f64::NAN, 1.0, 1.0, 1.0], None, &mut chosen, &mut weights);
    assert_eq!(chosen, [1, 2]);
}

#[test]
fn an_expert_that_is_best_for_one_row_is_open_to_all_of_its_block_and_others_are_closed() {
    let router = Router {
        experts: 4,
        per_token: 1,
        score: RouterScore::Sigmoid,
        groups: 1,
        groups_per_token: 1,
        per_block: Some(2),
        normalised: false,
        scale: 1.0,
    };
    // For the first row expert 1 is the best, for the second expert 3; expert 2 is the second of both, and the best of
    // the third row, and yet no row may go there.
    let logits = [0.0, 3.0, 2.0, -1.0, 0.0, -1.0, 2.0, 3.0, -2.0, 0.0, 2.0, 1.0];
    let (mut chosen, mut weights) = ([0; 3], [0.0_f64; 3]);
    route_block(&router, 2, &logits, None, &mut chosen, &mut weights);
    assert_eq!((chosen, weights), ([1, 3, 3], [sigmoid(3.0), sigmoid(3.0), sigmoid(1.0)]));
    // The bias counts before the best of the block are taken, and not in weights.
    route_block(&router, 2, &logits, Some(&[2.0, 0.0, 0.0, 0.0]), &mut chosen, &mut weights);
    assert_eq!((chosen, weights), ([0, 0, 0], [0.5, 0.5, sigmoid(-2.0)]));
}

#[test]
fn experts_are_chosen_from_the_groups_whose_two_best_are_greatest_together() {
    let router = Router {
        experts: 6,
        per_token: 2,
        score: RouterScore::Sigmoid,
        groups: 3,
        groups_per_token: 1,
        per_block: None,
        normalised: true,
        scale: 3.0,
    };
    let (mut chosen, mut weights) = ([0; 2], [0.0_f64; 2]);
    // The greatest of all is in the first group, whose other expert is the least.
    route_row(&router, &[4.0, -4.0, 1.0, 1.0, 0.5, 0.0], None, &mut chosen, &mut weights);
    assert_eq!((chosen, weights), ([2, 3], [1.5, 1.5]));
}
