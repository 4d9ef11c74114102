//! Mixtures of experts: choices, sums over experts, and products of rows sorted by expert.

use super::*;
use crate::{
    Activation, Combine, Factor, GluOperands, GroupBackwardWeight, GroupedOperands, Linear, LinearShape,
    PreparedOperands, RouteBackward, Router, RouterLogits, RouterScore, RowGroup, WeightFormat,
};

/// The choice of experts and the gradient of their weights.
struct Routing {
    router: Router,
    logits: Vec<f64>,
    bias: Option<Vec<f64>>,
    /// The first row of each block that chooses together, and the number of rows.
    blocks: Option<Vec<u32>>,
    gradient: Vec<f64>,
}

impl Routing {
    /// Whether the choice is clear: no expert and no group is as good as another but for rounding.
    fn is_clear(&self) -> bool {
        let apart = |mut keys: Vec<f64>| {
            keys.sort_by(f64::total_cmp);
            keys.windows(2).all(|two| two[1] - two[0] > 1e-4)
        };
        let mut best = vec![f64::NEG_INFINITY; self.router.experts];
        let rows_are_clear = self.logits.chunks(self.router.experts).all(|logits| {
            let sum: f64 = logits.iter().map(|z| z.exp()).sum();
            let score = |z: &f64| match self.router.score {
                RouterScore::Softmax => z.exp() / sum,
                RouterScore::Sigmoid => 1.0 / (1.0 + (-z).exp()),
            };
            let bias = |e: usize| self.bias.as_ref().map_or(0.0, |bias| bias[e]);
            let keys: Vec<f64> = logits.iter().enumerate().map(|(e, z)| score(z) + bias(e)).collect();
            best.iter_mut().zip(&keys).for_each(|(best, key)| *best = best.max(*key));
            let groups = keys.chunks(self.router.experts / self.router.groups).map(|group| {
                let mut group = group.to_vec();
                group.sort_by(f64::total_cmp);
                group.iter().rev().take(2).sum()
            });
            apart(groups.collect()) && apart(keys)
        });
        rows_are_clear && (self.router.per_block.is_none() || apart(best))
    }
}

impl Operation for Routing {
    fn run<D: Device>(&self, device: &D) -> Vec<D::Buffer> {
        let logits = up(device, &self.logits);
        let bias = self.bias.as_ref().map(|bias| up(device, bias));
        let rows = self.logits.len() / self.router.experts;
        let mut weights = device.zeros(rows * self.router.per_token).unwrap();
        let blocks = self.blocks.as_ref().map(|blocks| device.upload_indices(blocks).unwrap());
        let operands = RouterLogits { logits: &logits, bias: bias.as_ref(), blocks: blocks.as_ref() };
        let chosen = device.route(&self.router, operands, &mut weights).unwrap();
        let chosen_values: Vec<f64> = chosen.iter().map(|&expert| f64::from(expert)).collect();
        let (chosen, d_weights) = (device.upload_indices(&chosen).unwrap(), up(device, &self.gradient));
        let mut d_logits = device.zeros(self.logits.len()).unwrap();
        let operands = RouteBackward { logits: &logits, chosen: &chosen, d_weights: &d_weights };
        device.route_backward(&self.router, operands, &mut d_logits);
        vec![up(device, &chosen_values), weights, d_logits]
    }
}

/// The sum over experts and its gradients.
struct Sums {
    columns: usize,
    per_token: usize,
    places: Vec<u32>,
    weights: Vec<f64>,
    sorted: Vec<f64>,
    gradient: Vec<f64>,
}

impl Operation for Sums {
    fn run<D: Device>(&self, device: &D) -> Vec<D::Buffer> {
        let &Self { columns, per_token, .. } = self;
        let [weights, sorted, d_out] = [&self.weights, &self.sorted, &self.gradient].map(|values| up(device, values));
        let places = device.upload_indices(&self.places).unwrap();
        let zeros = |len| device.zeros(len).unwrap();
        let mut out = zeros(self.gradient.len());
        let (mut d_weights, mut d_sorted) = (zeros(self.weights.len()), zeros(self.sorted.len()));
        let operands = || Combine { columns, per_token, places: &places, weights: &weights, sorted: &sorted };
        device.combine(operands(), &mut out);
        device.combine_backward(operands(), &d_out, &mut d_weights, &mut d_sorted);
        vec![out, d_weights, d_sorted]
    }
}

/// Products of groups of rows, each with its own matrices.
struct Groups {
    shape: LinearShape,
    /// Rows of each group.
    counts: Vec<usize>,
    format: WeightFormat,
    x: Vec<f64>,
    /// A gate and what it is for, of each group.
    matrices: Vec<[Vec<f64>; 2]>,
    gradient: Vec<f64>,
}

impl Groups {
    fn new(counts: Vec<usize>, (inputs, outputs): (usize, usize), format: WeightFormat, numbers: &mut Numbers) -> Self {
        let shape = LinearShape { rows: counts.iter().sum(), inputs, outputs };
        let (x, gradient) = (numbers.many(shape.rows * inputs), numbers.many(shape.rows * outputs));
        let matrices = counts.iter().map(|_| [(); 2].map(|()| numbers.many(outputs * inputs))).collect();
        Self { shape, counts, format, x, matrices, gradient }
    }

