//! The network's inputs beside the tokens: the time, and its previous prediction.

use crate::chain::{Chain, MASK, process, spec};
use aquatint_compute::ReadRow;
use aquatint_diffusion::{Canvas, Layout, WordVectors};
use aquatint_generate::{Request, Settings, generate};
use aquatint_network::{HostDenoiser, NetworkError, NetworkInput, NetworkSpec, SelfConditioningSpec, TimeSpec};
use std::ops::ControlFlow;
use std::sync::Mutex;

/// What one forward pass was given.
#[derive(Debug, Clone, PartialEq)]
struct Heard {
    tokens: Vec<u32>,
    positions: Vec<u32>,
    times: Option<Vec<f32>>,
    prediction: Option<Vec<f32>>,
    rows: Vec<u32>,
}

/// A chain that writes down what it is given.
struct Listener {
    chain: Chain,
    spec: NetworkSpec,
    heard: Mutex<Vec<Heard>>,
}

impl Listener {
    fn new(change: impl Fn(&mut NetworkSpec)) -> Self {
        let mut spec = spec(3, Layout::Full);
        change(&mut spec);
        // Both tokens are equally likely everywhere, so every prediction is (0, 1/2, 1/2).
        let even = vec![0.0, 0.5, 0.5];
        Self { chain: Chain::new(even.clone(), vec![even; 3]), spec, heard: Mutex::new(Vec::new()) }
    }

    fn hear(self, canvas: Canvas, settings: Settings) -> Vec<Heard> {
        let request = Request::new(canvas, settings);
        let mut outcomes = generate(&self, &process(), &[request], &mut |_, _| ControlFlow::Continue(()));
        outcomes.remove(0).unwrap();
        self.heard.into_inner().unwrap()
    }
}

impl HostDenoiser for Listener {
    fn host_spec(&self) -> &NetworkSpec {
        &self.spec
    }

    fn host_word_vectors(&self) -> WordVectors {
        WordVectors::default()
    }

    fn host_rows(&self, input: &NetworkInput<'_>, rows: &[u32], read: &ReadRow<'_>) -> Result<(), NetworkError> {
        self.heard.lock().unwrap().push(Heard {
            tokens: input.tokens.to_vec(),
            positions: input.positions.to_vec(),
            times: input.times.map(<[f32]>::to_vec),
            prediction: input.self_conditioning.map(<[f32]>::to_vec),
            rows: rows.to_vec(),
        });
        self.chain.host_rows(input, rows, read)
    }
}

fn canvas() -> Canvas {
    let mut canvas = Canvas::new();
    canvas.push_given(&[2]);
    canvas.push_open(3, false, MASK);
    canvas
}

#[test]
fn a_network_without_conditioning_hears_of_neither() {
    let heard = Listener::new(|_| {}).hear(canvas(), Settings::builder().steps(3).build().unwrap());
    assert!(heard.iter().all(|heard| heard.times.is_none() && heard.prediction.is_none()));
    assert_eq!(heard.iter().map(|heard| heard.rows.len()).collect::<Vec<_>>(), [3, 2, 1]);
}

#[test]
fn the_network_time_is_the_share_of_noise_on_the_canvas() {
    let settings = Settings::builder().steps(3).block_length(1).build().unwrap();
    let heard = Listener::new(|spec| spec.time_conditioning = Some(TimeSpec::new(8))).hear(canvas(), settings);
    let times: Vec<f32> = heard.iter().flat_map(|heard| heard.times.clone().unwrap()).collect();
    assert_eq!(times, [0.75, 0.5, 0.25]);
}

#[test]
fn the_last_prediction_comes_back_sure_of_what_is_known() {
    let settings = Settings::builder().steps(3).block_length(1).build().unwrap();
    let heard =
        Listener::new(|spec| spec.self_conditioning = Some(SelfConditioningSpec::Added)).hear(canvas(), settings);
    assert_eq!(heard[0].prediction, Some(vec![0.0; 12]));
    // One prediction for each noisy position, also those of later blocks.
    assert_eq!(heard[0].rows, [1, 2, 3]);
    let row = |token: u32| (0..3).map(|t| if t == token { 1.0 } else { 0.0 }).collect::<Vec<f32>>();
    let noise = vec![0.0, 0.5, 0.5];
    let expected = [row(2), row(heard[1].tokens[1]), noise.clone(), noise].concat();
    let prediction = heard[1].prediction.clone().unwrap();
    assert!(prediction.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6), "{prediction:?} is not {expected:?}");
}

#[test]
fn what_fell_away_is_not_read_and_positions_have_no_gap() {
    let mut canvas = Canvas::new();
    canvas.push_open(3, true, MASK);
    canvas.push_given(&[2]);
    canvas.push_open(1, false, MASK);
    canvas.push_padding(2, MASK);
    let settings = Settings::builder().steps(3).block_length(2).temperature(0.0).build().unwrap();
    let listener = Listener::new(|_| {});
    // Token 1 ends; at temperature 0 the lowest of two equally likely ids wins, so the first span ends at once.
    let request = Request::new(canvas, settings).with_ends(Some(1));
    let mut outcomes = generate(&listener, &process(), &[request], &mut |_, _| ControlFlow::Continue(()));
    let outcome = outcomes.remove(0).unwrap();
    assert_eq!(outcome.tokens, [2, 2]);
    let last = listener.heard.into_inner().unwrap().pop().unwrap();
    assert_eq!((last.tokens, last.positions, last.rows), (vec![2, MASK], vec![0, 1], vec![1]));
}
