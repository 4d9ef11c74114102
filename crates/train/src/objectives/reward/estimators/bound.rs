//! The bound of the completion as a whole, in nats per token: one estimate, so that one ratio stands for the sequence,
//! and its noise is divided by the length before it enters an exponent (ESPO, 2512.03759, equation 9). Masks are those of
//! the bound with fixed counts (LLaDA, 2502.09992, equation 14), in pairs that complement each other. With one reading it is
//! the mean over the hidden tokens (UniGRPO, 2505.15809, section 3.3).

use super::super::estimator::{Combination, Drawn, Estimator, Plan, masks, reading};
use aquatint_diffusion::Draws;

#[derive(Debug)]
pub(super) struct Bound {
    /// 1, or an even number.
    pub(super) readings: usize,
}

impl Estimator for Bound {
    fn plan(&self, drawn: &Drawn<'_>, draws: &mut Draws) -> Plan {
        let positions = &drawn.positions;
        let masks = masks(positions.len(), self.readings, draws);
        // L/n of each of n hidden tokens, over the L tokens of the completion.
        let weight = |mask: &[usize]| 1.0 / (mask.len() * masks.len()) as f64;
        let readings = masks.iter().map(|mask| reading(drawn, mask, weight(mask), |_| 0)).collect();
        Plan { readings, estimates: 1, combination: Combination::Sum }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aquatint_diffusion::Key;

    const LENGTH: usize = 4;

    /// Some log-probability that hangs on what else is hidden.
    fn ln_p(position: usize, hidden: &[usize]) -> f64 {
        -1.0 - position as f64 - 0.2 * hidden.iter().map(|at| (at * at + 1) as f64).sum::<f64>()
    }

    /// The bound per token, by going through all masks.
    fn exact() -> f64 {
        let mut of_count = [(0.0, 0usize); LENGTH + 1];
        for bits in 1..1usize << LENGTH {
            let mask: Vec<usize> = (0..LENGTH).filter(|index| bits >> index & 1 == 1).collect();
            let sum: f64 = mask.iter().map(|&position| ln_p(position, &mask)).sum();
            let of = &mut of_count[mask.len()];
            *of = (of.0 + sum / mask.len() as f64, of.1 + 1);
        }
        of_count[1..].iter().map(|(sum, count)| sum / *count as f64).sum::<f64>() / LENGTH as f64
    }

    #[test]
    fn it_is_the_bound_on_average_alone_and_in_pairs() {
        const DRAWS: u64 = 40_000;
        let drawn = Drawn { positions: 0..LENGTH, committed: &[0; LENGTH], behind: &[], advantage: 1.0 };
        for readings in [1, 2, 4] {
            let mut sum = 0.0;
            for draw in 0..DRAWS {
                let plan = Bound { readings }.plan(&drawn, &mut Key::new(9).at(draw, 0));
                let of = |reading: &super::super::super::estimator::Reading| {
                    reading.terms.iter().map(|term| ln_p(term.position, &reading.hidden)).collect::<Vec<f64>>()
                };
                let values: Vec<Vec<f64>> = plan.readings.iter().map(of).collect();
                assert_eq!(values.len(), readings);
                sum += plan.estimates(&values)[0] / DRAWS as f64;
            }
            assert!((sum / exact() - 1.0).abs() < 0.005, "{readings}: {sum} {}", exact());
        }
    }
}
