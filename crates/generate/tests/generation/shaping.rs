//! What penalties, biases and min-p do to the texts of a request, and what they leave alone.

use crate::chain::{Chain, END, MASK, process};
use aquatint_diffusion::{Canvas, TokenId};
use aquatint_generate::{Change, DenoisingEvent, Request, Settings, SettingsBuilder, generate};
use std::ops::ControlFlow;

/// What is drawn at the last position behind `given`, over many seeds, and the changes that tell it.
fn last_tokens(given: &[TokenId], seeds: u64, set: fn(SettingsBuilder) -> SettingsBuilder) -> (Vec<f64>, Vec<Change>) {
    let chain = Chain::mixed(6);
    let mut canvas = Canvas::new();
    canvas.push_given(given);
    canvas.push_open(1, false, MASK);
    let request = |seed| Request::new(canvas.clone(), set(Settings::builder().seed(seed)).build().unwrap());
    let requests: Vec<Request> = (0..seeds).map(request).collect();
    let mut changes = Vec::new();
    let outcomes = generate(&chain, &process(), &requests, &mut |_, event| {
        if let DenoisingEvent::Step { changes: step, .. } = event {
            changes.extend_from_slice(step);
        }
        ControlFlow::Continue(())
    });
    let mut shares = vec![0.0; 6];
    for outcome in outcomes {
        shares[*outcome.unwrap().canvas.tokens().last().unwrap() as usize] += 1.0 / seeds as f64;
    }
    (shares, changes)
}

/// Whether shares are those of weights, within five deviations of so many draws.
fn follow(shares: &[f64], weights: &[f64], draws: u64) -> bool {
    let total: f64 = weights.iter().sum();
    let law = weights.iter().map(|weight| weight / total);
    shares.iter().zip(law).all(|(share, p)| (share - p).abs() <= 5.0 * (p * (1.0 - p) / draws as f64).sqrt())
}

#[test]
fn biases_and_penalties_change_the_law_as_they_say_and_not_the_confidence() {
    const SEEDS: u64 = 4000;
    let law = Chain::mixed(6).next[3].clone();
    let shifted = |shifts: [f64; 6]| law.iter().zip(shifts).map(|(p, shift)| p * shift.exp()).collect::<Vec<f64>>();
    let given = [2, 4, 4, 3];
    type Change = fn(SettingsBuilder) -> SettingsBuilder;
    let cases: [(Change, [f64; 6]); 4] = [
        (|b| b.logit_bias([(2, 1.5), (5, -1.0)]), [0.0, 0.0, 1.5, 0.0, 0.0, -1.0]),
        (|b| b.presence_penalty(1.0), [0.0, 0.0, -1.0, -1.0, -1.0, 0.0]),
        (|b| b.frequency_penalty(-0.5), [0.0, 0.0, 0.5, 0.5, 1.0, 0.0]),
        (
            |b| b.presence_penalty(0.5).frequency_penalty(0.25).logit_bias([(4, 2.0), (1, -1.0)]),
            [0.0, -1.0, -0.75, -0.75, 1.0, 0.0],
        ),
    ];
    for (set, shifts) in cases {
        let (shares, changes) = last_tokens(&given, SEEDS, set);
        assert!(follow(&shares, &shifted(shifts), SEEDS), "{shifts:?}: {shares:?}");
        for change in changes {
            assert!((change.confidence - law[change.token as usize]).abs() < 1e-5, "{change:?}");
        }
    }
}

#[test]
fn the_largest_biases_ban_and_force_tokens() {
    let (shares, changes) = last_tokens(&[3], 256, |b| b.logit_bias([(5, 100.0)]));
    assert_eq!(shares[5], 1.0);
    assert!(changes[0].confidence < 0.9);
    let (shares, _) = last_tokens(&[3], 256, |b| b.logit_bias([(2, -100.0), (3, -100.0), (4, -100.0), (5, -100.0)]));
    assert_eq!(shares[1], 1.0);
    // What may not be written is not written, whatever is added to it.
    let settings = Settings::builder().logit_bias([(END, 100.0), (MASK, 100.0)]).build().unwrap();
    let mut canvas = Canvas::new();
    canvas.push_open(6, false, MASK);
    let request = Request::new(canvas, settings).with_ends(Some(END));
    let mut outcomes = generate(&Chain::mixed(6), &process(), &[request], &mut |_, _| ControlFlow::Continue(()));
    let outcome = outcomes.remove(0).unwrap();
    assert_eq!(outcome.tokens.len(), 6);
}

#[test]
fn min_p_draws_the_tokens_that_are_likely_beside_the_likeliest() {
    const SEEDS: u64 = 2000;
    let law = Chain::mixed(6).next[3].clone();
    let highest = law.iter().copied().fold(0.0, f64::max);
    let retained: Vec<f64> = law.iter().map(|p| if *p >= 0.6 * highest { *p } else { 0.0 }).collect();
    assert!((2..5).contains(&retained.iter().filter(|p| **p > 0.0).count()));
    let (shares, _) = last_tokens(&[3], SEEDS, |b| b.min_p(0.6));
    assert!(follow(&shares, &retained, SEEDS), "{shares:?}");
}

#[test]
fn what_a_request_writes_counts_for_its_later_tokens() {
    let fill = |set: fn(SettingsBuilder) -> SettingsBuilder| {
        let mut canvas = Canvas::new();
        canvas.push_open(12, false, MASK);
        let settings = set(Settings::builder().block_length(1).temperature(0.0)).build().unwrap();
        let request = Request::new(canvas, settings);
        let mut outcomes = generate(&Chain::mixed(6), &process(), &[request], &mut |_, _| ControlFlow::Continue(()));
        outcomes.remove(0).unwrap().tokens
    };
    let distinct = |tokens: &[TokenId]| std::collections::BTreeSet::from_iter(tokens.iter().copied()).len();
    let (plain, spread) = (fill(|b| b), fill(|b| b.frequency_penalty(2.0)));
    // Each of the five tokens in its turn.
    assert_eq!(distinct(&spread), 5, "{spread:?}");
    assert!(distinct(&plain) < 5, "{plain:?}");
}
