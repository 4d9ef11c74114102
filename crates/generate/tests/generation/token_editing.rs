//! Committed tokens that are edited: up to where, which ones, and where nothing may be.

use crate::chain::{Chain, END, MASK, process, spec};
use aquatint_diffusion::{Alphabet, Canvas, Layout, Linear};
use aquatint_generate::{
    Change, ChangeKind, DenoisingEvent, Outcome, Request, Settings, SettingsBuilder, StopAt, generate, ineffective,
};
use std::ops::ControlFlow;
use std::sync::Arc;

/// The outcome of a request, and the changes of each of its steps.
fn fill(chain: &Chain, canvas: Canvas, settings: SettingsBuilder) -> (Outcome, Vec<Vec<Change>>) {
    let request = Request::new(canvas, settings.build().unwrap()).with_ends(Some(END));
    let mut steps = Vec::new();
    let mut outcomes = generate(chain, &process(), &[request], &mut |_, event| {
        if let DenoisingEvent::Step { changes, .. } = event {
            steps.push(changes.to_vec());
        }
        ControlFlow::Continue(())
    });
    (outcomes.remove(0).unwrap(), steps)
}

fn edited(changes: &[Change]) -> impl Iterator<Item = &Change> {
    changes.iter().filter(|change| change.kind == ChangeKind::Edited)
}

/// Tokens that were all drawn at once, each from its own prediction, are edited until the prediction about none of them has
/// another one above the threshold.
#[test]
fn editing_ends_where_no_other_token_is_above_the_threshold() {
    const THRESHOLD: f64 = 0.25;
    let chain = Chain::mixed(6);
    let (mut edits, mut ended) = (0, 0);
    for seed in 0..40 {
        let mut canvas = Canvas::new();
        canvas.push_given(&[2, 5]);
        canvas.push_open(7, false, MASK);
        let settings =
            Settings::builder().steps(1).top_k(1).temperature(0.5).seed(seed).logit_bias([(seed as u32 % 6, 1.0)]);
        let (outcome, steps) = fill(&chain, canvas, settings.edit_threshold(THRESHOLD).edit_steps(30));
        let tokens = outcome.canvas.tokens();
        assert_eq!(tokens[..2], [2, 5], "what is given is not edited");
        assert_eq!(steps.len(), outcome.statistics.forward_passes, "each step reads the canvas");
        edits += steps.iter().flat_map(|changes| edited(changes)).count();
        for change in steps.iter().flat_map(|changes| edited(changes)) {
            assert!(change.confidence > THRESHOLD && change.position >= 2, "{change:?}");
        }
        if steps.len() <= 30 {
            ended += 1;
            assert!(steps.last().unwrap().is_empty(), "the last step shows that nothing is edited any more");
        }
    }
    assert!(edits > 20 && ended > 10, "{edits} edits, {ended} of 40 ended by themselves");
}

#[test]
fn no_more_steps_only_edit_than_are_allowed() {
    let chain = Chain::mixed(6);
    for edit_steps in 0..4 {
        let mut canvas = Canvas::new();
        canvas.push_open(6, false, MASK);
        let settings = Settings::builder().steps(2).seed(3).edit_threshold(0.0).edit_steps(edit_steps);
        let (outcome, steps) = fill(&chain, canvas, settings);
        assert!(steps.len() <= 2 + edit_steps && outcome.canvas.open_positions().is_empty());
        // At threshold 0 and temperature 1 a draw differs somewhere at nearly every step.
        assert_eq!(steps.len(), 2 + edit_steps);
    }
}

/// A block that is edited may get its end token late, or lose it again: what stands behind it falls away when the block is
/// done.
#[test]
fn an_edited_end_token_counts_when_its_block_is_done() {
    let chain = Chain::mixed(4);
    let mut lost = 0;
    for seed in 0..60 {
        let mut canvas = Canvas::new();
        canvas.push_open(5, true, MASK);
        let settings = Settings::builder().steps(2).seed(seed).edit_threshold(0.1).edit_steps(3);
        let (outcome, steps) = fill(&chain, canvas, settings.stop_at(StopAt::Block));
        let was_end = |step: usize, change: &Change| {
            steps[..step].iter().flatten().rfind(|before| before.position == change.position).map(|before| before.token)
        };
        for (step, changes) in steps.iter().enumerate() {
            lost += edited(changes).filter(|change| was_end(step, change) == Some(END)).count();
        }
        let first = outcome.canvas.tokens().iter().position(|token| *token == END).unwrap_or(4);
        for position in 0..5 {
            assert_eq!(outcome.canvas.is_closed(position), position > first, "seed {seed}");
        }
    }
    assert!(lost > 0, "no end token was edited");
}

#[test]
fn what_was_committed_before_is_not_edited() {
    let chain = Chain::mixed(6);
    let mut canvas = Canvas::new();
    canvas.push_open(6, false, MASK);
    canvas.commit(1, 2).unwrap();
    canvas.commit(4, 3).unwrap();
    for seed in 0..20 {
        let settings = Settings::builder().steps(2).seed(seed).edit_threshold(0.0);
        let (outcome, steps) = fill(&chain, canvas.clone(), settings);
        assert_eq!((outcome.canvas.tokens()[1], outcome.canvas.tokens()[4]), (2, 3));
        assert!(steps.iter().flat_map(|changes| edited(changes)).count() > 0);
    }
}

#[test]
fn editing_is_refused_where_it_has_no_meaning() {
    let settings = |threshold: f64| Settings::builder().edit_threshold(threshold).build();
    let refused = settings(1.5).unwrap_err();
    assert_eq!(refused.to_string(), "`edit_threshold` is 1.5; allowed: from 0 to 1");
    let mut canvas = Canvas::new();
    canvas.push_open(4, false, MASK);
    let request = Request::new(canvas, settings(0.5).unwrap());
    let uniform = aquatint_diffusion::process("uniform", Alphabet { size: 6, mask: None }, Arc::new(Linear)).unwrap();
    let refused = ineffective(&request, &spec(6, Layout::Full), uniform.as_ref()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "`edit_threshold` is 0.5; allowed: 1, since the process uniform writes open positions until they are final"
    );
    let causal = aquatint_diffusion::LeftToRight::new(MASK);
    let refused = ineffective(&request, &spec(6, Layout::Causal), &causal).unwrap_err();
    assert_eq!(refused.to_string(), "`edit_threshold` is 0.5; allowed: 1");
}
