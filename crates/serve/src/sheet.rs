//! A canvas as a client follows it: what each position holds and says, step by step.

use crate::error::ApiError;
use crate::models::Loaded;
use crate::scheduler::{BlockUpdate, StepUpdate};
use crate::text::take_characters;
use crate::wire::{self, State};
use aquatint::TemplateCanvas;
use aquatint::diffusion::{Kind, PositionState};
use aquatint::generate::ChangeKind;
use aquatint::vocabulary::{Before, Holding, MediaKind, Original, TokenId, Vocabulary};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// A canvas and what happened to it.
#[derive(Debug)]
pub(crate) struct Sheet {
    loaded: Arc<Loaded>,
    template_canvas: TemplateCanvas,
    positions: Vec<wire::Position>,
    spans: Vec<wire::Span>,
    /// What stays of given pictures of which a part is made, by their first positions.
    originals: BTreeMap<usize, Original>,
    /// What open positions show that is not final.
    drafts: BTreeMap<usize, TokenId>,
    steps: usize,
    index: usize,
}

/// What a client said of a canvas that it sent beside its positions; nothing of a template.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// The holes that are returned with it; its own where there are none.
    pub(crate) spans: Option<Vec<wire::Span>>,
    /// What stays of given pictures of which a part is made, by their first positions.
    pub(crate) originals: BTreeMap<usize, Original>,
}

/// A stretch of what a sheet says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SheetPiece {
    Text(String),
    Media(MediaCodes),
}

/// The codes of a picture or a sound, as far as they are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MediaCodes {
    kind: MediaKind,
    /// The position of the first one.
    pub(crate) start: usize,
    /// Whether the model made something of it.
    made: bool,
    codes: Vec<Option<TokenId>>,
    /// What stays of a given one of which a part is made.
    original: Option<Original>,
}

impl MediaCodes {
    /// The file that they stand for, as a URL that holds it.
    ///
    /// # Errors
    /// When the codec fails.
    pub(crate) fn url(&self, loaded: &Loaded) -> Result<String, ApiError> {
        Ok(loaded.model.media_file(self.kind, &self.codes, self.original.as_ref())?.data_url())
    }
}

impl SheetPiece {
    /// The piece as it is sent.
    ///
    /// # Errors
    /// When the codec fails.
    pub(crate) fn sent(self, loaded: &Loaded) -> Result<wire::Piece, ApiError> {
        Ok(match self {
            Self::Text(text) => wire::Piece::Text { text },
            Self::Media(codes) => wire::Piece::of_media(codes.kind, codes.made, codes.url(loaded)?),
        })
    }
}

impl Sheet {
    /// The canvas of result `index` as it begins; `sent` is what a client said of it beside its positions.
    pub(crate) fn new(index: usize, loaded: Arc<Loaded>, template_canvas: TemplateCanvas, sent: Sent) -> Self {
        let Sent { spans, mut originals } = sent;
        originals.extend(template_canvas.media().filter_map(|media| {
            let original = media.original.clone()?;
            Some((media.positions.start, original))
        }));
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
            media: loaded.kind_of(&span.domain).map(Into::into),
            original: None,
        });
        let mut spans = spans.unwrap_or_else(|| own.collect());
        for span in &mut spans {
            span.original = originals.get(&span.start).map(|original| wire::Original::of(original, span.start));
        }
        let positions = (0..canvas.len()).map(position).collect();
        let drafts = BTreeMap::new();
        let mut sheet = Self { loaded, positions, spans, originals, drafts, steps: 0, index, template_canvas };
        sheet.read();
        sheet
    }

    /// As it stands.
    pub(crate) fn canvas(&self) -> wire::Canvas {
        wire::Canvas { positions: self.positions.clone(), spans: self.spans.clone() }
    }

    /// The first event.
    pub(crate) fn started(&self, seed: u64, forward_passes: usize) -> wire::Started {
        let pictures = BTreeMap::new();
        wire::Started { index: self.index, seed, forward_passes, canvas: self.canvas(), pictures }
    }

    /// A block begins.
    pub(crate) fn block(&self, update: BlockUpdate) -> wire::Block {
        let BlockUpdate { part, block, of, positions, steps } = update;
        wire::Block { index: self.index, part, block, of, positions, steps }
    }

    /// Its spans of codes.
    fn media(&self) -> impl Iterator<Item = (MediaKind, Range<usize>)> {
        self.spans.iter().filter_map(|span| Some((span.media?.into(), span.start..span.end)))
    }

    /// What is known of a picture or a sound.
    fn codes(&self, kind: MediaKind, positions: Range<usize>) -> MediaCodes {
        let known = |position: &wire::Position| match position.state {
            State::Given | State::Written => position.token,
            State::Open | State::Closed => None,
        };
        let start = positions.start;
        let positions = &self.positions[positions];
        let made = positions.iter().any(|position| position.state != State::Given);
        let original = self.originals.get(&start).cloned();
        MediaCodes { kind, start, made, codes: positions.iter().map(known).collect(), original }
    }

    /// The pictures of which something is known, and where a step is given, those of them that it changed.
    pub(crate) fn pictures(&self, step: Option<&StepUpdate>) -> Vec<MediaCodes> {
        let is_changed = |positions: &Range<usize>| {
            step.is_none_or(|step| step.changes.iter().any(|change| positions.contains(&change.position)))
        };
        let pictures = self.media().filter(|(kind, _)| *kind == MediaKind::Picture);
        let changed = pictures.filter(|(_, positions)| is_changed(positions));
        let codes = changed.map(|(kind, positions)| self.codes(kind, positions));
        codes.filter(|picture| picture.codes.iter().any(Option::is_some)).collect()
    }

    /// What it says: its text, and the codes of its pictures and sounds between it. None where all is text.
    pub(crate) fn pieces(&self) -> Vec<SheetPiece> {
        let (mut pieces, mut at) = (Vec::new(), 0);
        let text = |range: Range<usize>| -> Option<SheetPiece> {
            let text: String = self.positions[range].iter().map(|position| position.text.as_str()).collect();
            (!text.is_empty()).then_some(SheetPiece::Text(text))
        };
        for (kind, positions) in self.media() {
            pieces.extend(text(at..positions.start));
            at = positions.end;
            pieces.push(SheetPiece::Media(self.codes(kind, positions)));
        }
        if at > 0 {
            pieces.extend(text(at..self.positions.len()));
        }
        pieces
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
        let StepUpdate { part, block, step: number, of, open, forward_passes, entropy, .. } = *step;
        wire::Step {
            index: self.index,
            part,
            block,
            step: number,
            of,
            open,
            forward_passes,
            entropy,
            changes,
            closed: step.closed.clone(),
            texts,
            pictures: BTreeMap::new(),
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
