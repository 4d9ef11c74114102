//! Whole networks against a second implementation in PyTorch and f64 (golden/README.md): logits, costs, every gradient,
//! and the parameters after one and three steps of AdamW.

use aquatint_compute::{AdamW, AdamWState, Cpu, CpuPath, Cuda, Device, Element};
use aquatint_network::{Denoiser, Learner, Network, WholeRows};
use aquatint_testing::{Comparison, Example, Golden};

const CASES: [&str; 6] =
    ["plain", "grouped_documents", "time_conditioning", "self_conditioning", "two_streams", "causal"];

fn wide<D: Device>(device: &D, buffer: &D::Buffer) -> Vec<f64> {
    device.download(buffer).into_iter().map(Element::to_f64).collect()
}

/// Tolerances are for costs and gradients, and for parameters after optimiser steps, where a small gradient's sign may
/// decide.
fn compare<D: Device>(device: &D, tolerance: f64, after_steps: f64) {
    for case in CASES {
        let golden = Golden::load(case);
        let example = Example::golden(&golden);
        let mut network = Network::new(device.clone(), example.spec.clone(), 0).unwrap();
        golden.write_parameters("parameter", &mut network);
        let mut comparison = Comparison::new();

        let rows: Vec<u32> = example.rows.iter().map(|row| row.row).collect();
        let mut expected = golden.values("logits").to_vec();
        if let Some(mask) = example.spec.mask_token {
            for row in expected.chunks_exact_mut(example.spec.vocabulary_size) {
                row[mask as usize] = f64::NEG_INFINITY;
            }
        }
        // Logits come out in f32 whatever the device computes in.
        let logits: Vec<f64> = network.logits(&example.input(), &rows).unwrap().into_iter().map(f64::from).collect();
        comparison.check(&format!("{case} logits"), &logits, &expected, tolerance.max(1e-7));
        let measured = network.nll(&example.input(), &example.rows).unwrap();
        comparison.check(&format!("{case} measured costs"), &measured, golden.values("costs"), tolerance);

        let mut moments: Vec<(D::Buffer, D::Buffer)> = network
            .parameters()
            .iter()
            .map(|p| device.len(p.value))
            .map(|length| (device.zeros(length).unwrap(), device.zeros(length).unwrap()))
            .collect();
        for step in 1..=3 {
            network.clear_gradients();
            let costs = network.forward_backward(&example.input(), &example.rows).unwrap();
            if step == 1 {
                comparison.check(&format!("{case} costs"), &costs, golden.values("costs"), tolerance);
                for parameter in network.parameters() {
                    let name = format!("gradient.{}", parameter.info.name);
                    let given = wide(device, parameter.gradient);
                    comparison.check(&format!("{case} {name}"), &given, golden.values(&name), tolerance);
                }
            }
            let about = &golden.about["optimiser"];
            let number = |key: &str| about[key].as_f64().unwrap();
            let adamw = AdamW {
                learning_rate: number("lr"),
                beta1: about["betas"][0].as_f64().unwrap(),
                beta2: about["betas"][1].as_f64().unwrap(),
                epsilon: number("eps"),
                weight_decay: number("weight_decay"),
                step,
            };
            for (parameter, (first, second)) in network.parameters_mut().into_iter().zip(&mut moments) {
                let state = AdamWState { first, second, parameter: parameter.value };
                device.adamw(adamw, 1.0, parameter.gradient, state);
            }
            if step != 2 {
                golden.check_parameters(&format!("adamw{step}"), &network, after_steps, &mut comparison);
            }
        }
        comparison.finish();
    }
}

#[test]
fn the_specification_agrees_with_pytorch() {
    compare(&Cpu::<f64>::scalar(), 1e-11, 1e-9);
}

#[test]
fn the_specification_in_single_precision_agrees_with_pytorch() {
    compare(&Cpu::<f32>::scalar(), 2e-5, 2e-5);
}

#[test]
fn the_fast_path_agrees_with_pytorch() {
    compare(&Cpu::<f32>::new(CpuPath::best(), 2).unwrap(), 2e-5, 2e-5);
}

#[test]
fn a_gpu_agrees_with_pytorch() {
    for device in Cuda::tested() {
        compare(&device, 2e-5, 2e-5);
    }
}
