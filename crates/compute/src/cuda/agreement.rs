//! Every operation of the GPU against the scalar path in f64, over odd shapes: on the emulated GPU always, and on a real
//! one where `AQUATINT_GPU` is set. Operations and bounds are those of the CPU's own tests.

use super::driver::Launch;
use super::emulator::{Call, Emulator};
use super::*;
use crate::cpu::agreement::{U, attention, exact, rows, up};
use crate::cpu::{Numbers, random_visibility};
use crate::{AttentionShape, Bits, Device, Element, LinearShape, Quantised, RopeShape, Visibility, WeightFormat};
use proptest::prelude::*;

/// Memory of the emulated GPU.
const MEMORY: usize = 1 << 30;

/// The GPUs to be tested.
fn devices(precision: Precision) -> Vec<Cuda> {
    Cuda::tested().into_iter().map(|device| device.with_precision(precision)).collect()
}

fn down<D: Device>(device: &D, buffers: &[D::Buffer]) -> Vec<Vec<f64>> {
    buffers.iter().map(|buffer| device.download(buffer).into_iter().map(Element::to_f64).collect()).collect()
}

/// Compares what one operation makes on every GPU with the specification.
macro_rules! compare {
    ($precision:expr, $limit:expr, $run:expr) => {{
        let exact = exact($precision);
        let expected = down(&exact, &$run(&exact));
        for device in devices($precision) {
            let got = down(&device, &$run(&device));
            prop_assert_eq!(got.len(), expected.len());
            for (which, (got, expected)) in got.iter().zip(&expected).enumerate() {
                prop_assert_eq!(got.len(), expected.len());
                for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
                    let error = (got - expected).abs();
                    let same = got == expected || error <= $limit;
                    prop_assert!(same, "result {}[{}] is {}, not {}: off by {:e}", which, i, got, expected, error);
                }
            }
        }
        Ok::<(), TestCaseError>(())
    }};
}

/// As in the CPU's tests: `16 √n u` times a bound of what is summed.
fn limit(longest: usize, size: f64) -> f64 {
    16.0 * (longest as f64).sqrt().max(4.0) * U * size
}

fn products<D: Device>(device: &D, shape: LinearShape, numbers: [&[f64]; 4]) -> Vec<D::Buffer> {
    let [x, w, bias, gradient] = numbers.map(|values| up(device, values));
    let zeros = |len| device.zeros(len).unwrap();
    let (mut plain, mut biased) = (zeros(device.len(&gradient)), up(device, numbers[3]));
    device.linear(shape, &x, &w, None, false, &mut plain);
    device.linear(shape, &x, &w, Some(&bias), true, &mut biased);
    let (mut d_x, mut added) = (zeros(device.len(&x)), up(device, numbers[0]));
    device.linear_backward_input(shape, &gradient, &w, false, &mut d_x);
    device.linear_backward_input(shape, &gradient, &w, true, &mut added);
    let (mut d_w, mut d_bias) = (up(device, numbers[1]), zeros(shape.outputs));
    device.linear_backward_weight(shape, &gradient, &x, &mut d_w, Some(&mut d_bias));
    vec![plain, biased, d_x, added, d_w, d_bias]
}

fn prepared<D: Device>(device: &D, shape: LinearShape, format: WeightFormat, numbers: [&[f64]; 4]) -> Vec<D::Buffer> {
    let LinearShape { rows, inputs, outputs } = shape;
    let [x, w, bias, out] = numbers.map(|values| up(device, values));
    let matrix = device.prepare((outputs, inputs), &w, format).unwrap();
    assert_eq!(device.prepared_shape(&matrix), (outputs, inputs));
    let (mut plain, mut biased) = (device.zeros(rows * outputs).unwrap(), up(device, numbers[3]));
    device.linear_prepared(rows, &x, &matrix, None, false, &mut plain);
    device.linear_prepared(rows, &x, &matrix, Some(&bias), true, &mut biased);
    let mut gated = out;
    device.linear_swiglu(rows, &x, &matrix, &matrix, &mut gated);
    let lines: Vec<_> = (0..rows).map(|_| std::sync::OnceLock::new()).collect();
    let read = |row: usize, line: &mut [f32]| lines[row].set(line.to_vec()).unwrap();
    device.linear_rows(rows, &x, &matrix, &read).unwrap();
    let read: Vec<f64> = lines.iter().flat_map(|line| line.get().unwrap()).map(|&value| f64::from(value)).collect();
    vec![plain, biased, gated, up(device, &read)]
}

