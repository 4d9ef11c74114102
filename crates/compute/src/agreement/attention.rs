//! Attention and its gradient.

use super::*;
use crate::cpu::random_visibility;
use crate::{
    AttentionBackward, AttentionOperands, AttentionRows, AttentionShape, Columns, Elementwise, Rows, Visibility,
    WriteRows,
};
use std::ops::Range;

/// Rows of an emulated GPU.
const EMULATED: usize = 140;

/// Inputs of attention, and the rows to compute where not all are.
struct Attended {
    shape: AttentionShape,
    visibility: Visibility,
    packed: Vec<f64>,
    gradient: Vec<f64>,
    requested: Vec<u32>,
}

impl Attended {
    fn random(shape: AttentionShape, visibility: Visibility, numbers: &mut Numbers, one_in: usize) -> Self {
        let packed = numbers.many(visibility.len() * shape.packed_columns());
        let gradient = numbers.many(visibility.len() * shape.output_columns());
        let requested = (0..visibility.len() as u32).filter(|_| numbers.below(one_in) == 0).collect();
        Self { shape, visibility, packed, gradient, requested }
    }
}

/// Output, sums, and the gradient of the packed matrix.
impl Operation for Attended {
    fn run<D: Device>(&self, device: &D) -> Vec<D::Buffer> {
        let Self { shape, visibility, .. } = self;
        let (packed, d_out) = (up(device, &self.packed), up(device, &self.gradient));
        let visible = device.upload_visibility(visibility).unwrap();
        let mut out = device.zeros(visibility.len() * shape.output_columns()).unwrap();
        let mut log_sum_exp = device.zeros(visibility.len() * shape.heads).unwrap();
        let mut d_packed = device.uninitialised(visibility.len() * shape.packed_columns()).unwrap();
        let forward = || AttentionOperands { shape: *shape, visible: &visible, packed: &packed };
        device.attention(forward(), &mut out, &mut log_sum_exp);
        let operands = AttentionBackward { forward: forward(), out: &out, log_sum_exp: &log_sum_exp, d_out: &d_out };
        device.attention_backward(operands, &mut d_packed);
        vec![out, log_sum_exp, d_packed]
    }
}

/// All rows of the packed matrix, and the rows to compute with keys and values in a cache.
struct Requested<'a>(&'a Attended);

impl Operation for Requested<'_> {
    fn run<D: Device>(&self, device: &D) -> Vec<D::Buffer> {
        let Attended { shape, visibility, packed, requested, .. } = self.0;
        let (shape, packed) = (*shape, up(device, packed));
        let visible = device.upload_visibility(visibility).unwrap();
        let mut all = device.zeros(visibility.len() * shape.output_columns()).unwrap();
        device.attention_rows(AttentionRows::packed(shape, &visible, &packed), &mut all);

        let every: Vec<u32> = (0..visibility.len() as u32).collect();
        let (every, requested) = (device.upload_indices(&every).unwrap(), device.upload_indices(requested).unwrap());
        let columns = |first| Columns { buffer: &packed, stride: shape.packed_columns(), first };
        let mut cache = device.zeros(visibility.len() * shape.key_value_columns()).unwrap();
        let rows = columns(shape.output_columns());
        device.write_rows(WriteRows { columns: shape.key_value_columns(), rows, ids: &every }, &mut cache);
        let mut queries = device.zeros(device.count(&requested) * shape.packed_columns()).unwrap();
        device.gather(shape.packed_columns(), &packed, &requested, &mut queries);
        let mut some = device.zeros(device.count(&requested) * shape.output_columns()).unwrap();
        let operands = AttentionRows {
            shape,
            visible: &visible,
            rows: Rows::At(&requested),
            queries: Columns::all(&queries, shape.packed_columns()),
            keys_values: Columns::all(&cache, shape.key_value_columns()),
        };
        device.attention_rows(operands, &mut some);
        vec![all, some]
    }
}

