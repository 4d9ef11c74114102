//! The GPU of this machine, if there is one: opening it, saying what is missing, and what it reaches at most.

use crate::Hint;
use aquatint_compute::{Cuda, DeviceError, GpuError, GraphFigures, Linear, Memory, PreparedOperands};
use std::path::Path;
use std::time::Instant;

/// Rows, inputs and outputs of the product that is timed for the peak: large enough for the largest GPUs, and with so
/// many outputs that rounding the input counts for little.
const PEAK: (usize, usize, usize) = (4096, 4096, 32768);
/// Products that are timed for it.
const PEAK_REPEATS: usize = 5;

/// The first GPU where there is one; the failure where there is one that cannot be used.
pub(super) fn if_ready(kernels: Option<&Path>, graphs: bool) -> Result<Option<Cuda>, GpuError> {
    match Cuda::gpus() {
        Err(GpuError::NoDriver) => Ok(None),
        Err(error) => Err(error),
        Ok(gpus) if gpus.is_empty() => Ok(None),
        Ok(_) => open(0, kernels, graphs).map(Some),
    }
}

/// A GPU by its number.
pub(super) fn open(ordinal: usize, kernels: Option<&Path>, graphs: bool) -> Result<Cuda, GpuError> {
    let gpu = Cuda::new(ordinal, kernels)?;
    Ok(if graphs { gpu.with_graphs() } else { gpu })
}

/// What its graphs have done, in words; `None` where it has none.
pub(super) fn describe_graphs(gpu: &Cuda) -> Option<String> {
    let figures = gpu.graph_figures()?;
    let GraphFigures { calls, replayed, replays, changed, graphs, writes, late_writes, reads, .. } = figures;
    let refusal = figures.refusal.as_ref().map_or_else(String::new, |why| format!("; no more are captured: {why}"));
    Some(format!(
        "{:.1} % of {calls} launches in {replays} replays of {graphs} graphs ({replayed} launches, {changed} of them changed \
         first); {writes} copies from the host, {late_writes} behind launches; {reads} waits{refusal}",
        100.0 * figures.share()
    ))
}

/// How many GPUs there are that a program could use.
pub fn count() -> usize {
    if Cuda::missing_libraries().is_empty() { Cuda::gpus().map_or(0, |gpus| gpus.len()) } else { 0 }
}

impl Hint for GpuError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoDriver => Some("install NVIDIA's driver, or leave out --device to use the processor".to_owned()),
            Self::OldDriver { .. } => Some("install a newer NVIDIA driver; the CUDA toolkit is not needed".to_owned()),
            Self::OldGpu { .. } => Some("leave out --device, or say --device cpu, to use the processor".to_owned()),
            Self::NoSuchGpu { count, .. } => {
                Some(format!("--device cuda:N with N below {count}, or --device cpu; `aquatint doctor` lists them"))
            }
            Self::MissingLibrary { .. } | Self::Kernels(_) => Some(LIBRARIES.to_owned()),
            Self::Failed { .. } => None,
        }
    }
}

/// Where the libraries come from.
const LIBRARIES: &str = "it is part of the CUDA toolkit and of the packages nvidia-cublas and \
    nvidia-cuda-nvrtc (pip install); put its folder into LD_LIBRARY_PATH";

/// What large products reach in 10⁹ operations a second, in the device's precision.
pub(super) fn peak(gpu: &Cuda) -> Option<f64> {
    let (rows, inputs, outputs) = PEAK;
    // A GPU that multiplies zeros gets less warm, and is faster than with anything else.
    let unlike = |count: usize| -> Vec<f32> {
        (0..count as u32).map(|i| i.wrapping_mul(0x9e37_79b9) as f32 / u32::MAX as f32 - 0.5).collect()
    };
    let time = || -> Result<f64, DeviceError> {
        let matrix = gpu.prepare((outputs, inputs), &gpu.upload(&unlike(outputs * inputs))?, gpu.format())?;
        let (x, mut out) = (gpu.upload(&unlike(rows * inputs))?, gpu.zeros(rows * outputs)?);
        let mut multiply = || {
            let operands = PreparedOperands { rows, x: &x, weight: &matrix, bias: None, accumulate: false };
            gpu.linear_prepared(operands, &mut out);
        };
        multiply();
        let wait = gpu.zeros(1)?;
        gpu.download(&wait);
        let begun = Instant::now();
        for _ in 0..PEAK_REPEATS {
            multiply();
        }
        // All work is in one order, so that this waits for it.
        gpu.download(&wait);
        Ok(begun.elapsed().as_secs_f64() / PEAK_REPEATS as f64)
    };
    time().ok().map(|seconds| 2.0 * (rows * inputs * outputs) as f64 / seconds / 1e9)
}
