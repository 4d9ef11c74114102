//! One reverse step: what it commits, takes back, refines and leaves, under every process and any policy.

use aquatint_diffusion::{
    Alphabet, Candidate, Canvas, Commit, CommitPolicy, Key, PlanPart, PlanSettings, PlannedStep, Process, Proposal,
    Remasking, ReverseStep, Step, StepPlan, TimeGrid, Vectors, policy, process, schedule,
};

const ALPHABET: Alphabet = Alphabet { size: 8, mask: Some(7) };
const NAMES: [&str; 8] =
    ["masked", "score-entropy", "uniform", "uniform-posterior", "duo:0.1", "hybrid:0.2", "simplex", "simplex-argmax"];

/// Somebody's own policy: it names positions backwards, twice, and beyond the canvas.
#[derive(Debug)]
struct Untidy;

impl CommitPolicy for Untidy {
    fn name(&self) -> String {
        "untidy".to_owned()
    }

    fn select(&self, _: &Step, proposal: &Proposal, _: Key) -> Commit {
        let backwards = proposal.positions().iter().rev().step_by(2).copied();
        Commit { positions: backwards.clone().chain(backwards).chain([1_000, 0]).collect() }
    }

    fn steps(&self, _: usize, requested: usize) -> usize {
        requested
    }

    fn reads(&self) -> PlanPart {
        PlanPart::Nothing
    }
}

fn candidate(token: u32) -> Candidate {
    Candidate { token, probability: 0.5, entropy: 0.7, margin: 0.1, likeliest: token, mass: 1.0 }
}

/// A canvas with one given and eight open positions, of which the last three are committed, and a proposal for the rest.
fn half_filled(process: &dyn Process) -> (Canvas, Proposal) {
    let mut canvas = Canvas::new();
    canvas.push_given(&[1]);
    canvas.push_open(8, false, 0);
    process.begin(&mut canvas, Key::new(3));
    let mut proposal = Proposal::new();
    for position in 1..9 {
        if position > 5 {
            canvas.commit(position, 2).unwrap();
        } else {
            proposal.insert(position, candidate(position as u32));
        }
    }
    (canvas, proposal)
}

/// The first of four steps.
fn planned(process: &dyn Process, policy: &dyn CommitPolicy, remasking: &Remasking) -> PlannedStep {
    let (schedule, grid) = (process.schedule(), &TimeGrid::default());
    let settings = PlanSettings::new(4, schedule, policy, remasking, grid);
    StepPlan::with_settings(&[8], &settings).unwrap().blocks()[0].steps()[0]
}

fn reverse_step<'a>(
    process: &'a dyn Process,
    policy: &'a dyn CommitPolicy,
    remasking: &'a Remasking,
) -> ReverseStep<'a> {
    let planned = planned(process, policy, remasking);
    let (vectors, key) = (Vectors::default(), Key::new(5));
    ReverseStep {
        process,
        policy,
        remasking,
        vectors,
        planned,
        key,
        settled: false,
        revise: false,
        commit_likeliest: false,
    }
}

#[test]
fn changes_are_the_difference_of_the_canvases() {
    for name in NAMES {
        let process = process(name, ALPHABET, schedule("linear").unwrap()).unwrap();
        let (policy, remasking) = (policy::by_name("random").unwrap(), Remasking::Rescale { eta: 1.0 });
        let (before, proposal) = half_filled(process.as_ref());
        let mut after = before.clone();
        let certain = [(6, 0.9), (7, 0.1), (8, 0.4)];
        let changes =
            reverse_step(process.as_ref(), policy.as_ref(), &remasking).take(&mut after, &proposal, &certain).unwrap();
        let which = |is: &dyn Fn(usize) -> bool| (0..9).filter(|p| is(*p)).collect::<Vec<usize>>();
        assert_eq!(changes.committed, which(&|p| before.is_open(p) && after.is_committed(p)), "{name}");
        assert_eq!(changes.renoised, which(&|p| before.is_committed(p) && after.is_open(p)), "{name}");
        let refined = |p: usize| before.is_open(p) && after.is_open(p) && before.tokens()[p] != after.tokens()[p];
        assert_eq!(changes.refined, which(&refined), "{name}");
        assert!(!changes.committed.is_empty() && !changes.renoised.is_empty(), "{name}: {changes:?}");
        for position in &changes.committed {
            assert_eq!(after.tokens()[*position], proposal.candidate(*position).unwrap().token, "{name}");
        }
        assert_eq!(after.tokens()[0], 1);
    }
}

