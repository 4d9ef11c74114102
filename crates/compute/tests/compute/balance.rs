//! The cost of unlike loads of experts, against its definition.

use aquatint_compute::{Cpu, Gradients, Memory, Parameters, Router, RouterScore, Tape, WeightId};

const COLUMNS: usize = 5;
const EXPERTS: usize = 4;
const ROWS: usize = 6;
const WEIGHT: f64 = 0.7;

fn router(score: RouterScore, per_token: usize) -> Router {
    let (groups, groups_per_token) = (1, 1);
    Router {
        experts: EXPERTS,
        per_token,
        score,
        groups,
        groups_per_token,
        per_block: None,
        normalised: false,
        scale: 1.5,
    }
}

/// A table of rows, a router, its bias, and a matrix for each expert.
fn parameters() -> (Parameters<Cpu<f64>>, Vec<WeightId>) {
    let device = Cpu::<f64>::scalar();
    let mut parameters = Parameters::new(device.clone());
    let shapes = [(ROWS, COLUMNS), (EXPERTS, COLUMNS), (1, EXPERTS)];
    let shapes = shapes.into_iter().chain([(COLUMNS, COLUMNS); EXPERTS]);
    let mut seed = 0.0;
    let parts: Vec<usize> = shapes
        .map(|(rows, columns)| {
            let values: Vec<f64> = (0..rows * columns).map(|i| (seed + 1.7 * i as f64).sin()).collect();
            seed += 0.31;
            let value = device.upload(&values).unwrap();
            parameters.add(rows, columns, value)
        })
        .collect();
    let ids = parts.iter().map(|part| parameters.weight(&[*part])).collect();
    (parameters, ids)
}

/// The gradients of the balancing cost alone, since nothing else costs anything, and the load.
fn learned(router: Router, biased: bool, recomputed: usize, weight: f64) -> (Vec<Vec<f64>>, Vec<Vec<u32>>) {
    let (parameters, ids) = parameters();
    let device = parameters.device().clone();
    let rows: Vec<u32> = (0..ROWS as u32).collect();
    let mut gradients = Gradients::zeros(&parameters).unwrap();
    let ids = &ids;
    let mut tape = Tape::recording(&parameters, recomputed).balancing(weight);
    let x = tape.gather(ids[0], &rows).unwrap();
    let out = tape
        .segment(vec![x], move |tape, inputs| {
            let logits = tape.linear(&inputs[0], ids[1], None)?;
            let (weights, routes) = tape.route(router, &logits, biased.then_some(ids[2]), None)?;
            let copies = tape.dispatch(&inputs[0], &routes)?;
            let given = tape.grouped_linear(&copies, &routes, &ids[3..])?;
            tape.combine(&given, &weights, &routes)
        })
        .unwrap();
    let loads = tape.loads().to_vec();
    tape.backward(out, device.zeros(ROWS * COLUMNS).unwrap(), &mut gradients).unwrap();
    (gradients.buffers().iter().map(|gradient| device.download(gradient)).collect(), loads)
}

/// `w · N Σ f P` by its definition, with the shares `f` given.
fn cost(score: RouterScore, values: &[Vec<f64>], load: &[u32]) -> f64 {
    let copies: u32 = load.iter().sum();
    let row = |x: &[f64]| -> Vec<f64> {
        let logits = values[1].chunks(COLUMNS).map(|w| w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>());
        let scores: Vec<f64> = logits
            .map(|logit| match score {
                RouterScore::Softmax => logit.exp(),
                RouterScore::Sigmoid => 1.0 / (1.0 + (-logit).exp()),
            })
            .collect();
        let sum: f64 = scores.iter().sum();
        scores.into_iter().map(|score| score / sum).collect()
    };
    let probabilities: Vec<Vec<f64>> = values[0].chunks(COLUMNS).map(row).collect();
    let mean = |expert: usize| probabilities.iter().map(|row| row[expert]).sum::<f64>() / ROWS as f64;
    let share = |expert: usize| f64::from(load[expert]) / f64::from(copies);
    WEIGHT * EXPERTS as f64 * (0..EXPERTS).map(|expert| share(expert) * mean(expert)).sum::<f64>()
}

#[test]
fn the_gradient_is_that_of_finite_differences() {
    for score in [RouterScore::Softmax, RouterScore::Sigmoid] {
        for per_token in [1, 2] {
            let (gradients, loads) = learned(router(score, per_token), false, 0, WEIGHT);
            let [load] = &loads[..] else { panic!("one router, {loads:?}") };
            assert_eq!(load.iter().sum::<u32>(), (ROWS * per_token) as u32);
            assert!(load.iter().any(|count| *count != load[0]), "the load is even: {load:?}");
            let (parameters, _) = parameters();
            let values: Vec<Vec<f64>> = parameters.values().iter().map(|v| parameters.device().download(v)).collect();
            for (tensor, gradient) in gradients[..2].iter().enumerate() {
                for (index, given) in gradient.iter().enumerate() {
                    let at = |step: f64| {
                        let mut moved = values.clone();
                        moved[tensor][index] += step;
                        cost(score, &moved, load)
                    };
                    let expected = (at(1e-5) - at(-1e-5)) / 2e-5;
                    assert!((given - expected).abs() < 1e-9, "{score:?} {tensor} {index}: {given} and {expected}");
                }
            }
            assert!(gradients[1].iter().any(|gradient| gradient.abs() > 1e-3));
            assert!(gradients[2..].iter().flatten().all(|gradient| *gradient == 0.0));
        }
    }
}

#[test]
fn an_even_load_costs_the_weight_and_pulls_nowhere() {
    let (parameters, _) = parameters();
    let values: Vec<Vec<f64>> = parameters.values().iter().map(|v| parameters.device().download(v)).collect();
    let even = cost(RouterScore::Softmax, &values, &[3; EXPERTS]);
    assert!((even - WEIGHT).abs() < 1e-12, "{even}");
    // All experts of each row: no choice could be another one.
    let (gradients, loads) = learned(router(RouterScore::Softmax, EXPERTS), false, 0, WEIGHT);
    assert_eq!(loads, [vec![ROWS as u32; EXPERTS]]);
    assert!(gradients.iter().flatten().all(|gradient| gradient.abs() < 1e-15));
}

#[test]
fn recomputed_segments_balance_alike_and_a_bias_or_no_weight_costs_nothing() {
    let of = |biased, recomputed, weight| learned(router(RouterScore::Softmax, 2), biased, recomputed, weight);
    assert_eq!(of(false, 0, WEIGHT), of(false, 1, WEIGHT));
    for (biased, weight) in [(true, WEIGHT), (false, 0.0)] {
        let (gradients, loads) = of(biased, 0, weight);
        assert!(gradients.iter().flatten().all(|gradient| *gradient == 0.0));
        assert_eq!(loads.len(), 1);
    }
}
