//! What rows cost, and the gradients.

use super::*;
use crate::{
    CostKind, Evidence, Head, LinearShape, LossGradients, LossRows, RatioCost, RowCost, Targets, TokenVectors,
    WeightFormat,
};

/// A head, as it is or prepared; one that is prepared gets no gradient.
struct Losses {
    shape: LinearShape,
    hidden: Vec<f64>,
    head: Vec<f64>,
    bias: Option<Vec<f64>>,
    prepared: Option<WeightFormat>,
    soft_cap: Option<f64>,
    forbidden: Option<u32>,
    /// Points of the rows and vectors of the tokens.
    evidence: Option<[Vec<f64>; 2]>,
}

/// Coordinates of a vector.
const SIZE: usize = 5;

impl Losses {
    fn random(shape: LinearShape, prepared: bool, evidence: bool, numbers: &mut Numbers) -> Self {
        let LinearShape { rows, inputs, outputs } = shape;
        let (hidden, head) = (numbers.many(rows * inputs), numbers.many(outputs * inputs));
        let evidence = evidence.then(|| [numbers.many(rows * SIZE), numbers.many(outputs * SIZE)]);
        let bias = (numbers.below(2) == 0).then(|| numbers.many(outputs));
        let prepared = prepared.then_some(WeightFormat::F32);
        let soft_cap = (numbers.below(2) == 0).then_some(1.5);
        Self { shape, hidden, head, bias, prepared, soft_cap, forbidden: Some(0), evidence }
    }

    /// The costs with gradients and without, and the gradients.
    fn each<D: Device>(
        &self,
        device: &D,
        loss: impl Fn(
            LossRows<'_, D::Buffer, D::Prepared>,
            Option<LossGradients<'_, D::Buffer>>,
            Option<TokenVectors<'_, D::Buffer>>,
        ) -> Vec<f64>,
    ) -> Vec<D::Buffer> {
        let (hidden, head) = (up(device, &self.hidden), up(device, &self.head));
        let evidence = self.evidence.as_ref().map(|evidence| evidence.each_ref().map(|values| up(device, values)));
        let bias = self.bias.as_ref().map(|bias| up(device, bias));
        let LinearShape { inputs, outputs, .. } = self.shape;
        let prepared = self.prepared.map(|format| device.prepare((outputs, inputs), &head, format).unwrap());
        let rows = || LossRows {
            shape: self.shape,
            hidden: &hidden,
            head: prepared.as_ref().map_or(Head::Values(&head), Head::Prepared),
            bias: bias.as_ref(),
            soft_cap: self.soft_cap,
            forbidden: self.forbidden,
            evidence: evidence.as_ref().map(|[points, vectors]| Evidence { size: SIZE, points, vectors }),
        };
        let vectors = || evidence.as_ref().map(|[_, values]| TokenVectors { size: SIZE, values });
        let (mut d_hidden, mut d_head) = (up(device, &self.hidden), up(device, &self.head));
        let learnt = prepared.is_none().then_some(&mut d_head);
        let mut d_bias = bias.as_ref().map(|_| device.zeros(outputs).unwrap());
        let gradients = LossGradients { hidden: &mut d_hidden, head: learnt, bias: d_bias.as_mut() };
        let costs = loss(rows(), Some(gradients), vectors());
        assert_eq!(costs, loss(rows(), None, vectors()), "gradients do not change costs");
        let d_bias = d_bias.unwrap_or_else(|| device.zeros(0).unwrap());
        vec![up(device, &costs), d_hidden, d_head, d_bias]
    }
}

struct CrossEntropy {
    losses: Losses,
    targets: Vec<u32>,
    weights: Vec<f64>,
}

impl Operation for CrossEntropy {
    fn run<D: Device>(&self, device: &D) -> Vec<D::Buffer> {
        let targets = Targets { ids: &self.targets, weights: &self.weights };
        self.losses
            .each(device, |rows, gradients, _| device.linear_cross_entropy(rows, targets, gradients).unwrap().get())
    }
}

struct Costs {
    losses: Losses,
    costs: Vec<RowCost>,
}

impl Operation for Costs {
    fn run<D: Device>(&self, device: &D) -> Vec<D::Buffer> {
        self.losses.each(device, |rows, gradients, vectors| {
            let paid = device.linear_cost_rows(rows, &self.costs, vectors, gradients).unwrap().get();
            paid.iter().flat_map(|row| [row.cost, row.nll]).collect()
        })
    }
}

