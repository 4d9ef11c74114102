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
        let router = Router { experts, per_token, score, groups, groups_per_token, normalised, scale: 2.5 };
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
fn experts_are_chosen_from_the_groups_whose_two_best_are_greatest_together() {
    let router = Router {
        experts: 6,
        per_token: 2,
        score: RouterScore::Sigmoid,
        groups: 3,
        groups_per_token: 1,
        normalised: true,
        scale: 3.0,
    };
    let (mut chosen, mut weights) = ([0; 2], [0.0_f64; 2]);
    // The greatest of all is in the first group, whose other expert is the least.
    route_row(&router, &[4.0, -4.0, 1.0, 1.0, 0.5, 0.0], None, &mut chosen, &mut weights);
    assert_eq!((chosen, weights), ([2, 3], [1.5, 1.5]));
}
