//! Products with prepared matrices.

use super::*;
use crate::{Bits, Quantised, WeightFormat};

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

fn floats(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn integers_are_multiplied_as_specified(
        m in dimension(), n in dimension(), (k, group) in sum_and_group(), four: bool, add: bool, seed: u64
    ) {
        let bits = if four { Bits::Four } else { Bits::Eight };
        let mut numbers = Numbers(seed);
        let (x, w, bias, out) = (numbers.many(m * k), numbers.many(n * k), numbers.many(n), numbers.many(m * n));
        // What the devices see is f32; the specification is to see no other row.
        let x: Vec<f64> = floats(&x).into_iter().map(f64::from).collect();
        let matrix = Quantised::of(&floats(&w), (n, k), bits, Some(group)).unwrap();
        let exact = exact(Precision::F32);
        let mut expected = up(&exact, &out);
        let prepared = exact.prepare_quantised(matrix.clone()).unwrap();
        exact.linear_prepared(m, &up(&exact, &x), &prepared, Some(&up(&exact, &bias)), add, &mut expected);
        // Sums of integers are exact; what is left are a few roundings for each group.
        let sizes: Vec<f64> = x.chunks(k).flat_map(|row| {
            let greatest = row.iter().fold(0.0_f64, |greatest, x| greatest.max(x.abs()));
            row.iter().map(move |x| x.abs() + greatest / 254.0)
        }).collect();
        let weights: Vec<f64> = matrix.dequantise().into_iter().map(|w| f64::from(w.abs())).collect();
        let magnitude = |values: &[f64]| values.iter().map(|value| value.abs()).collect::<Vec<_>>();
        let mut limit = up(&exact, &magnitude(&out));
        let shape = LinearShape { rows: m, inputs: k, outputs: n };
        let (sizes, weights, biases) = (up(&exact, &sizes), up(&exact, &weights), up(&exact, &magnitude(&bias)));
        exact.linear(shape, &sizes, &weights, Some(&biases), true, &mut limit);
        let tolerance = |_, i: usize| (k / group + 6) as f64 * U * limit.as_slice()[i];
        agree(&devices(Precision::F32), &[expected.as_slice()], tolerance, |device| {
            let prepared = device.prepare_quantised(matrix.clone()).unwrap();
            let mut out = up(device, &out);
            device.linear_prepared(m, &up(device, &x), &prepared, Some(&up(device, &bias)), add, &mut out);
            vec![out]
        })?;
    }

    #[test]
    fn real_numbers_are_multiplied_as_if_they_were_not_prepared(
        m in dimension(), n in dimension(), k in prop_oneof![1..40_usize, 1000..1100_usize], half: bool, add: bool, seed: u64
    ) {
        let precision = if half { Precision::Bf16 } else { Precision::F32 };
        let mut numbers = Numbers(seed);
        let (x, w, bias, out) = (numbers.many(m * k), numbers.many(n * k), numbers.many(n), numbers.many(m * n));
        for device in devices(precision) {
            let (x, w, bias) = (up(&device, &x), up(&device, &w), up(&device, &bias));
            let (mut expected, mut got) = (up(&device, &out), up(&device, &out));
            device.linear(LinearShape { rows: m, inputs: k, outputs: n }, &x, &w, Some(&bias), add, &mut expected);
            let prepared = device.prepare((n, k), &w, device.format()).unwrap();
            device.linear_prepared(m, &x, &prepared, Some(&bias), add, &mut got);
            prop_assert_eq!(bits(&got), bits(&expected), "{}", device.describe());
        }
    }

    #[test]
    fn a_gate_is_fused_without_a_trace(m in dimension(), f in 1..300_usize, k in 1..70_usize, which in 0..4_usize, seed: u64) {
        let k = 8 * k;
        let format = [WeightFormat::F32, WeightFormat::Bf16, WeightFormat::Int8, WeightFormat::Int4 { group: 8 }][which];
        let mut numbers = Numbers(seed);
        let (x, gate, ups) = (numbers.many(m * k), numbers.many(f * k), numbers.many(f * k));
        for device in devices(Precision::F32).into_iter().chain([Cpu::<f32>::scalar()]) {
            let x = up(&device, &x);
            let prepare = |w: &[f64]| device.prepare((f, k), &up(&device, w), format).unwrap();
            let (gate, ups) = (prepare(&gate), prepare(&ups));
            let mut halves = [device.zeros(m * f).unwrap(), device.zeros(m * f).unwrap()];
            for (weight, half) in [&gate, &ups].into_iter().zip(&mut halves) {
                device.linear_prepared(m, &x, weight, None, false, half);
            }
            let lines = halves[0].as_slice().chunks(f).zip(halves[1].as_slice().chunks(f));
            let gate_up: Vec<f32> = lines.flat_map(|(gate, up)| [gate, up].concat()).collect();
            let (mut expected, mut got) = (device.zeros(m * f).unwrap(), device.zeros(m * f).unwrap());
            device.swiglu(f, &device.upload(&gate_up).unwrap(), &mut expected);
            device.linear_swiglu(m, &x, &gate, &ups, &mut got);
            prop_assert_eq!(bits(&got), bits(&expected), "{}", device.describe());
        }
    }
}

#[test]
fn a_row_of_zeros_or_of_almost_nothing_is_quantised_to_zeros() {
    let mut numbers = Numbers(5);
    let matrix = Quantised::of(&floats(&numbers.many(64)), (4, 16), Bits::Eight, None).unwrap();
    for device in devices(Precision::F32).into_iter().chain([Cpu::<f32>::scalar()]) {
        let prepared = device.prepare_quantised(matrix.clone()).unwrap();
        for row in [0.0, 1e-38, -1e-44] {
            let mut out = device.upload(&[9.0; 4]).unwrap();
            device.linear_prepared(1, &device.upload(&[row; 16]).unwrap(), &prepared, None, false, &mut out);
            assert_eq!(out.as_slice(), [0.0; 4], "{}", device.describe());
        }
    }
}
