//! Measures the operations of the CPU device at the shapes of training, with so many threads, on a path, in a
//! precision.
//!
//! Run with: `cargo run --release -p aquatint-compute --example measure -- 2`.
#![expect(clippy::print_stdout, reason = "an example prints what it measures")]

use aquatint_compute::{Cpu, CpuPath, Device, LinearShape, Precision};
use std::error::Error;
use std::time::Instant;

/// Best and median seconds of several runs.
fn time(mut run: impl FnMut()) -> (f64, f64) {
    run();
    let mut seconds: Vec<f64> = (0..9)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    (seconds[0], seconds[seconds.len() / 2])
}

/// Numbers in (−1, 1) from a fixed seed.
fn numbers(len: usize) -> Vec<f32> {
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let threads = arguments.first().map_or(Ok(2), |text| text.parse())?;
    let path = arguments.get(1).map_or(Ok(CpuPath::best()), |text| text.parse())?;
    let precision: Precision = arguments.get(2).map_or(Ok(Precision::F32), |text| text.parse())?;
    let device = Cpu::<f32>::new(path, threads)?.with_precision(precision);
    println!("{}", device.describe());
    products(&device)?;
    Ok(())
}

fn products(device: &Cpu<f32>) -> Result<(), Box<dyn Error>> {
    println!(
        "{:>22} {:>16} {:>16} {:>16}   GFLOP/s, best (median)",
        "rows x inputs x outputs", "x wT", "dy w", "dyT x"
    );
    let shapes = [
        (2048, 512, 1536),
        (2048, 512, 512),
        (2048, 512, 2816),
        (2048, 1408, 512),
        (8192, 256, 768),
        (8192, 256, 256),
        (8192, 256, 1408),
        (8192, 704, 256),
        (128, 512, 1536),
        (256, 256, 256),
        (512, 512, 512),
        (1024, 1024, 1024),
    ];
    for (rows, inputs, outputs) in shapes {
        let shape = LinearShape { rows, inputs, outputs };
        let (x, w) = (device.upload(&numbers(rows * inputs))?, device.upload(&numbers(outputs * inputs))?);
        let d_out = device.upload(&numbers(rows * outputs))?;
        let (mut out, mut d_x) = (device.zeros(rows * outputs)?, device.zeros(rows * inputs)?);
        let mut d_w = device.zeros(outputs * inputs)?;
        let operations = 2.0 * (rows * inputs * outputs) as f64 * 1e-9;
        let rates = [
            time(|| device.linear(shape, &x, &w, None, false, &mut out)),
            time(|| device.linear_backward_input(shape, &d_out, &w, false, &mut d_x)),
            time(|| device.linear_backward_weight(shape, &d_out, &x, &mut d_w, None)),
        ]
        .map(|(best, median)| format!("{:.0} ({:.0})", operations / best, operations / median));
        let label = format!("{rows} x {inputs} x {outputs}");
        println!("{label:>22} {:>16} {:>16} {:>16}", rates[0], rates[1], rates[2]);
    }
    Ok(())
}
