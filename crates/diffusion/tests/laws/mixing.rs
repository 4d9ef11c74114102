//! Uniform diffusion and its mixture with masks: marginals, rates, bridges, and a bound that an exact prediction makes
//! tight.

use crate::oracle::{chi_square, chi_square_limit, mean};
use aquatint_diffusion::objective::Ratio;
use aquatint_diffusion::{
    Alphabet, Bridge, Cost, Duo, Key, Marginal, Masked, Mixing, Process, ProcessKind, Time, Vectors, process, schedule,
};
use std::sync::Arc;

/// Three tokens of text around the mask.
const ALPHABET: Alphabet = Alphabet { size: 4, mask: Some(1) };
const TEXT: [u32; 3] = [0, 2, 3];
/// A law of one token, by id.
const LAW: [f64; 4] = [0.5, 0.0, 0.3, 0.2];
const SCHEDULES: [&str; 3] = ["linear", "cosine", "polynomial:2"];

fn at(t: f64) -> Time {
    Time::new(t).unwrap()
}

fn mixings(name: &str) -> [Mixing; 3] {
    let schedule = || schedule(name).unwrap();
    [
        Mixing::uniform(ALPHABET, schedule()),
        Mixing::hybrid(ALPHABET, 0.1, schedule()),
        Mixing::hybrid(ALPHABET, 0.5, schedule()),
    ]
}

fn law(marginal: Marginal, clean: u32) -> Vec<f64> {
    (0..4).map(|token| marginal.probability(token, clean)).collect()
}

#[test]
fn marginals_are_laws_and_clean_and_noise_at_the_ends() {
    for mixing in SCHEDULES.into_iter().flat_map(mixings) {
        for clean in TEXT {
            for t in [0.0, 0.1, 0.5, 0.9, 1.0] {
                let sum: f64 = law(mixing.marginal(at(t)), clean).iter().sum();
                assert!((sum - 1.0).abs() < 1e-12, "{mixing:?} at {t}");
            }
            assert!((mixing.marginal(Time::CLEAN).probability(clean, clean) - 1.0).abs() < 1e-12);
            assert!(mixing.marginal(Time::NOISE).alpha.abs() < 1e-12);
        }
        let noise = |t| mixing.marginal(at(t));
        let wrong = noise(0.3).probability(1, 0);
        assert_eq!(wrong > 0.0, mixing.name() != "uniform", "uniform noise never writes the mask");
    }
}

#[test]
fn the_share_of_a_hybrid_is_that_of_random_tokens_at_half_noise() {
    let half = Mixing::hybrid(ALPHABET, 0.2, schedule("linear").unwrap()).marginal(at(0.5));
    assert!((3.0 * half.text - 0.2).abs() < 1e-12 && (half.alpha - half.masked).abs() < 1e-12);
}

/// The forward equation `dq(z)/dt = r(z) − λ q(z)`, where λ is the rate of all tokens together.
#[test]
fn marginals_change_at_the_rates() {
    let step = 1e-6;
    for mixing in SCHEDULES.into_iter().flat_map(mixings) {
        for t in [0.2, 0.5, 0.8] {
            let total: f64 = (0..4).map(|token| mixing.rate(at(t), token)).sum();
            for clean in TEXT {
                for shown in 0..4 {
                    let q = |t| mixing.marginal(at(t)).probability(shown, clean);
                    let slope = (q(t + step) - q(t - step)) / (2.0 * step);
                    let expected = mixing.rate(at(t), shown) - total * q(t);
                    assert!((slope - expected).abs() < 1e-6, "{mixing:?} at {t}: {slope} and {expected}");
                }
            }
        }
    }
}

/// What is drawn at the later time and walked back has the law of the earlier time (Chapman and Kolmogorov).
#[test]
fn bridges_lead_from_marginal_to_marginal() {
    for mixing in SCHEDULES.into_iter().flat_map(mixings) {
        for (s, t) in [(0.0, 0.4), (0.3, 0.5), (0.2, 1.0), (0.7, 0.71)] {
            let (later, earlier) = (mixing.marginal(at(t)), mixing.marginal(at(s)));
            let bridge = Bridge::new(later, earlier);
            for clean in TEXT {
                let mut reached = [0.0; 4];
                for shown in (0..4).filter(|shown| later.probability(*shown, clean) > 0.0) {
                    let back = bridge.posterior(shown, clean);
                    let weight = later.probability(shown, clean);
                    reached.iter_mut().zip(back).for_each(|(sum, p)| *sum += weight * p);
                }
                for (reached, expected) in reached.iter().zip(law(earlier, clean)) {
                    assert!((reached - expected).abs() < 1e-12, "{mixing:?} from {t} to {s}");
                }
            }
        }
    }
}

