//! Step plans: what is committed adds up, and nothing is left.

use aquatint_diffusion::policy::{Ancestral, Confidence, FirstHitting};
use aquatint_diffusion::{Counting, PlanSettings, Remasking, StepPlan, Time, TimeGrid, schedule};
use proptest::prelude::*;

const SCHEDULES: [&str; 4] = ["linear", "cosine", "log-linear", "polynomial:3"];

fn remaskings() -> Vec<Remasking> {
    ["none", "cap:0.1", "rescale:0.3", "conf", "loop"].iter().map(|r| r.parse().unwrap()).collect()
}

proptest! {
    #![proptest_config(crate::oracle::properties())]

    #[test]
    fn commit_counts_add_up_to_the_masked_count(
        blocks in prop::collection::vec(0usize..70, 1..4),
        steps in 1usize..80,
        schedule in prop::sample::select(SCHEDULES.to_vec()),
        remasking in prop::sample::select(remaskings()),
    ) {
        let schedule = aquatint_diffusion::schedule(schedule).unwrap();
        let plan = StepPlan::new(&blocks, steps, schedule.as_ref(), &Confidence, &remasking).unwrap();
        let mut numbers = 0..;
        for (block, open) in plan.blocks().iter().zip(&blocks) {
            prop_assert_eq!(block.open(), *open);
            prop_assert!(block.steps().len() <= steps);
            let (mut left, mut time) = (*open, Time::NOISE);
            for (index, planned) in block.steps().iter().enumerate() {
                prop_assert_eq!((planned.index, planned.of), (index, block.steps().len()));
                prop_assert_eq!(Some(planned.number), numbers.next());
                prop_assert_eq!(planned.from, time);
                prop_assert!(planned.to <= planned.from);
                prop_assert!((0.0..=1.0).contains(&planned.staying) && (0.0..=1.0).contains(&planned.sigma));
                let step = planned.with(left, 0);
                prop_assert_eq!(step.is_last(), index + 1 == block.steps().len());
                prop_assert!(step.commits >= 1 || !remasking.is_none(), "a step for nothing");
                left -= step.commits;
                prop_assert!(left == planned.open_after);
                time = planned.to;
            }
            prop_assert_eq!(left, 0);
            prop_assert!(block.steps().is_empty() || time == Time::CLEAN);
        }
        prop_assert_eq!(plan.total_forwards(), plan.blocks().iter().map(|b| b.steps().len()).sum::<usize>());
    }

    #[test]
    fn what_is_taken_back_is_committed_again(open in 1usize..50, steps in 1usize..60, taken in 0usize..9) {
        let schedule = schedule("linear").unwrap();
        let remasking = Remasking::Cap { eta: 0.1 };
        let plan = StepPlan::new(&[open], steps, schedule.as_ref(), &Confidence, &remasking).unwrap();
        let mut left = open;
        for planned in plan.blocks()[0].steps() {
            let taken = if planned.index + 1 == planned.of { 0 } else { taken.min(open - left) };
            let step = planned.with(left, taken);
            prop_assert!(step.commits <= left, "what is taken back now cannot be committed at once");
            left = left + taken - step.commits;
            prop_assert!(left >= planned.open_after);
        }
        prop_assert_eq!(left, 0);
    }
}

#[test]
fn the_linear_schedule_divides_evenly() {
    let schedule = schedule("linear").unwrap();
    let commits = |open: usize, steps| {
        let plan = StepPlan::new(&[open], steps, schedule.as_ref(), &Confidence, &Remasking::None).unwrap();
        let mut left = open;
        let mut commit = |planned: &aquatint_diffusion::PlannedStep| {
            let commits = planned.with(left, 0).commits;
            left -= commits;
            commits
        };
        plan.blocks()[0].steps().iter().map(&mut commit).collect::<Vec<_>>()
    };
    assert_eq!(commits(128, 32), vec![4; 32]);
    assert_eq!(commits(10, 4), [3, 2, 3, 2]);
    assert_eq!(commits(3, 64), [1, 1, 1]);
    assert_eq!(commits(7, 1), [7]);
}

/// The numbers that the steps of one block commit.
fn committed(open: usize, steps: usize, counting: Counting, end_time: f64, leads: bool) -> Vec<usize> {
    let (schedule, grid, leads) = (schedule("linear").unwrap(), TimeGrid::default(), [leads]);
    let settings = PlanSettings::new(steps, schedule.as_ref(), &Confidence, &Remasking::None, &grid);
    let plan =
        StepPlan::with_settings(&[open], &PlanSettings { counting, end_time, leads: &leads, ..settings }).unwrap();
    let left: Vec<usize> = plan.blocks()[0].steps().iter().map(|step| step.open_after).collect();
    std::iter::once(&open).chain(&left).zip(&left).map(|(before, after)| before - after).collect()
}