fn learning<D: Device>(device: &D, shape: LinearShape, numbers: [&[f64]; 2]) -> Vec<D::Buffer> {
    let [hidden, head] = numbers.map(|values| up(device, values));
    let (mut d_hidden, mut d_head) = (up(device, numbers[0]), up(device, numbers[1]));
    let square = |row: usize, line: &mut [f32]| {
        for (column, value) in line.iter_mut().enumerate() {
            *value = (*value + (row % 3) as f32) * if column % 2 == 0 { 0.5 } else { -0.25 };
        }
    };
    device.linear_learn_rows(shape, &hidden, &head, &square, (&mut d_hidden, &mut d_head));
    vec![d_hidden, d_head]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, ..ProptestConfig::default() })]

    #[test]
    fn multiplying(rows in 1..40_usize, inputs in 1..60_usize, outputs in 1..50_usize, half: bool, seed: u64) {
        let mut numbers = Numbers(seed);
        let (x, w) = (numbers.many(rows * inputs), numbers.many(outputs * inputs));
        let (bias, gradient) = (numbers.many(outputs), numbers.many(rows * outputs));
        let shape = LinearShape { rows, inputs, outputs };
        let precision = if half { Precision::Bf16 } else { Precision::F32 };
        // Rounding to bf16 is exact in both, so that the bound is that of f32.
        let longest = rows.max(inputs).max(outputs);
        compare!(precision, limit(longest, 2.0), |device: &_| products(device, shape, [&x, &w, &bias, &gradient]))?;
    }

    #[test]
    fn multiplying_by_prepared_matrices(
        rows in 1..20_usize, groups in 1..12_usize, outputs in 1..40_usize, format in 0..5_usize, seed: u64
    ) {
        let formats = [
            WeightFormat::F32, WeightFormat::Bf16, WeightFormat::Int8, WeightFormat::Int4 { group: 8 },
            WeightFormat::Int4 { group: 8 * groups },
        ];
        // Only one scale for each output allows of any number of inputs.
        let inputs = if format == 2 { 7 * groups } else { 8 * groups };
        let mut numbers = Numbers(seed);
        let (x, w) = (numbers.many(rows * inputs), numbers.many(outputs * inputs));
        let (bias, out) = (numbers.many(outputs), numbers.many(rows * outputs));
        // Inputs are rounded to 8 bits in f32 by both, but a tie may be decided by one rounding more: one step of 127.
        let slack = if format >= 2 { 1.0 / 127.0 } else { 0.0 };
        let all = [&x[..], &w, &bias, &out];
        let limit = limit(inputs, 4.0 * inputs as f64) + slack;
        compare!(Precision::F32, limit, |device: &_| {
            prepared(device, LinearShape { rows, inputs, outputs }, formats[format], all)
        })?;
    }

    #[test]
    fn attending(
        lengths in prop::collection::vec(1..70_usize, 1..3),
        half in prop_oneof![1..20_usize, Just(64_usize), Just(128)],
        key_value_heads in 1..3_usize,
        ratio in 1..3_usize,
        seed: u64,
    ) {
        let shape = AttentionShape { heads: key_value_heads * ratio, key_value_heads, head_size: 2 * half };
        let Attended { visibility, packed, gradient, asked } = Attended::random(shape, &lengths, seed);
        let (n, e) = ((visibility.len() * ratio) as f64, shape.head_size as f64);
        let limit = 8.0 * (e + n).sqrt() * e.sqrt() * (1.0 + n).sqrt() * U;
        compare!(Precision::F32, limit, |device: &_| attention::run(device, shape, &visibility, &packed, &gradient))?;
        compare!(Precision::F32, limit, |device: &_| vec![asking(device, shape, &visibility, &packed, &asked)])?;
    }

    #[test]
    fn attending_by_tiles(
        lengths in prop::collection::vec(1..110_usize, 1..3),
        half in prop_oneof![1..20_usize, Just(32_usize), Just(48), Just(64)],
        key_value_heads in 1..3_usize,
        ratio in 1..3_usize,
        seed: u64,
    ) {
        let shape = AttentionShape { heads: key_value_heads * ratio, key_value_heads, head_size: 2 * half };
        let Attended { visibility, packed, gradient, asked } = Attended::random(shape, &lengths, seed);
        // Every factor is off by at most 2^-9 of itself, and a sum of many by less: of what is compared, half a hundredth.
        let run = |device: &Cuda| attention::run(device, shape, &visibility, &packed, &gradient);
        let exact = exact(Precision::F32);
        let expected = down(&exact, &attention::run(&exact, shape, &visibility, &packed, &gradient));
        for device in devices(Precision::Bf16) {
            let got = down(&device, &run(&device));
            for (which, limit) in [(0, 0.006), (1, 0.002), (2, 0.01)] {
                let greatest = expected[which].iter().fold(1.0_f64, |greatest, x| greatest.max(x.abs()));
                for (i, (got, expected)) in got[which].iter().zip(&expected[which]).enumerate() {
                    let error = (got - expected).abs();
                    prop_assert!(error <= limit * greatest, "{which}[{i}] is {got}, not {expected}: off by {error:e}");
                }
            }
            let rows = device.download(&asking(&device, shape, &visibility, &packed, &asked));
            let columns = shape.output_columns();
            for (row, &asked) in rows.chunks_exact(columns).zip(&asked) {
                let all: Vec<f32> = got[0][asked as usize * columns..][..columns].iter().map(|&x| x as f32).collect();
                for (one, all) in row.iter().zip(&all) {
                    // A row with other neighbours goes through other tiles.
                    prop_assert!((one - all).abs() < 0.006, "{one} {all}");
                }
            }
        }
    }

    #[test]
    fn norming(rows in 1..70_usize, columns in 1..300_usize, seed: u64) {
        let mut numbers = Numbers(seed);
        let (x, gradient) = (numbers.many(rows * columns), numbers.many(rows * columns));
        let weight = numbers.many(columns);
        let limit = limit(columns + rows, 200.0);
        compare!(Precision::F32, limit, |device: &_| rows::norms(device, columns, &x, &weight, &gradient))?;
    }

    #[test]
    fn turning(rows in 1..40_usize, half in 1..40_usize, groups in 1..3_usize, ratio in 1..3_usize, seed: u64) {
        let mut numbers = Numbers(seed);
        let attention = AttentionShape { heads: groups * ratio, key_value_heads: groups, head_size: 2 * half };
        let shape = RopeShape { attention, theta: 1e4, epsilon: 1e-2 };
        let len = rows * attention.packed_columns();
        let (packed, gradient) = (numbers.many(len), numbers.many(len));
        let (query, key) = (numbers.many(2 * half), numbers.many(2 * half));
        let all = [&packed[..], &gradient, &query, &key];
        let limit = limit(rows * groups * ratio + 2 * half, 400.0);
        compare!(Precision::F32, limit, |device: &_| rows::turns(device, shape, rows, all))?;
    }

    #[test]
    fn gating(rows in 1..30_usize, width in 1..300_usize, seed: u64) {
        let mut numbers = Numbers(seed);
        let (gate_up, gradient) = (numbers.many(rows * 2 * width), numbers.many(rows * width));
        compare!(Precision::F32, limit(width, 4.0), |device: &_| rows::gates(device, width, &gate_up, &gradient))?;
    }

    #[test]
    fn modulating(rows in 1..60_usize, columns in 1..200_usize, groups in 1..4_usize, seed: u64) {
        let mut numbers = Numbers(seed);
        let (x, gradient) = (numbers.many(rows * columns), numbers.many(rows * columns));
        let modulation = numbers.many(groups * 3 * columns);
        let all = [&x[..], &modulation, &gradient];
        compare!(Precision::F32, limit(rows, 4.0), |device: &_| rows::modulations(device, columns, rows, all))?;
    }

    #[test]
    fn losing(rows in 1..150_usize, inputs in 1..40_usize, outputs in 2..300_usize, seed: u64) {
        let mut numbers = Numbers(seed);
        let (hidden, head) = (numbers.many(rows * inputs), numbers.many(outputs * inputs));
        // One row is scored against what is forbidden.
        let targets: Vec<u32> = (0..rows).map(|_| numbers.below(outputs)).collect();
        let shape = LinearShape { rows, inputs, outputs };
        let limit = limit(rows + outputs, 4.0 * inputs as f64);
        compare!(Precision::F32, limit, |device: &_| rows::losses(device, shape, [&hidden, &head], &targets))?;
        compare!(Precision::F32, limit * 4.0, |device: &_| learning(device, shape, [&hidden, &head]))?;
    }

    #[test]
    fn updating(table in 1..20_usize, columns in 1..200_usize, asked in 1..60_usize, seed: u64) {
        let mut numbers = Numbers(seed);
        let (gradient, parameter) = (numbers.many(table * columns), numbers.many(table * columns));
        let ids: Vec<u32> = (0..asked).map(|_| numbers.below(table)).collect();
        let limit = limit(table * columns, 64.0);
        compare!(Precision::F32, limit, |device: &_| rows::updates(device, [&gradient, &parameter], &ids, columns))?;
        compare!(Precision::F32, 0.0, |device: &_| vec![writing(device, &parameter, &ids, columns)])?;
    }
}

