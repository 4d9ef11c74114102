//! What the tape keeps, what it frees, and how gradients meet where a value is used twice.

use aquatint_compute::{
    Activation, Bits, Cpu, Dropout, Elementwise, Gradients, LowRank, Memory, Parameters, Quantised, Tape, Value,
    WeightFormat, WeightId,
};

const COLUMNS: usize = 8;

/// A table of six rows, a norm, and two matrices stacked into one weight.
fn parameters() -> (Parameters<Cpu<f64>>, [WeightId; 3]) {
    let device = Cpu::<f64>::scalar();
    let mut parameters = Parameters::new(device.clone());
    let mut add = |rows: usize, columns: usize, scale: f64| {
        let values: Vec<f64> =
            (0..rows * columns).map(|i| scale * (((i * 37 + rows) % 17) as f64 / 8.0 - 1.0)).collect();
        let value = device.upload(&values).unwrap();
        parameters.add(rows, columns, value)
    };
    let parts = [add(6, COLUMNS, 1.0), add(1, COLUMNS, 0.5), add(3, COLUMNS, 0.7), add(5, COLUMNS, 0.3)];
    let table = parameters.weight(&parts[..1]);
    let norm = parameters.weight(&parts[1..2]);
    let stack = parameters.weight(&parts[2..]);
    (parameters, [table, norm, stack])
}

fn address(value: &Value<Cpu<f64>>) -> *const f64 {
    value.buffer().as_slice().as_ptr()
}

fn values(value: &Value<Cpu<f64>>) -> Vec<f64> {
    value.buffer().as_slice().to_vec()
}

#[test]
fn memory_is_freed_with_the_last_handle_unless_the_backward_needs_it() {
    let (parameters, [table, norm, _]) = parameters();
    let ids = vec![1, 5, 0];
    for (mut tape, reuses) in [(Tape::inferring(&parameters), true), (Tape::recording(&parameters, 0), false)] {
        let x = tape.gather(table, &ids).unwrap();
        let before = address(&x);
        let normed = tape.rms_norm(&x, Some(norm), 1e-6).unwrap();
        drop(x);
        let again = tape.gather(table, &ids).unwrap();
        assert_eq!((address(&again) == before, normed.rows()), (reuses, 3));
    }
}

#[test]
fn adding_happens_in_place_unless_somebody_else_holds_the_value() {
    let (parameters, [table, ..]) = parameters();
    let ids = vec![4, 2];
    let mut tape = Tape::inferring(&parameters);
    let y = tape.gather(table, &ids).unwrap();
    let x = tape.gather(table, &ids).unwrap();
    let (before, twice) = (address(&x), values(&x).iter().map(|v| 2.0 * v).collect::<Vec<_>>());
    let sum = tape.add(x, &y).unwrap();
    assert_eq!((address(&sum), values(&sum)), (before, twice.clone()));

    let held = tape.gather(table, &ids).unwrap();
    let sum = tape.add(held.clone(), &y).unwrap();
    assert_ne!(address(&sum), address(&held));
    assert_eq!((values(&sum), values(&held)), (twice, values(&y)));
}

#[test]
fn a_value_used_twice_collects_both_gradients() {
    let (parameters, [table, ..]) = parameters();
    let device = parameters.device().clone();
    let (ids, chosen) = (vec![3, 3, 1], vec![0, 2, 2]);
    let mut gradients = Gradients::zeros(&parameters).unwrap();
    let mut tape = Tape::recording(&parameters, 0);
    let x = tape.gather(table, &ids).unwrap();
    let sum = tape.add(x.clone(), &x).unwrap();
    let chosen = tape.rows(&sum, &chosen).unwrap();
    let d = device.upload(&[1.0; 3 * COLUMNS]).unwrap();
    tape.backward(chosen, d, &mut gradients).unwrap();
    // Row 3 of the table is row 0 of x and counts twice; row 1 is row 2 of x, which is chosen twice.
    let expected: Vec<f64> = [0.0, 4.0, 0.0, 2.0, 0.0, 0.0].iter().flat_map(|&g| [g; COLUMNS]).collect();
    assert_eq!(device.download(&gradients.buffers()[0]), expected);
    assert_eq!(gradients.norm(), (20.0 * COLUMNS as f64).sqrt());
    gradients.clear();
    assert_eq!(gradients.norm(), 0.0);
}

