//! A template as a canvas, and the canvas back as text.
//!
//! A tokenizer gives a word its blank in front: after `The` a model expects ` cat`, one token, and a lone blank hardly
//! ever. The blank at the end of a given text before a hole, as in `The [[3]] sat`, would be such a lone token and
//! would push every model off its path (the usual result is two blanks). So the canvas does not hold it: the hole
//! *owes* a blank, and reading pays it, from the first token if that begins with one and as a character of its own if
//! not. Given text is read back from the template and never from tokens, so every given character stands in the result
//! exactly, whatever the tokenizer does to it and whatever the model says.
//!
//! Written tokens are decoded behind those before them, since many tokenizers mean a blank by where a token stands.

use crate::{
    Before, CanvasPiece, MediaKind, MediaSpan, MediaStretch, Original, Piece, Role, Template, TokenId, UnknownText,
    Vocabulary, VocabularyError,
};
use aquatint_diffusion::{Canvas, CanvasError, Kind, PositionState};
use std::ops::Range;

/// Why a template cannot become a canvas of a vocabulary.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateCanvasError {
    /// Nobody said how a picture or a sound lies on the canvas.
    #[error("the template asks for a {medium}, and this model knows text only")]
    TextOnly {
        /// What it asks for.
        medium: MediaKind,
    },
    /// The codes of a picture are not as many as its grid has places.
    #[error(transparent)]
    Canvas(#[from] CanvasError),
    /// The tokenizer refused, or lacks a mask token.
    #[error(transparent)]
    Vocabulary(#[from] VocabularyError),
}

impl TemplateCanvasError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::TextOnly { medium } => Some(format!("choose a model with {medium} codes")),
            Self::Canvas(_) => None,
            Self::Vocabulary(error) => error.hint(),
        }
    }
}

/// A stretch of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stretch {
    Given {
        positions: Range<usize>,
        text: String,
    },
    Open {
        positions: Range<usize>,
        owes_blank: bool,
    },
    /// A picture or a sound; what stands before and behind its codes is no text.
    Media(MediaStretch),
}

/// A template laid out for a vocabulary: the canvas to fill, and how to read it.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplateCanvas {
    canvas: Canvas,
    stretches: Vec<Stretch>,
    unknown: UnknownText,
}

/// What a canvas says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CanvasText {
    /// All text of it: every given character as it was given, and in each hole the text of its final tokens.
    pub text: String,
    /// The same with the pictures and sounds between it, in their order.
    pub pieces: Vec<CanvasPiece>,
    /// The text of each hole, in order, without the blank that was given in front of it.
    pub holes: Vec<String>,
    /// Bytes that were written and are no text: parts of characters. They are left out.
    pub broken_bytes: usize,
}

impl CanvasText {
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        match self.pieces.last_mut() {
            _ if text.is_empty() => {}
            Some(CanvasPiece::Text(before)) => before.push_str(text),
            _ => self.pieces.push(CanvasPiece::Text(text.to_owned())),
        }
    }
}

/// What a position holds at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holding {
    /// Nothing: it was closed, or pads.
    Nothing,
    /// It is open, and what it will hold is not known.
    Open,
    /// A token, final or not; given ones too.
    Token(TokenId),
}

/// Neighbouring tokens in one hole.
struct Run {
    hole: usize,
    /// What stands before them, where it is known.
    before: Option<Vec<TokenId>>,
    positions: Vec<usize>,
    tokens: Vec<TokenId>,
}

impl Run {
    fn before(&self) -> Before<'_> {
        self.before.as_deref().map_or(Before::Unknown, Before::Tokens)
    }
}

impl Template {
    /// What open positions show before the process draws their noise: the mask, or where there is none, as a causal model
    /// may have it, the token that begins a text.
    ///
    /// # Errors
    /// When the vocabulary has neither.
    pub fn noise(vocabulary: &Vocabulary) -> Result<TokenId, VocabularyError> {
        vocabulary.role(Role::Mask).or(vocabulary.role(Role::Begin)).map_or_else(|| vocabulary.required(Role::Mask), Ok)
    }

    /// Lays this template out as a canvas: given tokens, and open positions that hold the mask token, or the one that
    /// begins a text where there is no mask. A begin token stands in front of all, where the model's texts have one
    /// ([`Vocabulary::text_begin`]).
    ///
    /// # Errors
    /// When the vocabulary has neither or cannot encode the text, or when the template has a picture or a
    /// sound.
    pub fn lay_out(&self, vocabulary: &Vocabulary) -> Result<TemplateCanvas, TemplateCanvasError> {
        self.lay_out_with(vocabulary, &[])
    }

