//! What a step of a track does to the canvas: proposals for the positions that it predicts, and the changes they lead to.

use super::filling::Filling;
use super::track::Track;
use crate::branch::Branch;
use crate::classifier::{Classified, Classifying, Readings};
use crate::constrained::ConstrainedRow;
use crate::constraint::Chosen;
use crate::event::{Change, ChangeKind};
use crate::forward_batch::Answer;
use crate::guidance::guided;
use crate::model::Model;
use crate::proposal::{Proposed, proposed, query_of};
use crate::visible::visible;
use crate::watermark::{Leaning, drawn_by, joined, likeliest};
use crate::{GenerateError, Mark, MarkedStep, Request};
use aquatint_diffusion::{
    Canvas, LengthChanges, LengthStep, PlannedStep, Proposal, ReverseStep, Source, StepChanges, TokenId,
};
use aquatint_network::{RowAnswer, RowDraw, answer_row};
use std::collections::BTreeMap;
use std::ops::Range;

/// What a mark adds to the logits of positions.
type Biases = BTreeMap<usize, Vec<(TokenId, f32)>>;

/// The likeliest tokens of positions, with their probabilities.
type Likeliest = BTreeMap<usize, Vec<(TokenId, f64)>>;

/// What a step predicts.
#[derive(Default)]
pub(super) struct Predictions {
    /// Of the open positions of the block.
    pub(super) proposal: Proposal,
    /// What a classifier read for it.
    pub(super) classified: Readings,
    /// Of its committed positions that may be edited.
    edits: Proposal,
    likeliest: Likeliest,
    /// What the policy commits at this step, ascending, where that was chosen before constraints drew: candidates of theirs
    /// elsewhere are the model's own and are never written.
    chosen: Option<Vec<usize>>,
}

/// What a classifier has to say of a step.
struct Steered {
    classified: Classified,
    /// What the policy commits, where it could choose before.
    chosen: Option<Vec<usize>>,
}

impl Predictions {
    /// The probability of a token at a position.
    fn probability(&self, position: usize, token: TokenId) -> f64 {
        let candidate = self.proposal.candidate(position).or_else(|| self.edits.candidate(position));
        let likeliest = self.likeliest.get(&position).into_iter().flatten().find(|(likely, _)| *likely == token);
        match (candidate, likeliest) {
            (Some(candidate), _) if candidate.token == token => candidate.probability,
            (_, Some((_, probability))) => *probability,
            (candidate, None) => candidate.map_or(0.0, |candidate| candidate.probability),
        }
    }

    /// The entropy of the prediction about a position, where there is one.
    fn entropy(&self, position: usize) -> Option<f64> {
        let candidate = self.proposal.candidate(position).or_else(|| self.edits.candidate(position));
        candidate.map(|candidate| candidate.entropy)
    }
}

/// What a step changed.
pub(super) struct Taken {
    /// By ascending position.
    pub(super) changes: Vec<Change>,
    /// The likeliest tokens beside each change, where the request reports them.
    pub(super) alternatives: Vec<Vec<(TokenId, f64)>>,
    /// Whether the block was full and nothing of it was edited.
    pub(super) unedited: bool,
}

