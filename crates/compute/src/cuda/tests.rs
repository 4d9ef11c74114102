//! Calls of the driver: memory, launches and products, and what is refused.

use super::arguments::{Argument, Typed};
use super::driver::Launch;
use super::emulator::{Call, Emulator};
use super::*;
use crate::cpu::Numbers;
use crate::{
    Activation, AdamW, AdamWState, Attention, AttentionBackward, AttentionOperands, AttentionShape, Bits, Elementwise,
    Gradients, Linear, LinearOperands, LinearShape, LogitHead, Memory, Norm, Optimiser, Parameters, PreparedOperands,
    Quantised, RmsNorm, RopeShape, Tape, Targets, Visibility, WeightFormat, WeightId,
};
use std::ops::Range;

/// Memory of the emulated GPU.
const MEMORY: usize = 1 << 30;

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
        let visible = device.upload_visibility(&visibility).unwrap();
        let (mut out, mut sums) = (device.zeros(14 * 8).unwrap(), device.zeros(28).unwrap());
        let mut gradient = device.uninitialised(14 * 16).unwrap();
        let forward = || AttentionOperands { shape, visible: &visible, packed: &packed };
        device.attention(forward(), &mut out, &mut sums);
        let operands = AttentionBackward { forward: forward(), out: &out, log_sum_exp: &sums, d_out: &out };
        device.attention_backward(operands, &mut gradient);
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
fn unused_memory_is_given_back_before_any_is_missing() {
    let Some((_, device)) = emulated(1 << 20) else { return };
    drop(device.zeros(200_000).unwrap());
    // Another size, for which there is room only without the first.
    drop(device.zeros(250_000).unwrap());
    let error = device.zeros(1 << 20).unwrap_err().to_string();
    assert_eq!(error, "cuda:0 has no room for 4.0 MiB more: 1.0 MiB of its 1.0 MiB are free");
}

#[test]
fn attention_runs_a_row_and_head_in_each_warp_and_nothing_of_all_pairs() {
    let Some((driver, device)) = emulated(MEMORY) else { return };
    let shape = AttentionShape { heads: 6, key_value_heads: 2, head_size: 8 };
    let visibility = Visibility::full(&[30]);
    let packed = device.zeros(30 * shape.packed_columns()).unwrap();
    let (mut out, mut sums) = (device.zeros(30 * 48).unwrap(), device.zeros(180).unwrap());
    let visible = device.upload_visibility(&visibility).unwrap();
    driver.calls();
    device.attention(AttentionOperands { shape, visible: &visible, packed: &packed }, &mut out, &mut sums);
    let launch = Launch { blocks: (8, 6), threads: 128, shared: 4 * 8 * 4 };
    assert_eq!(driver.calls(), [Call::Launch("attention", launch)]);
}

#[test]
fn attention_in_bf16_rounds_once_and_goes_through_tiles() {
    let Some((driver, device)) = emulated(MEMORY) else { return };
    let device = device.with_precision(Precision::Bf16);
    let shape = AttentionShape { heads: 4, key_value_heads: 2, head_size: 60 };
    let rows = 150;
    let visible = device.upload_visibility(&Visibility::full(&[rows])).unwrap();
    let packed = device.zeros(rows * shape.packed_columns()).unwrap();
    let (mut out, mut sums) = (device.zeros(rows * 240).unwrap(), device.zeros(rows * 4).unwrap());
    let mut gradient = device.zeros(rows * shape.packed_columns()).unwrap();
    driver.calls();
    let forward = || AttentionOperands { shape, visible: &visible, packed: &packed };
    let launched = || -> Vec<(&str, (u32, u32), u32)> {
        let of = |call| match call {
            Call::Launch(name, Launch { blocks, shared, .. }) => Some((name, blocks, shared)),
            Call::Write(_) => None,
            other => panic!("{other:?} is no launch"),
        };
        driver.calls().into_iter().filter_map(of).collect()
    };
    device.attention(forward(), &mut out, &mut sums);
    // Of 150 rows of 64 columns four at once; blocks of 128 rows, beside two stages of 64 keys and their values.
    let shared = 2 * 64 * (128 + 4 * 64) + 128 * 16;
    let rounded = |heads| ("round_heads", (10, heads), 0);
    assert_eq!(launched(), [rounded(4), rounded(4), ("attention_tiles_64", (2, 4), shared)]);
    let operands = AttentionBackward { forward: forward(), out: &out, log_sum_exp: &sums, d_out: &out };
    device.attention_backward(operands, &mut gradient);
    let own = 2 * 64 * (2 * 128 + 4 * 32);
    assert_eq!(
        launched(),
        [
            rounded(8),
            ("attention_gradients", (75, 1), 0),
            ("attention_backward_queries_tiles_64", (2, 4), own + 128 * 16),
            ("attention_backward_keys_tiles_64", (2, 2), own + 2 * 32 * 24),
        ]
    );
}