#[test]
fn draws_follow_marginals_and_bridges() {
    let mut draws = Key::new(5).at(0, 0);
    for mixing in mixings("linear") {
        let (later, earlier) = (mixing.marginal(at(0.7)), mixing.marginal(at(0.4)));
        let bridge = Bridge::new(later, earlier);
        let mut check = |expected: Vec<f64>, draw: &mut dyn FnMut(&mut aquatint_diffusion::Draws) -> u32| {
            let mut counts = [0; 4];
            (0..20_000).for_each(|_| counts[draw(&mut draws) as usize] += 1);
            let possible: Vec<usize> = (0..4).filter(|i| expected[*i] > 0.0).collect();
            assert_eq!(possible.iter().map(|i| counts[*i]).sum::<usize>(), 20_000, "an impossible token was drawn");
            let pick = |i: &usize| (counts[*i], expected[*i]);
            let (counts, expected): (Vec<_>, Vec<_>) = possible.iter().map(pick).unzip();
            let statistic = chi_square(&counts, &expected);
            assert!(statistic < chi_square_limit(counts.len() - 1), "{mixing:?}: {statistic}");
        };
        for clean in TEXT {
            check(law(later, clean), &mut |draws| later.draw(clean, draws));
            for shown in (0..4).filter(|shown| later.probability(*shown, clean) > 0.0) {
                check(bridge.posterior(shown, clean), &mut |draws| bridge.draw(shown, clean, draws));
            }
        }
    }
}

/// The exact prediction without and with the evidence of `shown`.
fn predictions(marginal: Marginal, shown: u32) -> (Vec<f32>, Vec<f32>) {
    let alone = LAW.map(|p| p as f32).to_vec();
    let joint: Vec<f64> = (0..4).map(|x| LAW[x as usize] * marginal.probability(shown, x)).collect();
    let total: f64 = joint.iter().sum();
    (alone, joint.iter().map(|p| (p / total) as f32).collect())
}

#[test]
fn evidence_turns_a_leave_one_out_prediction_into_the_posterior() {
    for mixing in mixings("linear") {
        let marginal = mixing.marginal(at(0.35));
        for shown in TEXT {
            let (alone, posterior) = predictions(marginal, shown);
            let mut logits: Vec<f32> = alone.iter().map(|p| p.ln()).collect();
            (&mixing as &dyn Process).posterior_logits(shown, at(0.35), &mut logits);
            let total: f32 = logits.iter().map(|l| l.exp()).sum();
            for (logit, expected) in logits.iter().zip(&posterior) {
                assert!((logit.exp() / total - expected).abs() < 1e-6, "{mixing:?}");
            }
        }
    }
}

#[test]
fn without_what_is_shown_a_posterior_is_the_prediction_from_the_rest() {
    let named = |name| process(name, ALPHABET, schedule("linear").unwrap()).unwrap();
    let (looking, alone) = (named("uniform-posterior"), named("uniform"));
    let t = looking.time_of_noise(7, 20);
    assert!((t.value() - 0.35).abs() < 1e-9);
    let [mixing, ..] = mixings("linear");
    for shown in TEXT {
        assert_eq!(alone.shown_evidence(shown, t), 0.0);
        let (prediction, posterior) = predictions(mixing.marginal(t), shown);
        let mut logits: Vec<f32> = posterior.iter().map(|p| p.ln()).collect();
        logits[shown as usize] -= looking.shown_evidence(shown, t);
        let total: f32 = logits.iter().map(|l| l.exp()).sum();
        for (logit, expected) in logits.iter().zip(&prediction) {
            assert!((logit.exp() / total - expected).abs() < 1e-6);
        }
    }
    let field = named("gaussian:4");
    assert_eq!((field.time_of_noise(1, 20), alone.time_of_noise(20, 20)), (Time::NOISE, Time::NOISE));
    assert_eq!(alone.time_of_noise(0, 0), Time::CLEAN);
}

