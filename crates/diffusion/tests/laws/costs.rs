//! Costs of predictions: their gradients against finite differences.

use aquatint_diffusion::objective::{Distance, Ratio, divergence};
use aquatint_diffusion::{Alphabet, Cost, Key, Mixing, Time, Vectors, schedule};

const SIZE: usize = 5;

fn softmax(logits: &[f64]) -> Vec<f32> {
    let total: f64 = logits.iter().map(|l| l.exp()).sum();
    logits.iter().map(|l| (l.exp() / total) as f32).collect()
}

/// Holds a gradient against differences of the value, in logits.
fn check(what: &str, logits: &[f64], gradient: &[f32], value: &dyn Fn(&[f32]) -> f64) {
    let step = 2e-3;
    for token in 0..SIZE {
        let at = |by: f64| {
            let mut moved = logits.to_vec();
            moved[token] += by;
            value(&softmax(&moved))
        };
        // Values of predictions in 32 bits: four points, so that the step may be long.
        let slope = (8.0 * (at(step) - at(-step)) - (at(2.0 * step) - at(-2.0 * step))) / (12.0 * step);
        let got = f64::from(gradient[token]);
        assert!((got - slope).abs() < 2e-3 * (1.0 + slope.abs()), "{what}, token {token}: {got} and {slope}");
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    let alphabet = Alphabet { size: SIZE, mask: Some(4) };
    let schedule = || schedule("linear").unwrap();
    let mut draws = Key::new(3).at(0, 0);
    let table: Vec<f32> = (0..SIZE * 3).map(|_| draws.normal() as f32).collect();
    let vectors = Vectors { size: 3, values: &table };
    for mixing in [Mixing::uniform(alphabet, schedule()), Mixing::hybrid(alphabet, 0.3, schedule())] {
        let marginal = mixing.marginal(Time::new(0.4).unwrap());
        for shown in (0..5).filter(|shown| marginal.noise(*shown) > 0.0) {
            for clean in 0..4 {
                let mut logits: Vec<f64> = (0..SIZE).map(|_| draws.normal()).collect();
                logits[4] = f64::NEG_INFINITY;
                let cost = Cost::Ratio(Ratio { shown, marginal, posterior: false });
                let mut gradient = softmax(&logits);
                let value = cost.learn(clean, &mut gradient, vectors, 1.5) * 1.5;
                let priced = |prediction: &[f32]| 1.5 * cost.value(clean, prediction, vectors);
                assert_eq!(value, priced(&softmax(&logits)));
                logits[4] = -40.0;
                check(&format!("{mixing:?}, {shown} shown, {clean} clean"), &logits, &gradient, &priced);
            }
        }
    }
    for clean in 0..4 {
        let logits: Vec<f64> = (0..SIZE).map(|_| draws.normal()).collect();
        for cost in [Cost::CrossEntropy, Cost::Distance(Distance)] {
            let mut gradient = softmax(&logits);
            let _ = cost.learn(clean, &mut gradient, vectors, 0.5);
            check(&format!("{cost:?}"), &logits, &gradient, &|prediction| 0.5 * cost.value(clean, prediction, vectors));
        }
        let teacher = softmax(&(0..SIZE).map(|_| draws.normal()).collect::<Vec<_>>());
        let mut gradient = softmax(&logits);
        let _ = divergence(&teacher, &mut gradient, 2.0);
        check("divergence", &logits, &gradient, &|prediction| {
            2.0 * divergence(&teacher, &mut prediction.to_vec(), 1.0)
        });
    }
}

#[test]
fn a_right_prediction_costs_nothing_and_an_even_one_what_it_should() {
    let vectors = Vectors { size: 2, values: &[1.0, 0.0, 0.0, 1.0] };
    assert_eq!(Distance.value(0, &[1.0, 0.0], vectors), 0.0);
    assert!((Distance.value(0, &[0.5, 0.5], vectors) - 0.5).abs() < 1e-12);
    assert!((Cost::CrossEntropy.value(0, &[0.25, 0.75], vectors) - 4f64.ln()).abs() < 1e-6);
    let marginal = Mixing::uniform(Alphabet { size: 2, mask: None }, schedule("linear").unwrap())
        .marginal(Time::new(0.5).unwrap());
    for shown in 0..2 {
        assert!(Ratio { shown, marginal, posterior: false }.value(0, &[1.0, 0.0]).abs() < 1e-12);
    }
    assert!(divergence(&[0.3, 0.7], &mut [0.3, 0.7], 1.0).abs() < 1e-12);
}