#[test]
fn narrow_rows_have_a_warp_each_and_wide_ones_a_block() {
    let Some((driver, device)) = emulated(MEMORY) else { return };
    for (columns, threads) in [(1, 32), (384, 32), (768, 64), (2048, 128), (5000, 256)] {
        let x = device.upload(&vec![1.0; 3 * columns]).unwrap();
        let (mut out, mut inverse) = (device.zeros(3 * columns).unwrap(), device.zeros(3).unwrap());
        driver.calls();
        device.rms_norm(RmsNorm { columns, epsilon: 1e-5, x: &x, weight: None }, &mut out, &mut inverse);
        assert_eq!(driver.calls(), [Call::Launch("rms_norm", Launch { blocks: (3, 1), threads, shared: 0 })]);
    }
}

#[test]
fn a_rotation_takes_two_heads_to_a_warp_and_its_gradient_sums_those_of_norms_beside_it() {
    use crate::{HeadNormGradients, HeadNorms, Rope};
    let Some((driver, device)) = emulated(MEMORY) else { return };
    let attention = AttentionShape { heads: 4, key_value_heads: 2, head_size: 64 };
    let shape = RopeShape::new(attention, 1e4, 1e-5);
    for (rows, forward, backward) in [(3, 2, 2), (2048, 1024, 512)] {
        let packed = device.upload(&vec![0.5; rows * attention.packed_columns()]).unwrap();
        let positions = device.upload_indices(&vec![1; rows]).unwrap();
        let [query, key] = [(); 2].map(|()| device.upload(&[1.0; 64]).unwrap());
        let [mut d_query, mut d_key] = [(); 2].map(|()| device.zeros(64).unwrap());
        let mut out = device.zeros(rows * attention.packed_columns()).unwrap();
        let rope = || {
            let norms = Some(HeadNorms { query: &query, key: &key });
            Rope { shape, positions: &positions, packed: &packed, norms }
        };
        device.rope(rope(), &mut out);
        driver.calls();
        device.rope(rope(), &mut out);
        let launch = |name, blocks, shared| Call::Launch(name, Launch { blocks: (blocks, 1), threads: 256, shared });
        assert_eq!(driver.calls(), [launch("rope", forward, 0)]);
        let d_norms = Some(HeadNormGradients { query: &mut d_query, key: &mut d_key });
        device.rope_backward(rope(), &packed, &mut out, d_norms);
        // Sixteen heads of a block have sums of both norms; then each norm has two blocks of 32 columns.
        let sums = launch("rope_backward", backward, 16 * 2 * 64 * 4);
        assert_eq!(driver.calls(), [sums, launch("add_partial", 2, 0), launch("add_partial", 2, 0)]);
    }
}

#[test]
fn rows_of_a_frequent_id_are_shared_out_and_those_of_rare_ones_cost_a_block_each() {
    let Some((driver, device)) = emulated(MEMORY) else { return };
    let (columns, rows) = (300, 1200);
    // As in a noisy canvas: the mask at most rows, and tokens that stand at one or two others.
    let ids: Vec<u32> = (0..rows).map(|row| if row % 6 == 0 { 1 + row / 12 } else { 0 }).collect();
    let ids = device.upload_indices(&ids).unwrap();
    let d_out = device.upload(&vec![0.5; columns * rows as usize]).unwrap();
    let mut d_table = device.zeros(columns * 101).unwrap();
    driver.calls();
    device.scatter_add(columns, &d_out, &ids, &mut d_table);
    let launch = |blocks| Call::Launch("scatter_add", Launch { blocks, threads: 256, shared: 0 });
    // 1,000 rows of the mask are 32 pieces of at most 32, which are added up in one; 100 other tokens have one each.
    assert_eq!(driver.calls()[1..], [launch((32 + 100, 2)), launch((1, 2))]);
    let sums = device.download(&d_table);
    assert!(sums[..columns].iter().all(|&sum| sum == 500.0) && sums[columns..].iter().all(|&sum| sum == 1.0));
}

