//! Every backward function against central differences of its forward function, in f64, over odd shapes.

mod experts;

use super::*;
use crate::cpu::cost;
use crate::{
    Activation, AdamW, AdamWState, AttentionBackward, AttentionOperands, AttentionShape, BackwardInput, BackwardWeight,
    CostKind, Evidence, HeadNormGradients, HeadNorms, LayerNorm, LayerNormBackward, LinearOperands, LinearShape,
    LossGradients, Modulation, QueryGrowth, RatioCost, RmsNorm, RmsNormBackward, Rope, RopeShape, Rotation,
    RotationScaling, RowCost, RowScale, ShiftScale, Targets, Visibility, Yarn,
};
use proptest::prelude::*;

/// Numbers in (−1, 1) from a seed (SplitMix64).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// Rounded to f32, so that both element types can hold them.
    pub(crate) fn many(&mut self, len: usize) -> Vec<f64> {
        (0..len).map(|_| ((self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0) as f64).collect()
    }
    pub(crate) fn below(&mut self, limit: usize) -> u32 {
        (self.next() % limit as u64) as u32
    }
}

/// Sequences of these lengths whose rows see one or two random intervals.
pub(crate) fn random_visibility(lengths: &[usize], numbers: &mut Numbers) -> Visibility {
    let (mut sequences, mut rows, mut start) = (Vec::new(), Vec::new(), 0_u32);
    for &length in lengths {
        let end = start + length as u32;
        for _ in 0..length {
            let mut cuts: Vec<u32> = (0..4).map(|_| start + numbers.below(length + 1)).collect();
            cuts.sort_unstable();
            let second = cuts[2]..cuts[3];
            let first = if cuts[0] < cuts[1] { cuts[0]..cuts[1] } else { start..end };
            rows.push(if first == (start..end) { [first, 0..0] } else { [first, second] });
        }
        sequences.push(start..end);
        start = end;
    }
    Visibility::new(sequences, rows).unwrap()
}

/// Compares `analytic(inputs)` with central differences of `loss`, for every element of every input.
fn check(
    mut inputs: Vec<Vec<f64>>,
    loss: impl Fn(&[Vec<f64>]) -> f64,
    analytic: impl Fn(&[Vec<f64>]) -> Vec<Vec<f64>>,
) -> Result<(), TestCaseError> {
    // The error of a central difference is O(h²) + O(ε / h): about 1e-10 for values near one.
    const STEP: f64 = 1e-5;
    let gradients = analytic(&inputs);
    for which in 0..gradients.len() {
        prop_assert_eq!(gradients[which].len(), inputs[which].len());
        for i in 0..inputs[which].len() {
            let value = inputs[which][i];
            inputs[which][i] = value + STEP;
            let above = loss(&inputs);
            inputs[which][i] = value - STEP;
            let below = loss(&inputs);
            inputs[which][i] = value;
            let (expected, got) = ((above - below) / (2.0 * STEP), gradients[which][i]);
            let error = (expected - got).abs() / (1.0 + expected.abs());
            prop_assert!(error < 1e-7, "input {which}[{i}]: {got}, expected {expected}");
        }
    }
    Ok(())
}

fn same(x: f64) -> f64 {
    x
}