/// Rows that differ, written to places of which some are the same.
fn writing<D: Device>(device: &D, table: &[f64], ids: &[u32], columns: usize) -> D::Buffer {
    let lines: Vec<f64> = (0..ids.len() * columns).map(|i| (i / columns) as f64 + 0.5).collect();
    let mut table = up(device, table);
    device.write_rows(columns, &up(device, &lines), ids, &mut table);
    table
}

/// What attention is given, and the rows that are asked for where not all are.
struct Attended {
    visibility: Visibility,
    packed: Vec<f64>,
    gradient: Vec<f64>,
    asked: Vec<u32>,
}

impl Attended {
    fn random(shape: AttentionShape, lengths: &[usize], seed: u64) -> Self {
        let mut numbers = Numbers(seed);
        let visibility = random_visibility(lengths, &mut numbers);
        let packed = numbers.many(visibility.len() * shape.packed_columns());
        let gradient = numbers.many(visibility.len() * shape.output_columns());
        let asked = (0..visibility.len() as u32).filter(|_| numbers.below(2) == 0).collect();
        Self { visibility, packed, gradient, asked }
    }
}

fn asking<D: Device>(
    device: &D,
    shape: AttentionShape,
    visibility: &Visibility,
    packed: &[f64],
    asked: &[u32],
) -> D::Buffer {
    let mut out = device.zeros(asked.len() * shape.output_columns()).unwrap();
    device.attention_rows(shape, visibility, &up(device, packed), asked, &mut out);
    out
}