impl Track {
    /// Takes the step that is planned, by what was predicted.
    pub(super) fn take(
        &mut self,
        filling: &mut Filling,
        predictions: &mut Predictions,
        planned: PlannedStep,
        model: &Model<'_>,
    ) -> Result<Taken, GenerateError> {
        let began_full = self.block_open(filling).is_empty();
        let settled = self.stability.as_mut().is_some_and(|stability| stability.settled(&predictions.proposal));
        if let Some(changed) = self.edit_length(filling, predictions, planned, settled)? {
            let changes = moved(filling, &changed, predictions);
            let from = |position: usize| match changed.sources.binary_search_by_key(&position, |(at, _)| *at) {
                Ok(index) => match changed.sources[index].1 {
                    Source::Predicted(position) => Some(position),
                    Source::Moved(_) => None,
                },
                Err(_) => None,
            };
            let alternatives = alternatives(&filling.request, &changes, predictions, from);
            return Ok(Taken { changes, alternatives, unedited: !changed.wrote });
        }
        let certain = self.certain(filling);
        // What a constraint keeps from left to right stays in that order.
        let leans = self.plan.constrained.is_empty() && filling.settings(self.part).marks_order();
        let known = if leans { known(filling) } else { Vec::new() };
        let Filling { request, canvas, .. } = filling;
        let settings = request.part(self.part).settings();
        let policy = self.plan.policy.as_ref();
        let leaning = match settings.watermark().map(|watermark| watermark.mark()) {
            Some(Mark::Order(order)) if leans => Some(Leaning::new(policy, order, &known)),
            _ => None,
        };
        let chosen = predictions.chosen.as_ref().map(|positions| Chosen { policy, positions });
        let step = ReverseStep {
            process: model.process,
            policy: match (&leaning, &chosen) {
                (Some(leaning), _) => leaning,
                (None, Some(chosen)) => chosen,
                (None, None) => policy,
            },
            remasking: &settings.remasking,
            vectors: model.vectors,
            planned,
            key: self.key,
            settled,
            revise: settings.revise,
            // Tokens that a constraint draws together are written together.
            commit_likeliest: settings.commit_likeliest && self.plan.constrained.is_empty(),
        };
        let changed = match self.speculation {
            None => step.take(canvas, &predictions.proposal, &certain)?,
            Some(speculation) => speculation.take(canvas, &predictions.proposal, model.process, self.key)?,
        };
        let edited = match settings.editing {
            Some(editing) => editing.edit(canvas, &predictions.edits)?,
            None => Vec::new(),
        };
        let changes = changes(filling, &changed, &edited, predictions);
        let alternatives = alternatives(&filling.request, &changes, predictions, Some);
        Ok(Taken { changes, alternatives, unedited: began_full && edited.is_empty() })
    }

    /// The step where positions may be inserted and deleted; `None` where they may not.
    fn edit_length(
        &mut self,
        filling: &mut Filling,
        predictions: &Predictions,
        planned: PlannedStep,
        settled: bool,
    ) -> Result<Option<LengthChanges>, GenerateError> {
        let runs = self.runs(filling);
        let Filling { request, canvas, .. } = filling;
        let settings = request.part(self.part).settings();
        let (last_fill, last) = (self.fill_steps(), self.block_steps(settings));
        let allowed = self.lengths.as_mut().zip(settings.editing).zip(self.plan.lengths);
        let Some(((lengths, editing), allowed)) = allowed else { return Ok(None) };
        let step = LengthStep {
            policy: self.plan.policy.as_ref(),
            planned,
            key: self.key,
            editing,
            tokens: allowed.tokens,
            settles: settled || !self.opening && [last_fill, last].contains(&(self.step + 1)),
            proposal: &predictions.proposal,
            edits: &predictions.edits,
            likeliest: &predictions.likeliest,
            runs: &runs,
            noise: allowed.noise,
        };
        Ok(Some(lengths.take(canvas, &step)?))
    }

    /// The runs of positions within which what follows an insertion or a deletion moves: next to each other, of one span,
    /// and held to no constraint.
    fn runs(&self, filling: &Filling) -> Vec<Range<usize>> {
        if self.lengths.is_none() {
            return Vec::new();
        }
        let spans = filling.canvas.spans();
        let span_of = |position: usize| spans.iter().position(|span| span.positions.contains(&position));
        let free: Vec<usize> = self.predicted(filling).into_iter().filter(|p| !self.is_constrained(*p)).collect();
        let runs = free.chunk_by(|a, b| a + 1 == *b && span_of(*a) == span_of(*b));
        runs.filter_map(|run| Some(*run.first()?..run.last()? + 1)).collect()
    }

