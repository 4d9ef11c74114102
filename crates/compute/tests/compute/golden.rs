//! Every operation of a device against PyTorch in f64 (golden/operations/make.py), forward and backward.

use aquatint_compute::{
    Activation, AdamW, AdamWState, AttentionBackward, AttentionOperands, AttentionShape, BackwardInput, BackwardWeight,
    Cpu, CpuPath, Device, Element, Head, HeadNormGradients, HeadNorms, LinearOperands, LinearShape, LossGradients,
    LossRows, Modulation, RmsNorm, RmsNormBackward, Rope, RopeShape, ShiftScale, Targets, Visibility, softmax_row,
};
use aquatint_testing::{Comparison, Golden};
use std::ops::Range;

const ROWS: usize = 7;
const COLUMNS: usize = 10;
const SHAPE: AttentionShape = AttentionShape { heads: 4, key_value_heads: 2, head_size: 6 };

/// A device under test with the golden file.
struct Check<D: Device> {
    device: D,
    golden: Golden,
    comparison: Comparison,
    tolerance: f64,
}

impl<D: Device> Check<D> {
    /// A golden tensor on the device.
    fn get(&self, name: &str) -> D::Buffer {
        let values: Vec<D::Element> = self.golden.values(name).iter().map(|&v| D::Element::from_f64(v)).collect();
        self.device.upload(&values).unwrap()
    }

    /// A buffer of a golden tensor's length that holds one number.
    fn filled(&self, name: &str, value: f64) -> D::Buffer {
        self.device.upload(&vec![D::Element::from_f64(value); self.golden.values(name).len()]).unwrap()
    }

    /// An output to be overwritten, whatever is in it.
    fn output(&self, name: &str) -> D::Buffer {
        self.filled(name, 123.0)
    }

    /// A gradient to be accumulated into.
    fn ones(&self, name: &str) -> D::Buffer {
        self.filled(name, 1.0)
    }

    fn same(&mut self, name: &str, given: &D::Buffer) {
        self.compare(name, given, 0.0);
    }

    /// A result that was added to ones.
    fn accumulated(&mut self, name: &str, given: &D::Buffer) {
        self.compare(name, given, 1.0);
    }

    fn compare(&mut self, name: &str, given: &D::Buffer, before: f64) {
        let given: Vec<f64> = self.device.download(given).into_iter().map(|v| v.to_f64() - before).collect();
        self.comparison.check(name, &given, self.golden.values(name), self.tolerance);
    }

    fn indices(&self, name: &str) -> D::Indices {
        self.device.upload_indices(&self.golden.ids(name)).unwrap()
    }

    fn products(&mut self) {
        let device = self.device.clone();
        let shape = LinearShape { rows: ROWS, inputs: COLUMNS, outputs: 5 };
        let (x, weight, d_out) = (self.get("linear.x"), self.get("linear.w"), self.get("linear.d_out"));
        let bias = self.get("linear.bias");
        for accumulate in [false, true] {
            let before = if accumulate { 1.0 } else { 0.0 };
            let mut out = self.ones("linear.out");
            let operands = LinearOperands { shape, x: &x, weight: &weight, bias: Some(&bias), accumulate };
            device.linear(operands, &mut out);
            self.compare("linear.out", &out, before);
            let mut d_x = self.ones("linear.x");
            let operands = BackwardInput { shape, d_out: &d_out, weight: &weight, accumulate };
            device.linear_backward_input(operands, &mut d_x);
            self.compare("linear.d_x", &d_x, before);
        }
        let (mut d_w, mut d_bias) = (self.ones("linear.w"), self.ones("linear.bias"));
        let operands = BackwardWeight { shape, d_out: &d_out, x: &x };
        device.linear_backward_weight(operands, &mut d_w, Some(&mut d_bias));
        self.accumulated("linear.d_w", &d_w);
        self.accumulated("linear.d_bias", &d_bias);

        let shape = LinearShape { rows: ROWS, inputs: COLUMNS, outputs: 6 };
        let (p, table) = (self.get("mixture.p"), self.get("mixture.table"));
        let mut out = self.output("mixture.out");
        let operands = BackwardInput { shape, d_out: &p, weight: &table, accumulate: false };
        device.linear_backward_input(operands, &mut out);
        self.same("mixture.out", &out);
        let mut d_table = self.ones("mixture.table");
        let operands = BackwardWeight { shape, d_out: &p, x: &self.get("mixture.d_out") };
        device.linear_backward_weight(operands, &mut d_table, None);
        self.accumulated("mixture.d_table", &d_table);

        let ids = self.indices("gather.ids");
        let mut out = self.output("gather.out");
        device.gather(COLUMNS, &self.get("gather.table"), &ids, &mut out);
        self.same("gather.out", &out);
        let mut d_table = self.ones("gather.table");
        device.scatter_add(COLUMNS, &self.get("gather.d_out"), &ids, &mut d_table);
        self.accumulated("gather.d_table", &d_table);
    }

