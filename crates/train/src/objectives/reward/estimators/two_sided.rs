//! The bound from below where a completion is to become more probable, and one from above where it is to become less (SPG,
//! 2510.09541, section 3): what raises a lower bound raises the probability, and what lowers one need not lower it. The
//! upper bound is Rényi's, `Σᵢ ln E[w p(xᵢ)^β] / β` over masks that hide token i with weight w (equation 6 there), and β
//! is 1.
//!
//! Deviations: the expectation within the logarithm is the mean over this plan's readings, as in the reference, which makes
//! the bound one in the limit of many; masks are those of the bound, and not by blocks.

use super::super::estimator::{Combination, Drawn, Estimator, Plan, masks, reading};
use aquatint_diffusion::Draws;

/// β of the upper bound.
const POWER: f64 = 1.0;

#[derive(Debug)]
pub(super) struct TwoSided {
    /// 1, or an even number.
    pub(super) readings: usize,
}

impl Estimator for TwoSided {
    fn plan(&self, drawn: &Drawn<'_>, draws: &mut Draws) -> Plan {
        let length = drawn.positions.len();
        let masks = masks(length, self.readings, draws);
        let weight = |mask: &[usize]| length as f64 / (mask.len() * masks.len()) as f64;
        let readings = masks.iter().map(|mask| reading(drawn, mask, weight(mask), |index| index)).collect();
        let combination = if drawn.advantage < 0.0 { Combination::Power(POWER) } else { Combination::Sum };
        Plan { readings, estimates: length, combination }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aquatint_diffusion::Key;

    const LENGTH: usize = 3;

    /// A law over completions of two letters, and what it says of a token given some of the others.
    fn law(tokens: usize) -> f64 {
        [0.05, 0.2, 0.1, 0.15, 0.02, 0.28, 0.08, 0.12][tokens]
    }

    /// `ln p(xᵢ | the tokens that are not hidden)` of the completion whose bits these are.
    fn ln_p(completion: usize, position: usize, hidden: &[usize]) -> f64 {
        let agrees = |other: usize| (0..LENGTH).all(|at| hidden.contains(&at) || (other ^ completion) >> at & 1 == 0);
        let alike = |other: usize| (other ^ completion) >> position & 1 == 0;
        let of = |keep: &dyn Fn(usize) -> bool| (0..1 << LENGTH).filter(|o| keep(*o)).map(law).sum::<f64>();
        (of(&|other| agrees(other) && alike(other)) / of(&agrees)).ln()
    }

    #[test]
    fn the_two_sides_hold_the_log_probability_between_them() {
        let sum = |completion: usize, advantage: f64| {
            let drawn = Drawn { positions: 0..LENGTH, committed: &[0; LENGTH], behind: &[], advantage };
            let plan = TwoSided { readings: 20_000 }.plan(&drawn, &mut Key::new(4).at(0, 0));
            let of = |reading: &super::super::super::estimator::Reading| {
                reading.terms.iter().map(|term| ln_p(completion, term.position, &reading.hidden)).collect::<Vec<f64>>()
            };
            let values: Vec<Vec<f64>> = plan.readings.iter().map(of).collect();
            plan.estimates(&values).iter().sum::<f64>()
        };
        for completion in 0..1 << LENGTH {
            let (below, exact, above) = (sum(completion, 1.0), law(completion).ln(), sum(completion, -1.0));
            // With the law's own conditionals the lower bound is exact.
            assert!((below - exact).abs() < 0.02, "{below} {exact}");
            assert!(above > exact - 0.02, "{above} {exact}");
            assert!(above >= below);
        }
    }
}
