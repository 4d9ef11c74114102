//! The three products.

use super::*;
use crate::{BackwardInput, BackwardWeight, Linear, LinearOperands, LinearShape};

/// A dimension around the edges of tiles, panels and blocks.
fn dimension() -> impl Strategy<Value = usize> {
    prop_oneof![1..20_usize, 60..70_usize, 90..100_usize, 120..140_usize]
}

/// The length of a sum, sometimes of more than one block of bf16 pairs.
fn summed() -> impl Strategy<Value = usize> {
    prop_oneof![1..20_usize, 500..530_usize, 1020..1100_usize]
}

/// One of the products: the forward one, that of the input's gradient, or that of the weight's.
struct Product {
    which: usize,
    shape: LinearShape,
    factors: [Vec<f64>; 2],
    bias: Vec<f64>,
    out: Vec<f64>,
    accumulate: bool,
}

impl Operation for Product {
    fn run<D: Device>(&self, device: &D) -> Vec<D::Buffer> {
        let &Self { shape, accumulate, .. } = self;
        let [a, b] = self.factors.each_ref().map(|values| up(device, values));
        let (bias, mut out) = (up(device, &self.bias), up(device, &self.out));
        match self.which {
            0 => {
                let operands = |accumulate| LinearOperands { shape, x: &a, weight: &b, bias: Some(&bias), accumulate };
                let mut onto = device.uninitialised(self.out.len()).unwrap();
                device.linear_onto(operands(accumulate), &out, &mut onto);
                device.linear(operands(accumulate), &mut out);
                return vec![out, onto];
            }
            1 => device.linear_backward_input(BackwardInput { shape, d_out: &a, weight: &b, accumulate }, &mut out),
            _ => device.linear_backward_weight(BackwardWeight { shape, d_out: &a, x: &b }, &mut out, None),
        }
        vec![out]
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn products(m in dimension(), n in dimension(), k in summed(), which in 0..3_usize, accumulate: bool, half: bool, seed: u64) {
        let precision = if half { Precision::Bf16 } else { Precision::F32 };
        let shape = match which {
            0 => LinearShape { rows: m, outputs: n, inputs: k },
            1 => LinearShape { rows: m, outputs: k, inputs: n },
            _ => LinearShape { rows: k, outputs: m, inputs: n },
        };
        let mut numbers = Numbers(seed);
        let factors = [numbers.many(m * k), numbers.many(n * k)];
        let product = Product { which, shape, factors, bias: numbers.many(n), out: numbers.many(m * n), accumulate };
        // The same product of magnitudes is Σ|a b| + |bias| + |out|.
        let sizes = Product {
            factors: product.factors.each_ref().map(|values| magnitudes(values)),
            bias: magnitudes(&product.bias),
            out: magnitudes(&product.out),
            accumulate: true,
            ..product
        };
        let exact = exact(precision);
        let sizes = down(&exact, &sizes.run(&exact));
        let cpu = |which: usize, i: usize| (k + 4) as f64 * U * sizes[which][i];
        // Rounding to bf16 is exact in both, so that the bound is that of f32.
        let gpu = ((m + n) * k < 50_000).then(|| 32.0 * (k as f64).sqrt().max(4.0) * U);
        agree(&product, precision, Limits { cpu, gpu })?;
    }
}

/// The gradient of a bias, and products with parts of a sum on a GPU.
struct Bias {
    shape: LinearShape,
    d_out: Vec<f64>,
    x: Vec<f64>,
}

impl Operation for Bias {
    fn run<D: Device>(&self, device: &D) -> Vec<D::Buffer> {
        let (d_out, x) = (up(device, &self.d_out), up(device, &self.x));
        let (mut d_weight, mut d_bias) = (
            device.zeros(self.shape.outputs * self.shape.inputs).unwrap(),
            up(device, &self.d_out[..self.shape.outputs]),
        );
        let operands = BackwardWeight { shape: self.shape, d_out: &d_out, x: &x };
        device.linear_backward_weight(operands, &mut d_weight, Some(&mut d_bias));
        vec![d_weight, d_bias]
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn the_gradient_of_a_bias(rows in 1..600_usize, inputs in 0..5_usize, outputs in 1..60_usize, seed: u64) {
        let mut numbers = Numbers(seed);
        let shape = LinearShape { rows, inputs, outputs };
        let operation = Bias { shape, d_out: numbers.many(rows * outputs), x: numbers.many(rows * inputs) };
        // A processor adds row after row.
        agree(&operation, Precision::F32, within(rows * rows, 2.0))?;
    }
}

#[test]
fn a_sum_of_nothing_is_zero_or_what_was_there() {
    for device in processors(Precision::F32) {
        let linear = |shape, x, weight, accumulate, out: &mut Buffer<f32>| {
            device.linear(LinearOperands { shape, x, weight, bias: None, accumulate }, out);
        };
        let (nothing, w) = (device.zeros(0).unwrap(), device.zeros(6).unwrap());
        let shape = LinearShape { rows: 2, inputs: 0, outputs: 3 };
        let mut out = device.upload(&[5.0; 6]).unwrap();
        linear(shape, &nothing, &nothing, true, &mut out);
        assert_eq!(out.as_slice(), [5.0; 6]);
        linear(shape, &nothing, &nothing, false, &mut out);
        assert_eq!(out.as_slice(), [0.0; 6]);
        let shape = LinearShape { rows: 0, inputs: 2, outputs: 3 };
        let mut out = device.zeros(0).unwrap();
        linear(shape, &nothing, &w, false, &mut out);
    }
}

#[test]
fn a_product_that_passes_more_than_once_is_exact_on_integers() {
    // Long enough that the right factor is packed in several parts.
    let (m, n, k) = (8, 700, 9000);
    let mut numbers = Numbers(3);
    let mut small = |len: usize| (0..len).map(|_| f64::from(numbers.below(5)) - 2.0).collect::<Vec<f64>>();
    let product = Product {
        which: 2,
        shape: LinearShape { rows: k, outputs: m, inputs: n },
        factors: [small(m * k), small(n * k)],
        bias: Vec::new(),
        out: vec![0.0; m * n],
        accumulate: true,
    };
    for precision in [Precision::F32, Precision::Bf16] {
        agree(&product, precision, Limits { cpu: |_, _| 0.0, gpu: None }).unwrap();
    }
}
