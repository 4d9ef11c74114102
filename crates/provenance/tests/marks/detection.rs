//! What detection finds, and what it does not.

use crate::engine::{Independent, key, texts};
use aquatint_diffusion::{Key, TokenId};
use aquatint_generate::Settings;
use aquatint_provenance::{Scheme, SchemeKind, Verdict};
use std::sync::Arc;

fn kinds() -> [SchemeKind; 3] {
    [
        SchemeKind::Gumbel { period: 256 },
        SchemeKind::Green { share: 0.25, strength: 3.0 },
        SchemeKind::Order { share: 0.5, width: 8 },
    ]
}

/// Texts that do not know any key: tokens by a law as skewed as that of words.
fn unmarked(count: usize, length: usize) -> Vec<Vec<TokenId>> {
    let weights: Vec<f64> = (1..=200).map(|rank| 1.0 / f64::from(rank)).collect();
    let draw = |text: usize, at: usize| {
        let index = Key::new(text as u64).at(at as u64, 0).categorical(&weights);
        index.map_or(0, |index| index as TokenId + 1)
    };
    (0..count).map(|text| (0..length).map(|at| draw(text, at)).collect()).collect()
}

fn share(texts: &[Vec<TokenId>], scheme: impl Fn(usize) -> Arc<dyn Scheme>, level: f64) -> f64 {
    let found = texts.iter().enumerate().filter(|(at, text)| scheme(*at).detect(text).p_value <= level).count();
    found as f64 / texts.len() as f64
}

/// Over random keys no level is exceeded more often than it says, whatever the text repeats.
#[test]
fn p_values_of_unmarked_texts_are_never_too_small() {
    let texts = unmarked(2000, 60);
    for kind in kinds() {
        for level in [0.01, 0.05, 0.2, 0.5] {
            let found = share(&texts, |number| key(kind, number as u64).scheme(), level);
            let error = 3.0 * (level * (1.0 - level) / texts.len() as f64).sqrt();
            assert!(found <= level + error, "{kind}: {found} at {level}");
        }
        let repeated = vec![vec![7; 80]; 500];
        assert!(share(&repeated, |number| key(kind, number as u64).scheme(), 0.05) <= 0.05 + 0.03, "{kind}");
    }
}

/// With one offset and no stretches the p-value is exact: uniform under the null.
#[test]
fn the_p_value_of_a_single_test_is_uniform() {
    let texts = unmarked(4000, 30);
    let kind = SchemeKind::Gumbel { period: 1 };
    let mut deciles = [0usize; 10];
    for (number, text) in texts.iter().enumerate() {
        let p = key(kind, number as u64).scheme().detect(text).p_value;
        deciles[((p * 10.0) as usize).min(9)] += 1;
    }
    let expected = texts.len() as f64 / 10.0;
    let statistic: f64 = deciles.iter().map(|count| (*count as f64 - expected).powi(2) / expected).sum();
    // The 99 % point of chi-square with 9 degrees.
    assert!(statistic < 21.67, "{deciles:?}");
}

#[test]
fn more_text_is_more_evidence() {
    // Uneven, so that evidence gathers slowly enough to be compared.
    let denoiser = Independent::new(vec![0.0, 0.55, 0.2, 0.1, 0.05, 0.05, 0.03, 0.02]);
    let settings = Settings::builder().steps(120).policy_named("random");
    let large = Independent::even(32);
    for kind in kinds() {
        let denoiser = if matches!(kind, SchemeKind::Gumbel { .. }) { &denoiser } else { &large };
        let keys: Vec<_> = (0..8).map(|number| Some(key(kind, number))).collect();
        let texts = texts(denoiser, 120, &settings, &keys);
        let mean = |length: usize| {
            let of =
                |(text, number): (&Vec<TokenId>, u64)| -key(kind, number).scheme().detect(&text[..length]).p_value.ln();
            texts.iter().zip(0..).map(of).sum::<f64>() / texts.len() as f64
        };
        let (short, middle, long) = (mean(25), mean(49), mean(120));
        assert!(short < middle && middle < long && long > 4.0, "{kind}: {short} {middle} {long}");
    }
}

#[test]
fn a_mark_is_found_by_its_own_key_only_and_within_another_text() {
    let denoiser = Independent::even(64);
    let settings = Settings::builder().steps(160).policy_named("random");
    for kind in kinds() {
        let own = key(kind, 3);
        let text = texts(&denoiser, 160, &settings, &[Some(own.clone())]).remove(0);
        let found = own.scheme().detect(&text);
        assert_eq!(found.verdict(1e-2), Verdict::Marked, "{kind}: {found:?}");
        assert_eq!((found.tokens, found.scheme), (160, kind.name()));
        assert_ne!(key(kind, 4).scheme().detect(&text).verdict(1e-2), Verdict::Marked, "{kind}");
        if matches!(kind, SchemeKind::Order { .. }) {
            continue;
        }
        let around = unmarked(2, 90);
        let copied = [around[0].clone(), text, around[1].clone()].concat();
        let found = own.scheme().detect(&copied);
        assert_eq!(found.verdict(1e-2), Verdict::Marked, "{kind}: {found:?}");
        assert!(found.within.start > 30 && found.within.end < 310, "{kind}: {found:?}");
    }
}

/// A text of which the beginning is missing is found at another offset.
#[test]
fn a_text_without_its_beginning_is_found() {
    let denoiser = Independent::even(64);
    let settings = Settings::builder().steps(8);
    let own = key(SchemeKind::Gumbel { period: 64 }, 3);
    let text = texts(&denoiser, 64, &settings, &[Some(own.clone())]).remove(0);
    for cut in [1, 7, 30] {
        assert_eq!(own.scheme().detect(&text[cut..]).verdict(1e-4), Verdict::Marked, "{cut}");
    }
}

#[test]
fn what_is_too_short_cannot_be_judged() {
    for kind in kinds() {
        let scheme = key(kind, 0).scheme();
        let empty = scheme.detect(&[]);
        assert_eq!((empty.p_value, empty.tokens, empty.counted), (1.0, 0, 0));
        assert_eq!(empty.verdict(0.01), Verdict::CannotTell);
        assert_eq!(scheme.detect(&[5]).verdict(0.01), Verdict::CannotTell);
        let long: Vec<TokenId> = (1..100).collect();
        assert_eq!(scheme.detect(&long).verdict(1e-6), Verdict::NotFound, "{kind}");
    }
}
