//! Whole walks back with exact predictions: whatever the process, what is written follows the law of the text (oracle
//! 5).

use crate::oracle::{chi_square, chi_square_limit, index, sequences};
use aquatint_diffusion::{
    Alphabet, Candidate, Canvas, Draws, Key, Mixing, PlanSettings, PlannedStep, Process, Proposal, Remasking,
    ReverseStep, StepPlan, TimeGrid, Vectors, process, schedule,
};

/// Words at right angles, so that a gaussian field has as many coordinates as there are words.
const VECTORS: [f32; 9] = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
const ALPHABET: Alphabet = Alphabet { size: 3, mask: None };
/// A law of two tokens that depend on each other.
const LAW: [f64; 9] = [0.3, 0.02, 0.08, 0.02, 0.2, 0.03, 0.1, 0.05, 0.2];

/// `q(what the position shows | clean)` but for a factor that is the same for all tokens.
type Evidence<'a> = &'a dyn Fn(&Canvas, usize, &PlannedStep, u32) -> f64;

/// The exact posterior of one position's token.
fn prediction(canvas: &Canvas, position: usize, step: &PlannedStep, evidence: Evidence) -> Vec<f64> {
    let mut prediction = [0.0; 3];
    for sequence in sequences(3, 2) {
        let observed: f64 = (0..2).map(|p| evidence(canvas, p, step, sequence[p])).product();
        prediction[sequence[position] as usize] += LAW[index(&sequence, 3)] * observed;
    }
    let total: f64 = prediction.iter().sum();
    prediction.iter().map(|p| p / total).collect()
}

fn candidate(prediction: &[f64], draws: &mut Draws) -> Candidate {
    let token = draws.categorical(prediction).unwrap();
    let likeliest = (0..3).fold(0, |best, i| if prediction[i] > prediction[best] { i } else { best }) as u32;
    Candidate { token: token as u32, probability: prediction[token], entropy: 0.0, margin: 0.0, likeliest, mass: 1.0 }
}

/// Walks back from noise and returns the index of what was written.
fn walk(
    process: &dyn Process,
    steps: usize,
    churn: Option<f64>,
    correctors: usize,
    evidence: Evidence,
    seed: u64,
) -> usize {
    let key = Key::new(seed);
    let mut canvas = Canvas::new();
    canvas.push_open(2, false, 0);
    process.begin(&mut canvas, key);
    let policy = process.policy();
    let (remasking, grid) = (Remasking::None, TimeGrid::default());
    let settings = PlanSettings {
        correctors,
        churn,
        ..PlanSettings::new(steps, process.schedule(), policy.as_ref(), &remasking, &grid)
    };
    let plan = StepPlan::with_settings(&[2], &settings).unwrap();
    for &planned in plan.blocks()[0].steps() {
        let mut proposal = Proposal::new();
        for position in canvas.open_positions() {
            let prediction = prediction(&canvas, position, &planned, evidence);
            let draws = &mut key.fold(9).at(position as u64, planned.number);
            let expected = prediction.iter().map(|p| *p as f32).collect();
            proposal.insert_expecting(position, candidate(&prediction, draws), expected);
        }
        let (policy, remasking, vectors) = (policy.as_ref(), &remasking, Vectors::default());
        let (settled, revise) = (false, false);
        let step =
            ReverseStep { process, policy, remasking, vectors, planned, key, settled, revise, commit_likeliest: false };
        step.take(&mut canvas, &proposal, &[]).unwrap();
    }
    assert!(canvas.open_positions().is_empty());
    index(canvas.tokens(), 3)
}

/// Holds 4,000 walks against the law. Two positions move at once from predictions about one, so steps have to be short.
fn check(what: &str, process: &dyn Process, settings: (usize, Option<f64>, usize), evidence: Evidence) {
    let (steps, churn, correctors) = settings;
    let mut counts = [0; 9];
    for seed in 0..4000 {
        counts[walk(process, steps, churn, correctors, evidence, seed)] += 1;
    }
    let statistic = chi_square(&counts, &LAW);
    assert!(statistic < chi_square_limit(8), "{what}: {statistic}, {counts:?}");
}

