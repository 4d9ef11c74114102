//! Processes against a second implementation that knows definitions alone: `golden/processes`.

use aquatint_diffusion::objective::Ratio;
use aquatint_diffusion::{
    Alphabet, Bridge, Duo, Key, Layout, Level, Marginal, Mixing, Simplex, Time, schedule, two_stream_intervals,
};
use serde_json::Value;

fn cases(name: &str) -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/processes/processes.json");
    let all: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases = all[name].as_array().unwrap().clone();
    assert!(cases.len() > 2, "{name}");
    cases
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn count(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

fn at(value: &Value) -> Time {
    Time::new(number(value)).unwrap()
}

fn close(what: &str, got: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() < tolerance * (1.0 + expected.abs()), "{what}: {got} and {expected}");
    }
}

/// The marginal and the rate of a named process, the mask being the last token.
fn process(case: &Value, t: Time) -> (Marginal, Box<dyn Fn(u32) -> f64>) {
    let noise = schedule(case["schedule"].as_str().unwrap()).unwrap();
    let text = count(&case["text"]);
    let alphabet = Alphabet { size: text + 1, mask: Some(text as u32) };
    let name = case["process"].as_str().unwrap();
    if name == "masked" {
        let alpha = noise.alpha(t);
        let rate = -noise.alpha_derivative(t) / alpha;
        return (Marginal { alpha, text: 0.0, masked: 1.0 - alpha, alphabet }, Box::new(move |_| rate));
    }
    let mixing = match name.split_once(':') {
        Some((_, share)) => Mixing::hybrid(alphabet, share.parse().unwrap(), noise),
        None => Mixing::uniform(alphabet, noise),
    };
    (mixing.marginal(t), Box::new(move |token| mixing.rate(t, token)))
}

#[test]
fn discrete_processes() {
    for case in cases("discrete") {
        let what = case.to_string();
        let (shown, clean) = (count(&case["shown"]) as u32, count(&case["clean"]) as u32);
        let (later, rate) = process(&case, at(&case["later"]));
        let (earlier, _) = process(&case, at(&case["earlier"]));
        let size = later.alphabet.size as u32;
        let marginal: Vec<f64> = (0..size).map(|token| later.probability(token, clean)).collect();
        close(&what, &marginal, &numbers(&case["marginal"]), 1e-9);
        let bridge = Bridge::new(later, earlier);
        close(&what, &bridge.posterior(shown, clean), &numbers(&case["posterior"]), 1e-9);
        if case["prediction"].is_null() || case["looked"].is_null() {
            continue;
        }
        // A prediction without the evidence of the shown token, one with it, and the step back that both stand for.
        let prediction = numbers(&case["prediction"]);
        let weights: Vec<f64> = (0u32..).zip(&prediction).map(|(x, p)| p * later.probability(shown, x)).collect();
        let total: f64 = weights.iter().sum();
        let informed: Vec<f64> = weights.iter().map(|w| w / total).collect();
        close(&what, &informed, &numbers(&case["looked"]), 1e-9);
        let evidence = later.evidence(shown);
        if evidence.is_finite() {
            let raised = |(x, p): (u32, &f64)| if x == shown { p * evidence } else { *p };
            let raised: Vec<f64> = (0u32..).zip(&prediction).map(raised).collect();
            let total: f64 = raised.iter().sum();
            close(&what, &raised.iter().map(|p| p / total).collect::<Vec<_>>(), &informed, 1e-9);
        }
        let mut step = vec![0.0; size as usize];
        for (x, p) in (0u32..).zip(&informed) {
            step.iter_mut().zip(bridge.posterior(shown, x)).for_each(|(sum, q)| *sum += p * q);
        }
        close(&what, &step, &numbers(&case["predicted_posterior"]), 1e-9);
        // The integrand of the bound; a mask's is the cross-entropy with its weight.
        let expected = number(&case["integrand"]);
        let padded: Vec<f32> = prediction.iter().map(|p| *p as f32).chain([0.0]).collect();
        let got = if case["process"] == "masked" {
            rate(shown) * later.alpha / later.masked * -prediction[clean as usize].ln()
        } else {
            rate(shown) * Ratio { shown, marginal: later, posterior: false }.value(clean, &padded)
        };
        close(&what, &[got], &[expected], 2e-4);
        if case["process"] != "masked" {
            let padded: Vec<f32> = informed.iter().map(|p| *p as f32).chain([0.0]).collect();
            let got = rate(shown) * Ratio { shown, marginal: later, posterior: true }.value(clean, &padded);
            close(&what, &[got], &[expected], 3e-4);
        }
    }
}

