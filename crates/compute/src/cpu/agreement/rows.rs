//! Everything that is neither a product nor attention: norms, rotation, gates, modulation, softmax, cross-entropy,
//! gathering and AdamW.
//!
//! Inputs are below 1 in magnitude. A tolerance is `16 √n u` (the longest sum has `n` terms of random sign, and a few
//! roundings surround it) times a bound of what is summed, which each test states.

use super::*;
use crate::{AdamW, AttentionShape, RopeShape};

/// Compares one operation on every device with the specification.
macro_rules! compare {
    ($longest:expr, $size:expr, $run:expr) => {{
        let expected = $run(&exact(Precision::F32));
        let expected: Vec<&[f64]> = expected.iter().map(Buffer::as_slice).collect();
        let limit = 16.0 * ($longest as f64).sqrt().max(4.0) * U * $size;
        agree(&devices(Precision::F32), &expected, |_, _| limit, $run)
    }};
}

pub(crate) fn norms<D: Device>(
    device: &D,
    columns: usize,
    x: &[f64],
    weight: &[f64],
    gradient: &[f64],
) -> Vec<D::Buffer> {
    let rows = x.len() / columns;
    let (x, weight, gradient) = (up(device, x), up(device, weight), up(device, gradient));
    let zeros = |len| device.zeros(len).unwrap();
    let (mut out, mut inverse, mut bare) = (zeros(rows * columns), zeros(rows), zeros(rows * columns));
    device.rms_norm(columns, 1e-2, &x, None, &mut bare, &mut inverse);
    device.rms_norm(columns, 1e-2, &x, Some(&weight), &mut out, &mut inverse);
    let (mut d_x, mut d_weight) = (zeros(rows * columns), zeros(columns));
    let d_w = Some(&mut d_weight);
    device.rms_norm_backward(columns, &x, Some(&weight), &inverse, &gradient, false, &mut d_x, d_w);
    device.rms_norm_backward(columns, &x, None, &inverse, &gradient, true, &mut d_x, None);
    vec![out, bare, inverse, d_x, d_weight]
}

pub(crate) fn turns<D: Device>(device: &D, shape: RopeShape, rows: usize, numbers: [&[f64]; 4]) -> Vec<D::Buffer> {
    let [packed, gradient, query, key] = numbers.map(|values| up(device, values));
    let positions: Vec<u32> = (0..rows as u32).map(|row| (row * 7) % 300).collect();
    let size = shape.attention.head_size;
    let zeros = |len| device.zeros(len).unwrap();
    let len = rows * shape.attention.packed_columns();
    let (mut out, mut plain, mut d_packed, mut d_plain) = (zeros(len), zeros(len), zeros(len), zeros(len));
    let (mut d_query, mut d_key) = (zeros(size), zeros(size));
    let norms = Some((&query, &key));
    device.rope(shape, &positions, &packed, norms, &mut out);
    device.rope(shape, &positions, &packed, None, &mut plain);
    let d_norms = Some((&mut d_query, &mut d_key));
    device.rope_backward(shape, &positions, &packed, norms, &gradient, &mut d_packed, d_norms);
    device.rope_backward(shape, &positions, &packed, None, &gradient, &mut d_plain, None);
    vec![out, plain, d_packed, d_plain, d_query, d_key]
}

pub(crate) fn gates<D: Device>(device: &D, width: usize, gate_up: &[f64], gradient: &[f64]) -> Vec<D::Buffer> {
    let (x, d) = (up(device, gate_up), up(device, gradient));
    let zeros = |len| device.zeros(len).unwrap();
    let (mut out, mut d_x) = (zeros(gradient.len()), zeros(gate_up.len()));
    device.swiglu(width, &x, &mut out);
    device.swiglu_backward(width, &x, &d, &mut d_x);
    let (mut silu, mut d_silu, mut sum, mut soft) =
        (zeros(gradient.len()), zeros(gradient.len()), up(device, gradient), up(device, gradient));
    device.silu(&d, &mut silu);
    device.silu_backward(&d, &d, &mut d_silu);
    device.scale_add(0.5, &out, -2.0, &mut sum);
    device.softmax(width, &mut soft);
    vec![out, d_x, silu, d_silu, sum, soft]
}

pub(crate) fn modulations<D: Device>(device: &D, columns: usize, rows: usize, numbers: [&[f64]; 3]) -> Vec<D::Buffer> {
    let [x, modulation, gradient] = numbers.map(|values| up(device, values));
    let (stride, groups) = (3 * columns, device.len(&modulation) / (3 * columns));
    let group_of_row: Vec<u32> = (0..rows).map(|row| (row * groups / rows) as u32).collect();
    let zeros = |len| device.zeros(len).unwrap();
    let (mut out, mut d_x, mut d_gated) = (zeros(rows * columns), zeros(rows * columns), zeros(rows * columns));
    let (mut d_modulation, mut residual) = (zeros(groups * stride), zeros(rows * columns));
    let (g, m, offsets) = (group_of_row.as_slice(), &modulation, (0, columns));
    device.modulate(columns, g, stride, offsets, &x, m, &mut out);
    device.modulate_backward(columns, g, stride, offsets, &x, m, &gradient, &mut d_x, &mut d_modulation);
    device.gated_add(columns, g, stride, 2 * columns, &x, m, &mut residual);
    device.gated_add_backward(columns, g, stride, 2 * columns, &x, m, &gradient, &mut d_gated, &mut d_modulation);
    vec![out, d_x, residual, d_gated, d_modulation]
}