    /// The same of a template with pictures and sounds, which lie as `media` says of each of them, in their order.
    ///
    /// # Errors
    /// As [`Template::lay_out`], for a picture or a sound of which `media` says nothing; and when one does not fit its grid.
    pub fn lay_out_with(
        &self,
        vocabulary: &Vocabulary,
        media: &[MediaSpan],
    ) -> Result<TemplateCanvas, TemplateCanvasError> {
        let noise = Self::noise(vocabulary)?;
        let mut spans = media.iter();
        let (mut canvas, mut stretches, mut unknown) = (Canvas::new(), Vec::new(), UnknownText::default());
        canvas.push_given(vocabulary.text_begin().as_slice());
        let pieces = self.pieces();
        for (index, piece) in pieces.iter().enumerate() {
            let owed = |index: usize| match (pieces.get(index), pieces.get(index + 1)) {
                (Some(Piece::Text(text)), Some(Piece::Open { .. })) => text.strip_suffix(' '),
                _ => None,
            };
            let start = canvas.len();
            match piece {
                Piece::Text(text) => {
                    let text = owed(index).unwrap_or(text);
                    let encoded =
                        if index == 0 { vocabulary.encode_text(text)? } else { vocabulary.encode_within(text)? };
                    unknown += encoded.unknown;
                    canvas.push_given(&encoded.tokens);
                    stretches.push(Stretch::Given { positions: start..canvas.len(), text: text.to_owned() });
                }
                Piece::Open { count, approximate } => {
                    canvas.push_open(*count, *approximate, noise);
                    let owes_blank = index.checked_sub(1).and_then(owed).is_some();
                    stretches.push(Stretch::Open { positions: start..start + count, owes_blank });
                }
                Piece::Media(media) => {
                    let Some(MediaSpan { open, close, domain, codes, original }) = spans.next() else {
                        return Err(TemplateCanvasError::TextOnly { medium: media.kind });
                    };
                    canvas.push_given(&[*open]);
                    let positions = canvas.len()..canvas.len() + codes.len();
                    canvas.push_span(codes, false, domain.clone(), noise)?;
                    canvas.push_given(&[*close]);
                    let made: Vec<bool> = codes.iter().map(Option::is_none).collect();
                    let is_made = made.contains(&true);
                    let original = original.clone().map(|file| Original { file, made });
                    stretches.push(Stretch::Media(MediaStretch { kind: media.kind, positions, is_made, original }));
                }
            }
        }
        Ok(TemplateCanvas { canvas, stretches, unknown })
    }
}

impl TemplateCanvas {
    /// A canvas that was made of tokens, without a template: given text is what its tokens say, and no hole owes a blank. A
    /// special token and the codes of a picture or a sound are stretches of their own, so that what stands on both sides of
    /// them is not one text.
    pub fn of_canvas(canvas: Canvas, vocabulary: &Vocabulary) -> Self {
        let mut stretches: Vec<Stretch> = Vec::new();
        let span = |position: usize| canvas.spans().iter().position(|span| span.positions.contains(&position));
        let positions: Vec<usize> = (0..canvas.len()).filter(|p| canvas.kind(*p) != Some(Kind::Padding)).collect();
        let is_special = |position: &usize| vocabulary.is_special(canvas.tokens()[*position]);
        let together = |a: &usize, b: &usize| {
            let is_split = canvas.kind(*a) == Some(Kind::Given) && (is_special(a) || is_special(b));
            a + 1 == *b && canvas.kind(*a) == canvas.kind(*b) && span(*a) == span(*b) && !is_split
        };
        for run in positions.chunk_by(together) {
            let (first, range) = (run[0], run[0]..run[0] + run.len());
            stretches.push(match canvas.kind(first) {
                Some(Kind::Open) => Stretch::Open { positions: range, owes_blank: false },
                _ => {
                    let known = |before: usize| canvas.kind(before) == Some(Kind::Given) || canvas.is_committed(before);
                    let before = match first.checked_sub(1).is_none_or(known) {
                        true => Before::Tokens(&canvas.tokens()[..first]),
                        false => Before::Unknown,
                    };
                    let text = vocabulary.decode_after(before, &canvas.tokens()[range.clone()]);
                    Stretch::Given { positions: range, text }
                }
            });
        }
        Self { canvas, stretches, unknown: UnknownText::default() }
    }

    /// The holes in order: their positions, and whether a blank that was given in front of one is part of it.
    pub fn holes(&self) -> impl Iterator<Item = (Range<usize>, bool)> {
        self.stretches.iter().filter_map(|stretch| match stretch {
            Stretch::Given { .. } | Stretch::Media(_) => None,
            Stretch::Open { positions, owes_blank } => Some((positions.clone(), *owes_blank)),
        })
    }

    /// The pictures and sounds in order.
    pub fn media(&self) -> impl Iterator<Item = &MediaStretch> {
        self.stretches.iter().filter_map(|stretch| if let Stretch::Media(media) = stretch { Some(media) } else { None })
    }

    /// The canvas, all of whose open positions are noise.
    pub fn canvas(&self) -> &Canvas {
        &self.canvas
    }

    /// What the vocabulary cannot write of the given text; the model does not see it.
    pub fn unknown(&self) -> UnknownText {
        self.unknown
    }

