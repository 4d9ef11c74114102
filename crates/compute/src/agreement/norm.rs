//! Norms and rotary positions.

use super::*;
use crate::{
    AttentionShape, HeadNormGradients, HeadNorms, LayerNorm, LayerNormBackward, Norm, QueryGrowth, RmsNorm,
    RmsNormBackward, Rope, RopeShape, Rotation, RotationScaling, Yarn,
};

struct Norms {
    columns: usize,
    x: Vec<f64>,
    weight: Vec<f64>,
    gradient: Vec<f64>,
}

impl Norms {
    fn drawn(rows: usize, columns: usize, seed: u64) -> Self {
        let mut numbers = Numbers(seed);
        let (x, gradient) = (numbers.many(rows * columns), numbers.many(rows * columns));
        Self { columns, x, weight: numbers.many(columns), gradient }
    }
}

impl Operation for Norms {
    fn run<D: Device>(&self, device: &D) -> Vec<D::Buffer> {
        let (columns, rows) = (self.columns, self.x.len() / self.columns);
        let [x, weight, d_out] = [&self.x, &self.weight, &self.gradient].map(|values| up(device, values));
        let zeros = |len| device.zeros(len).unwrap();
        let (mut out, mut inverse_rms, mut bare) = (zeros(rows * columns), zeros(rows), zeros(rows * columns));
        let forward = |weight| RmsNorm { columns, epsilon: 1e-2, x: &x, weight };
        device.rms_norm(forward(None), &mut bare, &mut inverse_rms);
        device.rms_norm(forward(Some(&weight)), &mut out, &mut inverse_rms);
        let (mut d_x, mut d_weight) = (zeros(rows * columns), zeros(columns));
        let backward = |weight, accumulate| RmsNormBackward {
            columns,
            x: &x,
            weight,
            inverse_rms: &inverse_rms,
            d_out: &d_out,
            accumulate,
        };
        device.rms_norm_backward(backward(Some(&weight), false), &mut d_x, Some(&mut d_weight));
        device.rms_norm_backward(backward(None, true), &mut d_x, None);
        vec![out, bare, inverse_rms, d_x, d_weight]
    }
}

/// Layer norms; the same numbers as [`Norms`] beside some that lie far from 0.
struct LayerNorms(Norms);

impl Operation for LayerNorms {
    fn run<D: Device>(&self, device: &D) -> Vec<D::Buffer> {
        let Norms { columns, x, weight, gradient } = &self.0;
        let (columns, rows) = (*columns, x.len() / columns);
        let [x, weight, d_out] = [x, weight, gradient].map(|values| up(device, values));
        let zeros = |len| device.zeros(len).unwrap();
        let (mut out, mut moments) = (zeros(rows * columns), zeros(2 * rows));
        device.layer_norm(LayerNorm { columns, epsilon: 1e-2, x: &x, weight: &weight }, &mut out, &mut moments);
        let (mut d_x, mut d_weight) = (zeros(rows * columns), zeros(columns));
        let backward = |accumulate| LayerNormBackward {
            columns,
            x: &x,
            weight: &weight,
            moments: &moments,
            d_out: &d_out,
            accumulate,
        };
        device.layer_norm_backward(backward(false), &mut d_x, Some(&mut d_weight));
        device.layer_norm_backward(backward(true), &mut d_x, None);
        vec![out, moments, d_x, d_weight]
    }
}

struct Rotations {
    shape: RopeShape,
    rows: usize,
    /// `[T, A]`.
    places: Vec<u32>,
    packed: Vec<f64>,
    gradient: Vec<f64>,
    norms: [Vec<f64>; 2],
}

