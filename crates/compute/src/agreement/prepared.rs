//! Products with prepared matrices, forward and back to their input.

use super::*;
use crate::{
    Activation, BackwardInput, Bits, GluOperands, Linear, LinearOperands, LinearShape, LogitRows,
    PreparedBackwardInput, PreparedOperands, PreparedValues, Quantised, WeightFormat,
};
use std::sync::OnceLock;

/// Around the edges of tiles and panels.
fn dimension() -> impl Strategy<Value = usize> {
    prop_oneof![1..20_usize, 60..70_usize, 120..140_usize]
}

/// Sums, and the groups that divide them: all in one, or eight and more.
fn sum_and_group() -> impl Strategy<Value = (usize, usize)> {
    let many = (1..9_usize, prop_oneof![Just(8_usize), Just(24), Just(32), Just(64)]);
    prop_oneof![
        prop_oneof![1..40_usize, 500..530_usize].prop_map(|k| (k, k)),
        many.prop_map(|(groups, group)| (groups * group, group))
    ]
}

/// Rounded to bf16, to nearest and ties to even.
fn bf16(value: f32) -> f32 {
    let bits = value.to_bits();
    f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
}

/// Every product with one prepared matrix.
struct Prepared {
    shape: LinearShape,
    format: WeightFormat,
    x: Vec<f64>,
    w: Vec<f64>,
    bias: Vec<f64>,
    out: Vec<f64>,
}

impl Operation for Prepared {
    fn run<D: Device>(&self, device: &D) -> Vec<D::Buffer> {
        let LinearShape { rows, inputs, outputs } = self.shape;
        let [x, w, bias] = [&self.x, &self.w, &self.bias].map(|values| up(device, values));
        let matrix = device.prepare((outputs, inputs), &w, self.format).unwrap();
        assert_eq!(device.prepared_shape(&matrix), (outputs, inputs));
        let values: Vec<f32> = device.download(&w).into_iter().map(|value| value.to_f64() as f32).collect();
        let quantised = |bits, group| Quantised::of(&values, (outputs, inputs), bits, group).unwrap();
        match (self.format, device.read_prepared(&matrix).unwrap()) {
            (WeightFormat::F32, PreparedValues::Real(back)) => assert_eq!(back, device.download(&w)),
            (WeightFormat::Bf16, PreparedValues::Real(back)) => {
                assert!(values.iter().zip(&back).all(|(value, back)| bf16(*value) == back.to_f64() as f32));
            }
            (WeightFormat::Int8, PreparedValues::Quantised(back)) => assert_eq!(back, quantised(Bits::Eight, None)),
            (WeightFormat::Int4 { group }, PreparedValues::Quantised(back)) => {
                assert_eq!(back, quantised(Bits::Four, Some(group)));
            }
            (format, back) => panic!("{format}: {back:?}"),
        }
        let operands = |bias, accumulate| PreparedOperands { rows, x: &x, weight: &matrix, bias, accumulate };
        let (mut plain, mut biased) = (device.zeros(rows * outputs).unwrap(), up(device, &self.out));
        device.linear_prepared(operands(None, false), &mut plain);
        device.linear_prepared(operands(Some(&bias), true), &mut biased);
        let mut gated = up(device, &self.out);
        device.linear_glu(
            GluOperands { activation: Activation::Swiglu, rows, x: &x, gate: &matrix, up: &matrix },
            &mut gated,
        );
        let lines: Vec<_> = (0..rows).map(|_| OnceLock::new()).collect();
        let logits = |bias, soft_cap| LogitRows {
            rows,
            hidden: &x,
            head: &matrix,
            bias,
            soft_cap,
            forbidden: None,
            evidence: None,
        };
        let read = |row: usize, line: &mut [f32]| lines[row].set(line.to_vec()).unwrap();
        device.linear_rows(logits(None, None), &read).unwrap();
        let read: Vec<f64> = lines.iter().flat_map(|line| line.get().unwrap()).map(|&v| f64::from(v)).collect();
        let capped: Vec<_> = (0..rows).map(|_| OnceLock::new()).collect();
        let read_capped = |row: usize, line: &mut [f32]| capped[row].set(line.to_vec()).unwrap();
        device.linear_rows(logits(Some(&bias), Some(1.5)), &read_capped).unwrap();
        let capped: Vec<f64> = capped.iter().flat_map(|line| line.get().unwrap()).map(|&v| f64::from(v)).collect();
        assert!(capped.iter().all(|logit| logit.abs() <= 1.5 * (1.0 + U)));
        vec![plain, biased, gated, up(device, &read), up(device, &capped)]
    }
}