    /// A candidate for each position that is predicted, and the likeliest tokens of each that are needed.
    pub(super) fn propose(
        &mut self,
        filling: &Filling,
        (branches, answers): (&[Branch], &[Answer]),
        planned: &PlannedStep,
        model: &Model<'_>,
    ) -> Result<Predictions, GenerateError> {
        let Filling { request, canvas, .. } = filling;
        let settings = request.part(self.part).settings();
        let mark = settings.watermark().map(|watermark| watermark.mark());
        let mut predictions = Predictions::default();
        let mut steered = self.steered(filling, (branches, answers), planned, model)?;
        let guided = steered.as_ref().map(|steered| &steered.classified.logits);
        let biases = self.marked_biases(filling, (branches, answers), guided, planned, model);
        let mut held: BTreeMap<usize, Vec<f32>> = BTreeMap::new();
        let mut whole: BTreeMap<usize, Vec<f32>> = BTreeMap::new();
        for position in self.predicted(filling) {
            let mut row = None;
            let own = steered.as_mut().and_then(|steered| steered.classified.logits.remove(&position));
            let own = own.map(Answered::Logits);
            let answer = match own.or_else(|| self.answered(filling, (branches, answers), position)) {
                Some(Answered::Row(answer)) => answer.clone(),
                Some(Answered::Logits(mut logits)) => {
                    if self.confidence.is_some() {
                        whole.insert(position, logits.clone());
                    }
                    if self.is_constrained(position) {
                        held.insert(position, logits.clone());
                    }
                    if matches!(mark, Some(Mark::Draws(_))) && !self.is_constrained(position) {
                        row = Some(logits.clone());
                    }
                    let draw = self.proposer.row_draw(canvas, position, planned, model);
                    let own = biases.get(&position).map(|own| joined(draw.biases, own));
                    let draw = RowDraw { biases: own.as_deref().unwrap_or(draw.biases), ..draw };
                    answer_row(query_of(draw, model), &mut logits, model.vectors)
                }
                None => return Err(GenerateError::OtherAnswer { position }),
            };
            let Proposed { mut candidate, expected, alternatives } = proposed(position, answer, model.process)?;
            if let (Some(Mark::Draws(draws)), Some(row)) = (mark, &mut row) {
                let draw = self.proposer.row_draw(canvas, position, planned, model);
                candidate = drawn_by(candidate, row, &draw, &*draws.numbers(settings.seed, position));
            }
            if let (Some(confidence), Some(row)) = (&self.confidence, whole.get(&position)) {
                let draw = self.proposer.row_draw(canvas, position, planned, model);
                candidate = confidence.measure(candidate, &mut row.clone(), &draw);
            }
            let of = if canvas.is_open(position) { &mut predictions.proposal } else { &mut predictions.edits };
            of.insert_expecting(position, candidate, expected);
            if !alternatives.is_empty() {
                predictions.likeliest.insert(position, alternatives);
            }
        }
        predictions.chosen = match steered {
            Some(Steered { classified, chosen }) => {
                predictions.classified = classified.readings;
                chosen
            }
            None if self.draws_in_order() => self.selected(filling, &predictions.proposal, planned, model),
            None => None,
        };
        let is_drawn = |position: usize| match &predictions.chosen {
            Some(chosen) => !self.is_in_order(position) || chosen.binary_search(&position).is_ok(),
            None => true,
        };
        let drawn = held.into_iter().filter(|(position, _)| is_drawn(*position));
        let row = |(position, logits)| {
            let draw = self.proposer.row_draw(canvas, position, planned, model);
            ConstrainedRow::new(position, logits, &draw, model.process)
        };
        let rows: Vec<ConstrainedRow> = drawn.map(row).collect::<Result<_, _>>()?;
        let proposal = &mut predictions.proposal;
        for span in &mut self.plan.constrained {
            for (position, mut candidate) in span.draw(canvas, &rows)? {
                if let (Some(confidence), Some(row)) = (&self.confidence, whole.get_mut(&position)) {
                    let draw = self.proposer.row_draw(canvas, position, planned, model);
                    candidate = confidence.measure(candidate, row, &draw);
                }
                let expected = proposal.expected(position).to_vec();
                proposal.insert_expecting(position, candidate, expected);
            }
        }
        Ok(predictions)
    }

    /// The committed positions of the block that remasking may take back, with how sure each was.
    fn certain(&self, filling: &Filling) -> Vec<(usize, f64)> {
        let may = |position: &&usize| filling.canvas.is_committed(**position) && !filling.is_end(**position);
        let positions = self.plan.blocks[self.block()].iter().filter(may);
        positions.map(|position| (*position, filling.certainty[*position])).collect()
    }

    /// Whether a position is of a constrained span that is kept from left to right.
    fn is_in_order(&self, position: usize) -> bool {
        self.plan.constrained.iter().any(|span| span.is_in_order() && span.contains(position))
    }

    /// Whether constraints draw that are all kept from left to right: then only what the policy commits has to be drawn.
    fn draws_in_order(&self) -> bool {
        !self.plan.constrained.is_empty() && self.plan.constrained.iter().all(|span| span.is_in_order())
    }

