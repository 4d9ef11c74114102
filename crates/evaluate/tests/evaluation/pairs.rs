//! Texts under shared noise: the bound of each, against an enumeration by a reference implementation, and no noise in what
//! they have in common.

use crate::bounds::{BEGIN, MASK, oracle};
use aquatint_compute::Cpu;
use aquatint_diffusion::{Key, Layout, Linear, Masked, TokenId};
use aquatint_evaluate::{EvaluateError, NoiseRule, Variant, shared_costs};
use aquatint_testing::{Example, Golden};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn text(tokens: &[TokenId], open: impl Fn(usize) -> bool) -> Variant {
    Variant { tokens: tokens.to_vec(), open: (0..tokens.len()).map(open).collect() }
}

/// The mean of numbers and its standard error.
fn mean(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0) / count).sqrt())
}

#[test]
fn bounds_are_those_that_a_reference_enumerates_and_their_differences_have_less_noise() {
    let file = std::fs::read(Golden::folder("pairs").join("pairs.json")).unwrap();
    let golden: Value = serde_json::from_slice(&file).unwrap();
    let mut network = Example::named("plain").network(Cpu::<f64>::scalar());
    Golden::load("plain").write_parameters("parameter", &mut network);
    let process = Masked::new(MASK, Arc::new(Linear));
    let rule = NoiseRule::Bound { process: &process, versions: 2000 };
    let numbers = |value: &Value| -> Vec<usize> {
        value.as_array().unwrap().iter().map(|number| number.as_u64().unwrap() as usize).collect()
    };
    let cases = golden["cases"].as_array().unwrap();
    for (number, case) in cases.iter().enumerate() {
        let texts = case["texts"].as_array().unwrap().iter().zip(case["open"].as_array().unwrap());
        let variants: Vec<Variant> = texts
            .map(|(tokens, open)| {
                let tokens: Vec<TokenId> = numbers(tokens).iter().map(|token| *token as TokenId).collect();
                let open = numbers(open);
                text(&tokens, |position| open.contains(&position))
            })
            .collect();
        let costs = shared_costs(&network, rule, &[variants], (Key::new(5), number as u64), &mut |_| true).unwrap();
        for (index, versions) in costs[0].iter().enumerate() {
            let expected = case["nats"][index].as_f64().unwrap();
            let (measured, error) = mean(versions);
            // A text with one open position has no noise at all.
            assert!((measured - expected).abs() <= 4.0 * error + 1e-9, "{case} {index}: {measured} ± {error}");
            assert!(error < 0.05 * expected, "{case} {index}: {error}");
        }
        let difference: Vec<f64> = costs[0][1].iter().zip(&costs[0][0]).map(|(b, a)| b - a).collect();
        let apart = (mean(&costs[0][0]).1.powi(2) + mean(&costs[0][1]).1.powi(2)).sqrt();
        if case["texts"][0].as_array().unwrap().len() == case["texts"][1].as_array().unwrap().len() {
            let (_, error) = mean(&difference);
            assert!(error < apart, "{case}: {error} beside {apart}");
        }
    }
}

#[test]
fn what_only_the_noise_decides_has_no_part_in_a_difference() {
    let process = Masked::new(MASK, Arc::new(Linear));
    let rule = NoiseRule::Bound { process: &process, versions: 5 };
    // The price depends on how much is hidden and where, and token 7 costs one nat more than others.
    let model = oracle(Layout::Full, |input, row| {
        let sequence = input.visibility.sequences().iter().find(|s| s.contains(&row.row)).unwrap();
        let hidden =
            input.tokens[sequence.start as usize..sequence.end as usize].iter().filter(|t| **t == MASK).count();
        hidden as f64 + f64::from(row.row - sequence.start) + f64::from(u8::from(row.target == 7))
    });
    let case = vec![text(&[1, 2, 3, 4, 5, 6], |_| true), text(&[1, 2, 3, 4, 8, 6], |_| true)];
    let other = vec![text(&[1, 2, 7, 4], |position| position != 0), text(&[1, 2, 8, 4], |position| position != 0)];
    let both = [case, other];
    let costs = shared_costs(&model, rule, &both, (Key::new(1), 0), &mut |_| true).unwrap();
    assert_eq!(costs[0][0], costs[0][1]);
    assert!(costs[0][0].windows(2).any(|two| two[0] != two[1]), "no noise: {:?}", costs[0]);
    // Token 7 is hidden in some versions and not in others.
    assert_ne!(costs[1][0], costs[1][1]);
    // A case costs the same beside any others.
    let alone = shared_costs(&model, rule, &both[1..], (Key::new(1), 1), &mut |_| true).unwrap();
    assert_eq!(alone[0], costs[1]);
    let stopped = shared_costs(&model, rule, &both, (Key::new(1), 0), &mut |_| false);
    assert!(matches!(stopped, Err(EvaluateError::Stopped)));
}

#[test]
fn a_case_of_many_texts_is_read_in_several_passes_and_costs_the_same() {
    let process = Masked::new(MASK, Arc::new(Linear));
    let rule = NoiseRule::Bound { process: &process, versions: 3 };
    let most = AtomicUsize::new(0);
    let model = oracle(Layout::Full, |input, row| {
        most.fetch_max(input.tokens.len(), Ordering::SeqCst);
        f64::from(row.row - input.visibility.sequences().iter().find(|s| s.contains(&row.row)).unwrap().start)
    });
    // 300 texts of 40 tokens are three passes.
    let variant = |number: u32| text(&(0..40).map(|at| (at * 7 + number) % 9).collect::<Vec<TokenId>>(), |_| true);
    let case: Vec<Variant> = (0..300).map(variant).collect();
    let mut heard = Vec::new();
    let costs = shared_costs(&model, rule, std::slice::from_ref(&case), (Key::new(2), 7), &mut |done| {
        heard.push(done);
        true
    });
    let costs = costs.unwrap();
    assert_eq!((costs.len(), costs[0].len()), (1, 300));
    let most = most.load(Ordering::SeqCst);
    assert!(most <= 4096, "{most}");
    // After each version of each pass, and 1 only when all of the case is done.
    assert_eq!(heard, [vec![0; 8], vec![1]].concat());
    for number in [0, 1, 150, 299] {
        let alone = [case[0].clone(), case[number].clone()];
        let alone = shared_costs(&model, rule, &[alone.to_vec()], (Key::new(2), 7), &mut |_| true).unwrap();
        assert_eq!(alone[0][1], costs[0][number], "{number}");
    }
}

#[test]
fn a_causal_cost_is_exact_and_what_is_given_costs_nothing() {
    let model = oracle(Layout::Causal, |input, row| {
        assert_eq!(input.tokens[0], BEGIN);
        f64::from(row.target)
    });
    let case = vec![text(&[1, 2, 3], |position| position > 0), text(&[4, 5], |_| false)];
    let costs = shared_costs(&model, NoiseRule::Causal(BEGIN), &[case], (Key::new(1), 0), &mut |_| true).unwrap();
    assert_eq!(costs, [[[5.0], [0.0]]]);
}