fn emulated(memory: usize) -> Option<(Arc<Emulator>, Cuda)> {
    let driver = Emulator::new(memory)?;
    Some((Arc::clone(&driver), Cuda::on(driver)))
}

#[test]
fn a_step_again_asks_for_no_more_memory() {
    let Some((driver, device)) = emulated(MEMORY) else { return };
    let visibility = Visibility::full(&[9, 5]);
    let shape = AttentionShape { heads: 2, key_value_heads: 1, head_size: 4 };
    let step = || {
        let packed = device.upload(&vec![0.5; 14 * 16]).unwrap();
        let (mut out, mut sums) = (device.zeros(14 * 8).unwrap(), device.zeros(28).unwrap());
        let mut gradient = device.uninitialised(14 * 16).unwrap();
        device.attention(shape, &visibility, &packed, &mut out, &mut sums);
        device.attention_backward(shape, &visibility, &packed, &out, &sums, &out, &mut gradient);
        device.sum_of_squares(&gradient)
    };
    let first = step();
    // A buffer that served something smaller is missed once.
    (0..4).for_each(|_| assert_eq!(step(), first));
    let held = driver.held();
    for _ in 0..100 {
        assert_eq!(step(), first);
    }
    assert_eq!(driver.held(), held);
    assert!(device.peak_bytes() >= held);
    drop(device);
    assert_eq!(driver.held(), 0);
}

