//! Each token from a completion hidden whole and from one of two masks that complement each other: three readings
//! (coupled-GRPO, 2506.20639, section 4.2). A share between 0.2 and 0.8 of the tokens is hidden in the first mask and all
//! others in the second, so that every token is predicted once with something around it.
//!
//! Deviation: the reference adds the whole reading and the pair, each token of which weighs the inverse of the share of its
//! mask, and halves the sum. That is three estimates over two; here they are divided by three, so that the weights of
//! a token are 1 on average.

use super::super::estimator::{Combination, Drawn, Estimator, Plan, complement, reading};
use aquatint_diffusion::Draws;

/// The shares that the first mask hides.
const SHARES: (f64, f64) = (0.2, 0.8);
/// Estimates of each token.
const PARTS: f64 = 3.0;

#[derive(Debug)]
pub(super) struct Coupled;

impl Estimator for Coupled {
    fn plan(&self, drawn: &Drawn<'_>, draws: &mut Draws) -> Plan {
        let length = drawn.positions.len();
        let all: Vec<usize> = (0..length).collect();
        let own = |index| index;
        let readings = match counts(length) {
            // Nothing is left to complement one token.
            None => vec![reading(drawn, &all, 1.0, own)],
            Some((least, most)) => {
                let count = least + draws.below((most - least + 1) as u64) as usize;
                let first = draws.choose(length, count);
                let second = complement(length, &first);
                let part = |mask: &[usize]| reading(drawn, mask, length as f64 / (PARTS * mask.len() as f64), own);
                vec![part(&all), part(&first), part(&second)]
            }
        };
        Plan { readings, estimates: length, combination: Combination::Sum }
    }
}

/// How many tokens the first mask hides, at least and at most; `None` where two masks would not both hide one.
fn counts(length: usize) -> Option<(usize, usize)> {
    let most = length.checked_sub(1).filter(|most| *most > 0)?;
    let share = |share: f64| share * length as f64;
    let least = (share(SHARES.0).ceil() as usize).clamp(1, most);
    Some((least, (share(SHARES.1).floor() as usize).clamp(least, most)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aquatint_diffusion::Key;
    use std::collections::BTreeMap;

    /// Of each position under each set of hidden ones the weight that it has on average.
    type Weights = BTreeMap<(usize, Vec<usize>), f64>;

    const LENGTH: usize = 5;

    /// By going through all masks: the whole one, and for each count every set of so many, with its complement.
    fn expected() -> Weights {
        let mut weights = Weights::new();
        let mut add = |mask: &[usize], weight: f64| {
            for &position in mask {
                *weights.entry((position, mask.to_vec())).or_default() += weight;
            }
        };
        add(&(0..LENGTH).collect::<Vec<_>>(), 1.0 / 3.0);
        let (least, most) = counts(LENGTH).unwrap();
        for count in least..=most {
            let masks: Vec<Vec<usize>> = (0..1usize << LENGTH)
                .map(|bits| (0..LENGTH).filter(|index| bits >> index & 1 == 1).collect::<Vec<_>>())
                .filter(|mask| mask.len() == count)
                .collect();
            let probability = 1.0 / ((most - least + 1) * masks.len()) as f64;
            for mask in &masks {
                let share = count as f64 / LENGTH as f64;
                add(mask, probability / (3.0 * share));
                add(&complement(LENGTH, mask), probability / (3.0 * (1.0 - share)));
            }
        }
        weights
    }

    /// The gradient of an estimate is the sum of those of its log-probabilities with their weights, so that equal weights
    /// on average are equal gradients, whatever the network.
    #[test]
    fn the_gradient_is_on_average_that_of_all_masks() {
        const DRAWS: u64 = 200_000;
        let (start, drawn) =
            (7, Drawn { positions: 7..7 + LENGTH, committed: &[0; LENGTH], behind: &[], advantage: 1.0 });
        let mut found = Weights::new();
        for draw in 0..DRAWS {
            let plan = Coupled.plan(&drawn, &mut Key::new(5).at(draw, 0));
            for reading in &plan.readings {
                let mask: Vec<usize> = reading.hidden.iter().map(|position| position - start).collect();
                for term in &reading.terms {
                    assert_eq!(term.estimate, term.position - start);
                    *found.entry((term.estimate, mask.clone())).or_default() += term.weight / DRAWS as f64;
                }
            }
        }
        let expected = expected();
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        for (key, weight) in &expected {
            assert!((found[key] - weight).abs() < 0.003, "{key:?}: {} {weight}", found[key]);
        }
        // Together the weights of a token are 1.
        for position in 0..LENGTH {
            let of_position = expected.iter().filter(|((at, _), _)| *at == position);
            let total: f64 = of_position.map(|(_, weight)| weight).sum();
            assert!((total - 1.0).abs() < 1e-12, "{total}");
        }
    }

    #[test]
    fn short_completions_are_read_too() {
        assert_eq!((counts(1), counts(2), counts(3), counts(10)), (None, Some((1, 1)), Some((1, 2)), Some((2, 8))));
        let plan = Coupled
            .plan(&Drawn { positions: 4..5, committed: &[0], behind: &[], advantage: 1.0 }, &mut Key::new(0).at(0, 0));
        assert_eq!((plan.readings.len(), plan.readings[0].terms[0].weight), (1, 1.0));
    }
}