/// Losses come back in f64; they are rounded into a buffer, so that one comparison serves everything.
pub(crate) fn losses<D: Device>(
    device: &D,
    shape: LinearShape,
    numbers: [&[f64]; 2],
    targets: &[u32],
) -> Vec<D::Buffer> {
    let [hidden, head] = numbers.map(|values| up(device, values));
    let weights: Vec<f64> = (0..shape.rows).map(|row| 0.25 + (row % 3) as f64).collect();
    let (mut d_hidden, mut d_head) =
        (device.zeros(device.len(&hidden)).unwrap(), device.zeros(device.len(&head)).unwrap());
    let gradients = Some((&mut d_hidden, &mut d_head));
    let nll = device.linear_cross_entropy(shape, &hidden, &head, targets, &weights, Some(0), gradients).unwrap();
    let alone = device.linear_cross_entropy(shape, &hidden, &head, targets, &weights, Some(0), None).unwrap();
    assert_eq!(nll, alone, "gradients do not change losses");
    vec![up(device, &nll), d_hidden, d_head]
}

pub(crate) fn updates<D: Device>(device: &D, numbers: [&[f64]; 2], ids: &[u32], columns: usize) -> Vec<D::Buffer> {
    let [gradient, mut parameter] = numbers.map(|values| up(device, values));
    let len = device.len(&parameter);
    let (mut first, mut second) = (device.zeros(len).unwrap(), device.zeros(len).unwrap());
    for step in 1..=3 {
        let step = AdamW { learning_rate: 1e-2, beta1: 0.9, beta2: 0.95, epsilon: 1e-3, weight_decay: 0.1, step };
        device.adamw(step, 0.7, &gradient, &mut first, &mut second, &mut parameter);
    }
    let (mut gathered, mut scattered) = (device.zeros(ids.len() * columns).unwrap(), device.zeros(len).unwrap());
    device.gather(columns, &parameter, ids, &mut gathered);
    device.scatter_add(columns, &gathered, ids, &mut scattered);
    let squares = up(device, &[device.sum_of_squares(&gradient)]);
    vec![parameter, first, second, gathered, scattered, squares]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn norming(rows in 1..70_usize, columns in 1..300_usize, seed: u64) {
        let mut numbers = Numbers(seed);
        let (x, gradient) = (numbers.many(rows * columns), numbers.many(rows * columns));
        let weight = numbers.many(columns);
        // The inverse RMS is at most 10 = 1/√1e-2, and its cube multiplies a gradient.
        compare!(columns + rows, 200.0, |device: &_| norms(device, columns, &x, &weight, &gradient))?;
    }

    #[test]
    fn turning(rows in 1..60_usize, half in 1..40_usize, groups in 1..3_usize, ratio in 1..3_usize, seed: u64) {
        let mut numbers = Numbers(seed);
        let attention = AttentionShape { heads: groups * ratio, key_value_heads: groups, head_size: 2 * half };
        let shape = RopeShape { attention, theta: 1e4, epsilon: 1e-2 };
        let len = rows * attention.packed_columns();
        let (packed, gradient) = (numbers.many(len), numbers.many(len));
        let (query, key) = (numbers.many(2 * half), numbers.many(2 * half));
        let all = [&packed[..], &gradient, &query, &key];
        compare!(rows * groups * ratio + 2 * half, 400.0, |device: &_| turns(device, shape, rows, all))?;
    }

    #[test]
    fn gating(rows in 1..60_usize, width in 1..300_usize, seed: u64) {
        let mut numbers = Numbers(seed);
        let (gate_up, gradient) = (numbers.many(rows * 2 * width), numbers.many(rows * width));
        compare!(width, 4.0, |device: &_| gates(device, width, &gate_up, &gradient))?;
    }

    #[test]
    fn modulating(rows in 1..60_usize, columns in 1..200_usize, groups in 1..4_usize, seed: u64) {
        let mut numbers = Numbers(seed);
        let (x, gradient) = (numbers.many(rows * columns), numbers.many(rows * columns));
        let modulation = numbers.many(groups * 3 * columns);
        let all = [&x[..], &modulation, &gradient];
        compare!(rows, 4.0, |device: &_| modulations(device, columns, rows, all))?;
    }

    #[test]
    fn losing(rows in 1..300_usize, inputs in 1..40_usize, outputs in 2..300_usize, seed: u64) {
        let mut numbers = Numbers(seed);
        let shape = LinearShape { rows, inputs, outputs };
        let (hidden, head) = (numbers.many(rows * inputs), numbers.many(outputs * inputs));
        let targets: Vec<u32> = (0..rows).map(|_| 1 + numbers.below(outputs - 1)).collect();
        // A logit is a sum of `inputs` products; its error enters a probability, and those are summed over rows.
        let size = 4.0 * (inputs as f64).sqrt();
        compare!(rows + inputs, size, |device: &_| losses(device, shape, [&hidden, &head], &targets))?;
    }

    #[test]
    fn updating(rows in 1..60_usize, columns in 1..60_usize, asked in 1..100_usize, seed: u64) {
        let mut numbers = Numbers(seed);
        let (gradient, parameter) = (numbers.many(rows * columns), numbers.many(rows * columns));
        let ids: Vec<u32> = (0..asked).map(|_| numbers.below(rows)).collect();
        // Squares add up to `rows · columns` at most, and a row that is asked for again and again to `asked` times it.
        let size = 4.0 + (rows * columns) as f64 * 0.1 + 4.0 * asked as f64;
        compare!(asked, size, |device: &_| updates(device, [&gradient, &parameter], &ids, columns))?;
    }
}
