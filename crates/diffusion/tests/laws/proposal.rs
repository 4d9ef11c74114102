//! Proposals: what is drawn, and how sure the prediction is said to be.

use crate::oracle::{chi_square, chi_square_limit};
use aquatint_diffusion::{Candidate, Key, Proposal, ProposalError, Shaping, propose};
use proptest::prelude::*;

const GREEDY: Shaping = Shaping { temperature: 0.0, ..Shaping::NONE };

fn logits(probabilities: &[f64]) -> Vec<f32> {
    probabilities.iter().map(|p| (p.ln() + 3.0) as f32).collect()
}

fn one(logits: &[f32], shaping: &Shaping, forbidden: &[u32], repeated: &[u32], step: u64) -> Candidate {
    propose(logits, shaping, forbidden, repeated, &mut Key::new(61).at(0, step)).unwrap()
}

fn frequencies(logits: &[f32], shaping: &Shaping, forbidden: &[u32], repeated: &[u32], n: u64) -> Vec<usize> {
    let mut counts = vec![0; logits.len()];
    (0..n).for_each(|step| counts[one(logits, shaping, forbidden, repeated, step).token as usize] += 1);
    counts
}

#[test]
fn draws_follow_the_shaped_prediction() {
    let p = [0.4, 0.3, 0.2, 0.08, 0.02];
    let cases: [(Shaping, &[u32], [f64; 5]); 10] = [
        (Shaping::NONE, &[], p),
        (Shaping::NONE, &[1, 1, 99], [0.4, 0.0, 0.2, 0.08, 0.02]),
        (Shaping { temperature: 0.5, ..Shaping::NONE }, &[], p.map(|p| p * p)),
        (Shaping { temperature: 2.0, ..Shaping::NONE }, &[], p.map(f64::sqrt)),
        (Shaping { top_k: Some(2), ..Shaping::NONE }, &[], [0.4, 0.3, 0.0, 0.0, 0.0]),
        (Shaping { top_p: Some(0.75), ..Shaping::NONE }, &[], [0.4, 0.3, 0.2, 0.0, 0.0]),
        (Shaping { min_p: Some(0.19), ..Shaping::NONE }, &[], [0.4, 0.3, 0.2, 0.08, 0.0]),
        // What min-p compares has been tempered, and top-p shares out what it has left.
        (Shaping { min_p: Some(0.3), temperature: 0.5, ..Shaping::NONE }, &[], [0.16, 0.09, 0.0, 0.0, 0.0]),
        (Shaping { min_p: Some(0.49), top_p: Some(0.75), ..Shaping::NONE }, &[], [0.4, 0.3, 0.0, 0.0, 0.0]),
        (Shaping { top_k: Some(3), top_p: Some(0.7), ..Shaping::NONE }, &[], [0.4, 0.3, 0.0, 0.0, 0.0]),
    ];
    for (shaping, forbidden, weights) in cases {
        let observed = frequencies(&logits(&p), &shaping, forbidden, &[], 40_000);
        let total: f64 = weights.iter().sum();
        let retained: Vec<usize> = (0..5).filter(|i| weights[*i] > 0.0).collect();
        assert_eq!(retained.iter().map(|i| observed[*i]).sum::<usize>(), 40_000, "{shaping:?} drew what was cut");
        let observed: Vec<usize> = retained.iter().map(|i| observed[*i]).collect();
        let expected: Vec<f64> = retained.iter().map(|i| weights[*i] / total).collect();
        let statistic = chi_square(&observed, &expected);
        assert!(statistic < chi_square_limit(retained.len() - 1), "{shaping:?}: {statistic}");
    }
}

#[test]
fn the_repetition_penalty_lowers_logits_of_either_sign_once() {
    let shaping = Shaping { repetition_penalty: 2.0, ..Shaping::NONE };
    let observed = frequencies(&[1.0, 0.5, -0.5], &shaping, &[], &[0, 0, 2, 77], 40_000);
    let weights = [0.5f64.exp(), 0.5f64.exp(), (-1.0f64).exp()];
    let total: f64 = weights.iter().sum();
    assert!(chi_square(&observed, &weights.map(|w| w / total)) < chi_square_limit(2));
}

