//! Choosing rows, gates, activations and modulation.

use super::*;
use crate::{
    Activation, AddColumns, Columns, DType, Dropout, Modulation, Part, RowScale, ScaleAdd, ScaledPoints, ShiftScale,
    WriteRows,
};

struct Gates {
    width: usize,
    gate_up: Vec<f64>,
    gradient: Vec<f64>,
}

impl Operation for Gates {
    fn run<D: Device>(&self, device: &D) -> Vec<D::Buffer> {
        let (x, d) = (up(device, &self.gate_up), up(device, &self.gradient));
        let zeros = |len| device.zeros(len).unwrap();
        let (mut out, mut d_x) = (zeros(self.gradient.len()), zeros(self.gate_up.len()));
        device.glu(Activation::Swiglu, self.width, &x, &mut out);
        device.glu_backward(Activation::Swiglu, self.width, &x, &d, &mut d_x);
        let (mut geglu, mut d_geglu) = (zeros(self.gradient.len()), zeros(self.gate_up.len()));
        device.glu(Activation::Geglu, self.width, &x, &mut geglu);
        device.glu_backward(Activation::Geglu, self.width, &x, &d, &mut d_geglu);
        let (mut silu, mut d_silu, mut sum) =
            (zeros(self.gradient.len()), zeros(self.gradient.len()), up(device, &self.gradient));
        device.silu(&d, &mut silu);
        device.silu_backward(&d, &d, &mut d_silu);
        device.scale_add(0.5, &out, -2.0, &mut sum);
        // Large numbers too, where the gate is 0 or 1.
        let mut wide = up(device, &self.gradient);
        device.scale_add(7.0, &d, 0.0, &mut wide);
        let (mut gelu, mut d_gelu) = (zeros(self.gradient.len()), zeros(self.gradient.len()));
        device.gelu(&wide, &mut gelu);
        device.gelu_backward(&wide, &d, &mut d_gelu);
        vec![out, d_x, geglu, d_geglu, silu, d_silu, sum, gelu, d_gelu]
    }
}

struct Modulations {
    columns: usize,
    rows: usize,
    x: Vec<f64>,
    modulation: Vec<f64>,
    gradient: Vec<f64>,
}

impl Operation for Modulations {
    fn run<D: Device>(&self, device: &D) -> Vec<D::Buffer> {
        let &Self { columns, rows, .. } = self;
        let [x, modulation, d_out] = [&self.x, &self.modulation, &self.gradient].map(|values| up(device, values));
        let (stride, groups) = (3 * columns, self.modulation.len() / (3 * columns));
        let group_of_row: Vec<u32> = (0..rows).map(|row| (row * groups / rows) as u32).collect();
        let groups = device.upload_indices(&group_of_row).unwrap();
        let zeros = |len| device.zeros(len).unwrap();
        let (mut out, mut d_x, mut d_gated) = (zeros(rows * columns), zeros(rows * columns), zeros(rows * columns));
        let (mut d_modulation, mut residual) = (zeros(self.modulation.len()), zeros(rows * columns));
        let operands = || Modulation { columns, groups: &groups, stride, x: &x, modulation: &modulation };
        let (at, gate) = (ShiftScale { shift: 0, scale: columns }, 2 * columns);
        device.modulate(operands(), at, &mut out);
        device.modulate_backward(operands(), at, &d_out, &mut d_x, &mut d_modulation);
        device.gated_add(operands(), gate, &mut residual);
        device.gated_add_backward(operands(), gate, &d_out, &mut d_gated, &mut d_modulation);
        vec![out, d_x, residual, d_gated, d_modulation]
    }
}

/// Rows that have factors by group.
struct RowFactors {
    columns: usize,
    x: Vec<f64>,
    factors: Vec<f64>,
    groups: Vec<u32>,
    gradient: Vec<f64>,
}

impl Operation for RowFactors {
    fn run<D: Device>(&self, device: &D) -> Vec<D::Buffer> {
        let [x, factors, d_out] = [&self.x, &self.factors, &self.gradient].map(|values| up(device, values));
        let groups = device.upload_indices(&self.groups).unwrap();
        let operands = || RowScale { columns: self.columns, groups: &groups, factors: &factors, x: &x };
        let (mut out, mut d_x) = (device.zeros(self.x.len()).unwrap(), device.zeros(self.x.len()).unwrap());
        let mut d_factors = up(device, &self.factors);
        device.scale_rows(operands(), &mut out);
        device.scale_rows_backward(operands(), &d_out, &mut d_x, &mut d_factors);
        vec![out, d_x, d_factors]
    }
}

/// Rows that are gathered and added back, and rows that differ, cut out of wider ones and written to places of which
/// some are the same.
struct Chosen {
    columns: usize,
    table: Vec<f64>,
    ids: Vec<u32>,
}

