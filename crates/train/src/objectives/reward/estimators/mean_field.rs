//! Each token by itself, from a completion that is hidden whole, with a share of the prompt hidden at random: one reading
//! (d1, diffu-GRPO, 2504.12216, section 3.1). The prompt's mask is another one at each update, which keeps several updates
//! on one rollout from learning the same twice.

use super::super::estimator::{Combination, Drawn, Estimator, Plan, reading};
use aquatint_diffusion::Draws;

#[derive(Debug)]
pub(super) struct MeanField {
    /// The share of the prompt that is hidden.
    pub(super) hidden_prompt: f64,
}

impl Estimator for MeanField {
    fn plan(&self, drawn: &Drawn<'_>, draws: &mut Draws) -> Plan {
        let positions = &drawn.positions;
        let prompt = (0..positions.start).filter(|_| draws.uniform() < self.hidden_prompt);
        let prompt: Vec<usize> = prompt.collect();
        let all: Vec<usize> = (0..positions.len()).collect();
        let mut whole = reading(drawn, &all, 1.0, |index| index);
        whole.hidden.splice(0..0, prompt);
        Plan { readings: vec![whole], estimates: positions.len(), combination: Combination::Sum }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aquatint_diffusion::Key;

    #[test]
    fn every_token_counts_once_and_a_share_of_the_prompt_is_hidden() {
        let drawn = Drawn { positions: 200..203, committed: &[0; 3], behind: &[], advantage: 1.0 };
        let mut hidden = 0;
        for draw in 0..100 {
            let plan = MeanField { hidden_prompt: 0.15 }.plan(&drawn, &mut Key::new(2).at(draw, 0));
            assert_eq!((plan.estimates, plan.readings.len()), (3, 1));
            let reading = &plan.readings[0];
            let terms: Vec<_> = reading.terms.iter().map(|term| (term.position, term.estimate, term.weight)).collect();
            assert_eq!(terms, [(200, 0, 1.0), (201, 1, 1.0), (202, 2, 1.0)]);
            assert!(reading.hidden.is_sorted() && reading.hidden.ends_with(&[200, 201, 202]));
            hidden += reading.hidden.len() - 3;
        }
        assert!((hidden as f64 / 20_000.0 - 0.15).abs() < 0.01, "{hidden}");
    }
}