impl Operation for Rotations {
    fn run<D: Device>(&self, device: &D) -> Vec<D::Buffer> {
        let &Self { shape, rows, .. } = self;
        let (packed, d_out) = (up(device, &self.packed), up(device, &self.gradient));
        let [query, key] = self.norms.each_ref().map(|values| up(device, values));
        let positions = device.upload_indices(&self.places).unwrap();
        let size = shape.attention.head_size;
        let zeros = |len| device.zeros(len).unwrap();
        let len = rows * shape.attention.packed_columns();
        let (mut out, mut plain, mut d_packed, mut d_plain) = (zeros(len), zeros(len), zeros(len), zeros(len));
        let (mut d_query, mut d_key) = (zeros(size), zeros(size));
        let norms = Some(HeadNorms { query: &query, key: &key });
        let operands = |norms| Rope { shape, positions: &positions, packed: &packed, norms };
        device.rope(operands(norms), &mut out);
        device.rope(operands(None), &mut plain);
        let d_norms = Some(HeadNormGradients { query: &mut d_query, key: &mut d_key });
        device.rope_backward(operands(norms), &d_out, &mut d_packed, d_norms);
        device.rope_backward(operands(None), &d_out, &mut d_plain, None);
        vec![out, plain, d_packed, d_plain, d_query, d_key]
    }
}

