//! Policies, one by one (oracles 6 and 7).

use aquatint_diffusion::policy::{self, Confidence, EntropyBound, ErrorProxy, Threshold};
use aquatint_diffusion::{Candidate, CommitPolicy, Key, PlannedStep, Proposal, Remasking, StepPlan, schedule};
use proptest::prelude::*;

const ALL: [&str; 13] = [
    "confidence",
    "margin",
    "entropy",
    "random",
    "sequential",
    "ancestral",
    "first-hitting",
    "threshold:0.9",
    "dynamic:0.9",
    "factor:1",
    "entropy-bound:0.1",
    "entropy-bound-by-confidence:0.1",
    "last",
];

/// A step in the middle of a plan for `open` positions.
fn middle(open: usize) -> PlannedStep {
    let schedule = schedule("linear").unwrap();
    StepPlan::new(&[open], open.max(3), schedule.as_ref(), &policy::Ancestral, &Remasking::None).unwrap().blocks()[0]
        .steps()[1]
}

fn proposal(candidates: &[(f64, f64, f64)]) -> Proposal {
    let mut proposal = Proposal::new();
    for (index, (probability, entropy, margin)) in candidates.iter().copied().enumerate() {
        // Positions with gaps, so that an index is not mistaken for a position.
        proposal.insert(3 * index + 1, Candidate { token: 0, probability, entropy, margin, likeliest: 0, mass: 1.0 });
    }
    proposal
}

fn candidates() -> impl Strategy<Value = Vec<(f64, f64, f64)>> {
    prop::collection::vec((0.01f64..1.0, prop_oneof![Just(0.0), 0.0f64..2.0], 0.0f64..1.0), 1..20)
}

fn select(name: &str, proposal: &Proposal, commits: usize) -> Vec<usize> {
    let step = aquatint_diffusion::Step { planned: middle(proposal.len()), commits };
    policy::by_name(name).unwrap().select(&step, proposal, Key::new(71)).positions
}

