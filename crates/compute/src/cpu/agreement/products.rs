//! The three products.

use super::*;

/// A dimension around the edges of tiles, panels and blocks.
fn dimension() -> impl Strategy<Value = usize> {
    prop_oneof![1..20_usize, 60..70_usize, 90..100_usize, 120..140_usize]
}

/// The length of a sum, sometimes of more than one block of bf16 pairs.
fn summed() -> impl Strategy<Value = usize> {
    prop_oneof![1..20_usize, 500..530_usize, 1020..1100_usize]
}

fn magnitudes(values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| value.abs()).collect()
}

/// Runs one of the products on a device: `which` is 0 for the forward product, 1 for the input's gradient, 2 for the
/// weight's.
fn run<D: Device>(
    device: &D,
    which: usize,
    shape: LinearShape,
    [a, b, bias, out]: [&[f64]; 4],
    add: bool,
) -> D::Buffer {
    let (a, b, bias, mut out) = (up(device, a), up(device, b), up(device, bias), up(device, out));
    match which {
        0 => device.linear(shape, &a, &b, Some(&bias), add, &mut out),
        1 => device.linear_backward_input(shape, &a, &b, add, &mut out),
        _ => device.linear_backward_weight(shape, &a, &b, &mut out, None),
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn products(m in dimension(), n in dimension(), k in summed(), which in 0..3_usize, add: bool, half: bool, seed: u64) {
        let precision = if half { Precision::Bf16 } else { Precision::F32 };
        let shape = match which {
            0 => LinearShape { rows: m, outputs: n, inputs: k },
            1 => LinearShape { rows: m, outputs: k, inputs: n },
            _ => LinearShape { rows: k, outputs: m, inputs: n },
        };
        let mut numbers = Numbers(seed);
        let (a, b, bias, out) = (numbers.many(m * k), numbers.many(n * k), numbers.many(n), numbers.many(m * n));
        let exact = exact(precision);
        let expected = run(&exact, which, shape, [&a, &b, &bias, &out], add);
        // The same product of magnitudes is Σ|a b| + |bias| + |out|.
        let sizes = [magnitudes(&a), magnitudes(&b), magnitudes(&bias), magnitudes(&out)];
        let limit = run(&exact, which, shape, [&sizes[0], &sizes[1], &sizes[2], &sizes[3]], true);
        let tolerance = |_, i: usize| (k + 4) as f64 * U * limit.as_slice()[i];
        agree(&devices(precision), &[expected.as_slice()], tolerance, |device| {
            vec![run(device, which, shape, [&a, &b, &bias, &out], add)]
        })?;
    }
}

#[test]
fn a_sum_of_nothing_is_zero_or_what_was_there() {
    for device in devices(Precision::F32) {
        let shape = LinearShape { rows: 2, inputs: 0, outputs: 3 };
        let nothing = device.zeros(0).unwrap();
        let mut out = device.upload(&[5.0; 6]).unwrap();
        device.linear(shape, &nothing, &nothing, None, true, &mut out);
        assert_eq!(out.as_slice(), [5.0; 6]);
        device.linear(shape, &nothing, &nothing, None, false, &mut out);
        assert_eq!(out.as_slice(), [0.0; 6]);
        let shape = LinearShape { rows: 0, inputs: 2, outputs: 3 };
        let w = device.zeros(6).unwrap();
        device.linear(shape, &nothing, &w, None, false, &mut device.zeros(0).unwrap());
    }
}

#[test]
fn a_product_that_passes_more_than_once_is_exact_on_integers() {
    // Long enough that the right factor is packed in several parts.
    let (m, n, k) = (8, 700, 9000);
    let mut numbers = Numbers(3);
    let mut small = |len: usize| (0..len).map(|_| f64::from(numbers.below(5)) - 2.0).collect::<Vec<f64>>();
    let (a, b, out) = (small(m * k), small(n * k), vec![0.0; m * n]);
    let shape = LinearShape { rows: k, outputs: m, inputs: n };
    for precision in [Precision::F32, Precision::Bf16] {
        let expected = run(&exact(precision), 2, shape, [&a, &b, &[], &out], true);
        agree(
            &devices(precision),
            &[expected.as_slice()],
            |_, _| 0.0,
            |device| vec![run(device, 2, shape, [&a, &b, &[], &out], true)],
        )
        .unwrap();
    }
}