/// The gradients of logits are rounded once for all that reads them: those of products are as off as its factors, a
/// hundredth of the largest, and so is the sum that is a bias's.
fn gradients_in_bf16(operation: &impl Operation) -> Result<(), TestCaseError> {
    let exact = exact(Precision::Bf16);
    let expected = down(&exact, &operation.run(&exact));
    for device in gpus(Precision::Bf16) {
        let got = down(&device, &operation.run(&device));
        for (got, expected) in got.iter().zip(&expected) {
            let largest = expected.iter().filter(|x| x.is_finite()).fold(1.0_f64, |largest, x| largest.max(x.abs()));
            let one = |values: &[f64]| [values.to_vec()];
            compare(&device.describe(), &one(got), &one(expected), |_, _| largest / 100.0)?;
        }
    }
    Ok(())
}

/// A cost that only the host knows.
struct Read(Losses);

impl Operation for Read {
    fn run<D: Device>(&self, device: &D) -> Vec<D::Buffer> {
        let square = |row: usize, line: &mut [f32]| {
            for (column, value) in line.iter_mut().enumerate() {
                let forbidden = *value == f32::NEG_INFINITY;
                let half = if column % 2 == 0 { 0.5 } else { -0.25 };
                *value = if forbidden { 0.0 } else { (*value + (row % 3) as f32) * half };
            }
        };
        let (hidden, head) = (up(device, &self.0.hidden), up(device, &self.0.head));
        let (mut d_hidden, mut d_head) = (up(device, &self.0.hidden), up(device, &self.0.head));
        let (soft_cap, forbidden, evidence) = (self.0.soft_cap, self.0.forbidden, None);
        let head = Head::Values(&head);
        let rows = LossRows { shape: self.0.shape, hidden: &hidden, head, bias: None, soft_cap, forbidden, evidence };
        let gradients = LossGradients { hidden: &mut d_hidden, head: Some(&mut d_head), bias: None };
        device.linear_learn_rows(rows, &square, gradients).unwrap();
        vec![d_hidden, d_head]
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn cross_entropy(
        rows in prop_oneof![3 => 1..150_usize, 1 => 150..300_usize], inputs in 1..40_usize, outputs in 2..300_usize,
        prepared: bool, evidence: bool, seed: u64
    ) {
        let mut numbers = Numbers(seed);
        let losses = Losses::random(LinearShape { rows, inputs, outputs }, prepared, evidence, &mut numbers);
        // Now and then a row is scored against what is forbidden.
        let targets: Vec<u32> = (0..rows).map(|_| numbers.below(outputs)).collect();
        let weights: Vec<f64> = (0..rows).map(|row| 0.25 + (row % 3) as f64).collect();
        let learning = Read(Losses::random(losses.shape, false, false, &mut numbers));
        // A logit is a sum of `inputs` products; its error enters a probability, and those are summed over rows.
        let size = 4.0 * inputs as f64;
        let entropy = CrossEntropy { losses, targets, weights };
        agree(&entropy, Precision::F32, within(rows + outputs, size))?;
        gradients_in_bf16(&entropy)?;
        agree(&learning, Precision::F32, within(rows + outputs, 4.0 * size))?;
    }

    #[test]
    fn costs_of_every_kind(
        rows in 1..40_usize, inputs in 1..20_usize, outputs in 4..90_usize, prepared: bool, masked: bool, seed: u64
    ) {
        let mut numbers = Numbers(seed);
        let losses = Losses::random(LinearShape { rows, inputs, outputs }, prepared, true, &mut numbers);
        let mask = masked.then_some(0);
        let costs = (0..rows).map(|row| {
            let target = 1 + numbers.below(outputs - 1);
            let shown = if masked && numbers.below(2) == 0 { 0 } else { 1 + numbers.below(outputs - 1) };
            let kind = match numbers.below(3) {
                0 => CostKind::CrossEntropy,
                1 => CostKind::Distance,
                _ => CostKind::Ratio(RatioCost {
                    shown,
                    alpha: 0.5,
                    text: 0.4 / outputs as f64,
                    masked: if masked { 0.1 } else { 0.0 },
                    mask,
                    posterior: numbers.below(2) == 0,
                }),
            };
            RowCost { target, weight: 0.25 + (row % 3) as f64, kind }
        });
        let costs: Vec<RowCost> = costs.collect();
        // A ratio is at most one over the probability that noise writes a token of text, and so is its slope.
        let size = (inputs * outputs) as f64;
        let costs = Costs { losses, costs };
        agree(&costs, Precision::F32, within(rows + outputs, 4.0 * size))?;
        gradients_in_bf16(&costs)?;
    }
}
