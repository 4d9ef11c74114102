//! Every path and any number of threads against the scalar path in f64, over odd shapes.
//!
//! Tolerances are bounds of rounding, not wishes. A sum of `n` products of f32 is off by at most `n u Σ|a b|` with
//! `u = 2^-24`, whatever its order; the other operations are a few roundings and at most one such sum, so a small
//! multiple of `n u` of the magnitudes involved bounds them.

use super::scalar::gradients::Numbers;
use super::{Buffer, Cpu, CpuPath, Precision};
use crate::{Device, LinearShape};
use proptest::prelude::*;

pub(crate) mod attention;
mod prepared;
mod products;
pub(crate) mod rows;

/// Unit of rounding of f32.
pub(crate) const U: f64 = 1.0 / (1 << 24) as f64;

/// The fast devices to be tested: each path with one, two and three threads.
fn devices(precision: Precision) -> Vec<Cpu<f32>> {
    let paths = CpuPath::available().into_iter().filter(|&path| path != CpuPath::Scalar);
    paths
        .flat_map(|path| (1..=3).map(move |threads| Cpu::<f32>::new(path, threads).unwrap().with_precision(precision)))
        .collect()
}

/// The specification, in f64.
pub(crate) fn exact(precision: Precision) -> Cpu<f64> {
    Cpu::<f64>::scalar().with_precision(precision)
}

/// The values as a buffer of the device.
pub(crate) fn up<D: Device>(device: &D, values: &[f64]) -> D::Buffer {
    use crate::Element;
    let values: Vec<D::Element> = values.iter().map(|&value| D::Element::from_f64(value)).collect();
    device.upload(&values).unwrap()
}

fn bits(buffer: &Buffer<f32>) -> Vec<u32> {
    buffer.as_slice().iter().map(|value| value.to_bits()).collect()
}

/// Checks what each device makes against `expected`, element by element within `tolerance`, and the devices of one
/// path against each other, bit by bit.
fn agree(
    devices: &[Cpu<f32>],
    expected: &[&[f64]],
    tolerance: impl Fn(usize, usize) -> f64,
    run: impl Fn(&Cpu<f32>) -> Vec<Buffer<f32>>,
) -> Result<(), TestCaseError> {
    let mut earlier: Option<(CpuPath, Vec<Vec<u32>>)> = None;
    for device in devices {
        let results = run(device);
        prop_assert_eq!(results.len(), expected.len());
        for (which, (got, expected)) in results.iter().zip(expected).enumerate() {
            prop_assert_eq!(got.as_slice().len(), expected.len());
            for (i, (&got, &expected)) in got.as_slice().iter().zip(*expected).enumerate() {
                let (error, limit) = ((f64::from(got) - expected).abs(), tolerance(which, i));
                let name = device.describe();
                prop_assert!(
                    error <= limit,
                    "{name}: result {which}[{i}] is {got}, not {expected}: {error:e} > {limit:e}"
                );
            }
        }
        let now: Vec<Vec<u32>> = results.iter().map(bits).collect();
        if let Some((path, before)) = &earlier
            && *path == device.path()
        {
            prop_assert!(*before == now, "{} differs from fewer threads", device.describe());
        }
        earlier = Some((device.path(), now));
    }
    Ok(())
}
