//! Token editing: what is replaced, and the steps that are planned for it.

use aquatint_diffusion::policy::Confidence;
use aquatint_diffusion::{
    Candidate, Canvas, Editing, PlanSettings, Proposal, Remasking, Shaping, StepPlan, Time, TimeGrid, schedule,
};
use proptest::prelude::*;

const MASK: u32 = 9;

/// Given, open and committed positions by turns; all show 3 or the mask.
fn canvas() -> Canvas {
    let mut canvas = Canvas::new();
    for _ in 0..4 {
        canvas.push_given(&[3]);
        canvas.push_open(2, false, MASK);
        let committed = canvas.len() - 1;
        canvas.commit(committed, 3).unwrap();
    }
    canvas
}

proptest! {
    #![proptest_config(crate::oracle::properties())]

    #[test]
    fn only_committed_tokens_are_replaced_and_by_surer_ones(
        candidates in prop::collection::vec((2u32..5, 0.0f64..1.0), 12),
        threshold in prop_oneof![Just(0.0), Just(1.0), 0.0f64..1.0],
    ) {
        let (before, mut after) = (canvas(), canvas());
        let mut proposal = Proposal::new();
        for (position, &(token, probability)) in candidates.iter().enumerate() {
            let candidate = Candidate { token, probability, entropy: 0.5, margin: 0.1, likeliest: token, mass: 1.0 };
            proposal.insert(position, candidate);
        }
        let edited = Editing::new(threshold, 2).unwrap().edit(&mut after, &proposal).unwrap();
        for (position, &(token, probability)) in candidates.iter().enumerate() {
            let replaces = before.is_committed(position) && token != 3 && probability > threshold;
            prop_assert_eq!(edited.contains(&position), replaces);
            let expected = if replaces { token } else { before.tokens()[position] };
            prop_assert_eq!(after.tokens()[position], expected);
            prop_assert_eq!(after.state(position), before.state(position));
        }
        prop_assert!(edited.is_sorted());
    }
}

#[test]
fn steps_that_only_edit_stand_behind_those_of_each_block() {
    let (schedule, grid) = (schedule("linear").unwrap(), TimeGrid::default());
    let settings = PlanSettings::new(2, schedule.as_ref(), &Confidence, &Remasking::None, &grid);
    let plan = StepPlan::with_settings(&[4, 0, 3], &PlanSettings { edits: 3, ..settings }).unwrap();
    assert_eq!(plan.total_forwards(), 2 * (2 + 3));
    assert!(plan.blocks()[1].edits().is_empty(), "nothing is open there");
    let all = plan.blocks().iter().flat_map(|block| block.steps().iter().chain(block.edits()));
    let numbers: Vec<u64> = all.map(|step| step.number).collect();
    assert_eq!(numbers, (0..10).collect::<Vec<u64>>());
    for edit in plan.blocks()[2].edits() {
        assert_eq!((edit.from, edit.to, edit.open_after, edit.sigma), (Time::CLEAN, Time::CLEAN, 0, 0.0));
    }
    let refused = StepPlan::with_settings(&[4, 4], &PlanSettings { edits: 500_001, ..settings }).unwrap_err();
    assert_eq!(
        crate::refusal(&refused),
        "`edit_steps` is 500001; allowed: 0 to 500000 on this canvas | a canvas is edited in at most 1000000 steps over \
         all blocks"
    );
}

#[test]
fn what_is_as_probable_as_the_threshold_is_not_edited() {
    let edited = |probability: f64| {
        let (mut canvas, mut proposal) = (canvas(), Proposal::new());
        let candidate = Candidate { token: 4, probability, entropy: 0.5, margin: 0.1, likeliest: 4, mass: 1.0 };
        proposal.insert(2, candidate);
        Editing::new(0.5, 2).unwrap().edit(&mut canvas, &proposal).unwrap()
    };
    assert_eq!((edited(0.5), edited(0.5 + f64::EPSILON)), (vec![], vec![2]));
}

/// A block that is full has gone the whole way to the final temperature.
#[test]
fn steps_that_only_edit_have_the_final_temperature() {
    let (schedule, grid) = (schedule("linear").unwrap(), TimeGrid::default());
    let settings = PlanSettings::new(4, schedule.as_ref(), &Confidence, &Remasking::None, &grid);
    let plan = StepPlan::with_settings(&[8], &PlanSettings { edits: 3, ..settings }).unwrap();
    let temperatures = |last: Option<f64>| -> Vec<f64> {
        let shaping = Shaping { temperature: 1.0, final_temperature: last, ..Shaping::NONE };
        let block = &plan.blocks()[0];
        block.steps().iter().chain(block.edits()).map(|step| shaping.temperature_at(step)).collect()
    };
    assert_eq!(temperatures(Some(0.5)), [1.0, 0.875, 0.75, 0.625, 0.5, 0.5, 0.5]);
    assert_eq!(temperatures(None), [1.0; 7]);
}

#[test]
fn a_threshold_is_a_probability() {
    assert_eq!(
        crate::refusal(&Editing::new(-0.1, 2).unwrap_err()),
        "`edit_threshold` is -0.1; allowed: from 0 to 1 | 1 edits nothing; LLaDA2.1 is run at 0.5 or 0.9, and at 0 for speed"
    );
}