fn zeros(len: usize) -> Vec<f64> {
    vec![0.0; len]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn products(rows in 1..4_usize, inputs in 1..6_usize, outputs in 1..5_usize, seed: u64) {
        let mut n = Numbers(seed);
        let shape = LinearShape { rows, inputs, outputs };
        let g = n.many(rows * outputs);
        check(
            vec![n.many(rows * inputs), n.many(outputs * inputs), n.many(outputs)],
            |v| {
                let mut out = zeros(rows * outputs);
                let bias = Some(v[2].as_slice());
                linear(LinearOperands { shape, x: &*v[0], weight: &v[1], bias, accumulate: false }, same, &mut out);
                dot(&out, &g)
            },
            |v| {
                let mut d = vec![zeros(rows * inputs), zeros(outputs * inputs), zeros(outputs)];
                let operands = BackwardInput { shape, d_out: &*g, weight: &v[1], accumulate: false };
                linear_backward_input(operands, same, &mut d[0]);
                let (d_w, d_bias) = d[1..].split_at_mut(1);
                let operands = BackwardWeight { shape, d_out: &*g, x: &v[0] };
                linear_backward_weight(operands, same, &mut d_w[0], Some(&mut d_bias[0]));
                d
            },
        )?;
    }

    #[test]
    fn choosing_rows(columns in 1..5_usize, rows in 1..5_usize, count in 0..7_usize, seed: u64) {
        let mut n = Numbers(seed);
        let ids: Vec<u32> = (0..count).map(|_| n.below(rows)).collect();
        let g = n.many(count * columns);
        check(
            vec![n.many(rows * columns)],
            |v| {
                let mut out = zeros(count * columns);
                gather(columns, &v[0], &ids, &mut out, |value| value);
                dot(&out, &g)
            },
            |_| {
                let mut d = zeros(rows * columns);
                scatter_add(columns, &g, &ids, &mut d);
                vec![d]
            },
        )?;
    }

    #[test]
    fn norm(rows in 1..4_usize, columns in 1..9_usize, weighted: bool, seed: u64) {
        let mut n = Numbers(seed);
        let g = n.many(rows * columns);
        let run = |v: &[Vec<f64>], inverse: &mut [f64]| {
            let mut out = zeros(rows * columns);
            let weight = weighted.then_some(v[1].as_slice());
            rms_norm(RmsNorm { columns, epsilon: 0.1, x: &*v[0], weight }, &mut out, inverse);
            out
        };
        check(
            vec![n.many(rows * columns), n.many(columns)],
            |v| dot(&run(v, &mut zeros(rows)), &g),
            |v| {
                let (mut inverse, mut d_x, mut d_w) = (zeros(rows), zeros(rows * columns), zeros(columns));
                run(v, &mut inverse);
                let (weight, d_weight) = (weighted.then_some(v[1].as_slice()), weighted.then_some(d_w.as_mut_slice()));
                let (x, inverse_rms, d_out) = (&*v[0], &*inverse, &*g);
                let operands = RmsNormBackward { columns, x, weight, inverse_rms, d_out, accumulate: false };
                rms_norm_backward(operands, &mut d_x, d_weight);
                vec![d_x, d_w]
            },
        )?;
    }

    #[test]
    fn norm_with_a_mean(rows in 1..4_usize, columns in 2..9_usize, seed: u64) {
        let mut n = Numbers(seed);
        let g = n.many(rows * columns);
        let run = |v: &[Vec<f64>], moments: &mut [f64]| {
            let mut out = zeros(rows * columns);
            layer_norm(LayerNorm { columns, epsilon: 0.1, x: &*v[0], weight: &v[1] }, &mut out, moments);
            out
        };
        check(
            vec![n.many(rows * columns), n.many(columns)],
            |v| dot(&run(v, &mut zeros(2 * rows)), &g),
            |v| {
                let (mut moments, mut d_x, mut d_w) = (zeros(2 * rows), zeros(rows * columns), zeros(columns));
                run(v, &mut moments);
                let (x, weight, moments, d_out) = (&*v[0], &*v[1], &*moments, &*g);
                let operands = LayerNormBackward { columns, x, weight, moments, d_out, accumulate: false };
                layer_norm_backward(operands, &mut d_x, Some(&mut d_w));
                vec![d_x, d_w]
            },
        )?;
    }

    #[test]
    fn rotation_and_head_norm(
        rows in 1..4_usize, half in 1..4_usize, ratio in 1..3_usize, axes in 1..4_usize,
        (normed, special) in any::<(bool, bool)>(), seed: u64,
    ) {
        let mut n = Numbers(seed);
        let attention = AttentionShape { heads: 2 * ratio, key_value_heads: 2, head_size: 2 * half };
        let yarn = Yarn { factor: 4.0, original_context: 20, beta_fast: 2.0, beta_slow: 0.5, attention_factor: 1.5 };
        let columns = 2 * half.div_ceil(2);
        let scaled = Rotation { theta: 100.0, columns, scaling: RotationScaling::Yarn(yarn), axes };
        let shape = RopeShape::new(attention, 100.0, 0.1);
        let shape = match special {
            true => RopeShape {
                rotation: scaled,
                value_norm: true,
                query_scale: 0.75,
                query_growth: Some(QueryGrowth { beta: 0.5, every: 10 }),
                ..shape
            },
            false => RopeShape { rotation: Rotation { axes, ..shape.rotation }, ..shape },
        };
        let len = rows * attention.packed_columns();
        let positions: Vec<u32> = (0..rows * axes).map(|_| n.below(50)).collect();
        let g = n.many(len);
        check(
            vec![n.many(len), n.many(2 * half), n.many(2 * half)],
            |v| {
                let mut out = zeros(len);
                let norms = normed.then_some(HeadNorms { query: v[1].as_slice(), key: &v[2] });
                rope(Rope { shape, positions: &*positions, packed: &*v[0], norms }, &mut out);
                dot(&out, &g)
            },
            |v| {
                let (mut d_x, mut d_query, mut d_key) = (zeros(len), zeros(2 * half), zeros(2 * half));
                let norms = normed.then_some(HeadNorms { query: v[1].as_slice(), key: &v[2] });
                let (query, key) = (d_query.as_mut_slice(), d_key.as_mut_slice());
                let d_norms = normed.then_some(HeadNormGradients { query, key });
                let operands = Rope { shape, positions: &*positions, packed: &*v[0], norms };
                rope_backward(operands, &g, &mut d_x, d_norms);
                vec![d_x, d_query, d_key]
            },
        )?;
    }

    #[test]
    fn attention_over_two_sequences(first in 1..6_usize, second in 1..4_usize, half in 1..3_usize, ratio in 1..3_usize, seed: u64) {
        let mut n = Numbers(seed);
        let shape = AttentionShape { heads: 2 * ratio, key_value_heads: 2, head_size: 2 * half };
        let visibility = random_visibility(&[first, second], &mut n);
        let rows = first + second;
        let g = n.many(rows * shape.output_columns());
        let run = |v: &[Vec<f64>], log_sum_exp: &mut [f64]| {
            let mut out = zeros(rows * shape.output_columns());
            attention(AttentionOperands { shape, visible: &visibility, packed: &*v[0] }, &mut out, log_sum_exp);
            out
        };
        check(
            vec![n.many(rows * shape.packed_columns())],
            |v| dot(&run(v, &mut zeros(rows * shape.heads)), &g),
            |v| {
                let (mut log_sum_exp, mut d) = (zeros(rows * shape.heads), zeros(rows * shape.packed_columns()));
                let out = run(v, &mut log_sum_exp);
                let forward = AttentionOperands { shape, visible: &visibility, packed: &*v[0] };
                let operands = AttentionBackward { forward, out: &out, log_sum_exp: &log_sum_exp, d_out: &g };
                attention_backward(operands, &mut d);
                vec![d]
            },
        )?;
    }

    #[test]
    fn gates(rows in 1..4_usize, width in 1..6_usize, seed: u64) {
        let mut n = Numbers(seed);
        let g = n.many(rows * width);
        for activation in [Activation::Swiglu, Activation::Geglu] {
            check(
                vec![n.many(2 * rows * width)],
                |v| {
                    let mut out = zeros(rows * width);
                    glu(activation, width, &v[0], &mut out);
                    dot(&out, &g)
                },
                |v| {
                    let mut d = zeros(2 * rows * width);
                    glu_backward(activation, width, &v[0], &g, &mut d);
                    vec![d]
                },
            )?;
        }
        check(
            vec![n.many(rows * width)],
            |v| {
                let mut out = zeros(rows * width);
                silu(&v[0], &mut out);
                dot(&out, &g)
            },
            |v| {
                let mut d = zeros(rows * width);
                silu_backward(&v[0], &g, &mut d);
                vec![d]
            },
        )?;
        check(
            vec![n.many(rows * width).into_iter().map(|x| 3.0 * x).collect()],
            |v| {
                let mut out = zeros(rows * width);
                gelu(&v[0], &mut out);
                dot(&out, &g)
            },
            |v| {
                let mut d = zeros(rows * width);
                gelu_backward(&v[0], &g, &mut d);
                vec![d]
            },
        )?;
    }

    #[test]
    fn levels_so_many_that_rounding_is_nothing(rows in 1..5_usize, columns in 1..6_usize, seed: u64) {
        // Straight through the rounding is the true gradient where levels lie closer than a difference sees.
        let mut n = Numbers(seed);
        let (x, g) = (n.many(rows * columns), n.many(rows * columns));
        let levels = vec![u32::MAX; columns];
        let round = |x: &[f64]| {
            let mut out = zeros(x.len());
            round_to_levels(&levels, x, &mut out);
            out
        };
        let mut slopes = zeros(x.len());
        round_to_levels_backward(&x, &g, &mut slopes);
        for i in 0..x.len() {
            let moved = |by: f64| {
                let mut x = x.clone();
                x[i] += by;
                round(&x)[i] * g[i]
            };
            let expected = (moved(1e-3) - moved(-1e-3)) / 2e-3;
            prop_assert!((expected - slopes[i]).abs() < 1e-5, "{}: {expected}", slopes[i]);
        }
    }

    #[test]
    fn modulation(rows in 1..5_usize, columns in 1..5_usize, groups in 1..4_usize, seed: u64) {
        let mut n = Numbers(seed);
        let group_of_row: Vec<u32> = (0..rows).map(|_| n.below(groups)).collect();
        fn operands<'a>(groups: &'a [u32], columns: usize, v: &'a [Vec<f64>]) -> Modulation<'a, [f64], [u32]> {
            Modulation { columns, groups, stride: 3 * columns, x: &v[0], modulation: &v[1] }
        }
        let (at, gate) = (ShiftScale { shift: 0, scale: columns }, 2 * columns);
        let g = n.many(rows * columns);
        check(
            vec![n.many(rows * columns), n.many(groups * 3 * columns)],
            |v| {
                let mut out = zeros(rows * columns);
                modulate(operands(&group_of_row, columns, v), at, &mut out);
                gated_add(operands(&group_of_row, columns, v), gate, &mut out);
                dot(&out, &g)
            },
            |v| {
                let mut d = vec![zeros(rows * columns), zeros(rows * columns), zeros(groups * 3 * columns)];
                let [d_x, d_gated, d_modulation] = d.as_mut_slice() else { unreachable!() };
                modulate_backward(operands(&group_of_row, columns, v), at, &g, d_x, d_modulation);
                gated_add_backward(operands(&group_of_row, columns, v), gate, &g, d_gated, d_modulation);
                scale_add(1.0, d_gated, 1.0, d_x);
                vec![d[0].clone(), d[2].clone()]
            },
        )?;
    }

    #[test]
    fn factors_of_rows(rows in 1..5_usize, columns in 1..5_usize, count in 1..4_usize, seed: u64) {
        let mut n = Numbers(seed);
        let (g, ids): (_, Vec<u32>) = (n.many(rows * columns), (0..rows).map(|_| n.below(count)).collect());
        let operands = |v: &[Vec<f64>]| -> Vec<f64> {
            let mut out = zeros(rows * columns);
            scale_rows(RowScale { columns, groups: &ids[..], factors: &v[1], x: &v[0] }, &mut out);
            out
        };
        check(
            vec![n.many(rows * columns), n.many(count)],
            |v| dot(&operands(v), &g),
            |v| {
                let (mut d_x, mut d_factors) = (zeros(rows * columns), zeros(count));
                let operands = RowScale { columns, groups: &ids[..], factors: v[1].as_slice(), x: v[0].as_slice() };
                scale_rows_backward(operands, &g, &mut d_x, &mut d_factors);
                vec![d_x, d_factors]
            },
        )?;
    }

    #[test]
    fn cross_entropy(
        rows in 1..4_usize, inputs in 1..5_usize, outputs in 2..7_usize, (masked, capped) in any::<(bool, bool)>(),
        seed: u64
    ) {
        let mut n = Numbers(seed);
        let shape = LinearShape { rows, inputs, outputs };
        let ids: Vec<u32> = (0..rows).map(|_| n.below(outputs - 1)).collect();
        let weights = n.many(rows);
        let forbidden = masked.then_some(outputs as u32 - 1);
        let targets = Targets { ids: &ids, weights: &weights };
        let soft_cap = capped.then_some(0.75);
        check(
            vec![n.many(rows * inputs), n.many(outputs * inputs), n.many(outputs)],
            |v| dot(&linear_cross_entropy(ScalarLoss { soft_cap, ..loss(shape, v, forbidden, None) }, targets, None), &weights),
            |v| {
                let mut d = [rows * inputs, outputs * inputs, outputs].map(zeros);
                linear_cross_entropy(ScalarLoss { soft_cap, ..loss(shape, v, forbidden, None) }, targets, Some(into(&mut d)));
                d.into()
            },
        )?;
    }

    #[test]
    fn costs_of_every_kind(
        rows in 1..4_usize, inputs in 1..5_usize, outputs in 4..9_usize, which in 0..3_usize, masked: bool, seed: u64
    ) {
        let mut n = Numbers(seed);
        let shape = LinearShape { rows, inputs, outputs };
        let mask = masked.then_some(outputs as u32 - 1);
        let (points, vectors, weights) = (n.many(rows * 2), n.many(outputs * 2), n.many(rows));
        let costs: Vec<RowCost> = weights.iter().map(|&weight| {
            let text = 0.3 / (outputs - usize::from(masked)) as f64;
            let ratio = RatioCost {
                shown: n.below(outputs),
                alpha: if masked { 0.5 } else { 0.7 },
                text,
                masked: if masked { 0.2 } else { 0.0 },
                mask,
                // The slope of a posterior is by definition that of the leave-one-out prediction.
                posterior: false,
            };
            let kind = [CostKind::CrossEntropy, CostKind::Distance, CostKind::Ratio(ratio)][which];
            RowCost { target: n.below(outputs - 1), weight, kind }
        }).collect();
        let evidence = Evidence { size: 2, points: points.as_slice(), vectors: vectors.as_slice() };
        let of = Some(cost::Vectors { size: 2, values: &vectors });
        check(
            vec![n.many(rows * inputs), n.many(outputs * inputs), n.many(outputs)],
            |v| {
                let paid = linear_cost_rows(loss(shape, v, mask, Some(evidence)), &costs, of, None);
                dot(&paid.iter().map(|row| row.cost).collect::<Vec<f64>>(), &weights)
            },
            |v| {
                let mut d = [rows * inputs, outputs * inputs, outputs].map(zeros);
                linear_cost_rows(loss(shape, v, mask, Some(evidence)), &costs, of, Some(into(&mut d)));
                d.into()
            },
        )?;
    }

    #[test]
    fn prepared_products(rows in 1..4_usize, inputs in 1..6_usize, outputs in 1..5_usize, seed: u64) {
        use crate::{Cpu, Linear, Memory, PreparedBackwardInput, PreparedOperands, WeightFormat};
        let mut n = Numbers(seed);
        let device = Cpu::<f64>::scalar();
        let (g, w) = (n.many(rows * outputs), device.upload(&n.many(outputs * inputs)).unwrap());
        let weight = device.prepare((outputs, inputs), &w, WeightFormat::F32).unwrap();
        check(
            vec![n.many(rows * inputs)],
            |v| {
                let (x, mut out) = (device.upload(&v[0]).unwrap(), device.zeros(rows * outputs).unwrap());
                let operands = PreparedOperands { rows, x: &x, weight: &weight, bias: None, accumulate: false };
                device.linear_prepared(operands, &mut out);
                dot(out.as_slice(), &g)
            },
            |_| {
                let (d_out, mut d_x) = (device.upload(&g).unwrap(), device.zeros(rows * inputs).unwrap());
                let operands = PreparedBackwardInput { rows, d_out: &d_out, weight: &weight, accumulate: false };
                device.linear_prepared_backward_input(operands, &mut d_x);
                vec![d_x.as_slice().to_vec()]
            },
        )?;
    }
}