    fn groups<W>(&self, weights: impl IntoIterator<Item = W>) -> Vec<RowGroup<W>> {
        let mut start = 0;
        let groups = self.counts.iter().zip(weights).map(|(&count, weight)| {
            start += count;
            RowGroup { rows: start - count..start, weight }
        });
        groups.collect()
    }

    fn prepared<D: Device>(&self, device: &D) -> Vec<[D::Prepared; 2]> {
        let shape = (self.shape.outputs, self.shape.inputs);
        let prepare = |values: &Vec<f64>| device.prepare(shape, &up(device, values), self.format).unwrap();
        self.matrices.iter().map(|pair| pair.each_ref().map(prepare)).collect()
    }
}

/// Forward products.
struct Forward<'a>(&'a Groups);

impl Operation for Forward<'_> {
    fn run<D: Device>(&self, device: &D) -> Vec<D::Buffer> {
        let Groups { shape, x, .. } = self.0;
        let (shape, x, prepared) = (*shape, up(device, x), self.0.prepared(device));
        let mut outputs = [(); 3].map(|()| device.zeros(shape.rows * shape.outputs).unwrap());
        let groups = self.0.groups(prepared.iter().map(|[gate, _]| Factor::Prepared(gate)));
        device.grouped_linear(GroupedOperands { shape, x: &x, groups: &groups }, &mut outputs[0]);
        let groups = self.0.groups(prepared.iter().map(|[gate, up]| (gate, up)));
        let gated = || GroupedOperands { shape, x: &x, groups: &groups };
        device.grouped_glu(Activation::Swiglu, gated(), &mut outputs[1]);
        device.grouped_glu(Activation::Geglu, gated(), &mut outputs[2]);
        outputs.into()
    }
}

/// Products with matrices that are learned, and gradients. Every other matrix is not learned.
struct Learned<'a>(&'a Groups);