#[test]
fn discrete_walks_follow_the_law() {
    for name in ["linear", "cosine"] {
        let mixing = Mixing::uniform(ALPHABET, schedule(name).unwrap());
        let evidence = |canvas: &Canvas, position: usize, step: &PlannedStep, clean: u32| {
            mixing.marginal(step.from).probability(canvas.tokens()[position], clean)
        };
        check(&format!("uniform, {name}"), &mixing, (100, None, 0), &evidence);
        check(&format!("uniform, {name}, half churned"), &mixing, (100, Some(0.1), 0), &evidence);
        check(&format!("uniform, {name}, corrected"), &mixing, (30, Some(0.05), 3), &evidence);
    }
    let alphabet = Alphabet { size: 4, mask: Some(3) };
    let hybrid = Mixing::hybrid(alphabet, 0.3, schedule("linear").unwrap());
    let evidence = |canvas: &Canvas, position: usize, step: &PlannedStep, clean: u32| {
        hybrid.marginal(step.from).probability(canvas.tokens()[position], clean)
    };
    check("hybrid", &hybrid, (100, None, 0), &evidence);
}

#[test]
fn gaussian_walks_follow_the_law() {
    let process = process("gaussian:3", ALPHABET, schedule("linear").unwrap()).unwrap();
    let vectors = Vectors { size: 3, values: &VECTORS };
    let evidence = |canvas: &Canvas, position: usize, _: &PlannedStep, clean: u32| {
        let points = canvas.points().unwrap();
        let dot: f32 = points.offset(position).iter().zip(vectors.of(clean)).map(|(z, e)| z * e).sum();
        // Against the longest that is likely, so that no product is beyond all numbers.
        f64::from(points.prior_logit_scale[position] * (dot - 1.0)).exp()
    };
    check("ancestral", process.as_ref(), (150, None, 0), &evidence);
    check("DDIM", process.as_ref(), (150, Some(0.0), 0), &evidence);
}

#[test]
fn simplex_walks_follow_the_law() {
    let field = aquatint_diffusion::Simplex::new(ALPHABET, schedule("linear").unwrap());
    // The Dirichlet densities around two tokens differ by the tokens' coordinates to the power of the token's share.
    let evidence = |canvas: &Canvas, position: usize, step: &PlannedStep, clean: u32| {
        let p = f64::from(canvas.points().unwrap().offset(position)[clean as usize]);
        p.max(1e-300).powf(field.concentration(step.from).token)
    };
    check("no churn", &field, (100, Some(0.0), 0), &evidence);
    check("some churn", &field, (100, Some(0.1), 0), &evidence);
}

/// What is given is shown as noise where guidance hides it, under every process, and nothing else is.
#[test]
fn what_is_hidden_is_noise() {
    let alphabet = Alphabet { size: 8, mask: Some(7) };
    for name in ["masked", "score-entropy", "uniform", "hybrid:0.2", "gaussian:4", "simplex", "simplex-argmax"] {
        let process = process(name, alphabet, schedule("linear").unwrap()).unwrap();
        let mut canvas = Canvas::new();
        canvas.push_given(&[1; 40]);
        canvas.push_open(2, false, 0);
        process.begin(&mut canvas, Key::new(0));
        let (open, hidden) = (
            process.network_input(&canvas, 0..0, 3, Key::new(1)),
            process.network_input(&canvas, 0..canvas.len(), 3, Key::new(1)),
        );
        assert_eq!(open.tokens[..40], [1; 40], "{name}");
        assert!(hidden.tokens[..40] != [1; 40] || hidden.points.is_some(), "{name}");
        assert_eq!(open.tokens[40..], hidden.tokens[40..], "{name}");
        if let (Some(open), Some(hidden)) = (open.points, hidden.points) {
            assert!(
                open.clean_weight[..40].iter().all(|s| *s == 1.0)
                    && hidden.clean_weight[..40].iter().all(|s| *s == 0.0)
            );
            assert_eq!(open.offset(40), hidden.offset(40), "{name}");
        }
        let again = process.network_input(&canvas, 0..canvas.len(), 3, Key::new(1));
        assert_eq!(hidden.tokens, again.tokens, "{name}: a seed gives the same noise");
    }
}