/// The cost's integrand is the divergence of the true step back from the predicted one, per unit of time, and does not
/// depend on the form of the prediction.
#[test]
fn the_cost_is_the_divergence_of_short_steps() {
    let step = 1e-5;
    let prediction: [f32; 4] = [0.15, 0.0, 0.6, 0.25];
    for mixing in SCHEDULES.into_iter().flat_map(mixings) {
        for t in [0.2, 0.5, 0.8] {
            let (later, earlier) = (mixing.marginal(at(t)), mixing.marginal(at(t - step)));
            let bridge = Bridge::new(later, earlier);
            for clean in TEXT {
                for shown in (0..4).filter(|shown| later.probability(*shown, clean) > 0.0) {
                    let mut predicted = [0.0; 4];
                    let mut posterior = [0.0; 4];
                    let mut norm = 0.0;
                    for x in TEXT {
                        let weight = f64::from(prediction[x as usize]) * later.probability(shown, x);
                        norm += weight;
                        posterior[x as usize] = weight as f32;
                        predicted.iter_mut().zip(bridge.posterior(shown, x)).for_each(|(b, p)| *b += weight * p);
                    }
                    let exact = bridge.posterior(shown, clean);
                    let terms = exact.iter().zip(predicted).filter(|(p, _)| **p > 0.0);
                    let divergence: f64 = terms.map(|(p, b)| p * (p / (b / norm)).ln()).sum();
                    let rate = mixing.rate(at(t), shown);
                    let alone = Ratio { shown, marginal: later, posterior: false };
                    let cost = rate * alone.value(clean, &prediction);
                    let error = (divergence / step - cost).abs();
                    assert!(error < 2e-3 * cost + 1e-6, "{mixing:?} at {t}: {} and {cost}", divergence / step);
                    let total: f32 = posterior.iter().sum();
                    let informed = Ratio { posterior: true, ..alone };
                    let again = rate * informed.value(clean, &posterior.map(|p| p / total));
                    assert!((again - cost).abs() < 1e-4 * cost + 1e-6, "{mixing:?} at {t}: {again} and {cost}");
                }
            }
        }
    }
}

/// With the exact prediction the bound is the entropy of the law, whatever the process, its schedule and the
/// prediction's form.
#[test]
fn an_exact_prediction_costs_the_entropy() {
    let entropy: f64 = LAW.iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum();
    let parts = 4000;
    let names = ["masked", "uniform", "uniform-posterior", "hybrid:0.1", "hybrid:0.5"];
    for (name, noise) in names.into_iter().flat_map(|name| SCHEDULES.map(|noise| (name, noise))) {
        let process = process(name, ALPHABET, schedule(noise).unwrap()).unwrap();
        let informed = name == "uniform-posterior";
        let mut samples = Vec::new();
        for part in 0..parts {
            let t = at((f64::from(part) + 0.5) / f64::from(parts));
            for (draw, clean) in TEXT.into_iter().enumerate() {
                let mut draws = Key::new(draw as u64).at(0, part as u64);
                let noisy = process.corrupt_for_bound(&[clean], &[true], t, &mut draws);
                let cost = |term: &aquatint_diffusion::LossTerm| {
                    let (alone, posterior) = match term.cost {
                        Cost::Ratio(ratio) => predictions(ratio.marginal, noisy.tokens[0]),
                        _ => predictions(Marginal { alpha: 0.0, text: 0.0, masked: 1.0, alphabet: ALPHABET }, 1),
                    };
                    term.cost.value(clean, if informed { &posterior } else { &alone }, Vectors::default())
                };
                let costs: Vec<f64> = noisy.terms.iter().map(cost).collect();
                samples.push(3.0 * LAW[clean as usize] * noisy.bound(&costs));
            }
        }
        let (bound, error) = mean(&samples);
        assert!((bound - entropy).abs() < 4.0 * error, "{name}, {noise}: {bound} ± {error} for {entropy}");
        assert!(error < 0.1 * entropy, "{name}, {noise}: the test sees nothing");
    }
}

/// Uniform noise with one token beside the shown one, and masks alone: both limits of one formula.
#[test]
fn a_small_share_of_random_tokens_is_masked_diffusion() {
    let schedule = || schedule("linear").unwrap();
    let hybrid = Mixing::hybrid(ALPHABET, 1e-9, schedule());
    let masked = Masked::new(1, schedule());
    let prediction = [0.2, 0.0, 0.5, 0.3];
    for t in [0.3, 0.7] {
        let ratio = Ratio { shown: 1, marginal: hybrid.marginal(at(t)), posterior: false };
        let cost = hybrid.rate(at(t), 1) * ratio.value(2, &prediction);
        let expected = masked.schedule().weight(at(t)) * -f64::from(prediction[2]).ln();
        assert!((cost / expected - 1.0).abs() < 1e-3, "{cost} and {expected}");
    }
}