    fn norms(&mut self) {
        let device = self.device.clone();
        for (name, weighted) in [("rms_norm", true), ("rms_norm_plain", false)] {
            let x = self.get(&format!("{name}.x"));
            let weight = weighted.then(|| self.get("rms_norm.weight"));
            let weight = weight.as_ref();
            let mut out = self.output(&format!("{name}.out"));
            let mut inverse_rms = device.zeros(ROWS).unwrap();
            let operands = RmsNorm { columns: COLUMNS, epsilon: 1e-3, x: &x, weight };
            device.rms_norm(operands, &mut out, &mut inverse_rms);
            self.same(&format!("{name}.out"), &out);
            let d_out = self.get(&format!("{name}.d_out"));
            for accumulate in [false, true] {
                let mut d_x = self.ones(&format!("{name}.x"));
                let mut d_weight = weighted.then(|| self.ones("rms_norm.weight"));
                let (inverse_rms, d_out) = (&inverse_rms, &d_out);
                let operands = RmsNormBackward { columns: COLUMNS, x: &x, weight, inverse_rms, d_out, accumulate };
                device.rms_norm_backward(operands, &mut d_x, d_weight.as_mut());
                self.compare(&format!("{name}.d_x"), &d_x, if accumulate { 1.0 } else { 0.0 });
                if let Some(d_weight) = d_weight {
                    self.accumulated("rms_norm.d_weight", &d_weight);
                }
            }
        }
    }

    fn positions(&mut self) {
        let device = self.device.clone();
        let shape = RopeShape::new(SHAPE, 500.0, 1e-3);
        let positions = self.indices("rope.positions");
        for (name, normed) in [("rope", false), ("rope_normed", true)] {
            let packed = self.get(&format!("{name}.packed"));
            let weights = normed.then(|| (self.get("rope_normed.query"), self.get("rope_normed.key")));
            let norms = weights.as_ref().map(|(query, key)| HeadNorms { query, key });
            let operands = || Rope { shape, positions: &positions, packed: &packed, norms };
            let mut out = self.output(&format!("{name}.out"));
            device.rope(operands(), &mut out);
            self.same(&format!("{name}.out"), &out);
            let mut d_packed = self.output(&format!("{name}.packed"));
            let mut d_weights = normed.then(|| (self.ones("rope_normed.query"), self.ones("rope_normed.key")));
            let d_norms = d_weights.as_mut().map(|(query, key)| HeadNormGradients { query, key });
            let d_out = self.get(&format!("{name}.d_out"));
            device.rope_backward(operands(), &d_out, &mut d_packed, d_norms);
            self.same(&format!("{name}.d_packed"), &d_packed);
            if let Some((d_query, d_key)) = d_weights {
                self.accumulated("rope_normed.d_query", &d_query);
                self.accumulated("rope_normed.d_key", &d_key);
            }
        }
    }

    fn attention(&mut self) {
        let device = self.device.clone();
        for (name, visibility) in visibilities() {
            let packed = self.get(&format!("attention_{name}.packed"));
            let visible = device.upload_visibility(&visibility).unwrap();
            let forward = || AttentionOperands { shape: SHAPE, visible: &visible, packed: &packed };
            let mut out = self.output(&format!("attention_{name}.out"));
            let mut log_sum_exp = device.zeros(visibility.len() * SHAPE.heads).unwrap();
            device.attention(forward(), &mut out, &mut log_sum_exp);
            self.same(&format!("attention_{name}.out"), &out);
            let d_out = self.get(&format!("attention_{name}.d_out"));
            let mut d_packed = self.output(&format!("attention_{name}.packed"));
            let operands =
                AttentionBackward { forward: forward(), out: &out, log_sum_exp: &log_sum_exp, d_out: &d_out };
            device.attention_backward(operands, &mut d_packed);
            self.same(&format!("attention_{name}.d_packed"), &d_packed);
        }
    }

