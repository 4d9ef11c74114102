//! Estimators of the log-probability of a completion, which no diffusion model states: one file each.
//!
//! An estimator plans **readings**: which positions the network finds hidden, and whose log-probabilities are taken with
//! which weights. They add up to **estimates**, one for each token or one for all of them. A plan is a function of the
//! completion and of draws alone, so that the present model, the model of the rollout and the reference are read alike and
//! most of the noise of their differences is gone (VRPO, 2505.19223, section 3.3).

use aquatint_diffusion::Draws;
use std::fmt::Debug;
use std::ops::Range;

/// A completion, as an estimator sees it.
#[derive(Debug, Clone)]
pub(super) struct Drawn<'a> {
    /// Its positions on the canvas; what stands before is the prompt.
    pub(super) positions: Range<usize>,
    /// The step that committed each of them.
    pub(super) committed: &'a [u32],
    /// The same of the positions behind its end, which the network read while it was drawn and which are no part of it;
    /// [`NEVER`] where none did.
    pub(super) behind: &'a [u32],
    /// Its advantage within its group.
    pub(super) advantage: f64,
}

/// The step that committed what was left open.
pub(super) const NEVER: u32 = u32::MAX;

impl Drawn<'_> {
    /// The positions behind the end that were open before a step.
    pub(super) fn open_behind(&self, step: u32) -> impl Iterator<Item = usize> {
        let behind = (self.positions.end..).zip(self.behind);
        behind.filter(move |(_, committed)| **committed >= step).map(|(position, _)| position)
    }
}

/// A way to estimate.
pub(super) trait Estimator: Debug + Send + Sync {
    /// What is to be read of a completion of at least one position.
    fn plan(&self, drawn: &Drawn<'_>, draws: &mut Draws) -> Plan;
}

/// What is read of a completion, and what follows from it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    pub(super) readings: Vec<Reading>,
    /// How many estimates there are.
    pub(super) estimates: usize,
    pub(super) combination: Combination,
}

/// One canvas that the network reads.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reading {
    /// The positions that hold the mask.
    pub(super) hidden: Vec<usize>,
    /// The log-probabilities that are taken, of hidden positions.
    pub(super) terms: Vec<Term>,
}

/// A log-probability that is part of an estimate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Term {
    pub(super) position: usize,
    /// Which estimate it is part of.
    pub(super) estimate: usize,
    pub(super) weight: f64,
}

/// How the terms of an estimate come together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Combination {
    /// `Σ w ln p`.
    Sum,
    /// `ln(Σ w p^β) / β`.
    Power(f64),
}

impl Plan {
    /// The estimates from the log-probabilities of the terms, reading by reading; 0 where one has no term.
    pub(super) fn estimates(&self, log_probabilities: &[Vec<f64>]) -> Vec<f64> {
        match self.combination {
            Combination::Sum => {
                let mut sums = vec![0.0; self.estimates];
                self.each_term(log_probabilities).for_each(|(term, ln_p)| sums[term.estimate] += term.weight * ln_p);
                sums
            }
            Combination::Power(power) => {
                let (most, sums) = self.power_sums(power, log_probabilities);
                most.into_iter()
                    .zip(sums)
                    .map(|(most, sum)| if sum > 0.0 { most + sum.ln() / power } else { 0.0 })
                    .collect()
            }
        }
    }

    /// What each estimate grows by with each of its terms; the log-probabilities are read where that depends on them.
    pub(super) fn slopes(&self, log_probabilities: Option<&[Vec<f64>]>) -> Vec<Vec<f64>> {
        let weights = || self.readings.iter().map(|reading| reading.terms.iter().map(|term| term.weight).collect());
        let (Combination::Power(power), Some(log_probabilities)) = (self.combination, log_probabilities) else {
            return weights().collect();
        };
        let (most, sums) = self.power_sums(power, log_probabilities);
        let share = |(term, ln_p): (&Term, &f64)| {
            term.weight * (power * (ln_p - most[term.estimate])).exp() / sums[term.estimate]
        };
        let readings = self.readings.iter().zip(log_probabilities);
        readings.map(|(reading, values)| reading.terms.iter().zip(values).map(share).collect()).collect()
    }

    /// Whether slopes depend on the log-probabilities.
    pub(super) fn is_curved(&self) -> bool {
        matches!(self.combination, Combination::Power(_))
    }

    fn each_term<'a>(&'a self, log_probabilities: &'a [Vec<f64>]) -> impl Iterator<Item = (&'a Term, f64)> {
        let readings = self.readings.iter().zip(log_probabilities);
        readings.flat_map(|(reading, values)| reading.terms.iter().zip(values.iter().copied()))
    }

    /// For each estimate the largest log-probability, and `Σ w (p / largest)^β`.
    fn power_sums(&self, power: f64, log_probabilities: &[Vec<f64>]) -> (Vec<f64>, Vec<f64>) {
        let mut most = vec![f64::NEG_INFINITY; self.estimates];
        for (term, ln_p) in self.each_term(log_probabilities) {
            most[term.estimate] = most[term.estimate].max(ln_p);
        }
        let mut sums = vec![0.0; self.estimates];
        for (term, ln_p) in self.each_term(log_probabilities) {
            sums[term.estimate] += term.weight * (power * (ln_p - most[term.estimate])).exp();
        }
        (most, sums)
    }
}