    /// What the policy commits at this step by a proposal, where it may choose before all of it is drawn and the step leaves
    /// something open.
    fn selected(
        &self,
        filling: &Filling,
        proposal: &Proposal,
        planned: &PlannedStep,
        model: &Model<'_>,
    ) -> Option<Vec<usize>> {
        let shows = planned.leads || self.opening || self.speculation.is_some();
        if shows || !self.plan.chooses_before(filling.settings(self.part), model.process) {
            return None;
        }
        let step = planned.with(proposal.len(), 0);
        (!step.is_last()).then(|| self.plan.policy.select(&step, proposal, self.key).positions)
    }

    /// The logits that a classifier guides, where one does, and what the policy commits: it chooses by the predictions without
    /// the classifier, which then has to read for these positions alone. Where the policy cannot choose before, all that is
    /// predicted is guided.
    fn steered(
        &self,
        filling: &Filling,
        answered: (&[Branch], &[Answer]),
        planned: &PlannedStep,
        model: &Model<'_>,
    ) -> Result<Option<Steered>, GenerateError> {
        let Filling { request, canvas, .. } = filling;
        let Some(guidance) = &filling.settings(self.part).classifier else { return Ok(None) };
        let (mut proposal, mut all) = (Proposal::default(), BTreeMap::new());
        for position in self.predicted(filling) {
            let Some(Answered::Logits(mut logits)) = self.answered(filling, answered, position) else {
                return Err(GenerateError::OtherAnswer { position });
            };
            let draw = self.proposer.row_draw(canvas, position, planned, model);
            let mut drawn = logits.clone();
            let answer = answer_row(query_of(draw, model), &mut drawn, model.vectors);
            let mut candidate = proposed(position, answer, model.process)?.candidate;
            let draw = self.proposer.row_draw(canvas, position, planned, model);
            if let Some(confidence) = &self.confidence {
                candidate = confidence.measure(candidate, &mut logits.clone(), &draw);
            }
            proposal.insert(position, candidate);
            for token in draw.forbidden {
                if let Some(logit) = logits.get_mut(*token as usize) {
                    *logit = f32::NEG_INFINITY;
                }
            }
            all.insert(position, logits);
        }
        let chosen = self.selected(filling, &proposal, planned, model);
        if let Some(chosen) = &chosen {
            all.retain(|position, _| chosen.contains(position));
        }
        let classifying = Classifying { guidance, request, canvas, key: self.key, planned };
        Ok(Some(Steered { classified: classifying.guide(all, model)?, chosen }))
    }

    /// What there is of a position: the answer of the device, or its logits after guidance.
    fn answered<'a>(
        &self,
        filling: &Filling,
        (branches, answers): (&[Branch], &'a [Answer]),
        position: usize,
    ) -> Option<Answered<'a>> {
        let of = |branch: usize| branches.get(branch).and_then(|branch| branch.answer(answers, position));
        match (of(0)?, self.guided_by.and_then(of)) {
            (Answer::Row(answer), _) => Some(Answered::Row(answer)),
            (Answer::Logits(conditional), unconditional) => {
                let unconditional = unconditional.and_then(Answer::logits);
                let scale = filling.settings(self.part).guidance_scale;
                Some(Answered::Logits(guided(conditional, unconditional, scale)))
            }
        }
    }

    /// What the mark adds to the logits of the positions that this step predicts, some of which a classifier has guided.
    fn marked_biases(
        &self,
        filling: &Filling,
        answered: (&[Branch], &[Answer]),
        guided: Option<&BTreeMap<usize, Vec<f32>>>,
        planned: &PlannedStep,
        model: &Model<'_>,
    ) -> Biases {
        let mark = filling.settings(self.part).watermark().map(|watermark| watermark.mark());
        let Some(Mark::Logits(marked)) = mark else { return Biases::new() };
        let mut all = Likeliest::new();
        for position in self.predicted(filling).into_iter().filter(|position| !self.is_constrained(*position)) {
            let own = guided.and_then(|guided| guided.get(&position)).cloned().map(Answered::Logits);
            if let Some(Answered::Logits(mut logits)) = own.or_else(|| self.answered(filling, answered, position)) {
                let draw = self.proposer.row_draw(&filling.canvas, position, planned, model);
                all.insert(position, likeliest(&mut logits, &draw, marked.reads()));
            }
        }
        marked.biases(&MarkedStep { known: &known(filling), likeliest: &all })
    }
}

/// What a forward pass says of a position.
enum Answered<'a> {
    Row(&'a RowAnswer),
    Logits(Vec<f32>),
}