    fn elementwise(&mut self) {
        let device = self.device.clone();
        let gate_up = self.get("swiglu.gate_up");
        let mut out = self.output("swiglu.out");
        device.glu(Activation::Swiglu, COLUMNS, &gate_up, &mut out);
        self.same("swiglu.out", &out);
        let mut d_gate_up = self.output("swiglu.gate_up");
        device.glu_backward(Activation::Swiglu, COLUMNS, &gate_up, &self.get("swiglu.d_out"), &mut d_gate_up);
        self.same("swiglu.d_gate_up", &d_gate_up);

        let x = self.get("silu.x");
        let mut out = self.output("silu.out");
        device.silu(&x, &mut out);
        self.same("silu.out", &out);
        let mut d_x = self.output("silu.x");
        device.silu_backward(&x, &self.get("silu.d_out"), &mut d_x);
        self.same("silu.d_x", &d_x);

        // Three times x less twice x is x, and so is once x where the other operand must not be read.
        let mut y = self.get("silu.x");
        device.scale_add(3.0, &x, -2.0, &mut y);
        self.same("silu.x", &y);
        let mut y = self.filled("silu.x", f64::NAN);
        device.scale_add(1.0, &x, 0.0, &mut y);
        self.same("silu.x", &y);

        // Rows of probabilities are the host's, in f32.
        let mut logits: Vec<f32> = self.golden.values("softmax.x").iter().map(|&v| v as f32).collect();
        logits.chunks_exact_mut(COLUMNS).for_each(softmax_row);
        let probabilities: Vec<f64> = logits.into_iter().map(f64::from).collect();
        self.comparison.check("softmax.out", &probabilities, self.golden.values("softmax.out"), 1e-6);
    }

    fn modulation(&mut self) {
        let device = self.device.clone();
        let groups = self.indices("modulate.groups");
        let (stride, at) = (3 * COLUMNS, ShiftScale { shift: 2 * COLUMNS, scale: COLUMNS });
        let (x, modulation) = (self.get("modulate.x"), self.get("modulate.modulation"));
        let operands = || Modulation { columns: COLUMNS, groups: &groups, stride, x: &x, modulation: &modulation };
        let mut out = self.output("modulate.out");
        device.modulate(operands(), at, &mut out);
        self.same("modulate.out", &out);
        let (mut d_x, mut d_m) = (self.output("modulate.x"), self.ones("modulate.modulation"));
        let d_out = self.get("modulate.d_out");
        device.modulate_backward(operands(), at, &d_out, &mut d_x, &mut d_m);
        self.same("modulate.d_x", &d_x);
        self.accumulated("modulate.d_modulation", &d_m);

        let (x, modulation) = (self.get("gated_add.x"), self.get("gated_add.modulation"));
        let operands = || Modulation { columns: COLUMNS, groups: &groups, stride, x: &x, modulation: &modulation };
        let mut residual = self.get("gated_add.residual");
        device.gated_add(operands(), COLUMNS, &mut residual);
        self.same("gated_add.out", &residual);
        let (mut d_x, mut d_m) = (self.output("gated_add.x"), self.ones("gated_add.modulation"));
        let d_out = self.get("gated_add.d_out");
        device.gated_add_backward(operands(), COLUMNS, &d_out, &mut d_x, &mut d_m);
        self.same("gated_add.d_x", &d_x);
        self.accumulated("gated_add.d_modulation", &d_m);
    }

