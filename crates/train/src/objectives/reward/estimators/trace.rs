//! Each token from the canvas on which it was committed, with what was there at that step (TraceRL, 2509.06949, section
//! 4.1). Where a completion took more steps than readings are allowed, neighbouring steps are replayed as one (there,
//! the shrinkage parameter): their tokens are predicted from the canvas before the first of them.

use super::super::estimator::{Combination, Drawn, Estimator, Plan, Reading, Term};
use aquatint_diffusion::Draws;

#[derive(Debug)]
pub(in super::super) struct Trace {
    /// The most readings of a completion.
    pub(in super::super) readings: usize,
}

impl Estimator for Trace {
    fn plan(&self, drawn: &Drawn<'_>, _: &mut Draws) -> Plan {
        let positions = &drawn.positions;
        let mut steps = drawn.committed.to_vec();
        steps.sort_unstable();
        steps.dedup();
        let together = steps.len().div_ceil(self.readings.max(1)).max(1);
        let at = |index: usize| positions.start + index;
        let replay = |steps: &[u32]| {
            let (first, last) = (steps[0], steps[steps.len() - 1]);
            let from = |least: u32| (0..positions.len()).filter(move |index| drawn.committed[*index] >= least);
            let term = |index| Term { position: at(index), estimate: index, weight: 1.0 };
            Reading {
                hidden: from(first).map(at).chain(drawn.open_behind(first)).collect(),
                terms: from(first).filter(|index| drawn.committed[*index] <= last).map(term).collect(),
            }
        };
        let readings = steps.chunks(together).map(replay).collect();
        Plan { readings, estimates: positions.len(), combination: Combination::Sum }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::estimator::NEVER;
    use super::*;
    use aquatint_diffusion::Key;

    /// Of what lies behind an end a reading shows what was there at its step.
    #[test]
    fn what_fell_away_is_shown_from_the_step_that_committed_it_on() {
        let drawn = Drawn { positions: 2..4, committed: &[0, 3], behind: &[1, NEVER], advantage: 1.0 };
        let plan = Trace { readings: 2 }.plan(&drawn, &mut Key::new(0).at(0, 0));
        let hidden: Vec<&[usize]> = plan.readings.iter().map(|reading| reading.hidden.as_slice()).collect();
        assert_eq!(hidden, [&[2, 3, 4, 5][..], &[3, 5]]);
        assert!(plan.readings.iter().flat_map(|reading| &reading.terms).all(|term| term.position < 4));
    }

    #[test]
    fn each_token_is_predicted_once_from_what_was_there() {
        let drawn = Drawn { positions: 10..15, committed: &[2, 0, 7, 2, 4], behind: &[], advantage: 1.0 };
        let plan = |readings| Trace { readings }.plan(&drawn, &mut Key::new(0).at(0, 0));
        let shown = |plan: &Plan| {
            let one = |reading: &Reading| {
                let terms = reading.terms.iter().map(|term| term.position).collect::<Vec<_>>();
                (reading.hidden.clone(), terms)
            };
            plan.readings.iter().map(one).collect::<Vec<_>>()
        };
        let whole = [
            (vec![10, 11, 12, 13, 14], vec![11]),
            (vec![10, 12, 13, 14], vec![10, 13]),
            (vec![12, 14], vec![14]),
            (vec![12], vec![12]),
        ];
        assert_eq!(shown(&plan(4)), whole);
        assert_eq!(shown(&plan(100)), whole);
        assert_eq!(shown(&plan(2)), [(vec![10, 11, 12, 13, 14], vec![10, 11, 13]), (vec![12, 14], vec![12, 14])]);
        assert_eq!(shown(&plan(1)), [(vec![10, 11, 12, 13, 14], vec![10, 11, 12, 13, 14])]);
    }
}