#[test]
fn a_stack_is_its_parts_and_gives_each_its_gradient() {
    let (mut parameters, [table, _, stack]) = parameters();
    let device = parameters.device().clone();
    let parts = |parameters: &Parameters<Cpu<f64>>| {
        parameters.values()[2..].iter().flat_map(|part| device.download(part)).collect::<Vec<_>>()
    };
    assert_eq!(parameters.shape(stack), (8, COLUMNS));
    assert_eq!(device.download(parameters.get(stack).unwrap()), parts(&parameters));
    device.write(&mut parameters.values_mut()[3], &[0.25; 5 * COLUMNS]);
    assert_eq!(device.download(parameters.get(stack).unwrap()), parts(&parameters));

    let ids = vec![0, 2];
    let mut gradients = Gradients::zeros(&parameters).unwrap();
    for _ in 0..2 {
        let mut tape = Tape::recording(&parameters, 0);
        let x = tape.gather(table, &ids).unwrap();
        let out = tape.linear(&x, stack, None).unwrap();
        // Only the second row of the first part and the last row of the second one are asked for.
        let mut d = vec![0.0; 2 * 8];
        (d[1], d[8 + 7]) = (1.0, 10.0);
        tape.backward(out, device.upload(&d).unwrap(), &mut gradients).unwrap();
    }
    let rows: Vec<Vec<f64>> = device.download(&parameters.values()[0]).chunks(COLUMNS).map(<[f64]>::to_vec).collect();
    let scaled = |row: usize, factor: f64| rows[row].iter().map(move |v| factor * v).collect::<Vec<_>>();
    let first = device.download(&gradients.buffers()[2]);
    let second = device.download(&gradients.buffers()[3]);
    assert_eq!(first, [vec![0.0; COLUMNS], scaled(0, 2.0), vec![0.0; COLUMNS]].concat());
    assert_eq!(second[..4 * COLUMNS], [0.0; 4 * COLUMNS]);
    assert_eq!(second[4 * COLUMNS..], scaled(2, 20.0));
}

#[test]
fn a_segment_keeps_its_inputs_only_and_runs_again_for_the_backward() {
    let (parameters, [table, norm, _]) = parameters();
    let device = parameters.device().clone();
    let ids = vec![1, 2, 5];
    let runs = std::cell::Cell::new(0);
    let learn = |recomputed: usize| {
        runs.set(0);
        let mut gradients = Gradients::zeros(&parameters).unwrap();
        let mut tape = Tape::recording(&parameters, recomputed);
        let x = tape.gather(table, &ids).unwrap();
        let mut y = x.clone();
        for _ in 0..3 {
            let runs = &runs;
            y = tape
                .segment(vec![y, x.clone()], move |tape, inputs| {
                    runs.set(runs.get() + 1);
                    let h = tape.rms_norm(&inputs[0], Some(norm), 1e-6)?;
                    let h = tape.silu(&h)?;
                    tape.add(h, &inputs[1])
                })
                .unwrap();
        }
        drop(x);
        let seed: Vec<f64> = (0..3 * COLUMNS).map(|i| (i as f64).sin()).collect();
        tape.backward(y, device.upload(&seed).unwrap(), &mut gradients).unwrap();
        (runs.get(), gradients.buffers().iter().map(|g| device.download(g)).collect::<Vec<_>>())
    };
    let (once, stored) = learn(0);
    assert_eq!(once, 3);
    for (segments, again) in [(1, 1), (2, 2), (3, 3), (usize::MAX, 3)] {
        assert_eq!(learn(segments), (3 + again, stored.clone()));
    }
    assert!(stored[0].iter().any(|g| *g != 0.0) && stored[1].iter().any(|g| *g != 0.0));
}