    fn loss(&mut self) {
        let device = self.device.clone();
        let shape = LinearShape { rows: ROWS, inputs: COLUMNS, outputs: 9 };
        for (name, forbidden) in [("cross_entropy", None), ("cross_entropy_forbidden", Some(2))] {
            let (hidden, head) = (self.get(&format!("{name}.hidden")), self.get(&format!("{name}.head")));
            let ids = self.golden.ids(&format!("{name}.targets"));
            let weights = self.golden.values(&format!("{name}.weights")).to_vec();
            let expected = self.golden.values(&format!("{name}.costs")).to_vec();
            let costs = |gradients| {
                let rows = LossRows {
                    shape,
                    hidden: &hidden,
                    head: Head::Values(&head),
                    bias: None,
                    soft_cap: None,
                    forbidden,
                    evidence: None,
                };
                let targets = Targets { ids: &ids, weights: &weights };
                device.linear_cross_entropy(rows, targets, gradients).unwrap().get()
            };
            self.comparison.check(&format!("{name} alone"), &costs(None), &expected, self.tolerance);
            let (mut d_hidden, mut d_head) =
                (self.output(&format!("{name}.hidden")), self.ones(&format!("{name}.head")));
            let with = costs(Some(LossGradients { hidden: &mut d_hidden, head: Some(&mut d_head), bias: None }));
            self.comparison.check(&format!("{name}.costs"), &with, &expected, self.tolerance);
            self.same(&format!("{name}.d_hidden"), &d_hidden);
            self.accumulated(&format!("{name}.d_head"), &d_head);
        }
    }

    fn optimiser(&mut self) {
        let device = self.device.clone();
        let mut parameter = self.get("adamw.start");
        let length = device.len(&parameter);
        let (mut first, mut second) = (device.zeros(length).unwrap(), device.zeros(length).unwrap());
        for step in 1..=3 {
            let adamw = AdamW { learning_rate: 0.03, beta1: 0.8, beta2: 0.97, epsilon: 1e-6, weight_decay: 0.2, step };
            // The gradient comes four times too large, and the update scales it back.
            let mut gradient = device.zeros(length).unwrap();
            device.scale_add(4.0, &self.get(&format!("adamw.gradient{step}")), 1.0, &mut gradient);
            let state = AdamWState { first: &mut first, second: &mut second, parameter: &mut parameter };
            device.adamw(adamw, 0.25, &gradient, state);
            self.same(&format!("adamw.after{step}"), &parameter);
        }
        let squares: f64 = self.golden.values("adamw.start").iter().map(|v| v * v).sum();
        let given = device.sum_of_squares(&self.get("adamw.start"));
        self.comparison.check("sum of squares", &[given], &[squares], self.tolerance);
    }
}

/// The masks of the golden file, as intervals.
fn visibilities() -> Vec<(&'static str, Visibility)> {
    let single = |rows: &[Range<u32>]| rows.iter().map(|range| [range.clone(), 0..0]).collect::<Vec<_>>();
    let new = |lengths: &[u32], rows| {
        let mut start = 0;
        let sequence = |length: &u32| {
            start += length;
            start - length..start
        };
        Visibility::new(lengths.iter().map(sequence).collect(), rows).unwrap()
    };
    let causal: Vec<Range<u32>> = (0..4).map(|i| 0..i + 1).chain((4..7).map(|i| 4..i + 1)).collect();
    let documents = [0..3, 0..3, 0..3, 3..5, 3..5, 5..6, 6..7];
    let blocks = [0..3, 0..3, 0..3, 0..6, 0..6, 0..6, 0..7];
    // Five noisy rows in blocks of two, then five clean ones.
    let noisy = [[0..2, 0..0], [0..2, 0..0], [2..4, 5..7], [2..4, 5..7], [4..5, 5..9]];
    let clean = [5..7, 5..7, 5..9, 5..9, 5..10].map(|range| [range, 0..0]);
    vec![
        ("full", Visibility::full(&[4, 3])),
        ("causal", new(&[4, 3], single(&causal))),
        ("documents", new(&[6, 1], single(&documents))),
        ("block", new(&[7], single(&blocks))),
        ("two_streams", new(&[10], noisy.into_iter().chain(clean).collect())),
    ]
}

fn check<D: Device>(device: D, tolerance: f64) {
    let mut check = Check { device, golden: Golden::load("operations"), comparison: Comparison::new(), tolerance };
    check.products();
    check.norms();
    check.positions();
    check.attention();
    check.elementwise();
    check.modulation();
    check.loss();
    check.optimiser();
    check.comparison.finish();
}

#[test]
fn the_specification_agrees_with_pytorch() {
    check(Cpu::<f64>::scalar(), 1e-12);
}

#[test]
fn every_path_in_single_precision_agrees_with_pytorch() {
    for path in CpuPath::available() {
        check(Cpu::<f32>::new(path, 2).unwrap(), 1e-5);
    }
}
