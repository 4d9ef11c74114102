//! Blocks that lose and gain positions while they are edited.

use crate::chain::{Chain, END, MASK, process, spec};
use crate::described::Replay;
use aquatint_diffusion::{Canvas, Layout};
use aquatint_generate::{Outcome, Request, Settings, SettingsBuilder, generate, ineffective};
use std::ops::ControlFlow;

const DELETE: u32 = 4;
const INSERT: u32 = 5;

fn builder() -> SettingsBuilder {
    Settings::builder().edit_threshold(0.2).edit_steps(4).delete_token(DELETE).insert_token(INSERT)
}

fn fill(chain: &Chain, requests: &[Request], replays: &mut [Replay]) -> Vec<Outcome> {
    let outcomes = generate(chain, &process(), requests, &mut |index, event| {
        replays[index].follow(event);
        ControlFlow::Continue(())
    });
    outcomes.into_iter().collect::<Result<_, _>>().expect("good requests")
}

/// The events describe every change, also where positions were moved; what is given stays where it is, and neither of the
/// two tokens is left. Alone or in a batch, the canvas is the same.
#[test]
fn a_block_keeps_its_length_and_its_given_positions() {
    let chain = Chain::mixed(6);
    let policies = ["threshold:0.4", "confidence", "random", "ancestral", "dynamic:0.5"];
    let requests: Vec<Request> = (0..60)
        .map(|seed| {
            let mut canvas = Canvas::new();
            canvas.push_given(&[2, 3]);
            canvas.push_open(5, seed % 2 == 0, MASK);
            canvas.push_given(&[2]);
            canvas.push_open(3, false, MASK);
            let builder = builder().steps(1 + seed as usize % 4).policy_named(policies[seed as usize % 5]);
            let builder = if seed % 3 == 0 { builder.block_length(2) } else { builder };
            let builder = if seed % 4 == 0 { builder.guidance_scale(1.5) } else { builder };
            let builder = if seed % 7 == 0 { builder.edit_steps(0) } else { builder };
            Request::new(canvas, builder.seed(seed).build().unwrap()).with_ends(Some(END)).with_alternatives(2)
        })
        .collect();
    let mut replays: Vec<Replay> = requests.iter().map(|_| Replay::default()).collect();
    let together = fill(&chain, &requests, &mut replays);
    for ((request, outcome), replay) in requests.iter().zip(&together).zip(&replays) {
        let alone = fill(&chain, std::slice::from_ref(request), &mut [Replay::default()]);
        assert_eq!(&alone[0], outcome);
        let tokens = outcome.canvas.tokens();
        assert_eq!(replay.tokens, tokens);
        assert_eq!((tokens[0], tokens[1], tokens[7]), (2, 3, 2));
        assert!(outcome.canvas.open_positions().is_empty());
        let left = (0..11).filter(|p| !outcome.canvas.is_closed(*p) && [DELETE, INSERT, MASK].contains(&tokens[*p]));
        assert_eq!(left.count(), 0, "{tokens:?}");
    }
}

#[test]
fn what_cannot_be_inserted_or_deleted_is_refused() {
    let mut canvas = Canvas::new();
    canvas.push_open(4, false, MASK);
    let refused = |builder: SettingsBuilder| match builder.build() {
        Err(error) => error.to_string(),
        Ok(settings) => {
            let request = Request::new(canvas.clone(), settings);
            match ineffective(&request, &spec(6, Layout::Full), &process()) {
                Err(error) => error.to_string(),
                Ok(found) => found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            }
        }
    };
    assert_eq!(refused(Settings::builder().delete_token(4)), "`insert_token` is missing; allowed: the id of a token");
    assert_eq!(refused(Settings::builder().insert_token(4)), "`delete_token` is missing; allowed: the id of a token");
    assert_eq!(
        refused(builder().insert_token(DELETE)),
        "`insert_token` is 4; allowed: another token than `delete_token`"
    );
    assert_eq!(
        refused(builder().insert_token(MASK)),
        "`insert_token` is 0, the mask; allowed: a token that the model writes"
    );
    assert_eq!(
        refused(builder().insert_token(6)),
        "`insert_token` is for token 6; allowed: for tokens below 6, the size of the model's vocabulary"
    );
    assert_eq!(
        refused(builder().remasking_named("cap:0.1")),
        "`remasking` is cap:0.1; allowed: none, where positions are inserted and deleted"
    );
    let reason = "has no effect: nothing is edited at an edit threshold of 1, and they are never written";
    assert_eq!(
        refused(Settings::builder().steps(4).delete_token(4).insert_token(5)),
        format!("`delete_token` {reason}; `insert_token` {reason}")
    );
}
