//! Insertion and deletion: a block is edited by two tokens that stand for what is to be done with its positions (LLaDA2.2;
//! read against `JointThresholdInDel` of SGLang 0.5.23).
//!
//! Where the prediction is the delete token, the position is taken out, and what stands behind it moves up; where it is
//! the insert token, an open position is put in before it, and what stands behind moves on. What leaves the run of
//! positions is lost, and what is missing at its end is open, so that a block keeps its length. Nothing is moved across
//! positions that are given, or into another block.
//!
//! A block is filled when the positions are written that were open at its beginning. Each step therefore commits one
//! more than the open positions that were put in since. Then further steps edit, and write all that is open; the last of
//! them writes neither of the two tokens. A block that stands as it stood before at some step would go on in a circle: the
//! least sure change takes the likeliest token that was not written there yet.
//! Deviations: the mask is never predicted; a block that is full of insertions is settled in the last of its planned
//! steps, where SGLang allows as many as the block and its editing have together.

use super::Editing;
use crate::{Candidate, Canvas, CanvasError, CommitPolicy, Key, PlannedStep, Proposal, SettingError, TokenId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// The tokens by which a network deletes and inserts positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LengthTokens {
    delete: TokenId,
    insert: TokenId,
}

impl LengthTokens {
    /// The delete token and the insert token, which SGLang calls `delete_token_id` and `split_token_id`.
    ///
    /// # Errors
    /// When one of them is missing, or both are the same.
    pub fn new(delete: Option<TokenId>, insert: Option<TokenId>) -> Result<Option<Self>, SettingError> {
        let missing = |parameter, of: &str| {
            Err(SettingError::new(parameter, "missing", "the id of a token")
                .with_hint(format!("a model that {of} has a token for the other, too")))
        };
        match (delete, insert) {
            (None, None) => Ok(None),
            (Some(_), None) => missing("insert_token", "deletes"),
            (None, Some(_)) => missing("delete_token", "inserts"),
            (Some(delete), Some(insert)) if delete == insert => {
                Err(SettingError::new("insert_token", insert, "another token than `delete_token`"))
            }
            (Some(delete), Some(insert)) => Ok(Some(Self { delete, insert })),
        }
    }

    /// The token that deletes its position.
    pub fn delete(&self) -> TokenId {
        self.delete
    }

    /// The token that inserts a position before its own.
    pub fn insert(&self) -> TokenId {
        self.insert
    }

    /// Whether a token is one of the two.
    pub fn contains(&self, token: TokenId) -> bool {
        token == self.delete || token == self.insert
    }
}

/// What a step of insertion and deletion depends on besides the canvas.
#[derive(Clone, Copy)]
pub struct LengthStep<'a> {
    /// What becomes final of what is open.
    pub policy: &'a dyn CommitPolicy,
    /// The step as it was planned.
    pub planned: PlannedStep,
    /// What all draws of the step hang on, with their position and the number of the step.
    pub key: Key,
    /// How committed tokens are edited.
    pub editing: Editing,
    /// The two tokens.
    pub tokens: LengthTokens,
    /// Everything that is open is written, and neither of the two tokens is.
    pub settles: bool,
    /// A candidate for each open position of the block.
    pub proposal: &'a Proposal,
    /// A candidate for each of its committed positions that may be edited.
    pub edits: &'a Proposal,
    /// The likeliest tokens of each of these positions, as many as [`LengthEdits::likeliest`] says, with their
    /// probabilities, descending.
    pub likeliest: &'a BTreeMap<usize, Vec<(TokenId, f64)>>,
    /// The runs of positions within which what follows an insertion or a deletion moves. Those of the proposals that are
    /// in none only change their tokens.
    pub runs: &'a [Range<usize>],
    /// What an open position shows.
    pub noise: TokenId,
}

/// Where the token at a position comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// It was predicted at this position.
    Predicted(usize),
    /// It stood at this position.
    Moved(usize),
}