/// Copies of 16 bytes that attention needs and no more, by what rows see: `[forward, backward]`.
fn needed_copies(tiles: &attention::Tiles, shape: AttentionShape, visibility: &Visibility) -> [usize; 2] {
    let (rows, chunks) = (visibility.len(), tiles.elements / 8);
    let groups = |size: usize| (0..rows).step_by(size).map(move |start| start..rows.min(start + size));
    let sees = |queries: &Range<usize>, keys: &Range<usize>| {
        queries.clone().any(|row| {
            let overlaps = |interval: &Range<u32>| {
                !interval.is_empty() && (interval.start as usize) < keys.end && interval.end as usize > keys.start
            };
            visibility.row(row).iter().any(overlaps)
        })
    };
    // Keys and values of the tiles that a block of queries sees.
    let keys_of = |cut: attention::Cut| -> usize {
        let visible = |queries: Range<usize>| groups(cut.tile).filter(move |keys| sees(&queries, keys));
        groups(cut.rows).flat_map(visible).map(|keys| 2 * keys.len() * chunks).sum()
    };
    // Queries and gradients of the tiles that see a block of keys, two sums and what is visible; tiles of 16 are judged
    // by 32 rows, from the first reader's to the last one's.
    let queries_of = |cut: attention::Cut| -> usize {
        let seeing = |keys: Range<usize>| {
            let readers: Vec<usize> = (0..rows).filter(|&row| sees(&(row..row + 1), &keys)).collect();
            let (first, last) = (readers[0], readers[readers.len() - 1]);
            groups(cut.tile).filter(move |queries| {
                let summary = queries.start / 32 * 32..rows.min(queries.start / 32 * 32 + 32);
                queries.end > first && queries.start <= last && sees(&summary, &keys)
            })
        };
        let copies = |queries: Range<usize>| queries.len() * (2 * chunks + 1) + queries.len().div_ceil(2);
        groups(cut.rows).flat_map(seeing).map(copies).sum()
    };
    let (own, parts) = (rows * chunks, tiles.elements.div_ceil(128));
    let of_keys = shape.key_value_heads * 2 * own + shape.heads * queries_of(tiles.keys);
    [shape.heads * (own + keys_of(tiles.forward)), shape.heads * (2 * own + keys_of(tiles.queries)) + parts * of_keys]
}

#[test]
fn tiles_that_nothing_sees_are_not_loaded_and_no_banks_are_shared() {
    let Some((driver, device)) = emulated(MEMORY) else { return };
    let device = device.with_precision(Precision::Bf16);
    for tiles in attention::TILES {
        let shape = AttentionShape { heads: 2, key_value_heads: 1, head_size: tiles.elements };
        for (name, visibility) in crate::agreement::attention::layouts(&[150]) {
            let rows = visibility.len();
            let visible = device.upload_visibility(&visibility).unwrap();
            let packed = device.zeros(rows * shape.packed_columns()).unwrap();
            let mut out = device.zeros(rows * shape.output_columns()).unwrap();
            let mut sums = device.zeros(rows * shape.heads).unwrap();
            let mut gradient = device.zeros(rows * shape.packed_columns()).unwrap();
            driver.shared_use();
            let forward = || AttentionOperands { shape, visible: &visible, packed: &packed };
            device.attention(forward(), &mut out, &mut sums);
            let of_forward = driver.shared_use();
            let operands = AttentionBackward { forward: forward(), out: &out, log_sum_exp: &sums, d_out: &out };
            device.attention_backward(operands, &mut gradient);
            let of_backward = driver.shared_use();
            let needed = needed_copies(&tiles, shape, &visibility);
            let copies = [of_forward, of_backward].map(|shared| shared.copies as usize);
            assert_eq!(copies, needed, "{name}, heads of {}", tiles.elements);
            for shared in [of_forward, of_backward] {
                assert!(
                    shared.accesses > 0 && shared.conflicts == 0,
                    "{name}, heads of {}: {shared:?}",
                    tiles.elements
                );
            }
        }
    }
}