/// Two products, the second with a bias, on a network whose first product is frozen or not.
fn chain(
    parameters: &Parameters<Cpu<f64>>,
    ids: &<Cpu<f64> as Memory>::Indices,
    [table, first, second, bias]: [WeightId; 4],
) -> Vec<Vec<f64>> {
    let device = parameters.device().clone();
    let mut gradients = Gradients::zeros(parameters).unwrap();
    let mut tape = Tape::recording(parameters, 0);
    let x = tape.gather(table, ids).unwrap();
    let h = tape.linear(&x, first, None).unwrap();
    let out = tape.linear(&h, second, Some(bias)).unwrap();
    let seed: Vec<f64> = (0..out.rows() * out.columns()).map(|i| (i as f64).cos()).collect();
    tape.backward(out, device.upload(&seed).unwrap(), &mut gradients).unwrap();
    gradients.buffers().iter().map(|gradient| device.download(gradient)).collect()
}

#[test]
fn what_is_not_trainable_has_no_gradient_and_lets_others_pass() {
    let device = Cpu::<f64>::scalar();
    let mut parameters = Parameters::new(device.clone());
    let mut add = |rows: usize, columns: usize| {
        let values: Vec<f64> = (0..rows * columns).map(|i| ((i * 29 + rows) % 13) as f64 / 6.0 - 1.0).collect();
        parameters.add(rows, columns, device.upload(&values).unwrap())
    };
    let parts = [add(5, 4), add(3, 4), add(2, 4), add(6, 5), add(1, 6)];
    let weights = [&parts[..1], &parts[1..3], &parts[3..4], &parts[4..]].map(|parts| parameters.weight(parts));
    let ids = vec![4, 1, 1];
    let all = chain(&parameters, &ids, weights);
    assert!(all.iter().all(|gradient| gradient.iter().any(|g| *g != 0.0)));
    // Every choice of what is learned: its gradients are those that it had when all were.
    for choice in 0..32_usize {
        let learnt = |part: usize| choice >> part & 1 == 1;
        for (part, &id) in parts.iter().enumerate() {
            parameters.set_trainable(id, learnt(part));
        }
        for (part, (got, expected)) in chain(&parameters, &ids, weights).iter().zip(&all).enumerate() {
            assert_eq!(got, if learnt(part) { expected } else { &[][..] }, "parameter {part} of choice {choice:05b}");
        }
    }
}

#[test]
fn gradients_pass_through_a_quantised_weight() {
    let device = Cpu::<f64>::scalar();
    let mut parameters = Parameters::new(device.clone());
    let table = parameters.add(3, 8, device.upload(&[0.5; 24]).unwrap());
    let untrained = parameters.add(4, 8, device.zeros(0).unwrap());
    let (table, weight) = (parameters.weight(&[table]), parameters.weight(&[untrained]));
    parameters.set_trainable(untrained, false);
    let values: Vec<f32> = (0..32).map(|i| (i as f32).sin()).collect();
    let matrix = Quantised::of(&values, (4, 8), Bits::Eight, None).unwrap();
    parameters.keep_quantised(weight, matrix.clone()).unwrap();
    let ids = vec![2];
    let mut gradients = Gradients::zeros(&parameters).unwrap();
    let mut tape = Tape::recording(&parameters, 0);
    let x = tape.gather(table, &ids).unwrap();
    let out = tape.linear(&x, weight, None).unwrap();
    tape.backward(out, device.upload(&[1.0, 0.0, -2.0, 0.0]).unwrap(), &mut gradients).unwrap();
    let row = |n: usize| matrix.dequantise()[n * 8..][..8].iter().map(|w| f64::from(*w)).collect::<Vec<f64>>();
    let expected: Vec<f64> = row(0).iter().zip(row(2)).map(|(a, b)| a - 2.0 * b).collect();
    assert_eq!(device.download(&gradients.buffers()[0])[16..], expected);
}

/// Numbers that look like nothing in particular.
fn numbers(count: usize, seed: usize) -> Vec<f64> {
    (0..count).map(|i| ((i * 29 + seed * 13) % 23) as f64 / 11.0 - 1.0).collect()
}