impl Operation for Learned<'_> {
    fn run<D: Device>(&self, device: &D) -> Vec<D::Buffer> {
        let Groups { shape, x, matrices, gradient, .. } = self.0;
        let (shape, x, d_out, prepared) = (*shape, up(device, x), up(device, gradient), self.0.prepared(device));
        let values: Vec<D::Buffer> = matrices.iter().map(|[gate, _]| up(device, gate)).collect();
        let groups = self.0.groups(values.iter().map(Factor::Values));
        let mut out = device.zeros(shape.rows * shape.outputs).unwrap();
        device.grouped_linear(GroupedOperands { shape, x: &x, groups: &groups }, &mut out);
        let mixed = values.iter().zip(&prepared).enumerate().map(|(i, (values, [prepared, _]))| match i % 2 {
            0 => Factor::Values(values),
            _ => Factor::Prepared(prepared),
        });
        let groups = self.0.groups(mixed);
        let mut d_x = device.zeros(shape.rows * shape.inputs).unwrap();
        device.grouped_backward_input(GroupedOperands { shape, x: &d_out, groups: &groups }, &mut d_x);
        let mut results = vec![out, d_x];
        for group in groups {
            // Added to what is there.
            let mut d_weight = up(device, &matrices[0][0]);
            let operands = GroupBackwardWeight { shape, d_out: &d_out, x: &x, rows: group.rows };
            device.grouped_backward_weight(operands, &mut d_weight);
            results.push(d_weight);
        }
        results
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn routing(
        rows in 1..20_usize, groups in 1..5_usize, size in 1..40_usize, score in 0..2_usize, biased: bool,
        normalised: bool, seed: u64
    ) {
        let mut numbers = Numbers(seed);
        let groups_per_token = 1 + numbers.below(groups) as usize;
        let per_token = 1 + numbers.below((groups_per_token * size).min(8)) as usize;
        let experts = groups * size;
        let score = [RouterScore::Softmax, RouterScore::Sigmoid][score];
        let per_block = None;
        let router = Router { experts, per_token, score, groups, groups_per_token, per_block, normalised, scale: 1.5 };
        let bias = biased.then(|| numbers.many(experts).into_iter().map(|b| 0.2 * b).collect());
        let gradient = numbers.many(rows * per_token);
        let mut routing = Routing { router, logits: Vec::new(), bias, blocks: None, gradient };
        for _ in 0..rows {
            // Rows that are not clear are drawn again.
            let draw = || numbers.many(experts).into_iter().map(|z| 4.0 * z).collect();
            let rows = std::iter::repeat_with(draw).take(10_000);
            let row = rows
                .map(|logits| Routing { logits, bias: routing.bias.clone(), blocks: None, gradient: Vec::new(), router })
                .find(Routing::is_clear);
            prop_assume!(row.is_some());
            routing.logits.extend(row.into_iter().flat_map(|row| row.logits));
        }
        agree(&routing, Precision::F32, within(experts, 8.0))?;
    }

    #[test]
    fn routing_of_blocks(
        lengths in prop::collection::vec(1..5_usize, 1..5), experts in 1..20_usize, score in 0..2_usize, biased: bool,
        normalised: bool, seed: u64
    ) {
        let mut numbers = Numbers(seed);
        let per_block = 1 + numbers.below(experts) as usize;
        let per_token = 1 + numbers.below(per_block.min(8)) as usize;
        let score = [RouterScore::Softmax, RouterScore::Sigmoid][score];
        let router = Router {
            experts, per_token, score, groups: 1, groups_per_token: 1, per_block: Some(per_block), normalised, scale: 1.5,
        };
        let bias: Option<Vec<f64>> =
            biased.then(|| numbers.many(experts).into_iter().map(|b| 0.2 * b).collect());
        let mut blocks = vec![0];
        lengths.iter().for_each(|&length| blocks.push(blocks[blocks.len() - 1] + length as u32));
        let rows: usize = lengths.iter().sum();
        let gradient = numbers.many(rows * per_token);
        let mut routing = Routing { router, logits: Vec::new(), bias, blocks: Some(blocks), gradient };
        for length in lengths {
            // Blocks that are not clear are drawn again.
            let draw = || numbers.many(length * experts).into_iter().map(|z| 4.0 * z).collect();
            let blocks = std::iter::repeat_with(draw).take(10_000);
            let block = blocks
                .map(|logits| Routing { logits, bias: routing.bias.clone(), blocks: None, gradient: Vec::new(), router })
                .find(Routing::is_clear);
            prop_assume!(block.is_some());
            routing.logits.extend(block.into_iter().flat_map(|block| block.logits));
        }
        agree(&routing, Precision::F32, within(experts, 8.0))?;
    }

    #[test]
    fn sums_over_experts(rows in 1..30_usize, per_token in 1..9_usize, columns in 1..150_usize, seed: u64) {
        let mut numbers = Numbers(seed);
        let count = rows * per_token;
        let mut places: Vec<u32> = (0..count as u32).collect();
        (1..count).rev().for_each(|i| places.swap(i, numbers.below(i + 1) as usize));
        let (weights, sorted, gradient) =
            (numbers.many(count), numbers.many(count * columns), numbers.many(rows * columns));
        let sums = Sums { columns, per_token, places, weights, sorted, gradient };
        agree(&sums, Precision::F32, within(columns, columns as f64))?;
        stored_rounded(&sums, &[2], &[])?;
    }

    #[test]
    fn products_of_groups(
        counts in prop::collection::vec(1..60_usize, 1..5), units in 1..9_usize, outputs in 1..150_usize,
        format in 0..4_usize, half: bool, seed: u64
    ) {
        let formats = [WeightFormat::F32, WeightFormat::Bf16, WeightFormat::Int8, WeightFormat::Int4 { group: 8 }];
        let precision = if half { Precision::Bf16 } else { Precision::F32 };
        let groups = Groups::new(counts, (8 * units, outputs), formats[format], &mut Numbers(seed));
        let (rows, inputs) = (groups.shape.rows, groups.shape.inputs as f64);
        // As for products with one prepared matrix.
        let slack = if format >= 2 { 1.0 / 127.0 } else { 0.0 };
        let limit = 16.0 * inputs.sqrt().max(4.0) * U * 4.0 * inputs + slack;
        agree(&Forward(&groups), precision, Limits { cpu: |_, _| limit, gpu: Some(limit) })?;
        agree(&Learned(&groups), precision, within(outputs.max(rows), outputs.max(rows).max(8 * units) as f64))?;
    }

    #[test]
    fn a_row_of_a_group_is_multiplied_as_if_it_were_alone(
        counts in prop::collection::vec(prop_oneof![1..8_usize, 90..110_usize], 1..6), units in 1..40_usize,
        outputs in 1..300_usize, format in 0..4_usize, seed: u64
    ) {
        let formats = [WeightFormat::F32, WeightFormat::Bf16, WeightFormat::Int8, WeightFormat::Int4 { group: 8 }];
        let groups = Groups::new(counts, (8 * units, outputs), formats[format], &mut Numbers(seed));
        let inputs = groups.shape.inputs;
        for device in processors(Precision::F32).into_iter().chain([Cpu::<f32>::scalar()]) {
            let given = Forward(&groups).run(&device);
            let prepared = groups.prepared(&device);
            for group in groups.groups(&prepared) {
                let [gate, ups] = group.weight;
                for row in group.rows.step_by(7) {
                    let x = up(&device, &groups.x[row * inputs..][..inputs]);
                    let mut alone = [(); 3].map(|()| device.zeros(outputs).unwrap());
                    let operands = PreparedOperands { rows: 1, x: &x, weight: gate, bias: None, accumulate: false };
                    device.linear_prepared(operands, &mut alone[0]);
                    for (activation, alone) in [Activation::Swiglu, Activation::Geglu].into_iter().zip(&mut alone[1..]) {
                        device.linear_glu(GluOperands { activation, rows: 1, x: &x, gate, up: ups }, alone);
                    }
                    for (given, alone) in given.iter().zip(&alone) {
                        prop_assert_eq!(&bits(given)[row * outputs..][..outputs], &bits(alone)[..], "{}", device.describe());
                    }
                }
            }
        }
    }
}