impl Operation for Chosen {
    fn run<D: Device>(&self, device: &D) -> Vec<D::Buffer> {
        let (columns, count) = (self.columns, self.ids.len());
        let (mut table, ids) = (up(device, &self.table), device.upload_indices(&self.ids).unwrap());
        let (mut gathered, mut scattered) =
            (device.zeros(count * columns).unwrap(), device.zeros(self.table.len()).unwrap());
        device.gather(columns, &table, &ids, &mut gathered);
        let mut halves = device.uninitialised_as(DType::Bf16, self.table.len()).unwrap();
        device.convert(&table, &mut halves);
        let mut widened = device.zeros(count * columns).unwrap();
        device.gather(columns, &halves, &ids, &mut widened);
        device.scatter_add(columns, &gathered, &ids, &mut scattered);
        let wide: Vec<f64> = (0..count * (columns + 3)).map(|i| i as f64 + 0.5).collect();
        let (wide, stride) = (up(device, &wide), columns + 3);
        let rows = Columns { buffer: &wide, stride, first: 2 };
        device.write_rows(WriteRows { columns, rows, ids: &ids }, &mut table);
        let (first, all) = (self.table.len() / 3, self.table.len());
        let mut sum = up(device, &self.table[first..]);
        let mut other = up(device, &self.table);
        let term = |first, y| ScaleAdd { a: 1.0, x: Part { buffer: &scattered, first, len: all - first }, b: 1.0, y };
        let mut terms = [term(first, &mut sum), ScaleAdd { b: 0.0, ..term(0, &mut other) }];
        device.scale_add_all(&mut terms).unwrap();
        // Longer than what is stacked.
        let mut stacked = device.zeros(2 * all - first + 3).unwrap();
        device.stack(&[(0.5, &scattered), (-2.0, &sum)], false, &mut stacked).unwrap();
        device.stack(&[(1.5, &sum), (1.0, &other)], true, &mut stacked).unwrap();
        let mut cleared = [up(device, &self.table), up(device, &[]), up(device, &self.table[first..])];
        device.clear_all(&mut cleared);
        let [one, _, two] = cleared;
        vec![gathered, widened, scattered, table, sum, other, stacked, one, two]
    }
}

/// Points beside the vectors of tokens, of which every third row says nothing.
struct Points {
    size: usize,
    vectors: Vec<f64>,
    tokens: Vec<u32>,
    /// Of each row a weight, an offset and a scale.
    rows: [Vec<f64>; 3],
}

impl Operation for Points {
    fn run<D: Device>(&self, device: &D) -> Vec<D::Buffer> {
        let [weights, offsets, scales] = self.rows.each_ref().map(|values| up(device, values));
        let (vectors, tokens) = (up(device, &self.vectors), device.upload_indices(&self.tokens).unwrap());
        let mut out = up(device, &self.rows[1]);
        let operands = ScaledPoints {
            size: self.size,
            vectors: &vectors,
            tokens: &tokens,
            weights: &weights,
            offsets: &offsets,
            scales: &scales,
        };
        device.scaled_points(operands, &mut out);
        vec![out]
    }
}

/// Coordinates of codes, none of them half way between two levels, where a rounding decides.
struct Codes {
    levels: Vec<u32>,
    x: Vec<f64>,
    gradient: Vec<f64>,
}

impl Operation for Codes {
    fn run<D: Device>(&self, device: &D) -> Vec<D::Buffer> {
        let (x, d_out) = (up(device, &self.x), up(device, &self.gradient));
        let levels = device.upload_indices(&self.levels).unwrap();
        let (mut out, mut d_x) = (device.zeros(self.x.len()).unwrap(), device.zeros(self.x.len()).unwrap());
        device.round_to_levels(&levels, &x, &mut out);
        device.round_to_levels_backward(&x, &d_out, &mut d_x);
        vec![out, d_x]
    }
}

/// Columns cut out of wider rows, put in the place of some columns of other rows and added to others.
struct Beside {
    rows: usize,
    columns: usize,
    x: Vec<f64>,
    out: Vec<f64>,
}

