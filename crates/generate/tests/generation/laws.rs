//! What the loop promises, checked with a denoiser in closed form.

use crate::chain::{Chain, END, MASK, process};
use crate::described::{Described, Replay, described};
use aquatint_diffusion::{Canvas, Kind, TokenId};
use aquatint_generate::{DenoisingEvent, FinishReason, Outcome, Request, Settings, generate};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

fn silent(_: usize, _: DenoisingEvent<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn fill(chain: &Chain, requests: &[Request]) -> Vec<Outcome> {
    let outcomes = generate(chain, &process(), requests, &mut silent).into_iter();
    outcomes.collect::<Result<_, _>>().expect("the requests are good")
}

fn open(count: usize) -> Canvas {
    let mut canvas = Canvas::new();
    canvas.push_open(count, false, MASK);
    canvas
}

/// Filling one position at a time with exact predictions draws texts from the exact law, whatever chooses the order, as
/// long as the choice does not look at the tokens drawn. `confidence` does: it prefers positions that drew something
/// likely, and its texts are likelier than those of the law.
#[test]
fn texts_follow_the_law_of_the_data_when_filled_one_by_one() {
    const LENGTH: usize = 3;
    const DRAWS: u64 = 6000;
    let chain = Chain::mixed(4);
    for policy in ["random", "first-hitting", "entropy", "margin"] {
        let requests: Vec<Request> = (0..DRAWS)
            .map(|seed| {
                let settings = Settings::builder().steps(LENGTH).policy_named(policy).seed(seed).build().unwrap();
                Request::new(open(LENGTH), settings)
            })
            .collect();
        let mut counts: BTreeMap<Vec<TokenId>, f64> = BTreeMap::new();
        for outcome in fill(&chain, &requests) {
            assert_eq!(outcome.tokens.len() + end_tokens(&outcome), LENGTH);
            *counts.entry(outcome.canvas.tokens().to_vec()).or_default() += 1.0;
        }
        let draws = DRAWS as f64;
        let mut chi = 0.0;
        let mut cells = 0.0;
        for text in (0..27u32).map(|n| vec![n / 9 + 1, n / 3 % 3 + 1, n % 3 + 1]) {
            let expected = chain.probability(&text) * draws;
            let count = counts.remove(&text).unwrap_or(0.0);
            chi += (count - expected).powi(2) / expected;
            cells += 1.0;
        }
        assert!(counts.is_empty(), "texts that cannot be: {counts:?}");
        // Chi squared with k degrees of freedom has mean k and variance 2k.
        let degrees: f64 = cells - 1.0;
        assert!(chi < degrees + 5.0 * (2.0 * degrees).sqrt(), "{policy}: chi squared {chi} of {degrees} degrees");
    }
}

fn end_tokens(outcome: &Outcome) -> usize {
    outcome.canvas.len() - outcome.tokens.len()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Alone or in a batch of unlike requests, the same canvas; given stays, nothing is left open, the events describe
    /// every change.
    #[test]
    fn every_request_is_served_as_if_it_were_alone(described in prop::collection::vec(described(), 1..5)) {
        let chain = Chain::mixed(6);
        let requests: Vec<Request> = described.iter().map(Described::request).collect();
        let mut replays: Vec<Replay> = requests.iter().map(|_| Replay::default()).collect();
        let together = generate(&chain, &process(), &requests, &mut |index, event| {
            replays[index].follow(event);
            ControlFlow::Continue(())
        });
        let together: Vec<Outcome> = together.into_iter().collect::<Result<_, _>>().unwrap();
        for ((request, outcome), replay) in requests.iter().zip(&together).zip(&replays) {
            let alone = fill(&chain, std::slice::from_ref(request));
            prop_assert_eq!(&alone[0], outcome);

            let (before, after) = (&request.canvas, &outcome.canvas);
            prop_assert_eq!(before.len(), after.len());
            for position in 0..before.len() {
                prop_assert_eq!(before.kind(position), after.kind(position));
                match before.kind(position) {
                    Some(Kind::Open) => {
                        prop_assert!(after.is_committed(position) || after.is_closed(position));
                        let token = after.tokens()[position];
                        let may_end = before.spans().iter().any(|s| s.approximate && s.positions.contains(&position));
                        prop_assert!(after.is_closed(position) || token != MASK && (may_end || token != END));
                    }
                    _ => prop_assert_eq!(before.tokens()[position], after.tokens()[position]),
                }
            }
            prop_assert!(after.open_positions().is_empty());
            prop_assert!(!outcome.tokens.contains(&MASK) && !outcome.tokens.contains(&END));
            prop_assert_eq!(&replay.tokens, after.tokens());
            prop_assert!(replay.closed.iter().all(|position| after.is_closed(*position)));
            prop_assert_eq!(replay.reason, Some(outcome.reason));
            let given = (0..before.len()).filter(|p| before.kind(*p) == Some(Kind::Given)).count();
            prop_assert_eq!(outcome.statistics.tokens, outcome.tokens.len() - given);
        }
    }
}

#[test]
fn other_seeds_give_other_texts() {
    let chain = Chain::mixed(6);
    let of = |seed| {
        let settings = Settings::builder().seed(seed).build().unwrap();
        fill(&chain, &[Request::new(open(12), settings)]).remove(0).tokens
    };
    assert_eq!(of(7), of(7));
    assert_ne!(of(7), of(8));
}

/// A chain that counts 2, 3, 4 … and then ends.
fn counting(last: usize) -> Chain {
    let size = last + 1;
    let sure = |token: usize| (0..size).map(|t| if t == token { 1.0 } else { 0.0 }).collect::<Vec<f64>>();
    let next = |token: usize| match token {
        0 | 1 => END as usize,
        token if token == last => END as usize,
        token => token + 1,
    };
    Chain::new(sure(2), (0..size).map(|token| sure(next(token))).collect())
}

#[test]
fn an_end_token_closes_an_approximate_span_and_what_is_behind_it_falls_away() {
    let mut canvas = Canvas::new();
    canvas.push_given(&[2]);
    canvas.push_open(8, true, MASK);
    let request = Request::new(canvas, Settings::builder().steps(8).build().unwrap()).with_ends(Some(END));
    let outcome = fill(&counting(5), &[request]).remove(0);
    assert_eq!(outcome.tokens, [2, 3, 4, 5]);
    assert_eq!(outcome.reason, FinishReason::End);
    assert_eq!(outcome.statistics.tokens, 3);
    assert_eq!((5..9).filter(|position| outcome.canvas.is_closed(*position)).count(), 4);
}

#[test]
fn each_of_several_end_tokens_closes_a_span() {
    let mut canvas = Canvas::new();
    canvas.push_given(&[2]);
    canvas.push_open(8, true, MASK);
    let eight = || Settings::builder().steps(8);
    let request = |settings: Settings| Request::new(canvas.clone(), settings).with_ends([END, 4]);
    let filled = |request| fill(&counting(5), &[request]).remove(0);
    let outcome = filled(request(eight().build().unwrap()));
    assert_eq!(outcome.tokens, [2, 3]);
    assert_eq!((outcome.reason, outcome.statistics.tokens), (FinishReason::End, 1));
    // A request that names an end token means no other.
    let named = filled(request(eight().end_token(END).build().unwrap()));
    assert_eq!(named.tokens, [2, 3, 4, 5]);
    // A span of exact length holds none of them.
    for seed in 0..20 {
        let settings = Settings::builder().steps(4).seed(seed).build().unwrap();
        let outcome = fill(&Chain::mixed(6), &[Request::new(open(9), settings).with_ends([END, 4])]).remove(0);
        assert!(outcome.tokens.iter().all(|token| ![MASK, END, 4].contains(token)), "{:?}", outcome.tokens);
    }
}

#[test]
fn without_an_end_token_a_span_is_filled_to_its_length() {
    let mut canvas = Canvas::new();
    canvas.push_open(6, true, MASK);
    let outcome = fill(&counting(5), &[Request::new(canvas, Settings::default())]).remove(0);
    assert_eq!(outcome.tokens, [2, 3, 4, 5, END, END]);
    assert_eq!(outcome.reason, FinishReason::Filled);
}

#[test]
fn a_sure_model_needs_one_forward_pass_under_a_threshold() {
    let settings = Settings::builder().steps(4).policy_named("threshold:0.9").build().unwrap();
    let outcome = fill(&counting(5), &[Request::new(open(4), settings)]).remove(0);
    assert_eq!(outcome.tokens, [2, 3, 4, 5]);
    assert_eq!((outcome.statistics.forward_passes, outcome.statistics.steps), (1, 1));
    assert_eq!(outcome.statistics.tokens_per_forward(), 4.0);
}

#[test]
fn a_settled_prediction_is_committed_at_once() {
    let stability = aquatint_diffusion::Stability::new(1, 0.1).unwrap();
    let settings = Settings::builder().steps(8).stability(stability).build().unwrap();
    let outcome = fill(&counting(20), &[Request::new(open(8), settings)]).remove(0);
    assert_eq!(outcome.tokens, [2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(outcome.statistics.forward_passes, 2);
}

#[test]
fn guidance_moves_away_from_the_prediction_without_the_given_text() {
    // After 2 the chain prefers 3 a little; 4 is what it prefers less often without the given text than with it.
    let start = vec![0.0, 0.0, 1.0, 0.0, 0.0];
    let next = |row: usize| match row {
        2 => vec![0.0, 0.0, 0.0, 0.5, 0.5],
        _ => vec![0.0, 0.0, 0.0, 0.9, 0.1],
    };
    let mut chain = Chain::new(start, (0..5).map(next).collect());
    chain.start = vec![0.0, 0.0, 0.1, 0.9, 0.0];
    let of = |scale: f64| {
        let mut canvas = Canvas::new();
        canvas.push_given(&[2]);
        canvas.push_open(1, false, MASK);
        let settings = Settings::builder().steps(1).temperature(0.0).guidance_scale(scale).build().unwrap();
        fill(&chain, &[Request::new(canvas, settings)]).remove(0)
    };
    // With the given text both are equally likely and the lower id wins; without it 3 is far likelier.
    assert_eq!((of(1.0).tokens, of(1.0).statistics.forward_passes), (vec![2, 3], 1));
    assert_eq!((of(2.0).tokens, of(2.0).statistics.forward_passes), (vec![2, 4], 2));
    assert_eq!(of(0.0).tokens, [2, 3]);
}

#[test]
fn a_cancelled_request_leaves_the_others_alone() {
    let chain = Chain::mixed(6);
    let settings = |seed| Settings::builder().steps(6).seed(seed).build().unwrap();
    let requests = [Request::new(open(6), settings(1)), Request::new(open(6), settings(2))];
    let mut finished = 0;
    let outcomes = generate(&chain, &process(), &requests, &mut |index, event| match event {
        DenoisingEvent::Step { step: 1, .. } if index == 0 => ControlFlow::Break(()),
        DenoisingEvent::Finished { .. } => {
            finished += 1;
            ControlFlow::Continue(())
        }
        _ => ControlFlow::Continue(()),
    });
    let outcomes: Vec<Outcome> = outcomes.into_iter().collect::<Result<_, _>>().unwrap();
    assert_eq!(finished, 2);
    assert_eq!((outcomes[0].reason, outcomes[0].tokens.len()), (FinishReason::Cancelled, 2));
    assert_eq!(outcomes[0].canvas.open_positions().len(), 4);
    assert_eq!(outcomes[1], fill(&chain, &requests[1..])[0]);
}

#[test]
fn breaking_at_the_very_first_event_reads_nothing() {
    let request = Request::new(open(3), Settings::default());
    let outcomes = generate(&Chain::mixed(4), &process(), &[request], &mut |_, _| ControlFlow::Break(()));
    let outcome: Vec<Outcome> = outcomes.into_iter().collect::<Result<_, _>>().unwrap();
    assert_eq!((outcome[0].reason, outcome[0].statistics.forward_passes), (FinishReason::Cancelled, 0));
}
