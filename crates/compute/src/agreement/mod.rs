//! Every operation on every device against the scalar path in f64, over odd shapes: each path of the CPU with one, two and
//! three threads, the emulated GPU where the shape is small enough for it, and a real one where `AQUATINT_GPU` is set.
//!
//! Tolerances are bounds of rounding, not wishes. A sum of `n` products of f32 is off by at most `n u Σ|a b|` with
//! `u = 2^-24`, whatever its order; the other operations are a few roundings and at most one such sum, so a small
//! multiple of `n u` of the magnitudes involved bounds them.

use crate::cpu::Numbers;
use crate::{Buffer, Cpu, CpuPath, Cuda, Device, Element, Memory, Precision};
use half::bf16;
use proptest::prelude::*;

pub(crate) mod attention;
mod elementwise;
mod experts;
mod logits;
mod loss;
mod memory;
mod norm;
mod optimiser;
mod prepared;
mod products;

/// Unit of rounding of f32.
const U: f64 = 1.0 / (1 << 24) as f64;

/// Something that every device does; its results are compared number by number.
trait Operation {
    fn run<D: Device>(&self, device: &D) -> Vec<D::Buffer>;
}

/// How far a result may be from the specification's: its index among the results, and that of the number.
struct Limits<C> {
    cpu: C,
    /// On a GPU; `None` where the shape is too large for an emulated one.
    gpu: Option<f64>,
}

/// One limit everywhere: `16 √n u` (the longest sum has `n` terms of random sign, and a few roundings surround it) times a
/// bound of what is summed, which each test states.
fn within(longest: usize, size: f64) -> Limits<impl Fn(usize, usize) -> f64> {
    let limit = 16.0 * (longest as f64).sqrt().max(4.0) * U * size;
    Limits { cpu: move |_, _| limit, gpu: Some(limit) }
}

/// The fast devices of the CPU: each path with one, two and three threads.
fn processors(precision: Precision) -> Vec<Cpu<f32>> {
    let paths = CpuPath::available().into_iter().filter(|&path| path != CpuPath::Scalar);
    paths
        .flat_map(|path| (1..=3).map(move |threads| Cpu::<f32>::new(path, threads).unwrap().with_precision(precision)))
        .collect()
}

/// The GPUs to be tested.
fn gpus(precision: Precision) -> Vec<Cuda> {
    Cuda::tested().into_iter().map(|device| device.with_precision(precision)).collect()
}

/// The specification, in f64.
fn exact(precision: Precision) -> Cpu<f64> {
    Cpu::<f64>::scalar().with_precision(precision)
}

/// The values as a buffer of the device.
fn up<D: Device>(device: &D, values: &[f64]) -> D::Buffer {
    let values: Vec<D::Element> = values.iter().map(|&value| D::Element::from_f64(value)).collect();
    device.upload(&values).unwrap()
}

fn down<D: Device>(device: &D, buffers: &[D::Buffer]) -> Vec<Vec<f64>> {
    buffers.iter().map(|buffer| device.download(buffer).into_iter().map(Element::to_f64).collect()).collect()
}

fn floats(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}

fn magnitudes(values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| value.abs()).collect()
}

fn bits(buffer: &Buffer<f32>) -> Vec<u32> {
    buffer.as_slice().iter().map(|value| value.to_bits()).collect()
}

/// Checks what each device makes against the specification, and the devices of one path of the CPU against each other, bit
/// by bit.
fn agree<C: Fn(usize, usize) -> f64>(
    operation: &impl Operation,
    precision: Precision,
    limits: Limits<C>,
) -> Result<(), TestCaseError> {
    let exact = exact(precision);
    let expected = down(&exact, &operation.run(&exact));
    let mut earlier: Option<(CpuPath, Vec<Vec<u32>>)> = None;
    for device in processors(precision) {
        let results = operation.run(&device);
        compare(&device.describe(), &down(&device, &results), &expected, &limits.cpu)?;
        let now: Vec<Vec<u32>> = results.iter().map(bits).collect();
        if let Some((path, before)) = &earlier
            && *path == device.path()
        {
            prop_assert!(*before == now, "{} differs from fewer threads", device.describe());
        }
        earlier = Some((device.path(), now));
    }
    let Some(limit) = limits.gpu else { return Ok(()) };
    for device in gpus(precision) {
        compare(&device.describe(), &down(&device, &operation.run(&device)), &expected, |_, _| limit)?;
    }
    Ok(())
}

/// What a GPU keeps for products in bf16 is, to the bit, what it computes in f32, rounded: off by at most 2^-9 of itself.
/// `rounded` are the results that are kept so and `derived` those that are computed of them, off by as much of the
/// largest; all others are the same to the bit.
fn stored_rounded(operation: &impl Operation, rounded: &[usize], derived: &[usize]) -> Result<(), TestCaseError> {
    for (wide, half) in gpus(Precision::F32).into_iter().zip(gpus(Precision::Bf16)) {
        let results = down(&wide, &operation.run(&wide)).into_iter().zip(down(&half, &operation.run(&half)));
        for (which, (wide, half)) in results.enumerate() {
            let largest = wide.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
            for (i, (&wide, &half)) in wide.iter().zip(&half).enumerate() {
                let nearest = bf16::from_f32(wide as f32).to_f64();
                let same = match which {
                    _ if derived.contains(&which) => (half - wide).abs() <= largest / 256.0,
                    _ if rounded.contains(&which) => half == nearest,
                    _ => half == wide,
                };
                prop_assert!(same, "result {which}[{i}] is {half} in bf16 and {wide} in f32");
            }
        }
    }
    Ok(())
}

fn compare(
    name: &str,
    got: &[Vec<f64>],
    expected: &[Vec<f64>],
    limit: impl Fn(usize, usize) -> f64,
) -> Result<(), TestCaseError> {
    prop_assert_eq!(got.len(), expected.len());
    for (which, (got, expected)) in got.iter().zip(expected).enumerate() {
        prop_assert_eq!(got.len(), expected.len());
        for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
            let (error, limit) = ((got - expected).abs(), limit(which, i));
            let same = got == expected || error <= limit;
            prop_assert!(same, "{name}: result {which}[{i}] is {got}, not {expected}: {error:e} > {limit:e}");
        }
    }
    Ok(())
}