impl Operation for Beside {
    fn run<D: Device>(&self, device: &D) -> Vec<D::Buffer> {
        let &Self { rows, columns, .. } = self;
        let (x, mut out) = (up(device, &self.x), up(device, &self.out));
        let (from_stride, stride) = (self.x.len() / rows, self.out.len() / rows);
        for (factor, first, accumulate) in [(0.5, 1, true), (-1.5, stride - columns, false)] {
            let from = Columns { buffer: &x, stride: from_stride, first: from_stride - columns };
            device.add_columns(AddColumns { rows, columns, factor, from, stride, first, accumulate }, &mut out);
        }
        let mut dropped = device.zeros(self.x.len()).unwrap();
        device.dropout(Dropout { rate: 0.3, seed: (rows as u64) << 33 | columns as u64 }, &x, &mut dropped);
        vec![out, dropped]
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn gates_silu_gelu_and_sums(rows in 1..40_usize, width in 1..300_usize, seed: u64) {
        let mut numbers = Numbers(seed);
        let (gate_up, gradient) = (numbers.many(rows * 2 * width), numbers.many(rows * width));
        agree(&Gates { width, gate_up, gradient }, Precision::F32, within(width, 16.0))?;
    }

    #[test]
    fn modulation(rows in 1..60_usize, columns in 1..200_usize, groups in 1..4_usize, seed: u64) {
        let mut numbers = Numbers(seed);
        let (x, gradient) = (numbers.many(rows * columns), numbers.many(rows * columns));
        let modulation = numbers.many(groups * 3 * columns);
        let operation = Modulations { columns, rows, x, modulation, gradient };
        agree(&operation, Precision::F32, within(rows, 4.0))?;
    }

    #[test]
    fn gates_and_modulated_rows_are_stored_rounded(
        rows in 1..20_usize, width in 1..70_usize, groups in 1..4_usize, seed: u64
    ) {
        let mut numbers = Numbers(seed);
        let (gate_up, gradient) = (numbers.many(rows * 2 * width), numbers.many(rows * width));
        // A sum reads the first of them.
        stored_rounded(&Gates { width, gate_up, gradient }, &[0, 1, 2, 3, 7, 8], &[6])?;
        let (x, gradient) = (numbers.many(rows * width), numbers.many(rows * width));
        let modulation = numbers.many(groups * 3 * width);
        stored_rounded(&Modulations { columns: width, rows, x, modulation, gradient }, &[0, 3], &[])?;
    }

    #[test]
    fn factors_of_rows(rows in 1..60_usize, columns in 1..200_usize, count in 1..5_usize, seed: u64) {
        let mut numbers = Numbers(seed);
        let (x, gradient) = (numbers.many(rows * columns), numbers.many(rows * columns));
        let (factors, groups) = (numbers.many(count), (0..rows).map(|_| numbers.below(count)).collect());
        let operation = RowFactors { columns, x, factors, groups, gradient };
        agree(&operation, Precision::F32, within(rows * columns, 4.0))?;
    }

    #[test]
    fn columns_beside_others(rows in 1..60_usize, columns in 1..200_usize, more in 1..40_usize, seed: u64) {
        let mut numbers = Numbers(seed);
        let (x, out) = (numbers.many(rows * (columns + more - 1)), numbers.many(rows * (columns + more)));
        agree(&Beside { rows, columns, x, out }, Precision::F32, within(1, 4.0))?;
    }

    #[test]
    fn levels(rows in 1..60_usize, columns in 1..9_usize, seed: u64) {
        let mut numbers = Numbers(seed);
        let levels: Vec<u32> = (0..columns).map(|_| 2 + numbers.below(15)).collect();
        let wide = numbers.many(rows * columns).into_iter().map(|x| 4.0 * x);
        let is_clear = |(i, x): &(usize, f64)| {
            let last = f64::from(levels[i % columns]) - 1.0;
            (last * (x.tanh() + 1.0) / 2.0).fract() - 0.5
        };
        let x = wide.enumerate().map(|at| if is_clear(&at).abs() > 1e-4 { at.1 } else { 0.1 }).collect();
        let gradient = numbers.many(rows * columns);
        agree(&Codes { levels, x, gradient }, Precision::F32, within(1, 8.0))?;
    }

    #[test]
    fn points(rows in 1..60_usize, size in 1..100_usize, outputs in 1..20_usize, seed: u64) {
        let mut numbers = Numbers(seed);
        let mut offsets = numbers.many(rows * size);
        let (weights, mut scales) = (numbers.many(rows), numbers.many(rows));
        scales.iter_mut().step_by(3).for_each(|scale| *scale = 0.0);
        // What a silent row holds does not matter.
        offsets[0] = f64::INFINITY;
        let tokens = (0..rows).map(|_| numbers.below(outputs)).collect();
        let points = Points { size, vectors: numbers.many(outputs * size), tokens, rows: [weights, offsets, scales] };
        agree(&points, Precision::F32, within(1, 8.0))?;
    }

    #[test]
    fn gather_scatter_and_write(rows in 1..60_usize, columns in 1..200_usize, requested in 1..100_usize, seed: u64) {
        agree_of_chosen(rows, columns, requested, seed)?;
    }

    #[test]
    fn many_rows_of_few_ids_are_added_up(rows in 1..3_usize, columns in 1..40_usize, requested in 900..1500_usize, seed: u64) {
        agree_of_chosen(rows, columns, requested, seed)?;
    }
}

/// Rows of a table, requested at random.
fn agree_of_chosen(rows: usize, columns: usize, requested: usize, seed: u64) -> Result<(), TestCaseError> {
    let mut numbers = Numbers(seed);
    let table = numbers.many(rows * columns);
    let ids: Vec<u32> = (0..requested).map(|_| numbers.below(rows)).collect();
    // A row that occurs several times adds up to `requested` times it.
    agree(&Chosen { columns, table, ids }, Precision::F32, within(requested, 4.0 * requested as f64))
}