/// What a step of insertion and deletion changed, each list ascending.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LengthChanges {
    /// Positions that were open and are committed.
    pub committed: Vec<usize>,
    /// Positions that were committed and have another token.
    pub edited: Vec<usize>,
    /// Positions that were committed and are open.
    pub renoised: Vec<usize>,
    /// For each position that was predicted and is committed now, where its token comes from.
    pub sources: Vec<(usize, Source)>,
    /// Whether any token was chosen; a block of which none is chosen stays as it is.
    pub wrote: bool,
}

/// How far the insertions and deletions of one block have come. State of a request: one for each block.
#[derive(Debug, Clone, Default)]
pub struct LengthEdits {
    /// The positions that were open at the beginning of the block, and moved with it, and are open still.
    original: BTreeSet<usize>,
    /// How the block stood at earlier steps.
    earlier: BTreeSet<Vec<TokenId>>,
    /// The tokens that were chosen at each position.
    written: BTreeMap<usize, BTreeSet<TokenId>>,
}

/// A position of a run while it is put together anew.
#[derive(Debug, Clone, Copy)]
struct Cell {
    /// `None` where it is open.
    token: Option<TokenId>,
    source: Option<Source>,
    is_original: bool,
}

/// An open position that was put in.
const INSERTED: Cell = Cell { token: None, source: None, is_original: false };

impl LengthEdits {
    /// A block with these open positions.
    pub fn new(open: &[usize]) -> Self {
        Self { original: open.iter().copied().collect(), ..Self::default() }
    }

    /// Whether all positions are written that were open at the beginning of the block.
    pub fn is_filled(&self, canvas: &Canvas) -> bool {
        !self.original.iter().any(|position| canvas.is_open(*position))
    }

    /// How many of the likeliest tokens the next step needs of each position: one more than may be excluded.
    pub fn likeliest(&self) -> usize {
        self.written.values().map(BTreeSet::len).max().unwrap_or(0).max(2) + 1
    }

    /// Takes a step.
    ///
    /// # Errors
    /// When a position of the proposals cannot be written.
    pub fn take(&mut self, canvas: &mut Canvas, step: &LengthStep<'_>) -> Result<LengthChanges, CanvasError> {
        self.original.retain(|position| canvas.is_open(*position));
        let committing = self.committing(step);
        // A step without editing before it is over ends as it fills the block.
        let fills = self.original.iter().all(|position| committing.binary_search(position).is_ok());
        let settles = step.settles || fills && step.editing.steps() == 0;
        let committing = if settles { step.proposal.positions().to_vec() } else { committing };
        let editing = step.editing.select(canvas, step.edits);
        let mut chosen: BTreeMap<usize, Candidate> = BTreeMap::new();
        chosen.extend(committing.iter().filter_map(|p| Some((*p, *step.proposal.candidate(*p)?))));
        chosen.extend(editing.iter().filter_map(|p| Some((*p, *step.edits.candidate(*p)?))));
        if chosen.is_empty() {
            return Ok(LengthChanges::default());
        }
        let moves = |position: usize| step.runs.iter().any(|run| run.contains(&position));
        for (position, candidate) in &mut chosen {
            if step.tokens.contains(candidate.token) && (settles || !moves(*position)) {
                let other = step.other(*position, |token| step.tokens.contains(token));
                candidate.token = other.unwrap_or(candidate.likeliest);
            }
        }
        let mut block: Vec<usize> = step.proposal.positions().iter().chain(step.edits.positions()).copied().collect();
        block.sort_unstable();
        let stands = block.iter().map(|position| canvas.tokens()[*position]).collect();
        if !self.earlier.insert(stands) && !settles {
            self.leave_circle(canvas, step, &mut chosen);
        }
        for (position, candidate) in &chosen {
            self.written.entry(*position).or_default().insert(candidate.token);
        }
        self.write(canvas, step, &chosen)
    }