/// Rotations of a share of the columns in percent, most often all of them.
fn rotations() -> impl Strategy<Value = Rotation> {
    let yarn = Yarn { factor: 4.0, original_context: 40, beta_fast: 8.0, beta_slow: 1.0, attention_factor: 1.25 };
    let scaling = prop_oneof![
        3 => Just(RotationScaling::None),
        1 => (0..20_usize).prop_map(|pairs| RotationScaling::Proportional { pairs }),
        1 => Just(RotationScaling::Yarn(yarn)),
    ];
    let columns = prop_oneof![1 => Just(100_usize), 1 => 1..100_usize];
    let axes = prop_oneof![2 => Just(1_usize), 1 => 2..5_usize];
    (columns, scaling, axes).prop_map(|(columns, scaling, axes)| Rotation { theta: 1e4, columns, scaling, axes })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn rms_norm(rows in 1..70_usize, columns in 1..300_usize, seed: u64) {
        // The inverse RMS is at most 10 = 1/√1e-2, and its cube multiplies a gradient.
        agree(&Norms::drawn(rows, columns, seed), Precision::F32, within(columns + rows, 200.0))?;
    }

    #[test]
    fn layer_norm(rows in 1..70_usize, columns in 1..300_usize, offset in -2..3_i32, seed: u64) {
        let mut norms = Norms::drawn(rows, columns, seed);
        norms.x.iter_mut().for_each(|x| *x += f64::from(offset));
        // As the RMS norm, and the mean is as large as the offset.
        agree(&LayerNorms(norms), Precision::F32, within(columns + rows, 400.0))?;
    }

    #[test]
    fn norms_of_wide_rows(rows in 1..4_usize, columns in 500..5000_usize, seed: u64) {
        let norms = Norms::drawn(rows, columns, seed);
        agree(&norms, Precision::F32, within(columns + rows, 200.0))?;
        agree(&LayerNorms(norms), Precision::F32, within(columns + rows, 400.0))?;
    }

    #[test]
    fn rope(
        rows in 1..60_usize,
        half in 1..40_usize,
        groups in 1..3_usize,
        ratio in 1..3_usize,
        rotation in rotations(),
        (value_norm, scaled, grows) in any::<(bool, bool, bool)>(),
        seed: u64,
    ) {
        let mut numbers = Numbers(seed);
        let attention = AttentionShape { heads: groups * ratio, key_value_heads: groups, head_size: 2 * half };
        let rotation = Rotation { columns: 2 * (half * rotation.columns).div_ceil(100), ..rotation };
        let shape = RopeShape {
            rotation,
            value_norm,
            query_scale: if scaled { 1.75 } else { 1.0 },
            query_growth: grows.then_some(QueryGrowth { beta: 0.25, every: 7 }),
            ..RopeShape::new(attention, 1e4, 1e-2)
        };
        let len = rows * attention.packed_columns();
        let (packed, gradient) = (numbers.many(len), numbers.many(len));
        let norms = [numbers.many(2 * half), numbers.many(2 * half)];
        let places = (0..(rows * rotation.axes) as u32).map(|index| (index * 7) % 300).collect();
        let operation = Rotations { shape, rows, places, packed, gradient, norms };
        agree(&operation, Precision::F32, within(rows * groups * ratio + 2 * half, 1500.0))?;
    }

    #[test]
    fn norms_and_rotations_are_stored_rounded(rows in 1..20_usize, columns in 1..90_usize, eighths in 1..5_usize, seed: u64) {
        let mut numbers = Numbers(seed);
        let (x, gradient) = (numbers.many(rows * columns), numbers.many(rows * columns));
        let norms = Norms { columns, x, weight: numbers.many(columns), gradient };
        stored_rounded(&norms, &[0, 1], &[])?;
        stored_rounded(&LayerNorms(norms), &[], &[])?;
        // Heads of whole chunks of 16 bytes go to attention as they lie; others are rounded there.
        for (half, rounded) in [(4 * eighths, &[0, 1, 2, 3][..]), (4 * eighths - 1, &[2, 3])] {
            let attention = AttentionShape { heads: 2, key_value_heads: 1, head_size: 2 * half };
            let shape = RopeShape { query_scale: 1.75, ..RopeShape::new(attention, 1e4, 1e-2) };
            let len = rows * attention.packed_columns();
            let (packed, gradient) = (numbers.many(len), numbers.many(len));
            let norms = [numbers.many(2 * half), numbers.many(2 * half)];
            let operation = Rotations { shape, rows, places: (0..rows as u32).collect(), packed, gradient, norms };
            stored_rounded(&operation, rounded, &[])?;
        }
    }

    #[test]
    fn each_pair_turns_as_its_axis_says(rows in 1..8_usize, half in 3..9_usize, seed: u64) {
        let mut numbers = Numbers(seed);
        let attention = AttentionShape { heads: 1, key_value_heads: 1, head_size: 2 * half };
        let device = Cpu::<f64>::scalar();
        let packed = up(&device, &numbers.many(rows * attention.packed_columns()));
        let places: Vec<u32> = (0..3 * rows).map(|_| numbers.below(100)).collect();
        let turned = |axes: usize, positions: Vec<u32>| {
            let shape = RopeShape::new(attention, 1e4, 0.0);
            let shape = RopeShape { rotation: Rotation { axes, ..shape.rotation }, ..shape };
            let positions = device.upload_indices(&positions).unwrap();
            let mut out = device.zeros(rows * attention.packed_columns()).unwrap();
            device.rope(Rope { shape, positions: &positions, packed: &packed, norms: None }, &mut out);
            device.download(&out)
        };
        let several = turned(3, places.clone());
        for axis in 0..3 {
            let one = turned(1, places.iter().copied().skip(axis).step_by(3).collect());
            for (several, one) in several.chunks_exact(half).zip(one.chunks_exact(half)) {
                let of_axis = |x: &[f64]| x.iter().copied().skip(axis).step_by(3).collect::<Vec<f64>>();
                prop_assert_eq!(of_axis(several), of_axis(one));
            }
        }
    }

    #[test]
    fn equal_indices_on_all_axes_are_one_position_to_the_bit(
        rows in 1..40_usize, half in 1..20_usize, axes in 2..5_usize, grows: bool, seed: u64,
    ) {
        let mut numbers = Numbers(seed);
        let attention = AttentionShape { heads: 2, key_value_heads: 1, head_size: 2 * half };
        let query_growth = grows.then_some(QueryGrowth { beta: 0.25, every: 7 });
        let shape = RopeShape { query_growth, ..RopeShape::new(attention, 1e4, 1e-2) };
        let len = rows * attention.packed_columns();
        let (packed, gradient) = (numbers.many(len), numbers.many(len));
        let norms = [numbers.many(2 * half), numbers.many(2 * half)];
        let positions: Vec<u32> = (0..rows).map(|_| numbers.below(300)).collect();
        let of = |axes: usize| {
            let places = positions.iter().flat_map(|position| std::iter::repeat_n(*position, axes)).collect();
            let shape = RopeShape { rotation: Rotation { axes, ..shape.rotation }, ..shape };
            let (packed, gradient, norms) = (packed.clone(), gradient.clone(), norms.clone());
            Rotations { shape, rows, places, packed, gradient, norms }
        };
        let (one, several) = (of(1), of(axes));
        for device in processors(Precision::F32).into_iter().chain([Cpu::<f32>::scalar()]) {
            let [one, several] = [&one, &several].map(|operation| down(&device, &operation.run(&device)));
            prop_assert!(one == several, "{}", device.describe());
        }
        for device in gpus(Precision::F32) {
            let [one, several] = [&one, &several].map(|operation| down(&device, &operation.run(&device)));
            prop_assert!(one == several, "{}", device.describe());
        }
    }
}