/// `x` of three rows, and what becomes of it: a gated part of two stacked matrices, and the way back onto `x`, by weights
/// with additions of rank 2 (the gate and the way back), or by weights that have them added.
struct Added {
    parameters: Parameters<Cpu<f64>>,
    x: WeightId,
    stack: WeightId,
    apart: (WeightId, WeightId),
    down: WeightId,
}

const FACTOR: f64 = 0.75;
const WIDTH: usize = 3;

impl Added {
    /// Parameters in this order: x, gate, up, way back, and the halves of the additions to gate and way back.
    fn new(merged: bool) -> Self {
        let device = Cpu::<f64>::scalar();
        let mut parameters = Parameters::new(device.clone());
        let shapes = [(3, COLUMNS), (WIDTH, COLUMNS), (WIDTH, COLUMNS), (COLUMNS, WIDTH)];
        let halves = [(2, COLUMNS), (WIDTH, 2), (2, WIDTH), (COLUMNS, 2)];
        let of = |index: usize| {
            let (rows, columns) = shapes.iter().chain(&halves).copied().nth(index).unwrap();
            numbers(rows * columns, index + 1)
        };
        let mut all = Vec::new();
        for (index, &(rows, columns)) in shapes.iter().chain(&halves).enumerate() {
            let mut values = of(index);
            let addition = [(1, 4, 5), (3, 6, 7)].into_iter().find(|(matrix, ..)| merged && *matrix == index);
            if let Some((_, down, up)) = addition {
                let (down, up) = (of(down), of(up));
                for (at, value) in values.iter_mut().enumerate() {
                    let (row, column) = (at / columns, at % columns);
                    *value += FACTOR * (0..2).map(|r| up[row * 2 + r] * down[r * columns + column]).sum::<f64>();
                }
            }
            all.push(parameters.add(rows, columns, device.upload(&values).unwrap()));
        }
        let weights: Vec<WeightId> = all.iter().map(|&part| parameters.weight(&[part])).collect();
        let stack = parameters.weight(&all[1..3]);
        for (matrix, down, up) in [(1, 4, 5), (3, 6, 7)] {
            parameters.add_low_rank(0, all[matrix], LowRank { down: weights[down], up: weights[up], factor: FACTOR });
        }
        Self { parameters, x: weights[0], stack, apart: (weights[1], weights[2]), down: weights[3] }
    }

    fn forward<'p>(&'p self, tape: &mut Tape<'p, Cpu<f64>>, ids: &'p Vec<u32>) -> Value<Cpu<f64>> {
        let x = tape.gather(self.x, ids).unwrap();
        tape.segment(vec![x], move |tape, inputs| {
            let inner = tape.linear_glu(Activation::Swiglu, &inputs[0], self.stack, self.apart)?;
            tape.linear_add(&inner, self.down, None, inputs[0].clone())
        })
        .unwrap()
    }
}

fn assert_near(given: &[f64], expected: &[f64]) {
    assert_eq!(given.len(), expected.len());
    for (given, expected) in given.iter().zip(expected) {
        assert!((given - expected).abs() < 1e-12, "{given} is not {expected}");
    }
}

#[test]
fn low_rank_additions_are_what_they_are_when_added_to_the_matrices() {
    let (apart, merged, ids) = (Added::new(false), Added::new(true), vec![0, 2, 1]);
    let expected = values(&merged.forward(&mut Tape::inferring(&merged.parameters), &ids));
    assert_near(&values(&apart.forward(&mut Tape::inferring(&apart.parameters).adding(Some(0)), &ids)), &expected);
    let mut tape = Tape::recording(&apart.parameters, 0).adding(Some(0));
    assert_near(&values(&apart.forward(&mut tape, &ids)), &expected);
    // Without the set, and with one that adds nothing, the matrices are alone.
    let bare = values(&apart.forward(&mut Tape::inferring(&apart.parameters), &ids));
    assert!(bare.iter().zip(&expected).any(|(bare, expected)| (bare - expected).abs() > 0.1));
    assert_eq!(values(&apart.forward(&mut Tape::inferring(&apart.parameters).adding(Some(1)), &ids)), bare);
}