/// Masks over `length` positions, by index: each with as many as a uniform time hides, one alone or in pairs that
/// complement each other. Where the first of a pair hides everything, so does the second, so that every count from 1 to
/// `length` is equally likely for either.
pub(super) fn masks(length: usize, count: usize, draws: &mut Draws) -> Vec<Vec<usize>> {
    let mut masks = Vec::with_capacity(count);
    while masks.len() < count {
        let hidden_count = 1 + draws.below(length as u64) as usize;
        let hidden = draws.choose(length, hidden_count);
        if masks.len() + 1 < count {
            let other = if hidden.len() == length { hidden.clone() } else { complement(length, &hidden) };
            masks.push(hidden);
            masks.push(other);
        } else {
            masks.push(hidden);
        }
    }
    masks
}

/// The indices below `length` that are not among some.
pub(super) fn complement(length: usize, hidden: &[usize]) -> Vec<usize> {
    let mut is_hidden = vec![false; length];
    hidden.iter().for_each(|&index| is_hidden[index] = true);
    (0..length).filter(|index| !is_hidden[*index]).collect()
}

/// A reading of a mask over the positions of a completion, whose terms all weigh the same; `estimate` says which estimate
/// an index is part of. What lies behind its end is hidden.
pub(super) fn reading(drawn: &Drawn<'_>, mask: &[usize], weight: f64, estimate: impl Fn(usize) -> usize) -> Reading {
    let position = |index: &usize| drawn.positions.start + index;
    let term = |index: &usize| Term { position: position(index), estimate: estimate(*index), weight };
    let hidden = mask.iter().map(position).chain(drawn.open_behind(0)).collect();
    Reading { hidden, terms: mask.iter().map(term).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aquatint_diffusion::Key;

    #[test]
    fn every_count_is_equally_likely_and_pairs_complement_each_other() {
        const LENGTH: usize = 5;
        const DRAWS: usize = 40_000;
        let mut counts = [[0usize; LENGTH + 1]; 2];
        for draw in 0..DRAWS {
            let pair = masks(LENGTH, 2, &mut Key::new(1).at(draw as u64, 0));
            assert!(pair.iter().all(|mask| mask.is_sorted()));
            for (counts, mask) in counts.iter_mut().zip(&pair) {
                counts[mask.len()] += 1;
            }
            match pair[0].len() {
                LENGTH => assert_eq!(pair[1].len(), LENGTH),
                _ => assert_eq!(pair[1], complement(LENGTH, &pair[0])),
            }
        }
        for counts in counts {
            assert_eq!(counts[0], 0);
            for count in &counts[1..] {
                let share = *count as f64 / DRAWS as f64 * LENGTH as f64;
                assert!((share - 1.0).abs() < 0.05, "{counts:?}");
            }
        }
        assert_eq!(masks(LENGTH, 1, &mut Key::new(1).at(0, 0)).len(), 1);
        assert_eq!(masks(1, 2, &mut Key::new(1).at(0, 0)), [[0], [0]]);
    }

    #[test]
    fn what_lies_behind_an_end_is_hidden_and_has_no_term() {
        let drawn = Drawn { positions: 3..6, committed: &[0, 4, 1], behind: &[2, NEVER, 5], advantage: 1.0 };
        assert_eq!(drawn.open_behind(3).collect::<Vec<_>>(), [7, 8]);
        let reading = reading(&drawn, &[0, 2], 1.0, |index| index);
        assert_eq!(reading.hidden, [3, 5, 6, 7, 8]);
        assert_eq!(reading.terms.iter().map(|term| term.position).collect::<Vec<_>>(), [3, 5]);
    }

    #[test]
    fn slopes_are_the_derivatives_of_the_estimates() {
        let term = |position, estimate, weight| Term { position, estimate, weight };
        let readings = vec![
            Reading { hidden: vec![0, 1], terms: vec![term(0, 0, 0.5), term(1, 1, 2.0)] },
            Reading { hidden: vec![0], terms: vec![term(0, 0, 1.5)] },
        ];
        let values = vec![vec![-1.0, -0.3], vec![-2.5]];
        for combination in [Combination::Sum, Combination::Power(1.0), Combination::Power(1.7)] {
            let plan = Plan { readings: readings.clone(), estimates: 3, combination };
            let slopes = plan.slopes(Some(&values));
            for (reading, term) in [(0, 0), (0, 1), (1, 0)] {
                let moved = |by: f64| {
                    let mut values = values.clone();
                    values[reading][term] += by;
                    plan.estimates(&values)[readings[reading].terms[term].estimate]
                };
                let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert!((slope - slopes[reading][term]).abs() < 1e-8, "{combination:?}: {slope} {slopes:?}");
            }
            // An estimate without a term says nothing.
            assert_eq!(plan.estimates(&values)[2], 0.0);
        }
    }
}
