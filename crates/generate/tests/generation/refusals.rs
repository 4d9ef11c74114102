//! What the loop refuses, in the words that people read.

use crate::chain::{Chain, MASK, process, spec};
use aquatint_compute::ReadRow;
use aquatint_diffusion::{Canvas, Layout, WordVectors};
use aquatint_generate::{GenerateError, Request, Settings, SettingsBuilder, generate};
use aquatint_network::{Denoiser, HostDenoiser, NetworkError, NetworkInput, NetworkSpec};
use std::ops::ControlFlow;

/// A network that answers every row with the same logits.
struct Constant(NetworkSpec, Vec<f32>);

impl HostDenoiser for Constant {
    fn host_spec(&self) -> &NetworkSpec {
        &self.0
    }

    fn host_word_vectors(&self) -> WordVectors {
        WordVectors::default()
    }

    fn host_rows(&self, _: &NetworkInput<'_>, rows: &[u32], read: &ReadRow<'_>) -> Result<(), NetworkError> {
        (0..rows.len()).for_each(|index| read(index, &mut self.1.clone()));
        Ok(())
    }
}

pub(crate) fn refused(denoiser: &dyn Denoiser, request: Request) -> String {
    let mut outcomes = generate(denoiser, &process(), &[request], &mut |_, _| ControlFlow::Continue(()));
    message(&outcomes.remove(0).unwrap_err())
}

pub(crate) fn message(error: &GenerateError) -> String {
    let source = std::error::Error::source(error).map(|source| format!(" <- {source}")).unwrap_or_default();
    let hint = error.hint().map(|hint| format!(" | {hint}")).unwrap_or_default();
    format!("{error}{source}{hint}")
}

fn canvas(given: usize, open: usize) -> Canvas {
    let mut canvas = Canvas::new();
    canvas.push_given(&vec![2; given]);
    canvas.push_open(open, false, MASK);
    canvas
}

#[test]
fn canvases_that_the_network_cannot_take_are_refused_with_what_is_allowed() {
    let chain = Chain::mixed(4);
    let of = |given, open| refused(&chain, Request::new(canvas(given, open), Settings::default()));
    assert_eq!(
        of(20, 13),
        "the canvas has 33 positions, 20 of them given; the model reads at most 32 | ask for at most 12 open positions \
         (`max_tokens`), or shorten the given text"
    );
    assert_eq!(
        of(40, 1),
        "the canvas has 41 positions, 40 of them given; the model reads at most 32 | shorten the given text"
    );
    assert_eq!(of(3, 0), "the canvas has no open position | leave a place open, as in `The [[3]] sat.`");
    let mut foreign = Canvas::new();
    foreign.push_given(&[2, 9]);
    foreign.push_open(1, false, MASK);
    assert_eq!(
        refused(&chain, Request::new(foreign, Settings::default())),
        "position 1 of the canvas holds token 9; the model's vocabulary has 4 | the tokenizer and the weights do not \
         belong together"
    );
}

#[test]
fn a_block_length_has_to_be_the_layouts() {
    let settings = |length| Settings::builder().block_length(length).build().unwrap();
    let blocks = Constant(spec(3, Layout::Block { length: 4 }), vec![0.0; 3]);
    assert_eq!(
        refused(&blocks, Request::new(canvas(0, 12), settings(6))),
        "`block_length` is 6; allowed: 4, or a divisor of it for sub-blocks | the network was trained on blocks of this length; leave it out"
    );
    let causal = Constant(spec(3, Layout::Causal), vec![0.0; 3]);
    assert!(
        refused(&causal, Request::new(canvas(0, 2), Settings::default()))
            .starts_with("the process masked does not fit the model, whose attention is causal")
    );
}

#[test]
fn a_broken_network_is_found_out() {
    let of = |logits: Vec<f32>| {
        let network = Constant(spec(3, Layout::Full), logits);
        refused(&network, Request::new(canvas(1, 2), Settings::default()))
    };
    assert_eq!(
        of(vec![0.0, f32::NAN, 0.0]),
        "the model's prediction at position 1 cannot be used <- the logit of token 1 is not a finite number | the checkpoint \
         is broken; take an earlier one"
    );
    assert_eq!(of(vec![0.0, 0.0]), "the network failed <- the network answered for 0 rows where 2 were asked for");
    let forbidding = Request::new(canvas(0, 1), Settings::default()).with_forbidden(vec![1, 2]);
    assert!(refused(&Constant(spec(3, Layout::Full), vec![0.0; 3]), forbidding).ends_with("forbid fewer tokens"));
}

#[test]
fn settings_name_what_is_wrong_with_them() {
    let of =
        |change: fn(SettingsBuilder) -> SettingsBuilder| message(&change(Settings::builder()).build().unwrap_err());
    assert_eq!(
        of(|b| b.steps(0)),
        "`steps` is 0; allowed: 1 or more | as many steps as open positions fill them one by one"
    );
    assert_eq!(
        of(|b| b.block_length(0)),
        "`block_length` is 0; allowed: 1 or more | leave it out to fill all positions together"
    );
    assert_eq!(
        of(|b| b.guidance_scale(-1.0)),
        "`guidance_scale` is -1; allowed: 0 or more, at most 1000000 | 1 is neutral, 2 a usual value"
    );
    for scale in [f64::NAN, f64::INFINITY, 1e7, 1e38] {
        assert!(Settings::builder().guidance_scale(scale).build().is_err(), "{scale}");
    }
    assert_eq!(of(|b| b.temperature(-0.1)), "`temperature` is -0.1; allowed: 0 or more | 0 takes the likeliest token");
    assert!(of(|b| b.policy_named("best")).starts_with("`policy` is \"best\"; allowed: confidence, margin"));
    assert!(of(|b| b.remasking_named("cap:2")).starts_with("`remasking` is \"cap:2\"; allowed: none, cap:ETA"));
    assert!(of(|b| b.top_p(0.0)).starts_with("`top_p` is 0; allowed"));
    assert!(of(|b| b.top_k(0)).starts_with("`top_k` is 0; allowed"));
    assert!(of(|b| b.min_p(-0.1)).starts_with("`min_p` is -0.1; allowed: from 0 to 1"));
    assert!(of(|b| b.frequency_penalty(3.0)).starts_with("`frequency_penalty` is 3; allowed: from -2 to 2"));
    assert_eq!(
        of(|b| b.logit_bias([(5, 1.0), (7, -101.0)])),
        "`logit_bias` is -101 for token 7; allowed: from -100 to 100 | 0 changes nothing, -100 bans a token"
    );
    assert!(Settings::builder().logit_bias([(7, f64::NAN)]).build().is_err());
    assert_eq!(
        of(|b| b.logit_bias([(7, 1.0), (5, 3.0), (7, 2.0)])),
        "`logit_bias` is 1 and 2 for token 7; allowed: one number for each token | leave one of them out"
    );
    let foreign = Settings::builder().logit_bias([(4, 1.0)]).build().unwrap();
    assert_eq!(
        refused(&Chain::mixed(4), Request::new(canvas(0, 1), foreign)),
        "`logit_bias` is for token 4; allowed: for tokens below 4, the size of the model's vocabulary | tokens are named by \
         the ids of this model's own tokenizer"
    );
}