proptest! {
    #![proptest_config(crate::oracle::properties())]

    #[test]
    fn only_proposed_positions_are_committed_in_order_and_all_at_last(candidates in candidates(), commits in 0usize..9) {
        let proposal = proposal(&candidates);
        let commits = commits.min(proposal.len());
        for name in ALL {
            let chosen = select(name, &proposal, commits);
            prop_assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]), "{}", name);
            prop_assert!(chosen.iter().all(|p| proposal.candidate(*p).is_some()), "{}", name);
            match name {
                "confidence" | "margin" | "entropy" | "random" | "sequential" => prop_assert_eq!(chosen.len(), commits),
                "first-hitting" => prop_assert_eq!(chosen.len(), 1),
                "ancestral" => {}
                "dynamic:0.9" => prop_assert!(chosen.len() >= commits),
                "last" => prop_assert!(chosen.is_empty()),
                _ => prop_assert!(!chosen.is_empty(), "{} commits at least one", name),
            }
            let planned = PlannedStep { index: 4, of: 5, ..middle(proposal.len()) };
            let last = planned.with(proposal.len(), 0);
            let chosen = policy::by_name(name).unwrap().select(&last, &proposal, Key::new(71)).positions;
            prop_assert_eq!(chosen.as_slice(), proposal.positions(), "{} leaves something at the end", name);
        }
    }

    #[test]
    fn ranking_policies_commit_the_best(candidates in candidates(), commits in 1usize..9) {
        let proposal = proposal(&candidates);
        let score = |name: &str, c: &Candidate| match name {
            "confidence" => c.probability,
            "margin" => c.margin,
            _ => -c.entropy,
        };
        for name in ["confidence", "margin", "entropy"] {
            let chosen = select(name, &proposal, commits.min(proposal.len()));
            let (inside, outside): (Vec<_>, Vec<_>) = proposal.iter().partition(|(p, _)| chosen.contains(p));
            for (_, worse) in &outside {
                prop_assert!(inside.iter().all(|(_, better)| score(name, better) >= score(name, worse)), "{}", name);
            }
        }
    }

    /// What is above the threshold is committed, filled up to the planned number with the surest of the rest; a larger
    /// factor never commits less, and the surest come first.
    #[test]
    fn thresholds_with_a_floor_and_factors_take_the_surest(candidates in candidates(), commits in 1usize..9) {
        let proposal = proposal(&candidates);
        let commits = commits.min(proposal.len());
        let above = candidates.iter().filter(|(probability, _, _)| *probability > 0.9).count();
        prop_assert_eq!(select("dynamic:0.9", &proposal, commits).len(), above.max(commits));
        prop_assert_eq!(select("sequential", &proposal, commits), proposal.positions()[..commits].to_vec());
        let ahead = PlannedStep { share: 2, ..middle(proposal.len()) };
        let ahead = aquatint_diffusion::Step { planned: ahead, commits: 0 };
        let least = policy::by_name("dynamic:0.9").unwrap().select(&ahead, &proposal, Key::new(71)).positions.len();
        prop_assert_eq!(least, above.max(2).min(proposal.len()), "more was committed before than planned");
        for name in ["dynamic:0.9", "factor:0.5", "factor:2"] {
            let chosen = select(name, &proposal, commits);
            let (inside, outside): (Vec<_>, Vec<_>) = proposal.iter().partition(|(p, _)| chosen.contains(p));
            let least = inside.iter().map(|(_, c)| c.probability).fold(1.0, f64::min);
            prop_assert!(outside.iter().all(|(_, c)| c.probability <= least), "{}", name);
        }
        let factor = |name: &str| select(name, &proposal, commits).len();
        prop_assert!(factor("factor:0.5") <= factor("factor:2"));
        let n = factor("factor:2");
        let mut falling: Vec<f64> = candidates.iter().map(|(probability, _, _)| *probability).collect();
        falling.sort_unstable_by(|a, b| b.total_cmp(a));
        prop_assert!(n == 1 || (n as f64 + 1.0) * (1.0 - falling[n - 1]) < 2.0);
    }

    /// Oracle 6: no bound commits one position and those of entropy 0, an infinite one everything, and a larger bound
    /// never less.
    #[test]
    fn entropy_bounds_grow(candidates in candidates(), low in 0.0f64..2.0, more in 0.0f64..2.0) {
        let proposal = proposal(&candidates);
        let step = middle(proposal.len()).with(proposal.len(), 0);
        let chosen = |bound: f64| EntropyBound::new(bound).unwrap().select(&step, &proposal, Key::new(0)).positions;
        let certain = candidates.iter().filter(|c| c.1 == 0.0).count();
        let uncertain = candidates.len() - certain;
        prop_assert_eq!(chosen(0.0).len(), certain + uncertain.min(1));
        prop_assert_eq!(chosen(f64::INFINITY), proposal.positions());
        let (small, large) = (chosen(low), chosen(low + more));
        prop_assert!(small.iter().all(|p| large.contains(p)));
        let entropies: Vec<f64> = small.iter().filter_map(|p| proposal.candidate(*p)).map(|c| c.entropy).collect();
        let largest = entropies.iter().fold(0.0f64, |a, b| a.max(*b));
        prop_assert!(entropies.iter().sum::<f64>() - largest <= low + 1e-12);
    }

    /// Of positions that are equally sure the first one is taken.
    #[test]
    fn an_entropy_bound_of_0_takes_the_first_of_equals(count in 1usize..9, confidence in 0.1f64..0.9) {
        let proposal = proposal(&vec![(confidence, 0.5, 0.1); count]);
        let step = middle(proposal.len()).with(proposal.len(), 0);
        for proxy in [ErrorProxy::Entropy, ErrorProxy::Confidence] {
            let chosen = EntropyBound::new(0.0).unwrap().by(proxy).select(&step, &proposal, Key::new(0)).positions;
            prop_assert_eq!(chosen, &proposal.positions()[..1]);
        }
    }

    /// By confidence the same bound is kept by the longest run of the surest positions.
    #[test]
    fn an_entropy_bound_by_confidence_takes_the_longest_run_within_it(candidates in candidates(), bound in 0.0f64..3.0) {
        let proposal = proposal(&candidates);
        let step = middle(proposal.len()).with(proposal.len(), 0);
        let policy = EntropyBound::new(bound).unwrap().by(ErrorProxy::Confidence);
        let chosen = policy.select(&step, &proposal, Key::new(0)).positions;
        let mut sorted: Vec<(usize, &Candidate)> = proposal.iter().collect();
        sorted.sort_by(|a, b| b.1.probability.total_cmp(&a.1.probability));
        let lost = |count: usize| {
            let entropies = sorted[..count].iter().map(|(_, candidate)| candidate.entropy);
            entropies.clone().sum::<f64>() - entropies.fold(0.0, f64::max)
        };
        let mut expected: Vec<usize> = sorted[..chosen.len()].iter().map(|(position, _)| *position).collect();
        expected.sort_unstable();
        prop_assert_eq!(&chosen, &expected);
        prop_assert!(lost(chosen.len()) <= bound + 1e-9);
        prop_assert!(chosen.len() == sorted.len() || lost(chosen.len() + 1) > bound - 1e-9);
    }

    #[test]
    fn thresholds_commit_what_is_above_them(candidates in candidates(), threshold in 0.0f64..1.0) {
        let proposal = proposal(&candidates);
        let step = middle(proposal.len()).with(proposal.len(), 0);
        let chosen = Threshold::new(threshold).unwrap().select(&step, &proposal, Key::new(0)).positions;
        let above: Vec<usize> = proposal.iter().filter(|(_, c)| c.probability > threshold).map(|(p, _)| p).collect();
        if above.is_empty() {
            let best = Confidence.select(&aquatint_diffusion::Step { commits: 1, ..step }, &proposal, Key::new(0));
            prop_assert_eq!(chosen, best.positions);
        } else {
            prop_assert_eq!(chosen, above);
        }
    }

    /// What other positions are proposed has no say in a position's own draw.
    #[test]
    fn draws_do_not_depend_on_the_company(candidates in candidates(), seed in 0u64..1000) {
        let all = proposal(&candidates);
        let mut some = Proposal::new();
        all.iter().filter(|(p, _)| p % 2 == 1).for_each(|(p, c)| some.insert(p, *c));
        let step = middle(9).with(all.len(), 0);
        let chosen = |proposal| policy::Ancestral.select(&step, proposal, Key::new(seed)).positions;
        let expected: Vec<usize> = chosen(&all).into_iter().filter(|p| p % 2 == 1).collect();
        prop_assert_eq!(chosen(&some), expected);
    }
}