#[test]
fn presence_counts_once_and_frequency_each_time() {
    let shaping = Shaping { presence_penalty: 0.5, frequency_penalty: -0.25, ..Shaping::NONE };
    let observed = frequencies(&[1.0, 0.5, -0.5], &shaping, &[], &[2, 0, 2, 2, 77], 40_000);
    let weights = [0.75f64.exp(), 0.5f64.exp(), (-0.25f64).exp()];
    let total: f64 = weights.iter().sum();
    assert!(chi_square(&observed, &weights.map(|w| w / total)) < chi_square_limit(2));
    // Behind the repetition penalty: 3 / 2 less 0.5.
    let shaping = Shaping { presence_penalty: 0.5, repetition_penalty: 2.0, ..GREEDY };
    assert_eq!(one(&[3.0, 0.9], &shaping, &[], &[0], 0).token, 0);
    assert_eq!(one(&[3.0, 1.1], &shaping, &[], &[0], 0).token, 1);
    let shaping = Shaping { presence_penalty: 0.5, frequency_penalty: 0.25, ..Shaping::NONE };
    assert_eq!(shaping.biases(&[(9, 1.0), (3, 0.75)], &[3, 5, 5]), [(5, -1.0), (9, 1.0)]);
    assert_eq!(Shaping::NONE.biases(&[(9, 1.0), (3, 0.0)], &[3, 5, 5]), [(9, 1.0)]);
}

#[test]
fn certainty_is_that_of_the_unshaped_prediction() {
    let p: [f64; 4] = [0.5, 0.25, 0.15, 0.1];
    let entropy: f64 = p.iter().map(|p| -p * p.ln()).sum();
    let shaping = Shaping {
        final_temperature: None,
        temperature: 0.3,
        min_p: Some(0.2),
        top_k: Some(1),
        top_p: Some(0.1),
        repetition_penalty: 3.0,
        presence_penalty: 1.5,
        frequency_penalty: 1.5,
    };
    for shaping in [GREEDY, Shaping::NONE, shaping] {
        let c = one(&logits(&p), &shaping, &[], &[1], 5);
        assert!((c.entropy - entropy).abs() < 1e-6 && (c.margin - 0.25).abs() < 1e-6);
        assert!((c.probability - p[c.token as usize]).abs() < 1e-6);
        assert_eq!(c.likeliest, 0);
    }
    // Forbidden tokens have no part in it.
    let c = one(&logits(&p), &GREEDY, &[0], &[], 0);
    assert_eq!((c.token, c.likeliest), (1, 1));
    assert!((c.probability - 0.5).abs() < 1e-6 && (c.margin - 0.2).abs() < 1e-6);
    // A single possible token is certain.
    let c = one(&[f32::NEG_INFINITY, 0.0, 5.0], &Shaping::NONE, &[2], &[], 0);
    assert_eq!((c.token, c.probability, c.entropy, c.margin), (1, 1.0, 0.0, 1.0));
}

#[test]
fn temperature_zero_takes_the_likeliest_and_the_lower_id_of_two() {
    assert_eq!(one(&[1.0, 3.0, 3.0], &GREEDY, &[], &[], 0).token, 1);
    assert_eq!(one(&[1.0, 3.0, 2.9], &Shaping { repetition_penalty: 2.0, ..GREEDY }, &[], &[1], 0).token, 2);
    let cold = Shaping { temperature: 1e-300, ..Shaping::NONE };
    assert!((0..100).all(|step| one(&[1.0, 3.0, 2.9], &cold, &[], &[], step).token == 1));
}

