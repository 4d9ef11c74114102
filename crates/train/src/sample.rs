//! A sample canvas now and then: figures say how much was learned, a text shows what.

use crate::TrainError;
use crate::recipe::Resolved;
use aquatint_diffusion::{Canvas, Process};
use aquatint_generate::{Request, Settings, generate};
use aquatint_network::Denoiser;
use aquatint_vocabulary::{Role, Vocabulary};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

/// Open positions behind the prompt, where the canvas has room for them.
const OPEN: usize = 96;
/// Of a tail too unlikely to be meant, nothing.
const TOP_P: f64 = 0.95;

/// Fills a canvas that begins with the recipe's prompt; the step is the seed, so that no two samples are alike. Where the run is to
/// stop, the canvas is left as it is.
pub(crate) fn fill(
    denoiser: &dyn Denoiser,
    process: &dyn Process,
    recipe: &Resolved,
    vocabulary: &Vocabulary,
    step: u64,
    stop: &AtomicBool,
) -> Result<String, TrainError> {
    let ends = vocabulary.ends();
    let mut prompt = vocabulary.encode_whole(&recipe.run.sample_prompt)?.tokens;
    // At least one position is left to fill.
    prompt.truncate(recipe.data.canvas_length - 1);
    let open = OPEN.min(recipe.data.canvas_length - prompt.len());
    let mut canvas = Canvas::new();
    canvas.push_given(&prompt);
    // Any token will do to lay the canvas out: the process draws what open positions hold.
    canvas.push_open(open, !ends.is_empty(), vocabulary.role(Role::Mask).unwrap_or_default());
    let settings = Settings::builder().steps(open.div_ceil(2)).top_p(TOP_P).seed(step).build()?;
    let forbidden = vocabulary.non_text_tokens(denoiser.spec().vocabulary_size);
    let request = Request::new(canvas, settings).with_ends(ends).with_forbidden(forbidden);
    let go_on = || if stop.load(Ordering::SeqCst) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let outcomes = generate(denoiser, process, &[request], &mut |_, _| go_on());
    outcomes.into_iter().map(|outcome| Ok(vocabulary.decode(&outcome?.tokens))).collect()
}
