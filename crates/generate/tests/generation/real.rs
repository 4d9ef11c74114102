//! A small real network: the promises that hold for a denoiser in closed form hold for arithmetic in f32 as well.

use crate::chain::{END, MASK, process, spec};
use aquatint_compute::{Cpu, CpuPath};
use aquatint_diffusion::{Canvas, Layout};
use aquatint_generate::{Outcome, Request, Settings, generate};
use aquatint_network::{Denoiser, Network, NetworkSpec};
use std::ops::ControlFlow;

fn small(change: impl Fn(&mut NetworkSpec)) -> NetworkSpec {
    let mut spec = NetworkSpec {
        width: 32,
        layers: 2,
        heads: 2,
        key_value_heads: 1,
        head_size: 16,
        feed_forward_width: 48,
        qk_norm: true,
        ..spec(40, Layout::Full)
    };
    change(&mut spec);
    spec
}

/// Requests of different lengths, policies, guidance and remasking.
fn unlike() -> Vec<Request> {
    let request = |given: u32, open: usize, approximate: bool, change: fn(Settings) -> Settings| {
        let mut canvas = Canvas::new();
        canvas.push_given(&(2..2 + given).collect::<Vec<u32>>());
        canvas.push_open(open, approximate, MASK);
        canvas.push_given(&[5, 6]);
        let settings = change(Settings::builder().steps(5).seed(u64::from(given)).build().unwrap());
        Request::new(canvas, settings).with_end(Some(END))
    };
    let guided = |_| Settings::builder().steps(4).guidance_scale(2.0).policy("margin").seed(3).build().unwrap();
    let remasked = |_| Settings::builder().steps(9).remasking("cap:0.2").policy("ancestral").build().unwrap();
    let blocks = |_| Settings::builder().steps(2).block_length(4).policy("entropy").top_k(5).build().unwrap();
    vec![
        request(1, 7, false, |settings| settings),
        request(9, 11, true, guided),
        request(4, 20, false, remasked),
        request(17, 12, false, blocks),
        request(0, 1, false, |settings| settings),
    ]
}

fn fill(network: &dyn Denoiser, requests: &[Request]) -> Vec<Outcome> {
    generate(network, &process(), requests, &mut |_, _| ControlFlow::Continue(())).unwrap()
}

#[test]
fn a_batch_changes_nothing_on_any_path_thread_count_or_network() {
    let changes: [fn(&mut NetworkSpec); 4] = [
        |_| {},
        |spec| spec.self_conditioning = true,
        |spec| spec.time_conditioning = Some(8),
        |spec| spec.attention = Layout::Block { length: 4 },
    ];
    let paths = CpuPath::available();
    for (change, path) in changes.into_iter().flat_map(|change| paths.iter().map(move |path| (change, *path))) {
        let network = |threads| Network::new(Cpu::<f32>::new(path, threads).unwrap(), small(change), 1).unwrap();
        let (one, two) = (network(1), network(2));
        let together = fill(&two, &unlike());
        for (request, outcome) in unlike().iter().zip(&together) {
            assert_eq!(&fill(&one, std::slice::from_ref(request))[0], outcome, "{path}");
            assert!(outcome.canvas.open_positions().is_empty());
        }
    }
}
