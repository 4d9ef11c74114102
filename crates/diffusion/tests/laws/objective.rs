//! The estimators of the bound against closed forms and against each other (oracles 1, 2 and 4c).

use crate::oracle::{Joint, LENGTH, MASK, mean, variance};
use aquatint_diffusion::objective::count_at;
use aquatint_diffusion::{Corrupted, Key, Masked, Process, Time, TimeSampling, schedule};

const NAMES: [&str; 4] = ["linear", "cosine", "polynomial:2", "polynomial:0.5"];

fn process(name: &str, mask: u32) -> Masked {
    Masked::new(mask, schedule(name).unwrap())
}

/// Numerical integral of `f` over (0, 1): midpoints after the substitution t = u³, which tames what explodes at 0.
fn integral(f: impl Fn(f64) -> f64) -> f64 {
    let n = 20_000;
    let point = |k: usize| (k as f64 + 0.5) / n as f64;
    (0..n).map(|k| f(point(k).powi(3)) * 3.0 * point(k).powi(2)).sum::<f64>() / n as f64
}

/// Oracle 1: the expected weights of a token add up to 1, so that the uniform predictor costs L log V.
#[test]
fn expected_weights_of_a_token_add_up_to_one() {
    for name in NAMES {
        let schedule = schedule(name).unwrap();
        let at = |t: f64| Time::new(t).unwrap();
        let continuous = integral(|t| schedule.weight(at(t)) * (1.0 - schedule.alpha(at(t))));
        assert!((continuous - 1.0).abs() < 1e-6, "{name}: {continuous}");
    }
    // With ε a share of the tokens is never masked.
    let schedule = schedule("log-linear:0.01").unwrap();
    let at = |t: f64| Time::new(t).unwrap();
    assert!((integral(|t| schedule.weight(at(t)) * (1.0 - schedule.alpha(at(t)))) - 0.99).abs() < 1e-6);
}

/// Oracles 1 and 4c: the uniform predictor costs L log V under every schedule; Bernoulli masks are noisy, with the
/// variance `L log²V E[(1 − t)/t]` of the linear schedule, and fixed counts have none.
#[test]
fn the_uniform_predictor_costs_length_times_log_of_vocabulary() {
    let (length, vocabulary) = (50, 11);
    let (clean, open) = (vec![3; length], vec![true; length]);
    let price = f64::from(vocabulary).ln();
    let exact = length as f64 * price;
    assert!((exact - 119.9).abs() < 0.01);
    let bound = |corrupted: Corrupted| corrupted.bound(&vec![price; corrupted.terms.len()]);
    let strata = 400;
    for name in NAMES {
        let process = process(name, 11);
        let mut samples = Vec::new();
        for round in 0..50 {
            let times = TimeSampling::LowDiscrepancy.sample(strata, 0.0..1.0, &mut Key::new(41).at(0, round));
            for (index, t) in times.into_iter().enumerate() {
                samples.push(bound(process.corrupt(&clean, &open, t, &mut Key::new(42).at(index as u64, round))));
            }
        }
        let (average, error) = mean(&samples);
        assert!((average - exact).abs() < 5.0 * error, "{name}: {average} ± {error}");
        if name == "linear" {
            // Strata end the divergence of E[1/t]; what is left depends on their number only by its logarithm.
            let deviation = variance(&samples).sqrt();
            assert!((35.0..60.0).contains(&deviation), "{deviation}");
        }
    }
    let process = process("linear", 11);
    for count in 1..=length {
        let one = bound(process.corrupt_count(&clean, &open, count, &mut Key::new(43).at(0, count as u64)).unwrap());
        assert!((one - exact).abs() < 1e-9, "{count} masks: {one}");
    }
}

#[test]
fn a_perfect_predictor_costs_nothing() {
    let process = process("cosine", MASK);
    let corrupted = process.corrupt(&[0, 1, 2], &[true; 3], Time::NOISE, &mut Key::new(44).at(0, 0));
    assert_eq!((corrupted.terms.len(), corrupted.bound(&[0.0; 3])), (3, 0.0));
}

/// Oracle 2, and more: with exact predictions the chain rule makes the bound tight in any order, so every estimator has
/// the expectation −log p(x); the fixed count has the lower variance.
#[test]
fn with_exact_predictions_every_estimator_gives_the_likelihood() {
    let joint = Joint::random(45);
    let process = process("linear", MASK);
    let price = |corrupted: &Corrupted| {
        let cost = |t: &aquatint_diffusion::LossTerm| joint.nll(&corrupted.tokens, t.position, t.target);
        corrupted.bound(&corrupted.terms.iter().map(cost).collect::<Vec<_>>())
    };
    for (index, clean) in [[0, 1, 2], [2, 2, 0]].into_iter().enumerate() {
        let exact = -joint.probability(&clean).ln();
        let (mut bernoulli, mut fixed) = (Vec::new(), Vec::new());
        for sample in 0..20_000 {
            let draws = &mut Key::new(46).fold(index as u64).at(0, sample);
            let t = TimeSampling::Uniform.sample(1, 0.0..1.0, draws)[0];
            bernoulli.push(price(&process.corrupt(&clean, &[true; LENGTH], t, draws)));
            fixed.push(price(&process.corrupt_count(&clean, &[true; LENGTH], count_at(t, LENGTH), draws).unwrap()));
        }
        for samples in [&bernoulli, &fixed] {
            let (average, error) = mean(samples);
            assert!((average - exact).abs() < 5.0 * error, "{average} ± {error}, exactly {exact}");
        }
        assert!(variance(&fixed) < variance(&bernoulli) / 4.0);
    }
}

#[test]
fn evenly_spread_times_give_every_count_equally_often() {
    let mut observed = [0; 11];
    for k in 0..1000 {
        observed[count_at(Time::new((f64::from(k) + 0.5) / 1000.0).unwrap(), 10)] += 1;
    }
    assert_eq!((observed[0], &observed[1..]), (0, [100; 10].as_slice()));
    assert_eq!((count_at(Time::CLEAN, 10), count_at(Time::NOISE, 10)), (1, 10));
}
