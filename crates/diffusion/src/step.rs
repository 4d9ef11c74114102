//! One reverse step: select → commit → renoise → advance.
//!
//! Before it stands the proposal, one candidate for each open position, drawn where the logits are (see
//! [`crate::propose`]). Everything after it is here, once: a generation loop, distillation and tests of laws all take
//! this step. It is a function of the canvas, the proposal and a key; it has no state between two steps.

use crate::random::Purpose;
use crate::{
    Candidate, Canvas, CanvasError, CommitPolicy, Key, PlannedStep, Process, Proposal, Remasking, Step, TokenId,
    Vectors,
};

/// A step from a later time to an earlier one, with all that it depends on besides canvas and proposal.
#[derive(Debug, Clone, Copy)]
pub struct ReverseStep<'a> {
    /// How noise is walked back.
    pub process: &'a dyn Process,
    /// What becomes final.
    pub policy: &'a dyn CommitPolicy,
    /// What is taken back.
    pub remasking: &'a Remasking,
    /// The word vectors of a gaussian field.
    pub vectors: Vectors<'a>,
    /// The step as it was planned.
    pub planned: PlannedStep,
    /// What all draws of the step hang on, with their position and the number of the step.
    pub key: Key,
    /// Everything that is proposed becomes final, whatever the policy says; see [`crate::Stability`].
    pub settled: bool,
    /// What the policy accepts is shown and stays open, and the rest becomes pure noise again, up to the last step
    /// (DiffusionGemma, 2608.00146).
    pub revise: bool,
    /// A step that makes all open positions final writes the likeliest token of each, and not the one that was drawn.
    pub commit_likeliest: bool,
}

/// What a step changed, each list ascending.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StepChanges {
    /// Positions that became final.
    pub committed: Vec<usize>,
    /// Positions whose final token was taken back.
    pub renoised: Vec<usize>,
    /// Positions that were open before and after, and show another token now.
    pub refined: Vec<usize>,
}

impl ReverseStep<'_> {
    /// Takes the step. The proposal has a candidate for each open position of the block; `committed` are the positions
    /// that remasking may take back, ascending, each with the probability of its token when it was committed.
    ///
    /// # Errors
    /// When the policy chooses a position that is not open.
    pub fn take(
        &self,
        canvas: &mut Canvas,
        proposal: &Proposal,
        committed: &[(usize, f64)],
    ) -> Result<StepChanges, CanvasError> {
        let open = proposal.len();
        let renoised = self.remasking.select(&self.planned.with(open, 0), committed, self.key);
        let step = self.planned.with(open, renoised.len());
        let before: Vec<TokenId> = proposal.positions().iter().map(|position| canvas.tokens()[*position]).collect();
        let all = self.settled || step.is_last();
        let mut chosen = match proposal.positions() {
            positions if all => positions.to_vec(),
            [first, ..] if self.planned.leads => vec![*first],
            _ => self.policy.select(&step, proposal, self.key).positions,
        };
        // Anybody may write a policy; what it names twice or without a candidate counts once or not at all.
        chosen.retain(|position| proposal.candidate(*position).is_some());
        chosen.sort_unstable();
        chosen.dedup();
        let revise = self.revise && !all;
        if !revise {
            let likeliest = self.commit_likeliest && all;
            let token = |candidate: &Candidate| if likeliest { candidate.likeliest } else { candidate.token };
            write(proposal, &chosen, token, |position, token| canvas.commit(position, token))?;
        }
        self.process.renoise(canvas, &renoised, &step, self.key, self.vectors);
        self.process.advance(canvas, proposal, &step, self.key);
        if revise {
            self.accept(canvas, proposal, &chosen, &step)?;
        }
        let open = proposal.positions().iter().zip(before);
        let refined =
            open.filter(|(position, token)| canvas.is_open(**position) && canvas.tokens()[**position] != *token);
        let refined = refined.map(|(position, _)| *position).collect();
        Ok(StepChanges { committed: if revise { Vec::new() } else { chosen }, renoised, refined })
    }

    /// Shows what was accepted, and draws all that was not as pure noise.
    fn accept(
        &self,
        canvas: &mut Canvas,
        proposal: &Proposal,
        accepted: &[usize],
        step: &Step,
    ) -> Result<(), CanvasError> {
        let is_left = |position: &usize| accepted.binary_search(position).is_err();
        let left: Vec<usize> = proposal.positions().iter().copied().filter(is_left).collect();
        self.process.scatter(canvas, &left, step.planned.number, self.key.fold(Purpose::Again as u64));
        write(proposal, accepted, |candidate| candidate.token, |position, token| canvas.show_noise(position, token))
    }
}

/// Calls `write` for each chosen position with the token of the candidate there.
fn write(
    proposal: &Proposal,
    chosen: &[usize],
    token: impl Fn(&Candidate) -> TokenId,
    mut write: impl FnMut(usize, TokenId) -> Result<(), CanvasError>,
) -> Result<(), CanvasError> {
    let tokens = chosen.iter().filter_map(|position| Some((*position, token(proposal.candidate(*position)?))));
    for (position, token) in tokens {
        write(position, token)?;
    }
    Ok(())
}