    /// The text of a canvas that began as this template canvas. Open and closed positions have no text.
    pub fn read(&self, vocabulary: &Vocabulary, canvas: &Canvas) -> CanvasText {
        let holding = |position: usize| match canvas.kind(position) {
            _ if canvas.is_committed(position) => Holding::Token(canvas.tokens()[position]),
            Some(Kind::Open) if canvas.is_open(position) => Holding::Open,
            _ => Holding::Nothing,
        };
        let holdings: Vec<Holding> = (0..canvas.len()).map(holding).collect();
        let mut read = CanvasText::default();
        let runs = self.runs(&holdings);
        for together in runs.chunk_by(|a, b| a.positions.last().map(|last| last + 1) == b.positions.first().copied()) {
            // Holes without a character between them may share one.
            let tokens: Vec<TokenId> = together.iter().flat_map(|run| run.tokens.iter().copied()).collect();
            read.broken_bytes += vocabulary.broken_bytes(&tokens);
        }
        let mut runs = runs.iter().peekable();
        for stretch in &self.stretches {
            match stretch {
                Stretch::Given { text, .. } => read.push(text),
                Stretch::Media(stretch) => {
                    let code = |position: usize| match canvas.state(position) {
                        Some(PositionState::Given | PositionState::Committed) => Some(canvas.tokens()[position]),
                        _ => None,
                    };
                    let codes = stretch.positions.clone().map(code).collect();
                    read.pieces.push(CanvasPiece::Media { stretch: stretch.clone(), codes });
                }
                Stretch::Open { owes_blank, .. } => {
                    let mut hole = String::new();
                    while let Some(run) = runs.next_if(|run| run.hole == read.holes.len()) {
                        hole.push_str(&vocabulary.decode_after(run.before(), &run.tokens));
                    }
                    // One blank in front was given already.
                    if *owes_blank {
                        read.push(" ");
                        hole = hole.strip_prefix(' ').map_or_else(|| hole.clone(), str::to_owned);
                    }
                    read.push(&hole);
                    read.holes.push(hole);
                }
            }
        }
        read
    }

    /// The bytes that each position adds to the text at a moment, for code that draws a canvas position by position. A
    /// given text is all at the first of its positions, and a hole has the blank that it owes as soon as its beginning
    /// is known. Bytes may be broken.
    pub fn pieces(&self, vocabulary: &Vocabulary, holdings: &[Holding]) -> Vec<Vec<u8>> {
        let mut pieces = vec![Vec::new(); holdings.len()];
        for run in self.runs(holdings) {
            for (position, bytes) in run.positions.iter().zip(vocabulary.pieces(run.before(), &run.tokens)) {
                pieces[*position] = bytes;
            }
        }
        for stretch in &self.stretches {
            match stretch {
                // A text without a token stands behind the position before it.
                Stretch::Given { positions, text } if positions.is_empty() => {
                    let before = pieces[..positions.start].last_mut();
                    before.into_iter().for_each(|bytes| bytes.extend_from_slice(text.as_bytes()));
                }
                Stretch::Given { positions, text } => pieces[positions.start] = text.clone().into_bytes(),
                Stretch::Open { owes_blank: false, .. } | Stretch::Media(_) => {}
                Stretch::Open { positions, .. } => {
                    let known = positions.clone().take_while(|position| holdings[*position] != Holding::Open);
                    let first = known.into_iter().find(|position| !pieces[*position].is_empty());
                    if let Some(bytes) = first.map(|first| &mut pieces[first]).filter(|bytes| bytes[0] != b' ') {
                        bytes.insert(0, b' ');
                    }
                }
            }
        }
        pieces
    }

    /// The runs of tokens in all holes, in order.
    fn runs(&self, holdings: &[Holding]) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        let (mut before, mut hole) = (Some(Vec::new()), 0);
        for stretch in &self.stretches {
            match stretch {
                Stretch::Given { positions, .. } if positions.is_empty() => {}
                Stretch::Given { positions, .. } => {
                    before.get_or_insert_default().extend_from_slice(&self.canvas.tokens()[positions.clone()]);
                }
                // A text goes on behind what closes it.
                Stretch::Media(media) => before = Some(vec![self.canvas.tokens()[media.positions.end]]),
                Stretch::Open { positions, .. } => {
                    let mut begun = false;
                    for position in positions.clone() {
                        match holdings[position] {
                            Holding::Nothing => {}
                            Holding::Open => (begun, before) = (false, None),
                            Holding::Token(token) => {
                                if !begun {
                                    let (positions, tokens) = (Vec::new(), Vec::new());
                                    runs.push(Run { hole, before: before.clone(), positions, tokens });
                                    begun = true;
                                }
                                if let Some(run) = runs.last_mut() {
                                    run.positions.push(position);
                                    run.tokens.push(token);
                                }
                                before.get_or_insert_default().push(token);
                            }
                        }
                    }
                    hole += 1;
                }
            }
        }
        runs
    }
}
