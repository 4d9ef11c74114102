//! What the tape keeps, what it frees, and how gradients meet where a value is used twice.

use aquatint_compute::{Cpu, Device, Gradients, Parameters, Tape, Value, WeightId};

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
    const IDS: &[u32] = &[1, 5, 0];
    let reuses = |mut tape: Tape<'_, Cpu<f64>>| {
        let x = tape.gather(table, IDS).unwrap();
        let before = address(&x);
        let normed = tape.rms_norm(&x, norm, 1e-6).unwrap();
        drop(x);
        let again = tape.gather(table, IDS).unwrap();
        (address(&again) == before, normed.rows())
    };
    assert_eq!(reuses(Tape::inferring(&parameters)), (true, 3));
    assert_eq!(reuses(Tape::recording(&parameters, 0)), (false, 3));
}

#[test]
fn adding_happens_in_place_unless_somebody_else_looks() {
    let (parameters, [table, ..]) = parameters();
    let ids = [4, 2];
    let mut tape = Tape::inferring(&parameters);
    let y = tape.gather(table, &ids).unwrap();
    let x = tape.gather(table, &ids).unwrap();
    let (before, twice) = (address(&x), values(&x).iter().map(|v| 2.0 * v).collect::<Vec<_>>());
    let sum = tape.add(x, &y).unwrap();
    assert_eq!((address(&sum), values(&sum)), (before, twice.clone()));

    let seen = tape.gather(table, &ids).unwrap();
    let sum = tape.add(seen.clone(), &y).unwrap();
    assert_ne!(address(&sum), address(&seen));
    assert_eq!((values(&sum), values(&seen)), (twice, values(&y)));
}

#[test]
fn a_value_used_twice_collects_both_gradients() {
    let (parameters, [table, ..]) = parameters();
    let device = parameters.device().clone();
    let ids = [3, 3, 1];
    let mut gradients = Gradients::zeros(&parameters).unwrap();
    let mut tape = Tape::recording(&parameters, 0);
    let x = tape.gather(table, &ids).unwrap();
    let sum = tape.add(x.clone(), &x).unwrap();
    let chosen = tape.rows(&sum, &[0, 2, 2]).unwrap();
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

    let ids = [0, 2];
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
    let ids = [1, 2, 5];
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
                    let h = tape.rms_norm(&inputs[0], norm, 1e-6)?;
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
    let (once, kept) = learn(0);
    assert_eq!(once, 3);
    for (segments, again) in [(1, 1), (2, 2), (3, 3), (usize::MAX, 3)] {
        assert_eq!(learn(segments), (3 + again, kept.clone()));
    }
    assert!(kept[0].iter().any(|g| *g != 0.0) && kept[1].iter().any(|g| *g != 0.0));
}