#[test]
fn every_name_leads_back_to_its_process() {
    let schedule = || schedule("linear").unwrap();
    let masking = ["masked", "score-entropy", "hybrid:0.3"];
    let others = ["uniform", "uniform-posterior", "duo:0.01", "gaussian:32", "simplex", "simplex-argmax"];
    for name in masking.into_iter().chain(others) {
        assert_eq!(process(name, ALPHABET, schedule()).unwrap().name(), name);
        assert_eq!(name.parse::<ProcessKind>().unwrap().to_string(), name);
    }
    for kind in [ProcessKind::Duo { temperature: f64::NAN }, ProcessKind::Gaussian { size: 1 }] {
        let error = kind.build(ALPHABET, schedule()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("`process` is \"{kind}\"; allowed: masked, score-entropy")), "{error}");
    }
    for wrong in ["", "mask", "masked:1", "duo:0", "hybrid:0", "hybrid:1", "gaussian:1", "gaussian:2.5", "simplex:3"] {
        assert!(process(wrong, ALPHABET, schedule()).is_err(), "{wrong} was taken");
    }
    let unmasked = Alphabet { mask: None, ..ALPHABET };
    for name in ["uniform", "gaussian", "simplex"] {
        assert!(process(name, unmasked, schedule()).is_ok(), "{name}");
    }
    assert_eq!(
        crate::refusal(&process("masked", unmasked, schedule()).unwrap_err()),
        "`process` is \"masked\"; allowed: uniform, gaussian, simplex | `masked` needs a mask token in the vocabulary"
    );
    let by_default: Arc<dyn Process> = process("hybrid", ALPHABET, schedule()).unwrap();
    assert_eq!(by_default.name(), format!("hybrid:{}", Mixing::SHARE));
}

/// Duo's map in closed form: of two coordinates the one with the signal is the larger with probability Φ(ratio/√2).
#[test]
fn the_signal_under_two_tokens_is_the_normal_law() {
    let duo = Duo::new(Alphabet { size: 2, mask: None }, 0.1, schedule("linear").unwrap());
    for ratio in [0.0f64, 0.3, 1.0, 2.5, 5.0] {
        let expected = statrs::function::erf::erf(ratio / 2.0);
        assert!((duo.alpha(ratio) - expected).abs() < 1e-5, "{ratio}: {} and {expected}", duo.alpha(ratio));
        assert!((duo.ratio(expected) - ratio).abs() < 1e-3 || expected > 0.999, "{ratio}");
    }
}

/// The likeliest coordinate has the law of uniform diffusion, however large the vocabulary and whatever the
/// temperature.
#[test]
fn soft_tokens_have_uniform_diffusion_under_them() {
    for (size, temperature) in [(4, 1e-3), (4, 0.3), (2000, 0.05)] {
        let alphabet = Alphabet { size, mask: Some(1) };
        let duo = Duo::new(alphabet, temperature, schedule("linear").unwrap());
        for t in [0.2, 0.6, 0.9] {
            let noisy = duo.corrupt(&[2; 20_000], &[true; 20_000], at(t), &mut Key::new(8).at(0, 0));
            let points = noisy.points.unwrap();
            let retained = noisy.tokens.iter().filter(|token| **token == 2).count() as f64 / 20_000.0;
            let text = (size - 1) as f64;
            let expected = 1.0 - t + t / text;
            let error = (expected * (1.0 - expected) / 20_000.0).sqrt();
            assert!((retained - expected).abs() < 4.0 * error, "{size} tokens at {t}: {retained}, not {expected}");
            assert!(noisy.tokens.iter().all(|token| *token != 1), "the mask is no text");
            for (position, &token) in noisy.tokens.iter().enumerate().take(200) {
                let point = points.offset(position);
                let total: f64 = point.iter().map(|p| f64::from(*p)).sum();
                assert!((total - 1.0).abs() < 1e-5 && point.iter().all(|p| *p <= point[token as usize]));
            }
            // What is paid is the bound of uniform diffusion.
            let uniform = Mixing::uniform(alphabet, schedule("linear").unwrap());
            let term = noisy.terms[0];
            assert_eq!(term.weight, uniform.rate(at(t), noisy.tokens[0]));
            assert!(matches!(term.cost, Cost::Ratio(ratio) if ratio.marginal == uniform.marginal(at(t))));
        }
        let sure = |position: usize, noisy: &aquatint_diffusion::Corrupted| {
            noisy.points.as_ref().unwrap().offset(position)[noisy.tokens[position] as usize]
        };
        let noisy = duo.corrupt(&[2; 500], &[true; 500], at(0.5), &mut Key::new(9).at(0, 0));
        let mean = (0..500).map(|position| sure(position, &noisy)).sum::<f32>() / 500.0;
        assert_eq!(mean > 0.95, temperature < 1e-2, "softness at {temperature}: {mean}");
    }
}