/// The gradient of the input, overwritten and added to.
struct Back<'a>(&'a Prepared);

impl Operation for Back<'_> {
    fn run<D: Device>(&self, device: &D) -> Vec<D::Buffer> {
        let Prepared { shape: LinearShape { rows, inputs, outputs }, format, x, w, out, .. } = self.0;
        let (d_out, weight) = (up(device, out), device.prepare((*outputs, *inputs), &up(device, w), *format).unwrap());
        let mut results = [device.zeros(x.len()).unwrap(), up(device, x)];
        for (accumulate, d_x) in [false, true].into_iter().zip(&mut results) {
            let operands = PreparedBackwardInput { rows: *rows, d_out: &d_out, weight: &weight, accumulate };
            device.linear_prepared_backward_input(operands, d_x);
        }
        results.into()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn prepared_matrices(
        rows in 1..20_usize, groups in 1..12_usize, outputs in 1..70_usize, format in 0..5_usize, half: bool, seed: u64
    ) {
        let formats = [
            WeightFormat::F32, WeightFormat::Bf16, WeightFormat::Int8, WeightFormat::Int4 { group: 8 },
            WeightFormat::Int4 { group: 8 * groups },
        ];
        // Only one scale for each output allows of any number of inputs.
        let inputs = if format == 2 { 7 * groups } else { 8 * groups };
        let precision = if half { Precision::Bf16 } else { Precision::F32 };
        let mut numbers = Numbers(seed);
        let prepared = Prepared {
            shape: LinearShape { rows, inputs, outputs },
            format: formats[format],
            x: numbers.many(rows * inputs),
            w: numbers.many(outputs * inputs),
            bias: numbers.many(outputs),
            out: numbers.many(rows * outputs),
        };
        // Inputs are rounded to 8 bits in f32 by all, but a tie may be decided by one rounding more: one step of 127.
        let slack = if format >= 2 { 1.0 / 127.0 } else { 0.0 };
        let limit = 16.0 * (inputs as f64).sqrt().max(4.0) * U * 4.0 * inputs as f64 + slack;
        agree(&prepared, precision, Limits { cpu: |_, _| limit, gpu: Some(limit) })?;
        // A gradient is not rounded to 8 bits.
        agree(&Back(&prepared), precision, within(outputs, outputs as f64))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn integers_are_multiplied_as_specified(
        m in dimension(), n in dimension(), (k, group) in sum_and_group(), four: bool, accumulate: bool, seed: u64
    ) {
        let bits = if four { Bits::Four } else { Bits::Eight };
        let mut numbers = Numbers(seed);
        let (x, w, bias, out) = (numbers.many(m * k), numbers.many(n * k), numbers.many(n), numbers.many(m * n));
        let matrix = Quantised::of(&floats(&w), (n, k), bits, Some(group)).unwrap();
        // Sums of integers are exact; what is left are a few roundings for each group.
        let sizes: Vec<f64> = x.chunks(k).flat_map(|row| {
            let greatest = row.iter().fold(0.0_f64, |greatest, x| greatest.max(x.abs()));
            row.iter().map(move |x| x.abs() + greatest / 254.0)
        }).collect();
        let weights: Vec<f64> = matrix.dequantise().into_iter().map(|w| f64::from(w.abs())).collect();
        let exact = exact(Precision::F32);
        let mut limit = up(&exact, &magnitudes(&out));
        let shape = LinearShape { rows: m, inputs: k, outputs: n };
        let (sizes, weights, biases) = (up(&exact, &sizes), up(&exact, &weights), up(&exact, &magnitudes(&bias)));
        let operands = LinearOperands { shape, x: &sizes, weight: &weights, bias: Some(&biases), accumulate: true };
        exact.linear(operands, &mut limit);
        let cpu = |_, i: usize| (k / group + 6) as f64 * U * limit.as_slice()[i];
        let operation = Integers { shape, matrix, x, bias, out, accumulate };
        agree(&operation, Precision::F32, Limits { cpu, gpu: None })?;
    }

    #[test]
    fn real_numbers_are_multiplied_as_if_they_were_not_prepared(
        m in dimension(), n in dimension(), k in prop_oneof![1..40_usize, 1000..1100_usize], half: bool,
        accumulate: bool, seed: u64
    ) {
        let precision = if half { Precision::Bf16 } else { Precision::F32 };
        let mut numbers = Numbers(seed);
        let (x, w, bias, out) = (numbers.many(m * k), numbers.many(n * k), numbers.many(n), numbers.many(m * n));
        let shape = LinearShape { rows: m, inputs: k, outputs: n };
        for device in processors(precision) {
            let (x, w, bias) = (up(&device, &x), up(&device, &w), up(&device, &bias));
            let prepared = device.prepare((n, k), &w, device.format()).unwrap();
            let (mut expected, mut got) = (up(&device, &out), up(&device, &out));
            device.linear(LinearOperands { shape, x: &x, weight: &w, bias: Some(&bias), accumulate }, &mut expected);
            let operands = PreparedOperands { rows: m, x: &x, weight: &prepared, bias: Some(&bias), accumulate };
            device.linear_prepared(operands, &mut got);
            prop_assert_eq!(bits(&got), bits(&expected), "{}", device.describe());
            let (mut expected, mut got) = (device.zeros(m * k).unwrap(), device.zeros(m * k).unwrap());
            let d_out = up(&device, &out);
            let operands = BackwardInput { shape, d_out: &d_out, weight: &w, accumulate };
            device.linear_backward_input(operands, &mut expected);
            let operands = PreparedBackwardInput { rows: m, d_out: &d_out, weight: &prepared, accumulate };
            device.linear_prepared_backward_input(operands, &mut got);
            prop_assert_eq!(bits(&got), bits(&expected), "{}", device.describe());
        }
    }

    #[test]
    fn a_gate_is_fused_without_a_trace(m in dimension(), f in 1..300_usize, k in 1..70_usize, which in 0..4_usize, seed: u64) {
        use crate::Elementwise;
        let k = 8 * k;
        let format = [WeightFormat::F32, WeightFormat::Bf16, WeightFormat::Int8, WeightFormat::Int4 { group: 8 }][which];
        let mut numbers = Numbers(seed);
        let (x, gate, ups) = (numbers.many(m * k), numbers.many(f * k), numbers.many(f * k));
        for device in processors(Precision::F32).into_iter().chain([Cpu::<f32>::scalar()]) {
            let x = up(&device, &x);
            let prepare = |w: &[f64]| device.prepare((f, k), &up(&device, w), format).unwrap();
            let (gate, ups) = (prepare(&gate), prepare(&ups));
            let mut halves = [device.zeros(m * f).unwrap(), device.zeros(m * f).unwrap()];
            for (weight, half) in [&gate, &ups].into_iter().zip(&mut halves) {
                let operands = PreparedOperands { rows: m, x: &x, weight, bias: None, accumulate: false };
                device.linear_prepared(operands, half);
            }
            let lines = halves[0].as_slice().chunks(f).zip(halves[1].as_slice().chunks(f));
            let gate_up: Vec<f32> = lines.flat_map(|(gate, up)| [gate, up].concat()).collect();
            let (mut expected, mut got) = (device.zeros(m * f).unwrap(), device.zeros(m * f).unwrap());
            for activation in [Activation::Swiglu, Activation::Geglu] {
                device.glu(activation, f, &device.upload(&gate_up).unwrap(), &mut expected);
                let operands = GluOperands { activation, rows: m, x: &x, gate: &gate, up: &ups };
                device.linear_glu(operands, &mut got);
                prop_assert_eq!(bits(&got), bits(&expected), "{}", device.describe());
            }
        }
    }

    #[test]
    fn the_gradient_of_an_input_of_integers_is_that_of_what_they_stand_for(
        m in dimension(), n in dimension(), (k, group) in sum_and_group(), four: bool, accumulate: bool, seed: u64
    ) {
        let bits_of = if four { Bits::Four } else { Bits::Eight };
        let mut numbers = Numbers(seed);
        let (w, d_out, before) = (numbers.many(n * k), numbers.many(m * n), numbers.many(m * k));
        let matrix = Quantised::of(&floats(&w), (n, k), bits_of, Some(group)).unwrap();
        let shape = LinearShape { rows: m, inputs: k, outputs: n };
        for device in processors(Precision::F32).into_iter().chain([Cpu::<f32>::scalar()]) {
            let (values, d_out) = (device.upload(&matrix.dequantise()).unwrap(), up(&device, &d_out));
            let prepared = device.prepare_quantised(matrix.clone()).unwrap();
            let (mut expected, mut got) = (up(&device, &before), up(&device, &before));
            let operands = BackwardInput { shape, d_out: &d_out, weight: &values, accumulate };
            device.linear_backward_input(operands, &mut expected);
            let operands = PreparedBackwardInput { rows: m, d_out: &d_out, weight: &prepared, accumulate };
            device.linear_prepared_backward_input(operands, &mut got);
            prop_assert_eq!(bits(&got), bits(&expected), "{}", device.describe());
        }
    }
}

/// A product with a matrix that was quantised before.
struct Integers {
    shape: LinearShape,
    matrix: Quantised,
    x: Vec<f64>,
    bias: Vec<f64>,
    out: Vec<f64>,
    accumulate: bool,
}

impl Operation for Integers {
    fn run<D: Device>(&self, device: &D) -> Vec<D::Buffer> {
        let weight = device.prepare_quantised(self.matrix.clone()).unwrap();
        let (x, bias, mut out) = (up(device, &self.x), up(device, &self.bias), up(device, &self.out));
        let (rows, accumulate) = (self.shape.rows, self.accumulate);
        let operands = PreparedOperands { rows, x: &x, weight: &weight, bias: Some(&bias), accumulate };
        device.linear_prepared(operands, &mut out);
        vec![out]
    }
}

#[test]
fn a_row_of_zeros_or_of_almost_nothing_is_quantised_to_zeros() {
    let mut numbers = Numbers(5);
    let matrix = Quantised::of(&floats(&numbers.many(64)), (4, 16), Bits::Eight, None).unwrap();
    for device in processors(Precision::F32).into_iter().chain([Cpu::<f32>::scalar()]) {
        let prepared = device.prepare_quantised(matrix.clone()).unwrap();
        for row in [0.0, 1e-38, -1e-44] {
            let (x, mut out) = (device.upload(&[row; 16]).unwrap(), device.upload(&[9.0; 4]).unwrap());
            let operands = PreparedOperands { rows: 1, x: &x, weight: &prepared, bias: None, accumulate: false };
            device.linear_prepared(operands, &mut out);
            assert_eq!(out.as_slice(), [0.0; 4], "{}", device.describe());
        }
    }
}
