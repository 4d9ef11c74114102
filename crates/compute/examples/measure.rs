//! Measures the operations of the CPU device at the shapes of training, with so many threads, on a path, in a
//! precision.
//!
//! Run with: `cargo run --release -p aquatint-compute --example measure -- 2`.
#![expect(clippy::print_stdout, reason = "an example prints what it measures")]

use aquatint_compute::{AdamW, AttentionShape, Cpu, CpuPath, Device, LinearShape, Precision, RopeShape, Visibility};
use std::error::Error;
use std::time::Instant;

/// Best and median seconds of several runs.
fn time(mut run: impl FnMut()) -> (f64, f64) {
    run();
    let mut seconds: Vec<f64> = (0..7)
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
    println!();
    attention(&device)?;
    cross_entropy(&device)?;
    rows(&device)?;
    Ok(())
}

/// Prints a line: what was done, its milliseconds, and how much of something it did in a second.
fn report(label: &str, amount: f64, unit: &str, (best, median): (f64, f64)) {
    let (rate, usual) = (amount * 1e-9 / best, amount * 1e-9 / median);
    println!("{label:<58} {:8.2} ms ({:8.2})  {rate:6.1} {unit} ({usual:.1})", best * 1e3, median * 1e3);
}

/// Attention within sequences, every row seeing its whole sequence.
fn attention(device: &Cpu<f32>) -> Result<(), Box<dyn Error>> {
    for (sequences, length, heads) in [(32, 256, 4), (8, 256, 8), (1, 2048, 8)] {
        let shape = AttentionShape { heads, key_value_heads: heads, head_size: 64 };
        let visibility = Visibility::full(&vec![length; sequences]);
        let rows = sequences * length;
        let packed = device.upload(&numbers(rows * shape.packed_columns()))?;
        let d_out = device.upload(&numbers(rows * shape.output_columns()))?;
        let (mut out, mut sums) = (device.zeros(rows * shape.output_columns())?, device.zeros(rows * heads)?);
        let mut d_packed = device.zeros(rows * shape.packed_columns())?;
        let product = 2.0 * (rows * length * heads * 64) as f64;
        let label = format!("attention, {sequences} x {length} rows, {heads} heads of 64");
        let seconds = time(|| device.attention(shape, &visibility, &packed, &mut out, &mut sums));
        report(&label, 2.0 * product, "GFLOP/s", seconds);
        let seconds =
            time(|| device.attention_backward(shape, &visibility, &packed, &out, &sums, &d_out, &mut d_packed));
        report(&format!("{label}, backward"), 5.0 * product, "GFLOP/s", seconds);
    }
    Ok(())
}

/// Loss and gradients of the head.
fn cross_entropy(device: &Cpu<f32>) -> Result<(), Box<dyn Error>> {
    for (rows, inputs, outputs) in [(4096, 256, 4096), (1024, 512, 8192)] {
        let shape = LinearShape { rows, inputs, outputs };
        let (hidden, head) = (device.upload(&numbers(rows * inputs))?, device.upload(&numbers(outputs * inputs))?);
        let (mut d_hidden, mut d_head) = (device.zeros(rows * inputs)?, device.zeros(outputs * inputs)?);
        let targets: Vec<u32> = (0..rows).map(|row| (row * 31 % outputs) as u32).collect();
        let weights = vec![1.0 / rows as f64; rows];
        let mut failure = None;
        let seconds = time(|| {
            let gradients = Some((&mut d_hidden, &mut d_head));
            failure = device.linear_cross_entropy(shape, &hidden, &head, &targets, &weights, None, gradients).err();
        });
        if let Some(error) = failure {
            return Err(error.into());
        }
        let label = format!("cross-entropy and gradients, {rows} x {inputs} x {outputs}");
        report(&label, 6.0 * (rows * inputs * outputs) as f64, "GFLOP/s", seconds);
    }
    Ok(())
}

/// The operations that the memory limits, by the bytes that they must read and write.
fn rows(device: &Cpu<f32>) -> Result<(), Box<dyn Error>> {
    let (rows, width) = (8192, 256);
    let (x, d_out) = (device.upload(&numbers(rows * width))?, device.upload(&numbers(rows * width))?);
    let weight = device.upload(&vec![1.0; width])?;
    let (mut out, mut kept) = (device.zeros(rows * width)?, device.zeros(rows)?);
    let bytes = (4 * rows * width) as f64;
    let seconds = time(|| device.rms_norm(width, 1e-6, &x, Some(&weight), &mut out, &mut kept));
    report("RMS norm, 8192 x 256", 2.0 * bytes, "GB/s", seconds);
    let (mut d_x, mut d_weight) = (device.zeros(rows * width)?, device.zeros(width)?);
    let seconds = time(|| {
        device.rms_norm_backward(width, &x, Some(&weight), &kept, &d_out, false, &mut d_x, Some(&mut d_weight));
    });
    report("RMS norm, 8192 x 256, backward", 3.0 * bytes, "GB/s", seconds);

    let heads = AttentionShape { heads: 4, key_value_heads: 4, head_size: 64 };
    let shape = RopeShape { attention: heads, theta: 10_000.0, epsilon: 1e-6 };
    let positions: Vec<u32> = (0..rows as u32).map(|row| row % 256).collect();
    let packed = device.upload(&numbers(rows * heads.packed_columns()))?;
    let norm = device.upload(&[1.0; 64])?;
    let mut turned = device.zeros(rows * heads.packed_columns())?;
    let bytes = (4 * rows * heads.packed_columns()) as f64;
    let seconds = time(|| device.rope(shape, &positions, &packed, Some((&norm, &norm)), &mut turned));
    report("head norm and rotation, 8192 x 768", 2.0 * bytes, "GB/s", seconds);
    let (mut d_packed, mut d_query, mut d_key) =
        (device.zeros(rows * heads.packed_columns())?, device.zeros(64)?, device.zeros(64)?);
    let seconds = time(|| {
        let (norms, d_norms) = (Some((&norm, &norm)), Some((&mut d_query, &mut d_key)));
        device.rope_backward(shape, &positions, &packed, norms, &turned, &mut d_packed, d_norms);
    });
    report("head norm and rotation, 8192 x 768, backward", 3.0 * bytes, "GB/s", seconds);

    let forward = 704;
    let gate_up = device.upload(&numbers(rows * 2 * forward))?;
    let (mut gated, mut d_gate_up) = (device.zeros(rows * forward)?, device.zeros(rows * 2 * forward)?);
    let bytes = (4 * rows * forward) as f64;
    let seconds = time(|| device.swiglu(forward, &gate_up, &mut gated));
    report("SwiGLU, 8192 x 704", 3.0 * bytes, "GB/s", seconds);
    let seconds = time(|| device.swiglu_backward(forward, &gate_up, &gated, &mut d_gate_up));
    report("SwiGLU, 8192 x 704, backward", 5.0 * bytes, "GB/s", seconds);

    let parameters = 8 << 20;
    let gradient = device.upload(&numbers(parameters))?;
    let (mut first, mut second) = (device.zeros(parameters)?, device.zeros(parameters)?);
    let mut parameter = device.upload(&numbers(parameters))?;
    let step = AdamW { learning_rate: 1e-3, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weight_decay: 0.1, step: 3 };
    let seconds = time(|| device.adamw(step, 1.0, &gradient, &mut first, &mut second, &mut parameter));
    report("AdamW, 8 Mi parameters", 7.0 * (4 * parameters) as f64, "GB/s", seconds);
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
