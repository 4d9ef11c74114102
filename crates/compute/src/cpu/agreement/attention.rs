//! Attention and its gradient.

use super::super::scalar::gradients::random_visibility;
use super::*;
use crate::{AttentionShape, Visibility};

/// Output, sums, and the gradient of the packed matrix.
pub(crate) fn run<D: Device>(
    device: &D,
    shape: AttentionShape,
    visibility: &Visibility,
    packed: &[f64],
    gradient: &[f64],
) -> Vec<D::Buffer> {
    let (packed, gradient) = (up(device, packed), up(device, gradient));
    let mut out = device.zeros(visibility.len() * shape.output_columns()).unwrap();
    let mut log_sum_exp = device.zeros(visibility.len() * shape.heads).unwrap();
    let mut d_packed = device.uninitialised(visibility.len() * shape.packed_columns()).unwrap();
    device.attention(shape, visibility, &packed, &mut out, &mut log_sum_exp);
    device.attention_backward(shape, visibility, &packed, &out, &log_sum_exp, &gradient, &mut d_packed);
    vec![out, log_sum_exp, d_packed]
}

fn compare(shape: AttentionShape, visibility: &Visibility, numbers: &mut Numbers) -> Result<(), TestCaseError> {
    let packed = numbers.many(visibility.len() * shape.packed_columns());
    let gradient = numbers.many(visibility.len() * shape.output_columns());
    let expected = run(&exact(Precision::F32), shape, visibility, &packed, &gradient);
    // Values are below 1 and scores below √E, so that a probability is relatively off by a few √E u plus the sums'
    // rounding; a gradient of a key is a sum over the queries of terms below 2 E.
    let (n, e) = (visibility.len() as f64, shape.head_size as f64);
    let per_group = (shape.heads / shape.key_value_heads) as f64;
    let tolerance = |which, _| match which {
        0 | 1 => 8.0 * (e.sqrt() + n.sqrt() + 4.0) * U,
        _ => 8.0 * (e + n * per_group).sqrt() * e.sqrt() * (1.0 + n * per_group).sqrt() * U,
    };
    let expected: Vec<&[f64]> = expected.iter().map(Buffer::as_slice).collect();
    agree(&devices(Precision::F32), &expected, tolerance, |device| run(device, shape, visibility, &packed, &gradient))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn attending(
        lengths in prop::collection::vec(1..150_usize, 1..4),
        half in 1..40_usize,
        key_value_heads in 1..3_usize,
        ratio in 1..3_usize,
        seed: u64,
    ) {
        let mut numbers = Numbers(seed);
        let shape = AttentionShape { heads: key_value_heads * ratio, key_value_heads, head_size: 2 * half };
        let visibility = random_visibility(&lengths, &mut numbers);
        compare(shape, &visibility, &mut numbers)?;
    }

    #[test]
    fn attending_in_bf16(
        lengths in prop::collection::vec(1..300_usize, 1..3),
        half in 1..40_usize,
        ratio in 1..3_usize,
        one_in in 1..4_usize,
        seed: u64,
    ) {
        let mut numbers = Numbers(seed);
        let shape = AttentionShape { heads: 2 * ratio, key_value_heads: 2, head_size: 2 * half };
        let visibility = random_visibility(&lengths, &mut numbers);
        let packed = numbers.many(visibility.len() * shape.packed_columns());
        let queries: Vec<u32> = (0..visibility.len() as u32).filter(|_| numbers.below(one_in) == 0).collect();
        let run = |device: &Cpu<f32>, packed: &Buffer<f32>, queries: &[u32]| {
            let mut out = device.zeros(queries.len() * shape.output_columns()).unwrap();
            device.attention_rows(shape, &visibility, packed, queries, &mut out);
            out
        };
        let exact = exact(Precision::Bf16);
        let mut expected = exact.zeros(queries.len() * shape.output_columns()).unwrap();
        exact.attention_rows(shape, &visibility, &up(&exact, &packed), &queries, &mut expected);
        // A weight is rounded to 8 bits beside another maximum than the specification's: off by twice 2^-9 of it.
        let greatest = packed.iter().fold(0.0_f64, |greatest, x| greatest.max(x.abs()));
        let tolerance = |_, _| greatest / 200.0;
        agree(&devices(Precision::Bf16), &[expected.as_slice()], tolerance, |device| {
            vec![run(device, &up(device, &packed), &queries)]
        })?;
        // And no row depends on which others are asked for.
        for device in devices(Precision::Bf16) {
            let packed = up(&device, &packed);
            let all = run(&device, &packed, &(0..visibility.len() as u32).collect::<Vec<u32>>());
            let mut picked = device.zeros(queries.len() * shape.output_columns()).unwrap();
            device.gather(shape.output_columns(), &all, &queries, &mut picked);
            prop_assert_eq!(bits(&picked), bits(&run(&device, &packed, &queries)));
        }
    }

    #[test]
    fn some_rows_are_what_they_are_among_all(
        lengths in prop::collection::vec(1..400_usize, 1..3),
        half in 1..40_usize,
        ratio in 1..3_usize,
        one_in in 1..20_usize,
        seed: u64,
    ) {
        let mut numbers = Numbers(seed);
        let shape = AttentionShape { heads: 2 * ratio, key_value_heads: 2, head_size: 2 * half };
        let visibility = random_visibility(&lengths, &mut numbers);
        let packed = numbers.many(visibility.len() * shape.packed_columns());
        let queries: Vec<u32> = (0..visibility.len() as u32).filter(|_| numbers.below(one_in) == 0).collect();
        for device in devices(Precision::F32).into_iter().chain([Cpu::<f32>::scalar()]) {
            let packed = up(&device, &packed);
            let columns = shape.output_columns();
            let mut all = device.zeros(visibility.len() * columns).unwrap();
            let mut sums = device.zeros(visibility.len() * shape.heads).unwrap();
            device.attention(shape, &visibility, &packed, &mut all, &mut sums);
            let (mut expected, mut got) =
                (device.zeros(queries.len() * columns).unwrap(), device.zeros(queries.len() * columns).unwrap());
            device.gather(columns, &all, &queries, &mut expected);
            device.attention_rows(shape, &visibility, &packed, &queries, &mut got);
            prop_assert_eq!(bits(&got), bits(&expected), "{}", device.describe());
            // Written back to where they came from, they change nothing.
            let before = bits(&all);
            device.write_rows(columns, &got, &queries, &mut all);
            prop_assert_eq!(bits(&all), before);
        }
    }
}