#[test]
fn a_policy_of_ones_own_may_be_untidy() {
    for name in NAMES {
        let process = process(name, ALPHABET, schedule("linear").unwrap()).unwrap();
        let (mut canvas, proposal) = half_filled(process.as_ref());
        let step = reverse_step(process.as_ref(), &Untidy, &Remasking::None);
        assert_eq!(step.take(&mut canvas, &proposal, &[]).unwrap().committed, [1, 3, 5], "{name}");
        assert_eq!(canvas.open_positions(), [2, 4], "{name}");
    }
}

#[test]
fn a_settled_step_and_a_last_one_leave_nothing_open() {
    let process = process("uniform", ALPHABET, schedule("linear").unwrap()).unwrap();
    let policy = process.policy();
    let remasking = Remasking::Rescale { eta: 1.0 };
    let step = reverse_step(process.as_ref(), policy.as_ref(), &remasking);
    let last = PlannedStep { index: step.planned.of - 1, ..step.planned };
    for (revise, step) in [false, true].into_iter().flat_map(|revise| {
        [(revise, ReverseStep { settled: true, ..step }), (revise, ReverseStep { planned: last, ..step })]
    }) {
        let (mut canvas, proposal) = half_filled(process.as_ref());
        let changes = ReverseStep { revise, ..step }.take(&mut canvas, &proposal, &[]).unwrap();
        assert_eq!((changes.committed, canvas.open_positions()), (vec![1, 2, 3, 4, 5], Vec::new()));
    }
}

#[test]
fn a_revising_step_shows_what_it_accepts_and_commits_nothing() {
    for name in ["uniform", "hybrid:0.2", "simplex"] {
        let process = process(name, ALPHABET, schedule("linear").unwrap()).unwrap();
        let (before, proposal) = half_filled(process.as_ref());
        let step = reverse_step(process.as_ref(), &Untidy, &Remasking::None);
        let mut after = before.clone();
        let changes = ReverseStep { revise: true, ..step }.take(&mut after, &proposal, &[]).unwrap();
        assert_eq!((&changes.committed, after.open_positions()), (&Vec::new(), before.open_positions()), "{name}");
        assert_eq!([1, 3, 5].map(|position| after.tokens()[position]), [1, 3, 5], "{name}");
        // The rest is the pure noise of this step, whatever it was before.
        let mut fresh = after.clone();
        process.scatter(&mut fresh, &[2, 4], step.planned.number, step.key.fold(0x0061_6761_696e));
        assert_eq!(after, fresh, "{name}");
    }
}

#[test]
fn a_step_that_commits_everything_may_write_the_likeliest_tokens() {
    let process = process("uniform", ALPHABET, schedule("linear").unwrap()).unwrap();
    let policy = process.policy();
    let (canvas, drawn) = half_filled(process.as_ref());
    let mut proposal = Proposal::new();
    for (position, candidate) in drawn.iter() {
        let likeliest = (candidate.token + 1) % 3;
        proposal.insert(position, Candidate { likeliest, ..*candidate });
    }
    let step = reverse_step(process.as_ref(), policy.as_ref(), &Remasking::None);
    for (settled, commit_likeliest) in [(true, true), (true, false)] {
        let mut after = canvas.clone();
        let step = ReverseStep { settled, commit_likeliest, ..step };
        let changes = step.take(&mut after, &proposal, &[]).unwrap();
        assert_eq!(changes.committed, proposal.positions());
        for (position, candidate) in proposal.iter() {
            let expected = if commit_likeliest { candidate.likeliest } else { candidate.token };
            assert_eq!(after.tokens()[position], expected);
        }
    }
}
