//! The repair of a block that an audit refuses; see [`crate::Audit`].

use super::filling::Filling;
use super::step::Taken;
use super::track::Track;
use crate::event::{Change, ChangeKind};
use crate::model::Model;
use crate::{GenerateError, Offence};

/// The purpose of the noise of positions that are opened again.
const REPAIR: u64 = 0x0072_6570_6169_7265;

impl Track {
    /// Has the block judged that is filled now. What offends is opened again, as the changes of the step say then. Returns whether
    /// anything was.
    ///
    /// # Errors
    /// [`GenerateError::Refused`] where something offends that cannot be opened again: no position of the block is part of it, a
    /// constraint holds it, drafts or insertions and deletions fill the block, no other token is left for one of them, or it
    /// was repaired as often as it may be.
    pub(super) fn repair(
        &mut self,
        filling: &mut Filling,
        taken: &mut Taken,
        model: &Model<'_>,
    ) -> Result<bool, GenerateError> {
        let Some(audit) = filling.request.audit.clone() else { return Ok(false) };
        let block = &self.plan.blocks[self.block()];
        let Some(Offence { mut positions, reason }) = audit.judge(&filling.canvas, block) else { return Ok(false) };
        positions.retain(|position| {
            let is_written = block.binary_search(position).is_ok() && filling.canvas.is_committed(*position);
            // What falls away behind an end token is not brought back.
            is_written && !filling.is_end(*position) && !self.is_constrained(*position)
        });
        let is_fixed = self.speculation.is_some() || self.lengths.is_some();
        if positions.is_empty() || is_fixed || self.repairs >= audit.repairs() {
            return Err(GenerateError::Refused { reason, repairs: self.repairs });
        }
        let (canvas, certainty) = (&mut filling.canvas, &mut filling.certainty);
        self.proposer.begin_repair(block);
        for &position in &positions {
            let token = canvas.tokens()[position];
            if !self.proposer.refuse(position, token, model.spec().vocabulary_size) {
                return Err(GenerateError::Refused { reason, repairs: self.repairs });
            }
            canvas.reopen(position, token)?;
            certainty[position] = 0.0;
        }
        model.process.scatter(canvas, &positions, self.repairs as u64, self.key.fold(REPAIR));
        let tokens = canvas.tokens();
        let renoised = positions.iter().map(|&position| Change {
            position,
            token: tokens[position],
            confidence: 0.0,
            entropy: None,
            kind: ChangeKind::Renoised,
        });
        taken.replace(renoised.collect(), filling.request.alternatives > 0);
        self.repairs += 1;
        filling.statistics.repairs += 1;
        self.go_back(filling, &positions, model.process.revises());
        Ok(true)
    }
}

impl Taken {
    /// Has these changes in place of those that the step made of the same positions; none of them has alternatives.
    fn replace(&mut self, changes: Vec<Change>, reports_alternatives: bool) {
        for change in changes {
            match self.changes.binary_search_by_key(&change.position, |old| old.position) {
                Ok(index) => {
                    self.changes[index] = change;
                    self.alternatives.get_mut(index).into_iter().for_each(Vec::clear);
                }
                Err(index) => {
                    self.changes.insert(index, change);
                    if reports_alternatives {
                        self.alternatives.insert(index, Vec::new());
                    }
                }
            }
        }
    }
}
