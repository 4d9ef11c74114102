//! What a mark does to the law of what is written.

use crate::engine::{Independent, key, texts};
use aquatint_diffusion::TokenId;
use aquatint_generate::Settings;
use aquatint_provenance::{SchemeKind, gamma_tail};

const DRAWS: usize = 10_000;
const LAW: [f64; 10] = [0.0, 0.3, 0.2, 0.15, 0.1, 0.1, 0.07, 0.04, 0.02, 0.02];
/// One in so many laws that are right is called wrong; the seeds are fixed.
const LEVEL: f64 = 0.001;

/// Pearson's statistic of counts against probabilities, and its p-value where the degrees of freedom are even.
fn chi_square(counts: &[usize], probabilities: &[f64]) -> f64 {
    let total: usize = counts.iter().sum();
    let cells = counts.iter().zip(probabilities).filter(|(_, p)| **p > 0.0);
    let term = |(count, p): (&usize, &f64)| (*count as f64 - total as f64 * p).powi(2) / (total as f64 * p);
    let (statistic, cells) = (cells.clone().map(term).sum::<f64>(), cells.count());
    assert_eq!(cells % 2, 1, "the tail of an odd number of degrees is no sum");
    gamma_tail((cells - 1) / 2, statistic / 2.0)
}

fn counts(tokens: impl Iterator<Item = TokenId>) -> Vec<usize> {
    let mut counts = vec![0; LAW.len()];
    tokens.for_each(|token| counts[token as usize] += 1);
    counts
}

#[test]
fn marked_draws_follow_the_prediction_and_agree_with_unmarked_ones() {
    let denoiser = Independent::new(LAW.to_vec());
    let kind = SchemeKind::Gumbel { period: 64 };
    let settings = Settings::builder().steps(1);
    // One draw under each of 10,000 keys, and 10,000 without.
    let marked: Vec<_> = (0..DRAWS).map(|number| Some(key(kind, number as u64))).collect();
    let marked = counts(texts(&denoiser, 1, &settings, &marked).into_iter().flatten());
    let plain = counts(texts(&denoiser, 1, &settings, &vec![None; DRAWS]).into_iter().flatten());
    assert!(chi_square(&marked, &LAW) > LEVEL, "{marked:?}");
    assert!(chi_square(&plain, &LAW) > LEVEL, "{plain:?}");
    // Two samples: under one law, each token's marked ones are half of all.
    let both: f64 = marked
        .iter()
        .zip(&plain)
        .filter(|(a, b)| *a + *b > 0)
        .map(|(a, b)| (*a as f64 - *b as f64).powi(2) / (a + b) as f64)
        .sum();
    assert!(gamma_tail(4, both / 2.0) > LEVEL, "{both}");
    assert_ne!(marked, plain);
}

/// Pairs of neighbours: the joint law within one text is that of the predictions, too.
#[test]
fn within_a_text_marked_draws_are_independent() {
    let denoiser = Independent::new(vec![0.0, 0.5, 0.3, 0.2]);
    let keys: Vec<_> = (0..DRAWS).map(|number| Some(key(SchemeKind::Gumbel { period: 64 }, number as u64))).collect();
    for policy in ["random", "entropy", "sequential"] {
        let settings = Settings::builder().steps(2).policy_named(policy);
        let mut pairs = vec![0; 9];
        for text in texts(&denoiser, 2, &settings, &keys) {
            pairs[((text[0] - 1) * 3 + text[1] - 1) as usize] += 1;
        }
        let p = [0.5, 0.3, 0.2];
        let law: Vec<f64> = p.iter().flat_map(|a| p.iter().map(move |b| a * b)).collect();
        assert!(chi_square(&pairs, &law) > LEVEL, "{policy}: {pairs:?}");
    }
}

/// A law that is wrong by little is found by the test that the draws pass.
#[test]
fn the_test_of_the_law_can_fail() {
    let denoiser = Independent::new(LAW.to_vec());
    let plain = counts(
        texts(&denoiser, 1, &Settings::builder().steps(1).temperature(0.8), &vec![None; DRAWS]).concat().into_iter(),
    );
    assert!(chi_square(&plain, &LAW) < 1e-6, "{plain:?}");
}

#[test]
fn top_p_and_the_temperature_hold_for_marked_draws() {
    let denoiser = Independent::new(LAW.to_vec());
    let keys: Vec<_> = (0..2000).map(|number| Some(key(SchemeKind::Gumbel { period: 64 }, number))).collect();
    let settings = Settings::builder().steps(1).top_k(3).temperature(0.5);
    let drawn = counts(texts(&denoiser, 1, &settings, &keys).into_iter().flatten());
    let squares: Vec<f64> = LAW.iter().take(4).map(|p| p * p).collect();
    let total: f64 = squares.iter().sum();
    let law: Vec<f64> = squares.iter().map(|p| p / total).collect();
    assert_eq!(drawn[4..].iter().sum::<usize>(), 0);
    assert!(chi_square(&drawn[..4], &law) > LEVEL, "{drawn:?}");
}

#[test]
fn a_green_list_shifts_the_law_and_a_stronger_one_more() {
    let denoiser = Independent::even(33);
    let settings = Settings::builder().steps(64).policy_named("sequential");
    let green = |strength: f64| {
        let kind = SchemeKind::Green { share: 0.25, strength };
        let keys: Vec<_> = (0..20).map(|number| Some(key(kind, number))).collect();
        let found = texts(&denoiser, 64, &settings, &keys).into_iter().zip(&keys);
        let p = found.map(|(text, key)| key.as_ref().map(|key| key.scheme().detect(&text).p_value));
        p.flatten().filter(|p| *p < 0.01).count()
    };
    let (weak, strong) = (green(0.05), green(3.0));
    assert!(weak < 5 && strong == 20, "{weak} {strong}");
}

#[test]
fn without_a_key_nothing_changes_and_one_seed_gives_one_text() {
    let denoiser = Independent::new(LAW.to_vec());
    let settings = Settings::builder().steps(4);
    let of = |key| texts(&denoiser, 16, &settings, &[key]);
    assert_eq!(of(None), of(None));
    for kind in SchemeKind::NAMES.map(|name| name.parse().unwrap()) {
        assert_eq!(of(Some(key(kind, 1))), of(Some(key(kind, 1))));
    }
    // The order alone decides which draws are written: none is changed in one step.
    let settings = Settings::builder().steps(1);
    let order = "order".parse().unwrap();
    assert_eq!(texts(&denoiser, 16, &settings, &[Some(key(order, 1))]), texts(&denoiser, 16, &settings, &[None]));
}