#[test]
fn broken_predictions_are_refused() {
    let propose =
        |logits: &[f32], forbidden: &[u32]| propose(logits, &Shaping::NONE, forbidden, &[], &mut Key::new(0).at(0, 0));
    assert_eq!(propose(&[0.0, f32::NAN], &[]), Err(ProposalError::NotANumber { token: 1 }));
    assert_eq!(propose(&[f32::INFINITY, 0.0], &[]), Err(ProposalError::NotANumber { token: 0 }));
    assert_eq!(propose(&[0.0, 1.0], &[0, 1]), Err(ProposalError::NothingAllowed));
    assert_eq!(propose(&[f32::NEG_INFINITY], &[]), Err(ProposalError::NothingAllowed));
    assert_eq!(propose(&[], &[]), Err(ProposalError::NothingAllowed));
}

#[test]
fn shaping_out_of_range_is_refused() {
    let refusal = |shaping: Shaping| crate::refusal(&shaping.validate().unwrap_err());
    assert_eq!(
        refusal(Shaping { temperature: -1.0, ..Shaping::NONE }),
        "`temperature` is -1; allowed: 0 or more | 0 takes the likeliest token"
    );
    assert_eq!(
        refusal(Shaping { top_p: Some(1.5), ..Shaping::NONE }),
        "`top_p` is 1.5; allowed: above 0, at most 1 | 1 keeps all tokens"
    );
    assert_eq!(
        refusal(Shaping { min_p: Some(1.5), ..Shaping::NONE }),
        "`min_p` is 1.5; allowed: from 0 to 1 | 0 keeps all tokens"
    );
    assert_eq!(
        refusal(Shaping { presence_penalty: 2.5, ..Shaping::NONE }),
        "`presence_penalty` is 2.5; allowed: from -2 to 2 | 0 changes nothing"
    );
    for penalty in [-2.1, f64::NAN, f64::INFINITY] {
        assert!(Shaping { frequency_penalty: penalty, ..Shaping::NONE }.validate().is_err());
        assert!(Shaping { min_p: Some(penalty), ..Shaping::NONE }.validate().is_err());
    }
    assert!(Shaping { top_k: Some(0), ..Shaping::NONE }.validate().is_err());
    assert!(Shaping { top_p: Some(f64::NAN), ..Shaping::NONE }.validate().is_err());
    assert!(Shaping { repetition_penalty: 0.0, ..Shaping::NONE }.validate().is_err());
    assert!(GREEDY.validate().is_ok() && Shaping { top_p: Some(1.0), ..Shaping::NONE }.validate().is_ok());
}

proptest! {
    #![proptest_config(crate::oracle::properties())]

    /// Large vocabularies take a shortcut past sorting; it may not change what is kept.
    #[test]
    fn top_k_and_top_p_keep_what_a_full_sort_keeps(
        logits in prop::collection::vec(-4.0f32..4.0, 1..600), k in 1usize..300, share in 0.01f64..1.0, step in 0u64..99,
    ) {
        let shaping = Shaping { top_k: Some(k), top_p: Some(share), ..Shaping::NONE };
        let token = one(&logits, &shaping, &[], &[], step).token as usize;
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
        order.truncate(k);
        let weight = |i: &usize| f64::from(logits[*i]).exp();
        let total: f64 = order.iter().map(weight).sum();
        let before: f64 = order.iter().take_while(|i| **i != token).map(weight).sum();
        prop_assert!(order.contains(&token), "beyond top-k");
        prop_assert!(before < share * total * (1.0 + 1e-9), "beyond top-p");
    }

    #[test]
    fn a_proposal_is_in_the_order_of_positions(positions in prop::collection::vec(0usize..40, 0..60)) {
        let mut proposal = Proposal::new();
        for (token, position) in positions.iter().enumerate() {
            let token = token as u32;
            proposal.insert(
                *position,
                Candidate { token, probability: 1.0, entropy: 0.0, margin: 1.0, likeliest: token, mass: 1.0 },
            );
        }
        prop_assert!(proposal.positions().windows(2).all(|pair| pair[0] < pair[1]));
        for position in 0..40 {
            let last = positions.iter().rposition(|p| *p == position).map(|token| token as u32);
            prop_assert_eq!(proposal.candidate(position).map(|c| c.token), last);
        }
        prop_assert_eq!(proposal.iter().count(), proposal.len());
    }
}
