//! Generation on an emulated GPU that replays sequences of launches: the same canvases as without, and few launches left.

use crate::chain::{MASK, process, spec};
use aquatint_compute::{Cuda, GraphFigures, Memory, Precision, WeightFormat};
use aquatint_diffusion::{Canvas, Layout};
use aquatint_generate::{Outcome, Request, Settings, generate};
use aquatint_network::{
    AttentionSpec, Denoiser, FeedForwardSpec, InferenceNetwork, LayerSpec, Network, NetworkSpec, NormSpec, TensorData,
};
use std::ops::ControlFlow;

/// Layers as the built-in model has them.
fn tales(layers: usize, length: usize) -> NetworkSpec {
    let attention = AttentionSpec { qk_norm: Some(NormSpec::default()), ..AttentionSpec::new(2, 2, 8) };
    let layers = vec![LayerSpec::new(attention, FeedForwardSpec::new(32)); layers];
    NetworkSpec { width: 32, layers, context_length: length, ..spec(40, Layout::Full) }
}

/// In the form in which it is shipped: matrices of integers.
fn of_integers(device: &Cuda, spec: &NetworkSpec) -> InferenceNetwork<Cuda> {
    let network = Network::new(device.clone(), spec.clone(), 1).unwrap();
    let tensors: Vec<(String, Vec<f32>)> = network
        .parameters()
        .into_iter()
        .map(|parameter| (parameter.info.name.to_owned(), device.download(parameter.value)))
        .collect();
    InferenceNetwork::new(device.clone(), spec.clone(), WeightFormat::Int4 { group: 8 }, &mut |name| {
        let found = tensors.iter().find(|(known, _)| known == name);
        found.map(|(_, values)| TensorData::Real(values.clone()))
    })
    .unwrap()
}

/// Two tokens at each step.
fn fill(network: &dyn Denoiser, given: usize, steps: usize) -> Outcome {
    let mut canvas = Canvas::new();
    canvas.push_given(&(0..given).map(|token| 2 + token as u32 % 30).collect::<Vec<u32>>());
    canvas.push_open(2 * steps, false, MASK);
    let settings = Settings::builder().steps(steps).temperature(0.8).seed(7).build().unwrap();
    let requests = [Request::new(canvas, settings)];
    let mut filled = generate(network, &process(), &requests, &mut |_, _| ControlFlow::Continue(()));
    filled.remove(0).unwrap()
}

fn since(before: &GraphFigures, after: &GraphFigures) -> GraphFigures {
    GraphFigures {
        calls: after.calls - before.calls,
        replayed: after.replayed - before.replayed,
        changed: after.changed - before.changed,
        replays: after.replays - before.replays,
        captured: after.captured - before.captured,
        writes: after.writes - before.writes,
        late_writes: after.late_writes - before.late_writes,
        reads: after.reads - before.reads,
        allocations: after.allocations - before.allocations,
        ..after.clone()
    }
}

/// Canvases of 24 rows of which 20 are open at first: padded to 32, and then to 16.
#[test]
fn replays_fill_the_same_canvas_and_leave_few_launches() {
    for (precision, is_whole) in [(Precision::F32, false), (Precision::Bf16, true)] {
        let emulated = || Some(Cuda::emulated(None, 0)?.with_precision(precision));
        let (Some(plain), Some(device)) = (emulated(), emulated()) else { return };
        let (spec, device) = (tales(2, 24), device.with_graphs());
        let network = |device: &Cuda| -> Box<dyn Denoiser> {
            if is_whole {
                Box::new(of_integers(device, &spec))
            } else {
                Box::new(Network::new(device.clone(), spec.clone(), 1).unwrap())
            }
        };
        let (alone, replaying) = (network(&plain), network(&device));
        let expected = fill(&*alone, 4, 10);
        let figures = || device.graph_figures().unwrap();
        assert!(fill(&*replaying, 4, 10) == expected, "{precision}");
        // What comes once more has come before.
        let before = figures();
        assert!(fill(&*replaying, 4, 10) == expected, "{precision}");
        let during = since(&before, &figures());
        println!("{precision}: {before:?}\nthen {during:?}");
        assert_eq!((during.refusal, during.allocations), (None, 0));
        let (calls, replayed) = (during.calls, during.replayed);
        assert!(replayed as f64 > 0.7 * calls as f64, "{precision}: {replayed} of {calls} calls are replayed");
        // One copy to the host, and one wait, for each step.
        assert_eq!(during.reads, 10);
    }
}