#[test]
fn low_rank_additions_learn_as_finite_differences_say_also_over_matrices_that_do_not() {
    let ids = vec![0, 2, 1];
    let weigh = numbers(3 * COLUMNS, 99);
    for dropout in [None, Some(Dropout { rate: 0.4, seed: 11 })] {
        let gradients_of = |recomputed: usize| {
            let mut added = Added::new(false);
            (0..4).for_each(|part| added.parameters.set_trainable(part, false));
            added.parameters.keep_only(added.stack, WeightFormat::F32).unwrap();
            let mut gradients = Gradients::zeros(&added.parameters).unwrap();
            let mut tape = Tape::recording(&added.parameters, recomputed).adding(Some(0)).dropping(dropout);
            let out = added.forward(&mut tape, &ids);
            tape.backward(out, added.parameters.device().upload(&weigh).unwrap(), &mut gradients).unwrap();
            gradients.buffers().iter().map(|buffer| buffer.as_slice().to_vec()).collect::<Vec<_>>()
        };
        let gradients = gradients_of(0);
        assert_eq!(gradients, gradients_of(1));
        let cost = |added: &Added| {
            let mut tape = Tape::recording(&added.parameters, 0).adding(Some(0)).dropping(dropout);
            let out = added.forward(&mut tape, &ids);
            values(&out).iter().zip(&weigh).map(|(out, weight)| out * weight).sum::<f64>()
        };
        let mut added = Added::new(false);
        for (part, gradient) in gradients.iter().enumerate() {
            assert_eq!(gradient.is_empty(), part < 4);
            for (at, gradient) in gradient.iter().enumerate() {
                let mut costs = [1e-6, -1e-6].map(|step| {
                    added.parameters.values_mut()[part].as_mut_slice()[at] += step;
                    let cost = cost(&added);
                    added.parameters.values_mut()[part].as_mut_slice()[at] -= step;
                    cost
                });
                costs[0] -= costs[1];
                assert!(
                    (costs[0] / 2e-6 - gradient).abs() < 1e-7,
                    "{part} {at}: {} is not {gradient}",
                    costs[0] / 2e-6
                );
            }
        }
    }
}

#[test]
fn dropout_leaves_out_its_share_and_scales_the_rest_and_nothing_where_nothing_is_learned() {
    let device = Cpu::<f64>::scalar();
    let x = device.upload(&vec![2.0; 20_000]).unwrap();
    let drop = |rate: f64, seed: u64| {
        let mut out = device.zeros(20_000).unwrap();
        device.dropout(Dropout { rate, seed }, &x, &mut out);
        device.download(&out)
    };
    let out = drop(0.3, 5);
    let dropped = out.iter().filter(|value| **value == 0.0).count() as f64;
    // Six standard deviations of a binomial.
    assert!((dropped - 6000.0).abs() < 6.0 * (20_000.0_f64 * 0.3 * 0.7).sqrt(), "{dropped}");
    assert!(out.iter().all(|value| *value == 0.0 || (value - 2.0 / 0.7).abs() < 1e-12));
    // Seeds differ in about as many places as chance has it.
    let differing = out.iter().zip(drop(0.3, 6)).filter(|(a, b)| **a != *b).count() as f64;
    assert!((differing - 8400.0).abs() < 6.0 * (20_000.0_f64 * 0.42 * 0.58).sqrt(), "{differing}");
    assert_eq!(drop(0.0, 5), vec![2.0; 20_000]);

    let (added, ids) = (Added::new(false), vec![0, 2, 1]);
    let plain = values(&added.forward(&mut Tape::inferring(&added.parameters).adding(Some(0)), &ids));
    let dropout = Some(Dropout { rate: 0.5, seed: 1 });
    let inferred = added.forward(&mut Tape::inferring(&added.parameters).adding(Some(0)).dropping(dropout), &ids);
    assert_eq!(values(&inferred), plain);
    let learned = added.forward(&mut Tape::recording(&added.parameters, 0).adding(Some(0)).dropping(dropout), &ids);
    assert_ne!(values(&learned), plain);
}