/// Where the gradients of hidden rows, head and bias go.
fn into(d: &mut [Vec<f64>; 3]) -> LossGradients<'_, [f64]> {
    let [hidden, head, bias] = d;
    LossGradients { hidden, head: Some(head), bias: Some(bias) }
}

/// Rows that are paid for: hidden rows, then the head, and its bias where there is one.
fn loss<'a>(
    shape: LinearShape,
    v: &'a [Vec<f64>],
    forbidden: Option<u32>,
    evidence: Option<Evidence<'a, [f64]>>,
) -> ScalarLoss<'a, f64> {
    let head = ScalarHead::Real { values: v[1].as_slice().into(), round: same };
    ScalarLoss { shape, hidden: &v[0], head, bias: v.get(2).map(Vec::as_slice), soft_cap: None, forbidden, evidence }
}

#[test]
fn a_uniform_predictor_costs_the_logarithm_of_the_vocabulary() {
    let shape = LinearShape { rows: 2, inputs: 3, outputs: 10 };
    let numbers = [vec![0.5; 6], vec![0.25; 30]];
    let targets = Targets { ids: &[4, 7], weights: &[1.0, 1.0] };
    let nll = |forbidden| linear_cross_entropy(loss(shape, &numbers, forbidden, None), targets, None);
    for loss in nll(None) {
        assert!((loss - 10_f64.ln()).abs() < 1e-12);
    }
    for loss in nll(Some(9)) {
        assert!((loss - 9_f64.ln()).abs() < 1e-12);
    }
    assert_eq!(nll(Some(7))[1], f64::INFINITY);
}

#[test]
fn the_first_step_of_adamw_is_the_sign_of_the_gradient_times_the_rate() {
    let step = AdamW { learning_rate: 0.01, beta1: 0.9, beta2: 0.99, epsilon: 0.0, weight_decay: 0.5, step: 1 };
    let (mut first, mut second, mut parameter) = ([0.0_f64; 2], [0.0; 2], [1.0, -2.0]);
    let state = AdamWState { first: &mut first[..], second: &mut second, parameter: &mut parameter };
    adamw(step, 0.1, &[3.0, -5.0], state);
    let expected = [1.0_f64 * (1.0 - 0.005) - 0.01, -2.0 * (1.0 - 0.005) + 0.01];
    for (got, expected) in parameter.iter().zip(expected) {
        assert!((got - expected).abs() < 1e-12, "{got} {expected}");
    }
    assert!((sum_of_squares(&[3.0_f64, 4.0]) - 25.0).abs() < 1e-15);
}