/// Values are below 1 and scores below √E, so that a probability is relatively off by a few √E u plus the sums'
/// rounding; a gradient of a key is a sum over the queries of terms below 2 E.
fn limits(attended: &Attended) -> Limits<impl Fn(usize, usize) -> f64> {
    let (n, e) = (attended.visibility.len() as f64, attended.shape.head_size as f64);
    let n = n * (attended.shape.heads / attended.shape.key_value_heads) as f64;
    let gradient = 8.0 * (e + n).sqrt() * e.sqrt() * (1.0 + n).sqrt() * U;
    let cpu = move |which, _| if which < 2 { 8.0 * (e.sqrt() + n.sqrt() + 4.0) * U } else { gradient };
    Limits { cpu, gpu: (attended.visibility.len() <= EMULATED).then_some(gradient) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn attention(
        lengths in prop_oneof![
            2 => prop::collection::vec(1..150_usize, 1..4),
            1 => prop::collection::vec(1..70_usize, 1..3)
        ],
        half in prop_oneof![20 => 1..40_usize, 1 => Just(64_usize), 1 => Just(128)],
        key_value_heads in 1..3_usize,
        ratio in 1..3_usize,
        seed: u64,
    ) {
        let mut numbers = Numbers(seed);
        let shape = AttentionShape { heads: key_value_heads * ratio, key_value_heads, head_size: 2 * half };
        let visibility = random_visibility(&lengths, &mut numbers);
        let attended = Attended::random(shape, visibility, &mut numbers, 2);
        agree(&attended, Precision::F32, limits(&attended))?;
        agree(&Requested(&attended), Precision::F32, limits(&attended))?;
    }

    #[test]
    fn attention_in_bf16(
        lengths in prop::collection::vec(1..300_usize, 1..3),
        half in 1..40_usize,
        ratio in 1..3_usize,
        one_in in 1..4_usize,
        seed: u64,
    ) {
        let mut numbers = Numbers(seed);
        let shape = AttentionShape { heads: 2 * ratio, key_value_heads: 2, head_size: 2 * half };
        let visibility = random_visibility(&lengths, &mut numbers);
        let attended = Attended::random(shape, visibility, &mut numbers, one_in);
        // A weight is rounded to 8 bits beside another maximum than the specification's: off by twice 2^-9 of it.
        let greatest = attended.packed.iter().fold(0.0_f64, |greatest, x| greatest.max(x.abs()));
        agree(&Requested(&attended), Precision::Bf16, Limits { cpu: |_, _| greatest / 200.0, gpu: None })?;
        // And no row depends on which others are computed.
        for device in processors(Precision::Bf16) {
            let results = Requested(&attended).run(&device);
            let mut picked = device.zeros(results[1].len()).unwrap();
            device.gather(shape.output_columns(), &results[0], &attended.requested, &mut picked);
            prop_assert_eq!(bits(&picked), bits(&results[1]));
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
        let attended = Attended::random(shape, visibility, &mut numbers, one_in);
        for device in processors(Precision::F32).into_iter().chain([Cpu::<f32>::scalar()]) {
            let mut all = attended.run(&device).swap_remove(0);
            let got = Requested(&attended).run(&device).swap_remove(1);
            let (columns, requested) = (shape.output_columns(), &attended.requested);
            let mut expected = device.zeros(got.len()).unwrap();
            device.gather(columns, &all, requested, &mut expected);
            prop_assert_eq!(bits(&got), bits(&expected), "{}", device.describe());
            // Written back to where they came from, they change nothing.
            let before = bits(&all);
            device.write_rows(WriteRows { columns, rows: Columns::all(&got, columns), ids: requested }, &mut all);
            prop_assert_eq!(bits(&all), before);
        }
    }
}

/// What rows of sequences of these lengths see in every layout that there is, with its name; the last has both streams of
/// sequences of half the length.
pub(crate) fn layouts(lengths: &[usize]) -> Vec<(&'static str, Visibility)> {
    let of = |sees: &dyn Fn(u32, u32) -> [Range<u32>; 2]| {
        let (mut sequences, mut rows, mut start) = (Vec::new(), Vec::new(), 0);
        for &length in lengths {
            let length = length as u32;
            let placed = |range: Range<u32>| range.start + start..range.end + start;
            rows.extend((0..length).map(|row| sees(row, length).map(placed)));
            sequences.push(start..start + length);
            start += length;
        }
        Visibility::new(sequences, rows).unwrap()
    };
    let block = |row: u32, size: u32, length: u32| row / size * size..(row / size * size + size).min(length);
    let streams = |row: u32, length: u32| {
        let clean = length / 2;
        match row.checked_sub(clean) {
            None => [block(row, 20, clean), clean..clean + row / 20 * 20],
            Some(row) => [clean..clean + block(row, 20, length - clean).end, 0..0],
        }
    };
    vec![
        ("full", of(&|_, length| [0..length, 0..0])),
        ("causal", of(&|row, _| [0..row + 1, 0..0])),
        ("blocks", of(&|row, length| [0..block(row, 24, length).end, 0..0])),
        ("documents", of(&|row, length| [block(row, 75, length), 0..0])),
        ("window", of(&|row, length| [row.saturating_sub(39)..(row + 40).min(length), 0..0])),
        ("two streams", of(&streams)),
    ]
}

/// Attention by tiles on every GPU, all rows and some, against the specification. Every factor is off by at most 2^-9 of
/// itself, and a sum of many by less: of what is compared, half a hundredth.
fn agree_by_tiles(name: &str, attended: &Attended) -> Result<(), TestCaseError> {
    let exact = exact(Precision::F32);
    let expected = down(&exact, &attended.run(&exact));
    for device in gpus(Precision::Bf16) {
        let name = format!("{name}, {}", device.describe());
        let got = down(&device, &attended.run(&device));
        for (which, limit) in [(0, 0.006), (1, 0.002), (2, 0.01)] {
            let greatest = expected[which].iter().fold(1.0_f64, |greatest, x| greatest.max(x.abs()));
            let one = [got[which].clone()];
            compare(&name, &one, &[expected[which].clone()], |_, _| limit * greatest)?;
        }
        // A row with other neighbours goes through other tiles.
        let rows = down(&device, &Requested(attended).run(&device));
        let columns = attended.shape.output_columns();
        let of = |&row: &u32| got[0][row as usize * columns..][..columns].to_vec();
        let expected = [got[0].clone(), attended.requested.iter().flat_map(of).collect()];
        compare(&name, &rows, &expected, |_, _| 0.006)?;
    }
    Ok(())
}

#[test]
fn attention_by_tiles_in_every_layout() {
    for (head_size, heads, lengths) in [(64, 2, [140, 33]), (128, 1, [131, 9]), (256, 1, [70, 9])] {
        for (name, visibility) in layouts(&lengths) {
            let mut numbers = Numbers(head_size as u64);
            let shape = AttentionShape { heads, key_value_heads: 1, head_size };
            let attended = Attended::random(shape, visibility, &mut numbers, 3);
            agree_by_tiles(&format!("{name}, heads of {head_size}"), &attended).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, ..ProptestConfig::default() })]

    #[test]
    fn attention_by_tiles(
        lengths in prop::collection::vec(1..110_usize, 1..3),
        half in prop_oneof![1..20_usize, Just(32_usize), Just(48), Just(64), Just(93)],
        key_value_heads in 1..3_usize,
        ratio in 1..3_usize,
        seed: u64,
    ) {
        let mut numbers = Numbers(seed);
        let shape = AttentionShape { heads: key_value_heads * ratio, key_value_heads, head_size: 2 * half };
        let visibility = random_visibility(&lengths, &mut numbers);
        let attended = Attended::random(shape, visibility, &mut numbers, 2);
        agree_by_tiles("", &attended)?;
    }
}

#[test]
fn a_sequence_of_several_tiles() {
    let mut numbers = Numbers(11);
    let shape = AttentionShape { heads: 2, key_value_heads: 1, head_size: 32 };
    for visibility in [random_visibility(&[600, 1], &mut numbers), Visibility::full(&[513])] {
        let attended = Attended::random(shape, visibility, &mut numbers, 2);
        agree(&attended, Precision::F32, limits(&attended)).unwrap();
    }
}

#[test]
fn a_causal_row_does_not_see_what_follows() {
    let shape = AttentionShape { heads: 1, key_value_heads: 1, head_size: 64 };
    let rows = 300_u32;
    let visibility =
        Visibility::new(std::iter::once(0..rows).collect(), (0..rows).map(|row| [0..row + 1, 0..0]).collect()).unwrap();
    let mut attended = Attended::random(shape, visibility, &mut Numbers(5), 2);
    for device in processors(Precision::F32) {
        let before = attended.run(&device);
        let changed = 200 * shape.packed_columns();
        attended.packed[changed..].iter_mut().for_each(|value| *value = -*value);
        let after = attended.run(&device);
        assert_eq!(bits(&before[0])[..200 * 64], bits(&after[0])[..200 * 64]);
        assert_ne!(bits(&before[0])[200 * 64..], bits(&after[0])[200 * 64..]);
    }
}