#[test]
fn countings_differ_in_where_the_remainder_goes() {
    use Counting::{Cosine, Down, Even, Nearest, Scheduled};
    assert_eq!(committed(10, 4, Scheduled, 0.0, false), [3, 2, 3, 2]);
    assert_eq!(committed(10, 4, Even, 0.0, false), [3, 3, 2, 2]);
    // 10/4, 8/3, 5/2 and the rest; halves go to the even number.
    assert_eq!(committed(10, 4, Nearest, 0.0, false), [2, 3, 2, 3]);
    assert_eq!(committed(10, 4, Down, 0.0, false), [2, 2, 3, 3]);
    // 16 cos(60°) falls short of 8 in f32.
    assert_eq!(committed(16, 6, Cosine, 0.0, false), [1, 2, 2, 4, 3, 4]);
    assert_eq!(committed(9, 9, Cosine, 0.0, false), [1; 9]);
    // Dream's times end at 0.001, so that a first share of 2 is not quite reached.
    assert_eq!(committed(32, 16, Down, 0.001, false), [1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3]);
    assert_eq!(committed(8, 8, Down, 0.001, true), [1, 0, 1, 1, 1, 1, 1, 2]);
    assert_eq!(committed(1, 8, Even, 0.0, true), [1]);
}

/// What is not open falls to the last steps, which are not planned.
#[test]
fn an_even_counting_divides_the_whole_of_a_block() {
    let (schedule, grid) = (schedule("linear").unwrap(), TimeGrid::default());
    let planned = |open: usize, steps, counting, length: usize| {
        let settings = PlanSettings::new(steps, schedule.as_ref(), &Confidence, &Remasking::None, &grid);
        let settings = PlanSettings { counting, lengths: &[length], ..settings };
        let plan = StepPlan::with_settings(&[open], &settings).unwrap();
        plan.blocks()[0].steps().iter().map(|step| (step.share, step.open_after)).collect::<Vec<_>>()
    };
    assert_eq!(planned(12, 8, Counting::Even, 32), [(4, 8), (4, 4), (4, 0)]);
    assert_eq!(planned(5, 4, Counting::Even, 10), [(3, 2), (2, 0)]);
    assert_eq!(planned(3, 16, Counting::Even, 16), [(1, 2), (1, 1), (1, 0)]);
    assert_eq!(planned(4, 4, Counting::Scheduled, 32), [(1, 3), (1, 2), (1, 1), (1, 0)]);
}

#[test]
fn an_end_time_of_1_is_refused() {
    let (schedule, grid) = (schedule("linear").unwrap(), TimeGrid::default());
    let settings = PlanSettings::new(3, schedule.as_ref(), &Confidence, &Remasking::None, &grid);
    let refused = StepPlan::with_settings(&[4], &PlanSettings { end_time: 1.0, ..settings }).unwrap_err();
    assert_eq!(
        crate::refusal(&refused),
        "`end_time` is 1; allowed: from 0 to below 1 | at 0 the steps are spread over all times"
    );
}

proptest! {
    #![proptest_config(crate::oracle::properties())]

    #[test]
    fn whatever_the_counting_all_are_committed(
        open in 1usize..70,
        steps in 1usize..80,
        counting in prop::sample::select(Counting::ALL.to_vec()),
        end_time in 0.0f64..0.99,
        leads in prop::bool::ANY,
    ) {
        prop_assert_eq!(committed(open, steps, counting, end_time, leads).iter().sum::<usize>(), open);
        prop_assert_eq!(counting.to_string().parse(), Ok(counting));
    }
}

#[test]
fn policies_may_ask_for_another_number_of_steps() {
    let schedule = schedule("linear").unwrap();
    let forwards = |policy: &dyn aquatint_diffusion::CommitPolicy, remasking| {
        StepPlan::new(&[5, 8], 16, schedule.as_ref(), policy, &remasking).unwrap().total_forwards()
    };
    assert_eq!(forwards(&Confidence, Remasking::None), 13);
    assert_eq!(forwards(&FirstHitting, Remasking::None), 13);
    assert_eq!(forwards(&Ancestral, Remasking::None), 32);
    assert_eq!(forwards(&Confidence, Remasking::Cap { eta: 0.1 }), 32);
}

#[test]
fn blocks_divide_what_is_open_and_the_last_may_be_shorter() {
    let open: Vec<usize> = (10..138).collect();
    assert_eq!(StepPlan::divide(&open, Some(32)).unwrap().len(), 4);
    assert_eq!(StepPlan::divide(&open, Some(32)).unwrap()[1], (42..74).collect::<Vec<_>>());
    assert_eq!(StepPlan::divide(&open, None).unwrap(), [open.as_slice()]);
    assert_eq!(StepPlan::divide(&open, Some(500)).unwrap(), [open.as_slice()]);
    assert_eq!(StepPlan::divide(&[], None).unwrap(), [[0usize; 0]; 0]);
    let lengths: Vec<usize> = StepPlan::divide(&open, Some(48)).unwrap().iter().map(|block| block.len()).collect();
    assert_eq!(lengths, [48, 48, 32]);
    assert!(StepPlan::divide(&open, Some(0)).is_err());
    let stepless = StepPlan::new(&[4], 0, schedule("linear").unwrap().as_ref(), &Confidence, &Remasking::None);
    assert_eq!(crate::refusal(&stepless.unwrap_err()), "`steps` is 0; allowed: 1 or more | `steps` is per block");
}
