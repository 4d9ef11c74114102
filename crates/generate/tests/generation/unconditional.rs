//! The prompt that the unconditional branch of guidance reads.

use crate::chain::{MASK, process};
use crate::real::small;
use crate::refusals::refused;
use aquatint_compute::{Cpu, CpuPath};
use aquatint_diffusion::{Canvas, Key, Layout, TokenId, Uniforms};
use aquatint_generate::{Cache, Request, Settings, SettingsBuilder, generate};
use aquatint_network::Network;
use std::ops::ControlFlow;
use std::sync::Arc;

/// The draws of a seed, counted from where the hole begins.
#[derive(Debug)]
struct FromHole(usize);

impl Uniforms for FromHole {
    fn uniform(&self, position: usize, step: u64) -> f64 {
        Key::new(3).uniform(position - self.0, step)
    }
}

fn network(layout: Layout) -> Network<Cpu<f32>> {
    Network::new(Cpu::<f32>::new(CpuPath::best(), 1).unwrap(), small(|spec| spec.attention = layout), 1).unwrap()
}

/// What is written between a prompt and an end.
fn written(prompt: &[TokenId], change: impl Fn(SettingsBuilder) -> SettingsBuilder) -> Vec<TokenId> {
    written_by_a_model_that_begins_with(None, prompt, change)
}

/// The same of a model all of whose texts begin with a token.
fn written_by_a_model_that_begins_with(
    begin: Option<TokenId>,
    prompt: &[TokenId],
    change: impl Fn(SettingsBuilder) -> SettingsBuilder,
) -> Vec<TokenId> {
    let mut canvas = Canvas::new();
    canvas.push_padding(2, MASK);
    canvas.push_given(prompt);
    canvas.push_open(9, false, MASK);
    canvas.push_given(&[6]);
    let settings = change(Settings::builder().steps(5).policy_named("confidence")).build().unwrap();
    let request = Request::new(canvas, settings).with_begin(begin);
    let requests = [request.with_uniforms(Arc::new(FromHole(2 + prompt.len())))];
    let mut outcomes = generate(&network(Layout::Full), &process(), &requests, &mut |_, _| ControlFlow::Continue(()));
    let tokens = outcomes.remove(0).unwrap().tokens;
    tokens[prompt.len()..prompt.len() + 9].to_vec()
}

/// At scale 0 the prediction is the unconditional one: that of a canvas with the other prompt.
#[test]
fn at_scale_0_the_text_is_that_of_the_unconditional_prompt() {
    let given = [2, 3, 4, 5, 7, 8];
    for other in [&[][..], &[11, 12], &[9, 10, 11, 12, 13, 14]] {
        for cache in [Cache::None, Cache::Prefix, Cache::Dual] {
            let guided = written(&given, |settings| {
                settings.guidance_scale(0.0).unconditional_prompt(other.iter().copied()).block_length(4).cache(cache)
            });
            assert_eq!(guided, written(other, |settings| settings.block_length(4).cache(cache)), "{other:?}, {cache}");
            assert_ne!(guided, written(&given, |settings| settings.block_length(4).cache(cache)));
        }
    }
    let more = |scale| written(&given, |b| b.guidance_scale(scale).unconditional_prompt([11, 12]));
    assert_ne!(more(4.0), more(1.0));
}

/// The token with which all texts of a model begin is never hidden: it says which position is the first.
#[test]
fn what_begins_all_texts_is_read_by_the_unconditional_branch() {
    let given = [2, 3, 4, 5];
    let of = |begin, prompt: Option<&[TokenId]>| {
        written_by_a_model_that_begins_with(begin, &given, |settings| {
            let settings = settings.guidance_scale(0.0);
            prompt.iter().fold(settings, |settings, prompt| settings.unconditional_prompt(prompt.iter().copied()))
        })
    };
    let hidden = |prompt: &[TokenId]| of(None, Some(prompt));
    // What is hidden is behind it, and the end behind the hole, as without it.
    let behind = |begin: Option<TokenId>| of(begin, None);
    assert_ne!(behind(Some(2)), behind(None));
    assert_eq!(behind(Some(9)), behind(None), "a text that begins otherwise is hidden as a whole");
    // In front of a prompt it stands whether it is named or not.
    assert_eq!(of(Some(2), Some(&[])), hidden(&[2]));
    assert_eq!(of(Some(2), Some(&[7, 8])), hidden(&[2, 7, 8]));
    assert_eq!(of(Some(2), Some(&[2, 7, 8])), hidden(&[2, 7, 8]));
    assert_ne!(of(Some(2), Some(&[7, 8])), hidden(&[7, 8]));
}

#[test]
fn a_prompt_that_cannot_stand_there_is_refused() {
    let of = |layout, prompt: Vec<TokenId>| {
        let mut canvas = Canvas::new();
        canvas.push_given(&[2, 3]);
        canvas.push_open(4, false, MASK);
        let settings = Settings::builder().guidance_scale(2.0).unconditional_prompt(prompt).build().unwrap();
        refused(&network(layout), Request::new(canvas, settings))
    };
    let hint = "leave it out to have the given positions read as noise";
    let begun = {
        let mut canvas = Canvas::new();
        canvas.push_given(&[2, 3]);
        canvas.push_open(4, false, MASK);
        let settings = Settings::builder().guidance_scale(2.0).unconditional_prompt([3, 4]).build().unwrap();
        refused(&network(Layout::Full), Request::new(canvas, settings).with_begin(Some(2)))
    };
    assert_eq!(
        begun,
        format!(
            "`unconditional_prompt` is 2 tokens; allowed: up to 1, as many as stand before the first open position | {hint}"
        )
    );
    assert_eq!(
        of(Layout::Full, vec![2, 3, 4]),
        format!(
            "`unconditional_prompt` is 3 tokens; allowed: up to 2, as many as stand before the first open position | {hint}"
        )
    );
    assert_eq!(
        of(Layout::Block { length: 4 }, vec![2]),
        format!(
            "`unconditional_prompt` is 1 tokens; allowed: for models of tokens in which every position sees all others | \
             {hint}"
        )
    );
    assert!(
        of(Layout::Full, vec![40]).starts_with("`unconditional_prompt` is for token 40; allowed: for tokens below 40")
    );
}
