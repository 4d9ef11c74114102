//! A canvas as a client follows it: what each position holds and says, step by step.

use crate::models::Loaded;
use crate::scheduler::StepUpdate;
use crate::text::take_characters;
use crate::wire::{self, State};
use aquatint::TemplateCanvas;
use aquatint::diffusion::{Kind, PositionState};
use aquatint::generate::ChangeKind;
use aquatint::vocabulary::{Before, Holding, TokenId, Vocabulary};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A canvas and what happened to it.
#[derive(Debug)]
pub(crate) struct Sheet {
    loaded: Arc<Loaded>,
    template_canvas: TemplateCanvas,
    positions: Vec<wire::Position>,
    spans: Vec<wire::Span>,
    /// What open positions show that is not final.
    drafts: BTreeMap<usize, TokenId>,
    steps: usize,
    index: usize,
}

impl Sheet {
    /// The canvas of result `index` as it begins; `spans` are the holes that are returned with it, its own where there are
    /// none.
    pub(crate) fn new(
        index: usize,
        loaded: Arc<Loaded>,
        template_canvas: TemplateCanvas,
        spans: Option<Vec<wire::Span>>,
    ) -> Self {
        let canvas = template_canvas.canvas();
        let position = |position: usize| {
            let state = match canvas.state(position) {
                Some(PositionState::Given) => State::Given,
                Some(PositionState::Committed) => State::Written,
                Some(PositionState::Open) => State::Open,
                Some(PositionState::Closed | PositionState::Padding) | None => State::Closed,
            };
            let token = matches!(state, State::Given | State::Written).then(|| canvas.tokens()[position]);
            let (probability, step) = (None, None);
            wire::Position { state, token, text: String::new(), probability, step, alternatives: Vec::new() }
        };
        let own = canvas.spans().iter().map(|span| wire::Span {
            start: span.positions.start,
            end: span.positions.end,
            approximate: span.approximate,
        });
        let spans = spans.unwrap_or_else(|| own.collect());
        let positions = (0..canvas.len()).map(position).collect();
        let mut sheet = Self { loaded, positions, spans, drafts: BTreeMap::new(), steps: 0, index, template_canvas };
        sheet.read();
        sheet
    }

    /// As it stands.
    pub(crate) fn canvas(&self) -> wire::Canvas {
        wire::Canvas { positions: self.positions.clone(), spans: self.spans.clone() }
    }

    /// The first event.
    pub(crate) fn started(&self, seed: u64, forward_passes: usize) -> wire::Started {
        wire::Started { index: self.index, seed, forward_passes, canvas: self.canvas() }
    }

    /// A block begins.
    pub(crate) fn block(&self, block: usize, of: usize, positions: Vec<usize>, steps: usize) -> wire::Block {
        wire::Block { index: self.index, block, of, positions, steps }
    }

    /// Takes a step over.
    pub(crate) fn step(&mut self, step: &StepUpdate) -> wire::Step {
        let mut changes = Vec::with_capacity(step.changes.len());
        for (number, change) in step.changes.iter().enumerate() {
            let likeliest = step.alternatives.get(number).map_or(&[][..], Vec::as_slice);
            let alternatives = alternatives(self.loaded.vocabulary(), likeliest);
            let place = &mut self.positions[change.position];
            let kind = match change.kind {
                ChangeKind::Committed | ChangeKind::Edited => {
                    (place.state, place.token) = (State::Written, Some(change.token));
                    (place.probability, place.step) = (Some(change.confidence), Some(self.steps));
                    place.alternatives.clone_from(&alternatives);
                    self.drafts.remove(&change.position);
                    if change.kind == ChangeKind::Edited { "edited" } else { "committed" }
                }
                ChangeKind::Refined => {
                    self.drafts.insert(change.position, change.token);
                    "revised"
                }
                ChangeKind::Renoised => {
                    (place.state, place.token) = (State::Open, None);
                    (place.probability, place.step) = (None, None);
                    place.alternatives.clear();
                    self.drafts.remove(&change.position);
                    "renoised"
                }
            };
            let (position, token, probability) = (change.position, change.token, change.confidence);
            changes.push(wire::Change { position, token, probability, kind, alternatives });
        }
        for &position in &step.closed {
            let place = &mut self.positions[position];
            (place.state, place.token) = (State::Closed, None);
            self.drafts.remove(&position);
        }
        self.steps += 1;
        let texts = self.read();
        let StepUpdate { block, step: number, of, open, forward_passes, entropy, .. } = *step;
        wire::Step {
            index: self.index,
            block,
            step: number,
            of,
            open,
            forward_passes,
            entropy,
            changes,
            closed: step.closed.clone(),
            texts,
        }
    }

    /// Reads the text of all positions again; returns those that changed.
    fn read(&mut self) -> BTreeMap<usize, String> {
        let holding = |(index, position): (usize, &wire::Position)| match (position.state, position.token) {
            (State::Closed, _) => Holding::Nothing,
            (_, Some(token)) => Holding::Token(token),
            _ => self.drafts.get(&index).map_or(Holding::Open, |token| Holding::Token(*token)),
        };
        let holdings: Vec<Holding> = self.positions.iter().enumerate().map(holding).collect();
        let vocabulary = self.loaded.vocabulary();
        let mut pieces = self.template_canvas.pieces(vocabulary, &holdings);
        share_out(&self.template_canvas, vocabulary, &mut pieces);
        let mut changed = BTreeMap::new();
        let mut pending = Vec::new();
        for (index, piece) in pieces.into_iter().enumerate() {
            // A character does not go on behind a hole.
            if holdings[index] == Holding::Open {
                pending.clear();
            }
            pending.extend(piece);
            let text = take_characters(&mut pending);
            let place = &mut self.positions[index];
            if place.text != text {
                place.text.clone_from(&text);
                changed.insert(index, text);
            }
        }
        changed
    }
}

/// The likeliest tokens as they are sent.
pub(crate) fn alternatives(vocabulary: &Vocabulary, likeliest: &[(TokenId, f64)]) -> Vec<wire::Alternative> {
    let one = |&(token, probability): &(TokenId, f64)| wire::Alternative {
        token,
        text: vocabulary.token_text(token),
        probability,
    };
    likeliest.iter().map(one).collect()
}

/// Gives each given position its own part of the text, where the tokens say what that is.
fn share_out(template_canvas: &TemplateCanvas, vocabulary: &Vocabulary, pieces: &mut [Vec<u8>]) {
    let canvas = template_canvas.canvas();
    let given: Vec<usize> = (0..canvas.len()).filter(|p| canvas.kind(*p) == Some(Kind::Given)).collect();
    for run in given.chunk_by(|a, b| a + 1 == *b) {
        let (start, end) = (run[0], run[0] + run.len());
        let known = (0..start).all(|position| canvas.kind(position) == Some(Kind::Given));
        let before = if known { Before::Tokens(&canvas.tokens()[..start]) } else { Before::Unknown };
        let own = vocabulary.pieces(before, &canvas.tokens()[start..end]);
        // A blank that a hole owes is no token's: the last position keeps it.
        let whole = pieces[start..end].concat();
        let joined = own.concat();
        if let Some(rest) = whole.strip_prefix(joined.as_slice()) {
            pieces[start..end].clone_from_slice(&own);
            pieces[end - 1].extend_from_slice(rest);
        }
    }
}
