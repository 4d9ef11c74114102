//! How sure a network was of each token when it was written: probability and entropy of the prediction at commit.
//!
//! Both are of the prediction at temperature 1, given what the canvas held then. Where tokens are committed one at a
//! time, the product of their probabilities is that of the text in the order in which it was written; where several are
//! committed in one step it is the product of their marginals, which takes them for independent.

use crate::{ChangeKind, DenoisingEvent};

/// How sure a network was of a token when it was written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Certainty {
    /// Probability of the token, in `[0, 1]`.
    pub probability: f64,
    /// Entropy of the prediction in nats; `None` of a token that was moved.
    pub entropy: Option<f64>,
    /// In which step of the request it was written, counted over all blocks and parts from 0.
    pub step: usize,
}

/// The certainties of the tokens of a canvas, from the events of a request.
#[derive(Debug, Clone, Default)]
pub struct Certainties {
    positions: Vec<Option<Certainty>>,
    steps: usize,
}

impl Certainties {
    /// Follows an event. A token that is replaced has the certainty of the last one, a position that is open again none.
    pub fn follow(&mut self, event: &DenoisingEvent<'_>) {
        match event {
            DenoisingEvent::Started { canvas, .. } => {
                self.positions = vec![None; canvas.len()];
                self.steps = 0;
            }
            DenoisingEvent::Step { changes, .. } => {
                let step = self.steps;
                for change in *changes {
                    let (probability, entropy) = (change.confidence, change.entropy);
                    self.positions[change.position] = match change.kind {
                        ChangeKind::Committed | ChangeKind::Edited => Some(Certainty { probability, entropy, step }),
                        ChangeKind::Renoised | ChangeKind::Refined => None,
                    };
                }
                self.steps += 1;
            }
            DenoisingEvent::BlockStarted { .. }
            | DenoisingEvent::BlockCommitted { .. }
            | DenoisingEvent::Finished { .. } => {}
        }
    }

    /// That of the token at a position; `None` of a given or an open one.
    pub fn at(&self, position: usize) -> Option<Certainty> {
        self.positions.get(position).copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Change;
    use aquatint_diffusion::Canvas;

    #[test]
    fn the_last_token_of_a_position_counts_and_an_open_one_has_no_certainty() {
        let mut canvas = Canvas::new();
        canvas.push_open(3, false, 9);
        let mut certainties = Certainties::default();
        certainties.follow(&DenoisingEvent::Started { canvas: &canvas, forward_passes: 3 });
        let step = |step, changes: &[Change], certainties: &mut Certainties| {
            certainties.follow(&DenoisingEvent::Step {
                part: 0,
                block: 0,
                step,
                of: 3,
                changes,
                alternatives: &[],
                entropy: 0.0,
                closed: &[],
                open: 0,
                forward_passes: step + 1,
            });
        };
        let change = |position, confidence, kind| Change { position, token: 1, confidence, entropy: Some(0.5), kind };
        step(0, &[change(0, 0.9, ChangeKind::Committed), change(1, 0.2, ChangeKind::Committed)], &mut certainties);
        step(1, &[change(0, 0.9, ChangeKind::Renoised), change(1, 0.7, ChangeKind::Edited)], &mut certainties);
        step(2, &[change(2, 0.1, ChangeKind::Refined)], &mut certainties);
        let edited = Certainty { probability: 0.7, entropy: Some(0.5), step: 1 };
        assert_eq!([0, 1, 2, 7].map(|position| certainties.at(position)), [None, Some(edited), None, None]);
    }
}