#[test]
fn gaussian_levels_and_steps() {
    for case in cases("gaussian") {
        let what = case.to_string();
        let (later, earlier) = (Level::at(at(&case["later"])), Level::at(at(&case["earlier"])));
        let got = [later.alpha, later.sigma, later.prior_logit_scale(), later.ancestral(&earlier)];
        let expected = ["alpha", "sigma", "evidence", "deviation"].map(|name| number(&case[name]));
        close(&what, &got, &expected, 1e-9);
        let step = |v| later.step(&earlier, number(&case["point"]), number(&case["clean"]), v, 0.0);
        close(&what, &[step(later.ancestral(&earlier))], &[number(&case["mean"])], 1e-9);
        close(&what, &[step(0.0)], &[number(&case["flow"])], 1e-9);
        let weight = -0.5 * Level::at(at(&case["weight_time"])).slope();
        close(&what, &[weight], &[number(&case["weight"])], 1e-6);
    }
}

#[test]
fn simplex_concentrations_and_logarithms_of_beta_draws() {
    for case in cases("simplex") {
        let text = count(&case["text"]);
        let field = Simplex::new(Alphabet { size: text, mask: None }, schedule("linear").unwrap());
        let law = field.concentration(at(&case["time"]));
        close("concentration", &[law.token, law.text], &[number(&case["token"]), number(&case["rest"])], 1e-9);
        let total = law.total();
        let own = |token: usize| law.text / text as f64 + if token == 0 { law.token } else { 0.0 };
        let mean: Vec<f64> = (0..text).map(|token| own(token) / total).collect();
        close("mean", &mean, &numbers(&case["mean"]), 1e-9);
        let mut draws = Key::new(6).at(0, 0);
        let points: Vec<Vec<f32>> = (0..20_000).map(|_| field.draw(0, law, &mut draws)).collect();
        let variances = numbers(&case["variance"]);
        for (token, (mean, variance)) in mean.iter().zip(&variances).enumerate() {
            let squares: Vec<f64> = points.iter().map(|point| (f64::from(point[token]) - mean).powi(2)).collect();
            let (observed, error) = crate::oracle::mean(&squares);
            assert!((observed - variance).abs() < 4.5 * error, "token {token}: {observed} ± {error}, not {variance}");
        }
    }
    for case in cases("log_beta") {
        let (a, b) = (number(&case["first"]), number(&case["second"]));
        let mut draws = Key::new(12).at(0, 0);
        let logs: Vec<f64> = (0..40_000).map(|_| draws.log_beta(a, b).0).collect();
        let (mean, error) = crate::oracle::mean(&logs);
        assert!((mean - number(&case["mean"])).abs() < 4.5 * error, "{case}: {mean} ± {error}");
        let squares: Vec<f64> = logs.iter().map(|log| (log - number(&case["mean"])).powi(2)).collect();
        let (variance, error) = crate::oracle::mean(&squares);
        assert!((variance - number(&case["variance"])).abs() < 4.5 * error, "{case}: {variance} ± {error}");
    }
}

#[test]
fn the_map_from_gaussian_to_uniform_noise() {
    for case in cases("duo") {
        let alphabet = Alphabet { size: count(&case["text"]), mask: None };
        let duo = Duo::new(alphabet, 1e-3, schedule("linear").unwrap());
        close(&case.to_string(), &[duo.alpha(number(&case["ratio"]))], &[number(&case["alpha"])], 1e-6);
    }
}

#[test]
fn two_streams_of_blocks() {
    for case in cases("blocks") {
        let (length, block) = (count(&case["length"]), count(&case["block"]));
        let intervals = two_stream_intervals(length, Layout::Block { length: block }, &[]);
        for (row, (two, expected)) in intervals.iter().zip(case["sees"].as_array().unwrap()).enumerate() {
            let sees = |key: u32| two.iter().any(|range| range.contains(&key));
            let got: Vec<f64> = (0..2 * length as u32).map(|key| f64::from(u8::from(sees(key)))).collect();
            assert_eq!(got, numbers(expected), "row {row} of {length} in blocks of {block}");
        }
    }
}