    /// The open positions that a step commits.
    fn committing(&self, step: &LengthStep<'_>) -> Vec<usize> {
        let open = step.proposal.positions();
        if step.settles || self.original.is_empty() {
            return open.to_vec();
        }
        if let (true, [first, ..]) = (step.planned.leads, open) {
            return vec![*first];
        }
        let counted = step.planned.with(open.len(), 0);
        let mut committing = step.policy.select(&counted, step.proposal, step.key).positions;
        committing.retain(|position| step.proposal.candidate(*position).is_some());
        let least = open.len() - self.original.len().min(open.len()) + 1;
        let mut others: Vec<(usize, f64)> = step
            .proposal
            .iter()
            .filter(|(position, _)| !committing.contains(position))
            .map(|(position, candidate)| (position, candidate.probability))
            .collect();
        others.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let missing = least.saturating_sub(committing.len());
        committing.extend(others.into_iter().take(missing).map(|(position, _)| position));
        committing.sort_unstable();
        committing.dedup();
        committing
    }

    /// Gives the least sure of the changes another token than those that were written there.
    fn leave_circle(&self, canvas: &Canvas, step: &LengthStep<'_>, chosen: &mut BTreeMap<usize, Candidate>) {
        let changing = chosen.iter_mut().filter(|(position, candidate)| {
            canvas.is_open(**position) || canvas.tokens()[**position] != candidate.token
        });
        let Some((position, candidate)) = changing.min_by(|a, b| a.1.probability.total_cmp(&b.1.probability)) else {
            return;
        };
        let excluded = self.written.get(position);
        if let Some(other) = step.other(*position, |token| excluded.is_some_and(|all| all.contains(&token))) {
            candidate.token = other;
        }
    }

    /// Writes what was chosen.
    fn write(
        &mut self,
        canvas: &mut Canvas,
        step: &LengthStep<'_>,
        chosen: &BTreeMap<usize, Candidate>,
    ) -> Result<LengthChanges, CanvasError> {
        let mut changes = LengthChanges { wrote: true, ..LengthChanges::default() };
        let single = chosen.keys().filter(|position| !step.runs.iter().any(|run| run.contains(position)));
        let single = single.map(|position| *position..*position + 1);
        let mut runs: Vec<Range<usize>> = step.runs.iter().cloned().chain(single).collect();
        runs.sort_by_key(|run| run.start);
        for run in runs {
            let cells = self.cells(canvas, step, chosen, run.clone());
            for (position, cell) in run.zip(cells) {
                self.original.remove(&position);
                if cell.token.is_none() && cell.is_original {
                    self.original.insert(position);
                }
                changes.sources.extend(cell.source.map(|source| (position, source)));
                match (canvas.is_open(position), cell.token) {
                    (true, None) => {}
                    (true, Some(token)) => {
                        canvas.commit(position, token)?;
                        changes.committed.push(position);
                    }
                    (false, Some(token)) if canvas.tokens()[position] == token => {}
                    (false, Some(token)) => {
                        canvas.edit(position, token)?;
                        changes.edited.push(position);
                    }
                    (false, None) => {
                        canvas.reopen(position, step.noise)?;
                        changes.renoised.push(position);
                    }
                }
            }
        }
        Ok(changes)
    }

    /// A run as it stands after the step.
    fn cells(
        &self,
        canvas: &Canvas,
        step: &LengthStep<'_>,
        chosen: &BTreeMap<usize, Candidate>,
        run: Range<usize>,
    ) -> Vec<Cell> {
        let mut cells = Vec::with_capacity(run.len());
        for position in run.clone() {
            let is_original = self.original.contains(&position);
            let token = Some(canvas.tokens()[position]).filter(|_| !canvas.is_open(position));
            let stands = Cell { token, source: token.map(|_| Source::Moved(position)), is_original };
            match chosen.get(&position).map(|candidate| candidate.token) {
                None => cells.push(stands),
                Some(token) if token == step.tokens.delete => {}
                Some(token) if token == step.tokens.insert => cells.extend([INSERTED, stands]),
                Some(token) => {
                    let source = Some(Source::Predicted(position));
                    cells.push(Cell { token: Some(token), source, is_original: false });
                }
            }
        }
        cells.resize(run.len(), INSERTED);
        cells
    }
}

impl LengthStep<'_> {
    /// The likeliest token of a position that is not excluded.
    fn other(&self, position: usize, excluded: impl Fn(TokenId) -> bool) -> Option<TokenId> {
        let mut likeliest = self.likeliest.get(&position)?.iter().map(|(token, _)| *token);
        likeliest.find(|token| !excluded(*token))
    }
}
