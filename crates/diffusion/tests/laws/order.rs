//! The learnt order: its derivatives, the law of its draws, what it commits, and that it finds an order that pays.

use aquatint_diffusion::policy::{self, Confidence, Learnt};
use aquatint_diffusion::{
    Candidate, CommitPolicy, Key, OrderFeatures, OrderNetwork, OrderNumbers, OrderTensor, PlannedStep, Proposal,
    Remasking, Step, StepPlan, schedule,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

fn steps(open: usize, steps: usize) -> Vec<PlannedStep> {
    let schedule = schedule("linear").unwrap();
    let plan = StepPlan::new(&[open], steps, schedule.as_ref(), &Confidence, &Remasking::None).unwrap();
    plan.blocks()[0].steps().to_vec()
}

/// A step in the middle of a plan.
fn middle(open: usize, commits: usize) -> Step {
    Step { planned: PlannedStep { open_before: open + 2, ..steps(open.max(3), open.max(3))[1] }, commits }
}

fn candidate(probability: f64, entropy: f64, margin: f64) -> Candidate {
    Candidate { token: 0, probability, entropy, margin, likeliest: u32::from(probability < 0.3), mass: 1.0 }
}

fn proposal(candidates: &[(f64, f64, f64)]) -> Proposal {
    let mut proposal = Proposal::new();
    for (index, (probability, entropy, margin)) in candidates.iter().copied().enumerate() {
        // Runs of two, with gaps.
        proposal.insert(index + index / 2, candidate(probability, entropy, margin));
    }
    proposal
}

fn candidates() -> impl Strategy<Value = Vec<(f64, f64, f64)>> {
    prop::collection::vec((0.01f64..1.0, prop_oneof![Just(0.0), 0.0f64..2.0], 0.0f64..1.0), 1..20)
}

/// The same, certain ones, and those that rounding has led beyond certainty.
fn rounded_candidates() -> impl Strategy<Value = Vec<(f64, f64, f64)>> {
    let probability = prop_oneof![Just(0.0), Just(1.0), Just(1.0 + 1e-9), 0.0f64..1.0];
    let entropy = prop_oneof![Just(-1e-9), Just(0.0), 0.0f64..20.0];
    prop::collection::vec((probability, entropy, 0.0f64..1.0), 1..20)
}

/// A network whose weights are all drawn.
fn drawn(width: usize, seed: u64, deviation: f64) -> OrderNetwork {
    let mut place = 0;
    OrderNetwork::new(width, &mut |tensor| {
        place += 1;
        let mut draws = Key::new(seed).at(place, 0);
        let count = tensor.shape().iter().product();
        Some((0..count).map(|_| (deviation * draws.normal()) as f32).collect())
    })
    .unwrap()
}

/// A network of weights of 0 but one.
fn single(name: &str, place: usize, value: f32) -> OrderNetwork {
    OrderNetwork::new(2, &mut |tensor: &OrderTensor| {
        let mut values = vec![0.0; tensor.shape().iter().product()];
        if tensor.name == name {
            values[place] = value;
        }
        Some(values)
    })
    .unwrap()
}

fn with_weight(network: &OrderNetwork, tensor: usize, place: usize, value: f32) -> OrderNetwork {
    let mut weights = network.weights().clone();
    weights[tensor][place] = f64::from(value);
    let mut all = weights.into_iter().map(|values| values.into_iter().map(|value| value as f32).collect());
    OrderNetwork::new(network.width(), &mut |_| all.next()).unwrap()
}

#[test]
fn the_gradient_of_the_log_probability_is_that_of_finite_differences() {
    let candidates = [(0.2, 1.0, 0.1), (0.7, 0.4, 0.5), (0.95, 0.1, 0.9), (0.5, 0.8, 0.2), (0.9, 0.2, 0.8)];
    let proposal = proposal(&candidates);
    let step = middle(candidates.len(), 4);
    for seed in 0..3 {
        let network = drawn(3, seed, 0.8);
        // Four of five positions are committed, so that some are drawn after the others.
        let drawn = Learnt::draw(&network, &step, &proposal, Key::new(seed));
        let value = |network: &OrderNetwork| drawn.choice.log_probability(&network.logits(&drawn.features));
        let mut gradient: OrderNumbers = network.weights().clone().map(|values| vec![0.0; values.len()]);
        network.backward(&drawn.features, &drawn.choice.slopes(&drawn.logits), &mut gradient);
        for (tensor, derivatives) in gradient.iter().enumerate() {
            for (place, derivative) in derivatives.iter().enumerate() {
                let weight = network.weights()[tensor][place] as f32;
                let (below, above) = (weight - 1e-3, weight + 1e-3);
                let difference = value(&with_weight(&network, tensor, place, above))
                    - value(&with_weight(&network, tensor, place, below));
                let expected = difference / (f64::from(above) - f64::from(below));
                assert!(
                    (derivative - expected).abs() < 1e-5 * (1.0 + expected.abs()),
                    "tensor {tensor}, {place}: {derivative} {expected}"
                );
            }
        }
        assert!(gradient.iter().flatten().filter(|derivative| derivative.abs() > 1e-6).count() > 40);
    }
}

#[test]
fn draws_are_as_frequent_as_their_log_probabilities_say() {
    let proposal = proposal(&[(0.3, 1.0, 0.1), (0.6, 0.5, 0.4), (0.8, 0.3, 0.6)]);
    for commits in [1, 2] {
        let step = middle(3, commits);
        let network = drawn(2, 5, 0.7);
        let (mut met, count) = (BTreeMap::new(), 40_000);
        for seed in 0..count {
            let drawn = Learnt::draw(&network, &step, &proposal, Key::new(seed));
            assert!(drawn.commit.positions.len() >= commits);
            let probability = drawn.choice.log_probability(&drawn.logits).exp();
            met.entry(format!("{:?}", drawn.choice)).or_insert((probability, 0u32)).1 += 1;
        }
        let all: f64 = met.values().map(|(probability, _)| probability).sum();
        assert!((all - 1.0).abs() < 1e-3, "{commits}: {all}");
        for (choice, (probability, times)) in &met {
            let deviation = (probability * (1.0 - probability) / count as f64).sqrt();
            let frequency = f64::from(*times) / count as f64;
            assert!((frequency - probability).abs() < 4.5 * deviation, "{choice}: {frequency} {probability}");
        }
    }
}

proptest! {
    #![proptest_config(crate::oracle::properties())]

    /// A logit that is the probability itself, and a threshold that nothing passes, leave what the plan counts.
    #[test]
    fn weights_that_copy_confidence_commit_what_confidence_commits(candidates in candidates(), commits in 1usize..9) {
        let proposal = proposal(&candidates);
        let step = middle(proposal.len(), commits.min(proposal.len()));
        let order = Arc::new(single("logit.features", 0, 1.0));
        let learnt = policy::by_name_with("learnt:1", Some(&order)).unwrap();
        prop_assert_eq!(learnt.select(&step, &proposal, Key::new(1)), Confidence.select(&step, &proposal, Key::new(1)));
    }

    /// A logit of the log-odds is the policy `threshold`.
    #[test]
    fn weights_that_copy_log_odds_commit_what_a_threshold_commits(candidates in candidates(), above in 0.05f64..0.95) {
        let proposal = proposal(&candidates);
        let step = middle(proposal.len(), 1);
        let order = Arc::new(single("logit.features", 1, 4.0));
        let named = |name: &str| policy::by_name_with(&format!("{name}:{above}"), Some(&order)).unwrap();
        let [learnt, threshold] = ["learnt", "threshold"].map(|name| named(name).select(&step, &proposal, Key::new(1)));
        prop_assert_eq!(learnt, threshold);
    }

    #[test]
    fn a_lower_threshold_commits_the_same_and_more(candidates in candidates(), seed in 0u64..50) {
        let proposal = proposal(&candidates);
        let order = Arc::new(drawn(4, seed, 0.7));
        let step = middle(proposal.len(), 1);
        let mut before = Vec::new();
        for name in ["learnt:1", "learnt:0.7", "learnt", "learnt:0.2", "learnt:0"] {
            let policy = policy::by_name_with(name, Some(&order)).unwrap();
            let chosen = policy.select(&step, &proposal, Key::new(1)).positions;
            prop_assert!(before.iter().all(|position| chosen.contains(position)) && !chosen.is_empty());
            before = chosen;
        }
        prop_assert_eq!(before.as_slice(), proposal.positions());
    }

    #[test]
    fn features_are_bounded_and_finite(candidates in rounded_candidates()) {
        let proposal = proposal(&candidates);
        let features = OrderFeatures::new(&middle(proposal.len(), 1), &proposal);
        prop_assert_eq!((features.len(), features.is_empty()), (proposal.len(), false));
        for row in features.rows() {
            for (name, value) in OrderFeatures::NAMES.iter().zip(row) {
                let range = match *name {
                    "log-odds" => -3.0..=3.0,
                    "entropy" => 0.0..=20f64.ln_1p(),
                    _ => 0.0..=1.0,
                };
                prop_assert!(range.contains(value), "{}: {:?}", name, row);
            }
        }
    }
}

#[test]
fn features_say_where_a_position_lies_and_how_sure_the_others_are() {
    let mut proposal = Proposal::new();
    for (position, probability) in [(4, 0.5), (5, 1.0), (6, 0.0), (9, 0.5)] {
        proposal.insert(position, candidate(probability, 0.0, 0.0));
    }
    let features = OrderFeatures::new(&middle(4, 1), &proposal);
    let of = |name: &str| {
        let place = OrderFeatures::NAMES.iter().position(|there| *there == name).unwrap();
        features.rows().map(|row| row[place]).collect::<Vec<_>>()
    };
    assert_eq!(of("left"), [1.0, 0.5, 1.0 / 3.0, 1.0]);
    assert_eq!(of("right"), [1.0 / 3.0, 0.5, 1.0, 1.0]);
    assert_eq!(of("rank"), [0.25, 0.0, 0.75, 0.5]);
    assert_eq!(of("together"), [0.5, 1.0, 0.0, 0.25]);
    assert_eq!(of("log-odds"), [0.0, 3.0, -3.0, 0.0]);
    assert_eq!(of("open"), [4.0 / 6.0; 4]);
}

/// The policies that need no order.
const NAMES: &str = "confidence, margin, entropy, random, sequential, ancestral, first-hitting, last, threshold:PROBABILITY, \
     dynamic:PROBABILITY, factor:FACTOR, entropy-bound:NATS, entropy-bound-by-confidence:NATS";

#[test]
fn an_order_is_refused_where_there_is_none_or_its_numbers_do_not_fit() {
    let refused = policy::by_name_with("learnt", None).unwrap_err();
    assert_eq!(refused.to_string(), format!("`policy` is \"learnt\"; allowed: {NAMES}; the model has no learnt order"));
    assert!(refused.hint().unwrap().contains("docs/TUNING.md"));
    assert!(policy::by_name("learnt").is_err());
    // A misspelt name is refused with all that there are.
    let misspelt = |order| policy::by_name_with("learned", order).unwrap_err().to_string();
    assert_eq!(misspelt(None), format!("`policy` is \"learned\"; allowed: {NAMES}"));
    let order = Arc::new(OrderNetwork::fresh(4, 0.9, 1).unwrap());
    assert_eq!(misspelt(Some(&order)), format!("`policy` is \"learned\"; allowed: learnt:PROBABILITY, {NAMES}"));
    for wrong in ["learnt:2", "learnt:x", "learnt:-0.1", "learnt:nan"] {
        assert!(policy::by_name_with(wrong, Some(&order)).unwrap_err().hint().unwrap().contains("from 0 to 1"));
    }
    assert_eq!(policy::by_name_with("learnt", Some(&order)).unwrap().name(), "learnt:0.5");
    assert_eq!(policy::by_name_with("margin", Some(&order)).unwrap().name(), "margin");
    assert!(OrderNetwork::fresh(0, 0.9, 1).is_err());
    assert!([0.0, 1.0, f64::NAN].iter().all(|threshold| OrderNetwork::fresh(4, *threshold, 1).is_err()));
    let broken = OrderNetwork::new(4, &mut |tensor| Some(vec![f32::NAN; tensor.shape().iter().product()]));
    assert!(broken.unwrap_err().to_string().contains("finite numbers"));
    assert!(OrderNetwork::new(4, &mut |_| None).is_err());
}

#[test]
fn what_learning_begins_with_is_a_soft_threshold_of_nine_tenths() {
    let network = OrderNetwork::fresh(8, 0.9, 3).unwrap();
    assert_eq!(network, OrderNetwork::fresh(8, 0.9, 3).unwrap());
    let proposal = proposal(&[(0.9, 0.0, 0.0), (0.95, 0.0, 0.0), (0.5, 0.0, 0.0)]);
    let logits = network.logits(&OrderFeatures::new(&middle(3, 1), &proposal));
    assert!(logits[0].abs() < 1e-5 && logits[1] > 1.0 && logits[2] < -4.0, "{logits:?}");
}

/// A row of positions, each of which is predicted right only where the one on its left is known, and where the prediction is
/// the surer the less it knows. The best order goes from left to right; confidence prefers the others and is always wrong.
struct Row {
    open: Vec<usize>,
    right: bool,
    passes: usize,
}

impl Row {
    const LENGTH: usize = 3;

    fn fill(select: &mut dyn FnMut(&Step, &Proposal) -> Vec<usize>) -> Self {
        let mut row = Self { open: (0..Self::LENGTH).collect(), right: true, passes: 0 };
        for planned in steps(Self::LENGTH, Self::LENGTH) {
            if row.open.is_empty() {
                break;
            }
            let knows = |position: &usize| !row.open.contains(&position.wrapping_sub(1));
            let mut proposal = Proposal::new();
            for position in &row.open {
                proposal.insert(*position, candidate(if knows(position) { 0.6 } else { 0.65 }, 0.5, 0.3));
            }
            let step = planned.with(row.open.len(), 0);
            let chosen = if step.is_last() { row.open.clone() } else { select(&step, &proposal) };
            row.right &= chosen.iter().all(knows);
            row.open.retain(|position| !chosen.contains(position));
            row.passes += 1;
        }
        row
    }
}

#[test]
fn a_best_order_that_confidence_misses_is_learned_from_what_comes_of_it() {
    assert!(!Row::fill(&mut |step, proposal| Confidence.select(step, proposal, Key::new(0)).positions).right);
    let mut network = OrderNetwork::fresh(4, 0.9, 1).unwrap();
    let (group, rate) = (16, 1.0);
    for round in 0..300u64 {
        let mut results = Vec::new();
        for member in 0..group {
            let key = Key::new(round * group + member);
            let mut gradient = network.weights().clone().map(|values| vec![0.0; values.len()]);
            let row = Row::fill(&mut |step, proposal| {
                let drawn = Learnt::draw(&network, step, proposal, key);
                network.backward(&drawn.features, &drawn.choice.slopes(&drawn.logits), &mut gradient);
                drawn.commit.positions
            });
            let worth = f64::from(u8::from(row.right)) - 0.1 * row.passes as f64 / Row::LENGTH as f64;
            results.push((worth, gradient));
        }
        let mean = results.iter().map(|(worth, _)| worth).sum::<f64>() / group as f64;
        let mut weights = network.weights().clone();
        for (worth, gradient) in results {
            for (weight, slope) in weights.iter_mut().flatten().zip(gradient.iter().flatten()) {
                *weight += rate * (worth - mean) * slope / group as f64;
            }
        }
        let mut all = weights.into_iter().map(|values| values.into_iter().map(|value| value as f32).collect());
        network = OrderNetwork::new(4, &mut |_| all.next()).unwrap();
    }
    let learnt = Learnt::new(Arc::new(network), Learnt::PROBABILITY).unwrap();
    let row = Row::fill(&mut |step, proposal| learnt.select(step, proposal, Key::new(0)).positions);
    assert!(row.right, "it goes from left to right");
    assert_eq!(row.passes, Row::LENGTH);
}