#[test]
fn bf16_rounds_both_factors_and_multiplies_once() {
    let Some((driver, device)) = emulated(MEMORY) else { return };
    let device = device.with_precision(Precision::Bf16);
    let (x, w) = (device.upload(&[1.0; 6]).unwrap(), device.upload(&[1.0; 15]).unwrap());
    let mut out = device.zeros(10).unwrap();
    driver.calls();
    let shape = LinearShape { rows: 2, inputs: 3, outputs: 5 };
    device.linear(LinearOperands { shape, x: &x, weight: &w, bias: None, accumulate: false }, &mut out);
    let names: Vec<String> = driver
        .calls()
        .iter()
        .map(|call| match call {
            Call::Launch(name, _) => (*name).to_owned(),
            Call::Multiply(blas) => format!("{:?} {}×{}×{}", blas.dtype, blas.m, blas.n, blas.k),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(names, ["round_to_bf16", "round_to_bf16", "Bf16 5×2×3"]);
    assert_eq!(device.download(&out), [3.0; 10]);
}

#[test]
fn what_products_read_is_rounded_once_and_again_when_it_changed() {
    let Some((driver, device)) = emulated(MEMORY) else { return };
    let device = device.with_precision(Precision::Bf16);
    let (x, mut w) = (device.upload(&[1.0; 6]).unwrap(), device.upload(&[1.0; 15]).unwrap());
    let mut out = device.zeros(10).unwrap();
    let shape = LinearShape { rows: 2, inputs: 3, outputs: 5 };
    let mut product = |w: &GpuBuffer| {
        driver.calls();
        device.linear(LinearOperands { shape, x: &x, weight: w, bias: None, accumulate: false }, &mut out);
        let rounded = |call: &Call| matches!(call, Call::Launch("round_to_bf16", _));
        (driver.calls().iter().filter(|call| rounded(call)).count(), device.download(&out)[0])
    };
    assert_eq!([product(&w), product(&w)], [(2, 3.0), (0, 3.0)]);
    device.write(&mut w, &[2.0; 15]);
    assert_eq!([product(&w), product(&w)], [(1, 6.0), (0, 6.0)]);
    device.clear(&mut w);
    assert_eq!(product(&w), (1, 0.0));
    device.scale_add(1.0, &device.upload(&[3.0; 15]).unwrap(), 1.0, &mut w);
    assert_eq!(product(&w), (1, 9.0));
    // An update writes both forms.
    let [mut first, mut second] = [(); 2].map(|()| device.zeros(15).unwrap());
    let step = AdamW { learning_rate: 1.0, beta1: 0.0, beta2: 0.0, epsilon: 0.0, weight_decay: 0.0, step: 1 };
    let state = AdamWState { first: &mut first, second: &mut second, parameter: &mut w };
    device.adamw(step, 1.0, &device.upload(&[0.5; 15]).unwrap(), state);
    assert_eq!(product(&w), (0, 6.0));
    assert_eq!(device.download(&w), [2.0; 15]);
}

/// A block as language models have it, what follows it, and the kernels of one step of training.
struct Block {
    parameters: Parameters<Cuda>,
    /// Word vectors, norm, queries with keys and values, way out, norm, gate with what it is for, way down, norm.
    weights: [WeightId; 8],
}

impl Block {
    const WIDTH: usize = 16;
    const WORDS: usize = 40;
    const HEADS: AttentionShape = AttentionShape { heads: 2, key_value_heads: 1, head_size: 8 };

    fn new(device: &Cuda) -> Self {
        let mut parameters = Parameters::new(device.clone());
        let mut numbers = Numbers(3);
        let mut weight = |shapes: &[(usize, usize)]| {
            let add = |&(rows, columns): &(usize, usize)| {
                let values: Vec<f32> = numbers.many(rows * columns).into_iter().map(|value| value as f32).collect();
                let value = device.upload(&values).unwrap();
                parameters.add(rows, columns, value)
            };
            let parts: Vec<usize> = shapes.iter().map(add).collect();
            parameters.weight(&parts)
        };
        let (width, inner) = (Self::WIDTH, 24);
        let weights = [
            weight(&[(Self::WORDS, width)]),
            weight(&[(1, width)]),
            weight(&[(16, width), (8, width), (8, width)]),
            weight(&[(width, 16)]),
            weight(&[(1, width)]),
            weight(&[(inner, width), (inner, width)]),
            weight(&[(width, inner)]),
            weight(&[(1, width)]),
        ];
        Self { parameters, weights }
    }

    /// The losses of all rows, whose gradients are added to `gradients`.
    fn learn(&self, gradients: &mut Gradients<Cuda>) -> Vec<f64> {
        let Self { parameters, weights } = self;
        let [words, norm, packed, out, inner_norm, gate_up, down, last_norm] = *weights;
        let (device, rows, shape) = (parameters.device(), 20_u32, Self::HEADS);
        let places: Vec<u32> = (0..rows).collect();
        let ids: Vec<u32> = places.iter().map(|place| place * 7 % Self::WORDS as u32).collect();
        let (places, table_rows) = (device.upload_indices(&places).unwrap(), device.upload_indices(&ids).unwrap());
        let visible = device.upload_visibility(&Visibility::full(&[rows as usize])).unwrap();
        let mut tape = Tape::recording(parameters, 0);
        let x = tape.gather(words, &table_rows).unwrap();
        let h = tape.rms_norm(&x, Some(norm), 1e-5).unwrap();
        let h = tape.linear(&h, packed, None).unwrap();
        let h = tape.rope(RopeShape::new(shape, 1e4, 1e-5), &places, &h, None).unwrap();
        let h = tape.attention(shape, &visible, &h).unwrap();
        let x = tape.linear_add(&h, out, None, x).unwrap();
        let h = tape.rms_norm(&x, Some(inner_norm), 1e-5).unwrap();
        let h = tape.linear(&h, gate_up, None).unwrap();
        let h = tape.glu(Activation::Swiglu, &h).unwrap();
        let x = tape.linear_add(&h, down, None, x).unwrap();
        drop(h);
        let hidden = tape.rms_norm(&x, Some(last_norm), 1e-5).unwrap();
        drop(x);
        let head = LogitHead { weight: words, bias: None, soft_cap: None, forbidden: None, evidence: None };
        let targets = Targets { ids: &ids, weights: &[0.05; 20] };
        tape.learn_cross_entropy(hidden, head, targets, gradients).unwrap()
    }
}

#[test]
fn a_step_in_bf16_rounds_weights_once_and_nothing_else() {
    let Some((driver, device)) = emulated(MEMORY) else { return };
    let device = device.with_precision(Precision::Bf16);
    let mut block = Block::new(&device);
    let mut gradients = Gradients::zeros(&block.parameters).unwrap();
    let mut roundings = |block: &Block| {
        driver.calls();
        block.learn(&mut gradients);
        let converts = |call: &Call| {
            let Call::Launch(name, _) = call else { return None };
            ["round_to_bf16", "round_heads", "widen_bf16", "copy_bf16"].contains(name).then_some(*name)
        };
        driver.calls().iter().filter_map(converts).collect::<Vec<&str>>()
    };
    // The weights of four products, and word vectors that are the head.
    assert_eq!(roundings(&block), ["round_to_bf16"; 5]);
    assert!(roundings(&block).is_empty());
    let step = AdamW { learning_rate: 0.1, beta1: 0.9, beta2: 0.9, epsilon: 1e-8, weight_decay: 0.0, step: 1 };
    for parameter in block.parameters.values_mut() {
        let len = parameter.len();
        let [mut first, mut second] = [(); 2].map(|()| device.zeros(len).unwrap());
        let gradient = device.upload(&vec![0.5; len]).unwrap();
        let state = AdamWState { first: &mut first, second: &mut second, parameter };
        device.adamw(step, 1.0, &gradient, state);
    }
    // What is stacked of several parameters is stacked anew, and then rounded.
    assert_eq!(roundings(&block), ["round_to_bf16"; 2]);
}

#[test]
fn a_step_in_bf16_has_the_gradients_of_one_in_f32_but_for_rounding() {
    let Some((_, device)) = emulated(MEMORY) else { return };
    let step = |device: &Cuda| {
        let block = Block::new(device);
        let mut gradients = Gradients::zeros(&block.parameters).unwrap();
        let losses = block.learn(&mut gradients);
        let gradients: Vec<Vec<f32>> = gradients.buffers().iter().map(|buffer| device.download(buffer)).collect();
        (losses, gradients)
    };
    let (wide, half) = (step(&device), step(&device.clone().with_precision(Precision::Bf16)));
    for (wide, half) in wide.0.iter().zip(&half.0) {
        assert!((wide - half).abs() < 0.02 * wide.abs().max(1.0), "{wide} {half}");
    }
    for (which, (wide, half)) in wide.1.iter().zip(&half.1).enumerate() {
        // As vectors: a small element beside large ones is lost in their rounding.
        let length = |values: &mut dyn Iterator<Item = f32>| values.map(|x| x * x).sum::<f32>().sqrt();
        let error = length(&mut wide.iter().zip(half).map(|(wide, half)| wide - half));
        let all = length(&mut wide.iter().copied());
        assert!(error < 0.03 * all, "gradient {which}: {error} of {all}");
    }
}

#[test]
fn what_is_missing_is_named() {
    if std::env::var_os("AQUATINT_GPU").is_none() {
        // A machine may have a GPU without being asked to test it; each refusal names what is missing.
        let named = match Cuda::new(usize::MAX, None) {
            Err(GpuError::NoDriver) => "no NVIDIA driver was found (libcuda)".to_owned(),
            Err(GpuError::NoSuchGpu { requested, count }) => {
                format!("there is no GPU {requested}; there are {count}, counted from 0")
            }
            // A driver that is there and fails says why in its own words.
            Err(GpuError::Failed { call, reason }) => format!("{call} failed: {reason}"),
            other => panic!("a GPU of that number was opened, or refused for another reason: {other:?}"),
        };
        assert_eq!(Cuda::new(usize::MAX, None).unwrap_err().to_string(), named);
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
        let operands = PreparedOperands { rows: 2, x: &x, weight: &matrix, bias: None, accumulate: false };
        device.linear_prepared(operands, &mut out);
        device.download(&out)
    });
    assert_eq!(outs[0], outs[1]);
    assert!(outs[0].iter().any(|&value| value != 0.0));
}

#[test]
fn a_head_that_no_kernel_takes_is_refused() {
    let Some((_, device)) = emulated(MEMORY) else { return };
    let shape = AttentionShape { heads: 1, key_value_heads: 1, head_size: 258 };
    let packed = device.zeros(3 * 258).unwrap();
    let visible = device.upload_visibility(&Visibility::full(&[1])).unwrap();
    let (mut out, mut sums) = (device.zeros(258).unwrap(), device.zeros(1).unwrap());
    let attend = std::panic::AssertUnwindSafe(|| {
        device.attention(AttentionOperands { shape, visible: &visible, packed: &packed }, &mut out, &mut sums);
    });
    let refusal = std::panic::catch_unwind(attend).unwrap_err();
    let refusal = refusal.downcast_ref::<String>().unwrap();
    assert_eq!(refusal, "`head_size` is 258; allowed on a GPU: up to 256");
}

#[test]
fn every_kernel_takes_what_is_declared() {
    if Emulator::new(MEMORY).is_none() {
        return;
    }
    for (names, types) in kernels::ALL {
        for name in *names {
            assert_eq!(emulator::signature(name).as_deref(), Some(types.join(", ").as_str()), "{name}");
        }
    }
}

#[test]
fn arguments_of_another_number_or_type_are_refused() {
    let Some(driver) = Emulator::new(MEMORY) else { return };
    let launch = Launch { blocks: (1, 1), threads: 32, shared: 0 };
    let (x, out) = (arguments::In::<f32>::none().argument(), arguments::Out::<f32>::none().argument());
    let refusal = |kernel, list: &[Argument]| driver.launch(kernel, launch, list).unwrap_err().to_string();
    assert_eq!(
        refusal("silu", &[0_i32.argument(), x, out]),
        "launch failed: `silu` takes (i64, const float*, float*); given: (int, const float*, float*)"
    );
    assert!(refusal("silu", &[0_i64.argument(), x]).ends_with("given: (i64, const float*)"));
    assert!(refusal("silu", &[0_i64.argument(), out, out]).ends_with("given: (i64, float*, float*)"));
    assert_eq!(refusal("silly", &[]), "launch failed: `silly` is no kernel; given: ()");
    // No bytes are touched, as there are no elements.
    driver.launch("silu", launch, &[0_i64.argument(), x, out]).unwrap();
}

#[test]
fn only_results_cross_the_bus() {
    use crate::{
        CostKind, Head, LogitRows, Logits, Loss, LossGradients, LossRows, RatioCost, RowCost, RowDraw, Sampling,
    };
    let Some((driver, device)) = emulated(MEMORY) else { return };
    let (rows, outputs) = (3, 500);
    let hidden = device.upload(&[0.5; 3 * 4]).unwrap();
    let head =
        device.prepare((outputs, 4), &device.upload(&vec![0.25; outputs * 4]).unwrap(), WeightFormat::F32).unwrap();
    let logits = || LogitRows {
        rows,
        hidden: &hidden,
        head: &head,
        bias: None,
        soft_cap: None,
        forbidden: None,
        evidence: None,
    };
    // All that is known of some rows by one copy, as each waits; what is expected by another.
    let read = || -> usize {
        let bytes = |call: Call| if let Call::Read(bytes) = call { Some(bytes) } else { None };
        let copies: Vec<usize> = driver.calls().into_iter().filter_map(bytes).collect();
        assert!(copies.len() <= 2, "{copies:?}");
        copies.into_iter().sum()
    };
    read();
    let draw = RowDraw::new(Sampling::NONE, 0.5);
    device.draw_rows(logits(), &vec![draw; rows]).unwrap();
    // Four numbers of a summary and a probability, two tokens and the one drawn.
    assert_eq!(read(), rows * (5 * 8 + 3 * 4));
    device.draw_rows(logits(), &vec![RowDraw { best: 2, ..draw }; rows]).unwrap();
    // And the likeliest tokens with their probabilities.
    assert_eq!(read(), rows * (5 * 8 + 3 * 4 + 2 * (8 + 4)));
    let vectors = device.upload(&vec![0.5; outputs * 6]).unwrap();
    let vectors = crate::TokenVectors { size: 6, values: &vectors };
    device.draw_rows_expecting(logits(), &vec![draw; rows], vectors).unwrap();
    // And six coordinates.
    assert_eq!(read(), rows * (5 * 8 + 3 * 4 + 6 * 4));
    device.summarise_rows(logits(), 2).unwrap();
    assert_eq!(read(), rows * (4 * 8 + 2 * 4 + 2 * (8 + 4)));
    device.nll_rows(logits(), &vec![7; rows]).unwrap();
    assert_eq!(read(), rows * 4);
    let ratio = RatioCost { shown: 3, alpha: 0.5, text: 0.5 / 500.0, masked: 0.0, mask: None, posterior: false };
    let costs = vec![RowCost { target: 7, weight: 1.0, kind: CostKind::Ratio(ratio) }; rows];
    let shape = LinearShape { rows, inputs: 4, outputs };
    let head = Head::Prepared(&head);
    let loss = LossRows { shape, hidden: &hidden, head, bias: None, soft_cap: None, forbidden: None, evidence: None };
    let mut gradient = device.zeros(rows * 4).unwrap();
    let gradients = LossGradients { hidden: &mut gradient, head: None, bias: None };
    device.linear_cost_rows(loss, &costs, None, Some(gradients)).unwrap().get();
    // A cost and a negative log-likelihood.
    assert_eq!(read(), rows * 2 * 8);
}