/// The tokens that stand on the canvas, by position.
fn known(filling: &Filling) -> Vec<Option<TokenId>> {
    let Filling { request, canvas, .. } = filling;
    let mut known = vec![None; canvas.len()];
    let stands = visible(canvas, &request.ends).into_iter().filter(|position| !canvas.is_open(*position));
    stands.for_each(|position| known[position] = Some(canvas.tokens()[position]));
    known
}

/// The likeliest tokens beside each change, by the position whose prediction its token is from.
fn alternatives(
    request: &Request,
    changes: &[Change],
    predictions: &mut Predictions,
    from: impl Fn(usize) -> Option<usize>,
) -> Vec<Vec<(TokenId, f64)>> {
    let count = request.alternatives;
    if count == 0 {
        return Vec::new();
    }
    let mut of = |change: &Change| {
        let from = from(change.position).filter(|_| change.kind != ChangeKind::Renoised);
        let mut likeliest = from.and_then(|from| predictions.likeliest.remove(&from)).unwrap_or_default();
        likeliest.truncate(count);
        likeliest
    };
    changes.iter().map(&mut of).collect()
}

/// What a step changed, by ascending position, and stores how certain the committed tokens are.
fn changes(filling: &mut Filling, changed: &StepChanges, edited: &[usize], predictions: &Predictions) -> Vec<Change> {
    let Filling { canvas, certainty, .. } = filling;
    let tokens = canvas.tokens();
    let confidence = |position: usize| predictions.probability(position, tokens[position]);
    let draft = |position: usize| predictions.proposal.candidate(position).map_or(0.0, |draft| draft.probability);
    for &position in changed.committed.iter().chain(edited) {
        certainty[position] = confidence(position);
    }
    let entropy = |position: usize| predictions.entropy(position);
    let refined = changed.refined.iter().map(|&p| change(canvas, p, ChangeKind::Refined, (draft(p), entropy(p))));
    let kinds = [
        (changed.committed.as_slice(), ChangeKind::Committed),
        (&changed.renoised, ChangeKind::Renoised),
        (edited, ChangeKind::Edited),
    ];
    let stored = kinds.into_iter().flat_map(|(positions, kind)| positions.iter().map(move |p| (*p, kind)));
    let entropy_of = |p: usize, kind: ChangeKind| entropy(p).filter(|_| kind != ChangeKind::Renoised);
    let stored = stored.map(|(p, kind)| change(canvas, p, kind, (certainty[p], entropy_of(p, kind))));
    let mut changes: Vec<Change> = stored.chain(refined).collect();
    changes.sort_by_key(|change| change.position);
    changes
}

/// The same where positions were moved, with how certain their tokens are.
fn moved(filling: &mut Filling, changed: &LengthChanges, predictions: &Predictions) -> Vec<Change> {
    let Filling { canvas, certainty: stored, .. } = filling;
    let renoised = changed.renoised.iter().map(|&p| change(canvas, p, ChangeKind::Renoised, (stored[p], None)));
    let mut changes: Vec<Change> = renoised.collect();
    let certainty = |&(at, source): &(usize, Source)| match source {
        Source::Predicted(from) => (at, predictions.probability(from, canvas.tokens()[at])),
        Source::Moved(from) => (at, stored[from]),
    };
    let certainties: Vec<(usize, f64)> = changed.sources.iter().map(certainty).collect();
    certainties.into_iter().for_each(|(at, certainty)| stored[at] = certainty);
    let entropy = |position: usize| match changed.sources.binary_search_by_key(&position, |(at, _)| *at) {
        Ok(index) => match changed.sources[index].1 {
            Source::Predicted(from) => predictions.entropy(from),
            Source::Moved(_) => None,
        },
        Err(_) => predictions.entropy(position),
    };
    let kinds = [(&changed.committed, ChangeKind::Committed), (&changed.edited, ChangeKind::Edited)];
    for (positions, kind) in kinds {
        changes.extend(positions.iter().map(|&p| change(canvas, p, kind, (stored[p], entropy(p)))));
    }
    changes.sort_by_key(|change| change.position);
    changes
}

/// A change of a position, with the token that it shows now, its probability, and the entropy of its prediction.
fn change(canvas: &Canvas, position: usize, kind: ChangeKind, (confidence, entropy): (f64, Option<f64>)) -> Change {
    Change { position, token: canvas.tokens()[position], confidence, entropy, kind }
}
