//! Insertion and deletion: what moves where, how much is committed, and that it comes to an end.

use aquatint_diffusion::policy::Threshold;
use aquatint_diffusion::{
    Candidate, Canvas, Editing, Key, LengthChanges, LengthEdits, LengthStep, LengthTokens, PlanSettings, Proposal,
    Remasking, Source, StepPlan, TimeGrid, TokenId, schedule,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

const MASK: TokenId = 0;
const DELETE: TokenId = 1;
const INSERT: TokenId = 2;

/// A given token and a block of open positions behind it.
fn canvas(tokens: &[TokenId]) -> Canvas {
    let mut canvas = Canvas::new();
    canvas.push_given(&[9]);
    canvas.push_open(tokens.len(), false, MASK);
    let written = (1..).zip(tokens).filter(|(_, token)| **token != MASK);
    written.for_each(|(position, token)| canvas.commit(position, *token).unwrap());
    canvas
}

/// A step in which the positions behind the given one are predicted so, each with its probability and other likely tokens.
fn step(
    lengths: &mut LengthEdits,
    canvas: &mut Canvas,
    predicted: &[(TokenId, f64)],
    others: &[TokenId],
    (edit_steps, settles): (usize, bool),
) -> LengthChanges {
    let (mut proposal, mut edits, mut likeliest) = (Proposal::new(), Proposal::new(), BTreeMap::new());
    for (position, &(token, probability)) in (1..).zip(predicted) {
        let candidate = Candidate { token, probability, entropy: 0.5, margin: 0.1, likeliest: token, mass: 1.0 };
        let of = if canvas.is_open(position) { &mut proposal } else { &mut edits };
        of.insert(position, candidate);
        let all = std::iter::once(token).chain(others.iter().copied().filter(|other| *other != token));
        likeliest.insert(position, all.map(|token| (token, 0.1)).collect::<Vec<_>>());
    }
    let (schedule, grid) = (schedule("linear").unwrap(), TimeGrid::default());
    let policy = Threshold::new(0.5).unwrap();
    let settings = PlanSettings::new(9, schedule.as_ref(), &policy, &Remasking::None, &grid);
    let plan = StepPlan::with_settings(&[9], &settings).unwrap();
    let run = 1..canvas.len();
    let taken = LengthStep {
        policy: &policy,
        planned: plan.blocks()[0].steps()[0],
        key: Key::new(3),
        editing: Editing::new(0.5, edit_steps).unwrap(),
        tokens: LengthTokens::new(Some(DELETE), Some(INSERT)).unwrap().unwrap(),
        settles,
        proposal: &proposal,
        edits: &edits,
        likeliest: &likeliest,
        runs: std::slice::from_ref(&run),
        noise: MASK,
    };
    lengths.take(canvas, &taken).unwrap()
}

#[test]
fn what_stands_behind_a_deletion_moves_up() {
    let mut canvas = canvas(&[5, 6, 7, 8]);
    let predicted = [(5, 0.9), (DELETE, 0.9), (7, 0.9), (3, 0.9)];
    let changes = step(&mut LengthEdits::new(&[]), &mut canvas, &predicted, &[3, 4], (9, false));
    assert_eq!(canvas.tokens(), [9, 5, 7, 3, MASK]);
    assert_eq!((changes.edited, changes.renoised), (vec![2, 3], vec![4]));
    assert_eq!(changes.sources, [(1, Source::Moved(1)), (2, Source::Moved(3)), (3, Source::Predicted(4))]);
}

#[test]
fn an_insertion_opens_a_position_before_its_own_and_the_last_one_is_lost() {
    let mut canvas = canvas(&[5, 6, 7, 8]);
    let predicted = [(5, 0.9), (INSERT, 0.9), (7, 0.9), (8, 0.9)];
    let changes = step(&mut LengthEdits::new(&[]), &mut canvas, &predicted, &[3, 4], (9, false));
    assert_eq!(canvas.tokens(), [9, 5, MASK, 6, 7]);
    assert_eq!((changes.renoised, changes.edited), (vec![2], vec![3, 4]));
}

/// Two positions were put in, so three are committed, of which one stood there at the beginning at least.
#[test]
fn more_is_committed_than_was_put_in() {
    let mut canvas = canvas(&[MASK, MASK, MASK, MASK]);
    let mut lengths = LengthEdits::new(&[3, 4]);
    let predicted = [(5, 0.4), (6, 0.3), (7, 0.2), (8, 0.1)];
    let changes = step(&mut lengths, &mut canvas, &predicted, &[3, 4], (9, false));
    assert_eq!(changes.committed, [1, 2, 3]);
    assert!(!lengths.is_filled(&canvas));
    let predicted = [(5, 0.4), (6, 0.3), (7, 0.2), (8, 0.1)];
    step(&mut lengths, &mut canvas, &predicted, &[3, 4], (9, false));
    assert!(lengths.is_filled(&canvas));
}

#[test]
fn the_last_step_writes_neither_of_the_two_tokens() {
    let mut canvas = canvas(&[5, 6, MASK, MASK]);
    let predicted = [(DELETE, 0.9), (INSERT, 0.9), (DELETE, 0.1), (8, 0.1)];
    step(&mut LengthEdits::new(&[3, 4]), &mut canvas, &predicted, &[DELETE, INSERT, 3], (9, true));
    assert_eq!(canvas.tokens(), [9, 3, 3, 3, 8]);
    let mut canvas = self::canvas(&[MASK, MASK]);
    step(&mut LengthEdits::new(&[1, 2]), &mut canvas, &[(INSERT, 0.9), (7, 0.9)], &[DELETE, 3], (0, false));
    assert_eq!(canvas.tokens(), [9, 3, 7], "without steps of editing the block is done when it is filled");
}

#[test]
fn of_positions_below_the_threshold_the_likeliest_is_committed() {
    let mut canvas = canvas(&[MASK, MASK, MASK, MASK]);
    let predicted = [(5, 0.1), (6, 0.4), (7, 0.2), (8, 0.3)];
    let changes = step(&mut LengthEdits::new(&[1, 2, 3, 4]), &mut canvas, &predicted, &[3, 4], (9, false));
    assert_eq!(changes.committed, [2]);
}

#[test]
fn when_a_block_is_filled_all_that_was_put_in_is_written() {
    let mut canvas = canvas(&[MASK, 5, MASK]);
    let changes = step(&mut LengthEdits::new(&[]), &mut canvas, &[(6, 0.1), (5, 0.9), (7, 0.1)], &[3, 4], (9, false));
    assert_eq!((changes.committed, canvas.tokens()), (vec![1, 3], &[9, 6, 5, 7][..]));
}

/// The last of them moves on with what stands before it.
#[test]
fn positions_of_the_beginning_are_open_still_where_they_have_moved() {
    let mut canvas = canvas(&[5, MASK, MASK, 8]);
    let mut lengths = LengthEdits::new(&[2, 3]);
    assert_eq!(lengths.likeliest(), 3, "a token and the two that may be excluded");
    let predicted = [(INSERT, 0.9), (6, 0.9), (7, 0.1), (8, 0.9)];
    step(&mut lengths, &mut canvas, &predicted, &[3, 4], (9, false));
    assert_eq!(canvas.tokens(), [9, MASK, 5, 6, MASK]);
    assert!(!lengths.is_filled(&canvas));
    canvas.commit(4, 7).unwrap();
    assert!(lengths.is_filled(&canvas), "what was put in is none of them");
}

#[test]
fn a_block_that_goes_round_in_a_circle_takes_another_token() {
    let mut canvas = canvas(&[5, 6]);
    let mut lengths = LengthEdits::new(&[]);
    let mut go = |canvas: &mut Canvas, tokens: [TokenId; 2]| {
        step(&mut lengths, canvas, &[(tokens[0], 0.9), (tokens[1], 0.8)], &[5, 6, 7, 8], (9, false));
        canvas.tokens()[1..].to_vec()
    };
    assert_eq!(go(&mut canvas, [6, 5]), [6, 5]);
    assert_eq!(go(&mut canvas, [5, 6]), [5, 6]);
    // 5 and 6 stood here before; the second position is the less sure one.
    assert_eq!(go(&mut canvas, [6, 5]), [6, 7]);
}

#[test]
fn a_block_of_which_nothing_is_chosen_stays_as_it_is() {
    let mut canvas = canvas(&[5, 6]);
    let changes = step(&mut LengthEdits::new(&[]), &mut canvas, &[(5, 0.9), (7, 0.4)], &[3], (9, false));
    assert_eq!((changes, canvas.tokens()), (LengthChanges::default(), &[9, 5, 6][..]));
}

proptest! {
    #![proptest_config(crate::oracle::properties())]

    /// Whatever is predicted, the lists of a step are its changes, the block keeps its length, and a last step leaves
    /// nothing open and neither of the two tokens.
    #[test]
    fn steps_tell_what_they_change_and_the_last_one_ends_it(
        tokens in prop::collection::vec(prop_oneof![Just(MASK), 3u32..9], 1..9),
        passes in prop::collection::vec(prop::collection::vec((1u32..9, 0.0f64..1.0), 9), 1..12),
    ) {
        let mut canvas = canvas(&tokens);
        let open = canvas.open_positions();
        let mut lengths = LengthEdits::new(&open);
        for (number, predicted) in passes.iter().enumerate() {
            let before = canvas.clone();
            let settles = number + 1 == passes.len();
            let predicted = &predicted[..tokens.len()];
            let others: Vec<TokenId> = (1..40).collect();
            let changes = step(&mut lengths, &mut canvas, predicted, &others, (9, settles));
            let which = |of: &dyn Fn(usize) -> bool| (0..canvas.len()).filter(|p| of(*p)).collect::<Vec<_>>();
            prop_assert_eq!(canvas.len(), before.len());
            prop_assert_eq!(canvas.tokens()[0], 9);
            prop_assert_eq!(changes.committed, which(&|p| before.is_open(p) && canvas.is_committed(p)));
            prop_assert_eq!(changes.renoised, which(&|p| before.is_committed(p) && canvas.is_open(p)));
            let other = |p: usize| before.tokens()[p] != canvas.tokens()[p];
            let edited = which(&|p| before.is_committed(p) && canvas.is_committed(p) && other(p));
            prop_assert_eq!(changes.edited, edited);
            prop_assert!(!canvas.tokens().contains(&DELETE) && !canvas.tokens().contains(&INSERT));
        }
        prop_assert!(canvas.open_positions().is_empty());
        prop_assert!(lengths.is_filled(&canvas));
    }
}