#[test]
fn a_sequence_of_several_tiles() {
    let mut numbers = Numbers(11);
    let shape = AttentionShape { heads: 2, key_value_heads: 1, head_size: 32 };
    let visibility = random_visibility(&[600, 1], &mut numbers);
    compare(shape, &visibility, &mut numbers).unwrap();
    compare(shape, &Visibility::full(&[513]), &mut numbers).unwrap();
}

#[test]
fn a_causal_row_does_not_see_what_follows() {
    let shape = AttentionShape { heads: 1, key_value_heads: 1, head_size: 64 };
    let rows = 300_u32;
    let visibility =
        Visibility::new(std::iter::once(0..rows).collect(), (0..rows).map(|row| [0..row + 1, 0..0]).collect()).unwrap();
    let mut packed = Numbers(5).many(rows as usize * shape.packed_columns());
    let gradient = Numbers(6).many(rows as usize * 64);
    for device in devices(Precision::F32) {
        let before = run(&device, shape, &visibility, &packed, &gradient);
        let changed = 200 * shape.packed_columns();
        packed[changed..].iter_mut().for_each(|value| *value = -*value);
        let after = run(&device, shape, &visibility, &packed, &gradient);
        assert_eq!(bits(&before[0])[..200 * 64], bits(&after[0])[..200 * 64]);
        assert_ne!(bits(&before[0])[200 * 64..], bits(&after[0])[200 * 64..]);
    }
}
