//! Canvases that were filled and are changed: what stays written, what is opened again, and what is predicted there.

use crate::chain::{Chain, END, MASK, process};
use crate::observing::models;
use aquatint_diffusion::{Canvas, Key, PositionState, TokenId, reopened_share};
use aquatint_generate::{GenerateError, Outcome, Predicted, Request, Settings, generate, predict};
use aquatint_network::{Denoiser, NetworkKind};
use std::ops::ControlFlow;

fn canvas(given: &[TokenId], open: usize, approximate: bool) -> Canvas {
    let mut canvas = Canvas::new();
    canvas.push_given(given);
    canvas.push_open(open, approximate, MASK);
    canvas
}

fn settings(name: &str, seed: u64) -> Settings {
    let builder = Settings::builder().steps(5).seed(seed);
    let builder = if name == "masked" { builder.remasking_named("cap:0.5").policy_named("ancestral") } else { builder };
    builder.build().unwrap()
}

#[test]
fn written_positions_stay_under_every_process_unless_they_are_opened_again() {
    for (name, network, process) in models() {
        let fill = |canvas: Canvas, seed| -> Outcome {
            let request = Request::new(canvas, settings(name, seed)).with_ends(Some(7)).with_forbidden(vec![8, 9]);
            let mut outcomes = generate(&network, process.as_ref(), &[request], &mut |_, _| ControlFlow::Continue(()));
            outcomes.remove(0).unwrap()
        };
        for seed in 0..8 {
            let first = fill(canvas(&[2, 3, 4], 12, true), seed).canvas;
            let mut opened = reopened_share(&first.committed_positions(), 0.4, Key::new(seed)).unwrap();
            if network.spec().kind() == NetworkKind::Causal {
                opened = first.committed_positions().into_iter().filter(|position| *position >= opened[0]).collect();
            }
            let edited = first.reopened(&opened).unwrap();
            let second = fill(edited.clone(), seed + 100);
            for position in 0..first.len() {
                if edited.is_open(position) {
                    let canvas = &second.canvas;
                    assert!(canvas.is_committed(position) || canvas.is_closed(position), "{name} {position}");
                } else {
                    assert_eq!(second.canvas.tokens()[position], first.tokens()[position], "{name} {position}");
                    assert_eq!(second.canvas.state(position), first.state(position), "{name} {position}");
                }
            }
            assert!(second.statistics.tokens <= edited.open_positions().len(), "{name}");
        }
    }
}

#[test]
fn no_end_is_written_before_what_stays() {
    // Every text wants to end at once.
    let law = vec![0.0, 0.97, 0.01, 0.01, 0.01];
    let chain = Chain::new(law.clone(), vec![law; 5]);
    let fill = |canvas: Canvas| {
        let request = Request::new(canvas, settings("masked", 3)).with_ends(Some(END));
        generate(&chain, &process(), &[request], &mut |_, _| ControlFlow::Continue(())).remove(0).unwrap()
    };
    use PositionState::{Closed, Committed, Open};
    let written = |states: [PositionState; 6]| {
        let positions: Vec<(TokenId, PositionState)> = [2, 3, 4, 2, 3, 4].into_iter().zip(states).collect();
        let span = canvas(&[], 6, true).spans().to_vec();
        fill(Canvas::from_positions(&positions, &span).unwrap())
    };
    let outcome = written([Open, Open, Committed, Open, Committed, Committed]);
    assert_eq!(outcome.tokens.len(), 6);
    assert_eq!((outcome.tokens[2], &outcome.tokens[4..]), (4, &[3, 4][..]));
    assert_eq!(outcome.statistics.tokens, 3);
    let outcome = written([Open, Committed, Open, Open, Open, Open]);
    assert!(outcome.canvas.is_committed(1) && outcome.canvas.is_closed(5), "{outcome:?}");
    let outcome = written([Open, Open, Committed, Committed, Closed, Closed]);
    assert_eq!((outcome.tokens.len(), outcome.canvas.is_closed(4)), (4, true));
}

fn predictions(
    (denoiser, process): (&dyn Denoiser, &dyn aquatint_diffusion::Process),
    canvas: &Canvas,
    positions: &[usize],
    count: usize,
) -> Result<Vec<Predicted>, GenerateError> {
    let request = Request::new(canvas.clone(), Settings::default()).with_ends(Some(7)).with_forbidden(vec![8, 9]);
    predict(denoiser, process, &request, positions, count)
}

#[test]
fn predictions_of_the_chain_are_exact_whatever_stands_there() {
    let chain = Chain::mixed(6);
    let mut text = canvas(&[2, 3, 5, 4, 3, 2], 0, false);
    text.push_open(2, false, MASK);
    let found = predict(&chain, &process(), &Request::new(text, Settings::default()), &[4, 1], 5).unwrap();
    let truth = chain.predictions(&[2, MASK, 5, 4, MASK, 2, MASK, MASK]);
    assert_eq!(found.iter().map(|predicted| predicted.position).collect::<Vec<_>>(), [1, 4]);
    for predicted in found {
        let law = &truth[predicted.position];
        let entropy: f64 = law.iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum();
        assert!((predicted.entropy - entropy).abs() < 1e-5 && predicted.alternatives.len() == 5);
        for (token, p) in predicted.alternatives {
            assert!((p - law[token as usize]).abs() < 1e-6);
        }
    }
}

#[test]
fn a_prediction_does_not_depend_on_what_the_position_holds() {
    for (name, network, process) in models() {
        let model: (&dyn Denoiser, &dyn aquatint_diffusion::Process) = (&network, process.as_ref());
        let text = |token: TokenId, next: TokenId| canvas(&[2, 3, token, next, 4, 5], 0, false);
        let of = |canvas: &Canvas| predictions(model, canvas, &[2], 40).unwrap().remove(0);
        let found = of(&text(11, 6));
        assert_eq!(found, of(&text(12, 6)), "{name}");
        assert!(!found.alternatives.iter().any(|(token, _)| [7, 8, 9].contains(token)), "{name}");
        assert!((found.alternatives.iter().map(|(_, p)| p).sum::<f64>() - 1.0).abs() < 1e-4, "{name}");
        let entropy: f64 = found.alternatives.iter().map(|(_, p)| -p * p.ln()).sum();
        assert!((found.entropy - entropy).abs() < 1e-3, "{name}");
        let is_causal = network.spec().kind() == NetworkKind::Causal;
        assert_eq!(found == of(&text(11, 13)), is_causal, "{name}");
        // Several at once, and what a causal network reads before them stays.
        let two = predictions(model, &text(11, 6), &[3, 2], 3).unwrap();
        assert_eq!((two.len(), two[0].position, two[1].alternatives.len()), (2, 2, 3), "{name}");
        assert_eq!(two[0].alternatives[..] == found.alternatives[..3], is_causal, "{name}");
        for (positions, given) in [(&[6][..], "6"), (&[], "empty")] {
            let error = predictions(model, &text(11, 6), positions, 3).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`positions` is {given}; allowed: ")), "{error}");
        }
    }
}