#[test]
fn what_a_prediction_counts_multiplies_the_probability_of_becoming_final() {
    let step = middle(8).with(8, 0);
    let goes = 1.0 - step.planned.staying;
    assert!(goes > 0.0 && goes < 0.5);
    for mass in [0.0, 0.5, 1.0, 1.5, 100.0] {
        let mut proposal = Proposal::new();
        let candidate = Candidate { token: 1, probability: 0.5, entropy: 0.1, margin: 0.1, likeliest: 1, mass };
        (0..1000).for_each(|position| proposal.insert(position, candidate));
        let count: usize =
            (0..40).map(|key| policy::Ancestral.select(&step, &proposal, Key::new(key)).positions.len()).sum();
        let (share, expected) = (count as f64 / 40_000.0, (mass * goes).min(1.0));
        // Four standard deviations of a share of 40,000.
        let limit = 4.0 * (expected * (1.0 - expected) / 40_000.0).sqrt();
        assert!((share - expected).abs() <= limit, "{mass}: {share} where {expected} is expected");
    }
}

/// Oracle 7: where all n positions have a prediction above 1 − ε and (n + 1) ε ≤ 1, the likeliest tokens committed
/// together are those committed one after another. The threshold policy with τ = 1 − ε commits them together.
#[test]
fn confident_positions_may_be_committed_together() {
    let (n, tokens) = (3usize, 3usize);
    let mut draws = Key::new(72).at(0, 0);
    let (mut tried, mut tight) = (0, 0);
    while tried < 2000 {
        // A joint law with much of its mass on one sequence, and the rest anywhere.
        let best = draws.below(27) as usize;
        let mass = 0.3 + 0.7 * draws.uniform();
        let mut joint: Vec<f64> = (0..27).map(|_| draws.uniform().powi(6)).collect();
        let total: f64 = joint.iter().sum();
        joint.iter_mut().for_each(|p| *p *= (1.0 - mass) / total);
        joint[best] += mass;
        let digit = |sequence: usize, position: usize| sequence / tokens.pow(position as u32) % tokens;
        let prediction = |known: &[Option<usize>], position: usize| {
            let mut law = vec![0.0; tokens];
            for (sequence, p) in joint.iter().enumerate() {
                if known.iter().enumerate().all(|(i, k)| k.is_none_or(|k| digit(sequence, i) == k)) {
                    law[digit(sequence, position)] += p;
                }
            }
            let total: f64 = law.iter().sum();
            law.iter_mut().for_each(|p| *p /= total);
            let token = (0..tokens).max_by(|a, b| law[*a].total_cmp(&law[*b])).unwrap();
            (token, law[token])
        };
        let together: Vec<(usize, f64)> = (0..n).map(|position| prediction(&[None; 3], position)).collect();
        let epsilon = 1.0 / (n + 1) as f64;
        let lowest = together.iter().map(|(_, p)| *p).fold(1.0, f64::min);
        if lowest <= 1.0 - epsilon {
            continue;
        }
        tried += 1;
        tight += usize::from(lowest < 1.0 - 0.8 * epsilon);
        let mut proposal = Proposal::new();
        for (position, (token, probability)) in together.iter().enumerate() {
            let token = *token as u32;
            let candidate =
                Candidate { token, probability: *probability, entropy: 0.1, margin: 0.1, likeliest: token, mass: 1.0 };
            proposal.insert(position, candidate);
        }
        let step = middle(n).with(n, 0);
        let commit = Threshold::new(1.0 - epsilon).unwrap().select(&step, &proposal, Key::new(0));
        assert_eq!(commit.positions, [0, 1, 2]);
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut known = [None; 3];
            for position in order {
                known[position] = Some(prediction(&known, position).0);
            }
            let one_by_one: Vec<usize> = known.into_iter().flatten().collect();
            assert_eq!(one_by_one, together.iter().map(|(token, _)| *token).collect::<Vec<_>>());
        }
    }
    assert!(tight > 50, "only {tight} cases came near the limit");
}

#[test]
fn names_lead_back_to_their_policies() {
    for name in ALL {
        assert_eq!(policy::by_name(name).unwrap().name(), name);
    }
    assert_eq!(policy::by_name("entropy-bound:inf").unwrap().name(), "entropy-bound:inf");
    for wrong in
        ["", "Confidence", "confidence:1", "threshold:1.5", "threshold:x", "entropy-bound:-1", "random:", "factor:0"]
    {
        assert!(policy::by_name(wrong).is_err(), "{wrong} was taken");
    }
    assert_eq!(
        crate::refusal(&policy::by_name("low_confidence").unwrap_err()),
        "`policy` is \"low_confidence\"; allowed: confidence, margin, entropy, random, sequential, ancestral, \
         first-hitting, last, threshold:PROBABILITY, dynamic:PROBABILITY, factor:FACTOR, entropy-bound:NATS, \
         entropy-bound-by-confidence:NATS | its right \
         name is `confidence`"
    );
}