#[test]
fn memory_that_is_kept_is_given_back_before_any_is_missing() {
    let Some((_, device)) = emulated(1 << 20) else { return };
    drop(device.zeros(200_000).unwrap());
    // Another size, for which there is room only without the first.
    drop(device.zeros(250_000).unwrap());
    let error = device.zeros(1 << 20).unwrap_err().to_string();
    let expected = "cuda:0 has no room for 4.0 MiB more: 1.0 MiB of its 1.0 MiB are free; `--set run.activation_memory";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn attention_runs_a_row_and_head_in_each_warp_and_nothing_of_all_pairs() {
    let Some((driver, device)) = emulated(MEMORY) else { return };
    let shape = AttentionShape { heads: 6, key_value_heads: 2, head_size: 8 };
    let visibility = Visibility::full(&[30]);
    let packed = device.zeros(30 * shape.packed_columns()).unwrap();
    let (mut out, mut sums) = (device.zeros(30 * 48).unwrap(), device.zeros(180).unwrap());
    driver.calls();
    device.attention(shape, &visibility, &packed, &mut out, &mut sums);
    let launch = Launch { blocks: (8, 6), threads: 128, shared: 4 * 8 * 4 };
    assert_eq!(driver.calls(), [Call::Launch("attention", launch)]);
}

#[test]
fn bf16_rounds_both_factors_and_multiplies_once() {
    let Some((driver, device)) = emulated(MEMORY) else { return };
    let device = device.with_precision(Precision::Bf16);
    let (x, w) = (device.upload(&[1.0; 6]).unwrap(), device.upload(&[1.0; 15]).unwrap());
    let mut out = device.zeros(10).unwrap();
    driver.calls();
    device.linear(LinearShape { rows: 2, inputs: 3, outputs: 5 }, &x, &w, None, false, &mut out);
    let names: Vec<String> = driver
        .calls()
        .iter()
        .map(|call| match call {
            Call::Launch(name, _) => (*name).to_owned(),
            Call::Multiply(blas) => format!("{:?} {}×{}×{}", blas.numbers, blas.m, blas.n, blas.k),
            Call::Read(_) => "read".to_owned(),
        })
        .collect();
    assert_eq!(names, ["round_to_bf16", "round_to_bf16", "Bf16 5×2×3"]);
    assert_eq!(device.download(&out), [3.0; 10]);
}

#[test]
fn no_gpu_is_an_error_that_says_what_is_missing() {
    if std::env::var_os("AQUATINT_GPU").is_some() {
        return;
    }
    // A machine may have one without being asked to test it.
    if let Err(error) = Cuda::new(0, None) {
        assert!(!error.to_string().is_empty());
    }
    assert_eq!(
        GpuError::OldDriver { found: 11080 }.to_string(),
        "the NVIDIA driver is too old: it serves CUDA 11.8; needed: 12.0 or newer"
    );
}

#[test]
fn a_gpu_without_bf16_is_refused() {
    let of = |capability| GpuFacts { ordinal: 0, name: "Old GPU".to_owned(), capability, memory: 1, driver: 13000 };
    let refusal = nvidia::new_enough(of((7, 5))).unwrap_err().to_string();
    assert_eq!(refusal, "Old GPU is too old: its compute capability is 7.5; needed: 8.0 (Ampere) or newer");
    assert!([(8, 0), (8, 9), (10, 0)].map(of).into_iter().all(|facts| nvidia::new_enough(facts).is_ok()));
}

#[test]
fn a_matrix_of_quantised_parts_is_the_same_as_one_quantised_here() {
    let Some((_, device)) = emulated(MEMORY) else { return };
    let values: Vec<f32> = (0..64).map(|i| (i as f32 - 20.0) / 7.0).collect();
    let matrix = Quantised::of(&values, (4, 16), Bits::Four, Some(8)).unwrap();
    let (x, w) = (device.upload(&values[..32]).unwrap(), device.upload(&values).unwrap());
    let both = [
        device.prepare_quantised(matrix).unwrap(),
        device.prepare((4, 16), &w, WeightFormat::Int4 { group: 8 }).unwrap(),
    ];
    let outs = both.map(|matrix| {
        let mut out = device.zeros(8).unwrap();
        device.linear_prepared(2, &x, &matrix, None, false, &mut out);
        device.download(&out)
    });
    assert_eq!(outs[0], outs[1]);
    assert!(outs[0].iter().any(|&value| value != 0.0));
}

#[test]
#[should_panic(expected = "`head_size` is 258; allowed on a GPU: up to 256")]
fn a_head_that_no_kernel_takes_is_refused() {
    let Some((_, device)) = emulated(MEMORY) else { panic!("`head_size` is 258; allowed on a GPU: up to 256") };
    let shape = AttentionShape { heads: 1, key_value_heads: 1, head_size: 258 };
    let packed = device.zeros(3 * 258).unwrap();
    let (mut out, mut sums) = (device.zeros(258).unwrap(), device.zeros(1).unwrap());
    device.attention(shape, &Visibility::full(&[1]), &packed, &mut out, &mut sums);
}
