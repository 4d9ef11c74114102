//! A template as a canvas, and the canvas back as text.
//!
//! A tokenizer gives a word its blank in front: after `The` a model expects ` cat`, one token, and a lone blank hardly
//! ever. The blank at the end of a given text before a hole, as in `The [[3]] sat`, would be such a lone token and
//! would push every model off its path (the usual result is two blanks). So the canvas does not hold it: the hole
//! *owes* a blank, and reading pays it, from the first token if that begins with one and as a character of its own if
//! not. Given text is read back from the template and never from tokens, so every given character stands in the result
//! exactly, whatever the tokenizer does to it and whatever the model says.

use crate::{Piece, Role, Template, TokenId, Vocabulary, VocabularyError};
use aquatint_diffusion::Canvas;
use std::ops::Range;

/// Why a template cannot become a canvas of a vocabulary.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateCanvasError {
    /// The vocabulary has no codes for pictures or sounds.
    #[error("the template asks for a {medium}, and this model knows text only")]
    TextOnly {
        /// `picture` or `sound`.
        medium: &'static str,
    },
    /// The tokenizer refused, or lacks a mask token.
    #[error(transparent)]
    Vocabulary(#[from] VocabularyError),
}

impl TemplateCanvasError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::TextOnly { medium } => Some(format!("choose a model with {medium} codes")),
            Self::Vocabulary(error) => error.hint(),
        }
    }
}

/// A stretch of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stretch {
    Given(String),
    Open { positions: Range<usize>, owes_blank: bool },
}

/// A template laid out for a vocabulary: the canvas to fill, and how to read it.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplateCanvas {
    canvas: Canvas,
    stretches: Vec<Stretch>,
}

impl Template {
    /// Lays this template out as a canvas: given tokens, and open positions that hold the mask token.
    ///
    /// # Errors
    /// When the vocabulary has no mask token or cannot encode the text, or when the template has a picture or a
    /// sound.
    pub fn lay_out(&self, vocabulary: &Vocabulary) -> Result<TemplateCanvas, TemplateCanvasError> {
        let mask = vocabulary.required(Role::Mask)?;
        let (mut canvas, mut stretches) = (Canvas::new(), Vec::new());
        let pieces = self.pieces();
        for (index, piece) in pieces.iter().enumerate() {
            let owed = |index: usize| match (pieces.get(index), pieces.get(index + 1)) {
                (Some(Piece::Text(text)), Some(Piece::Open { .. })) => text.strip_suffix(' '),
                _ => None,
            };
            match piece {
                Piece::Text(text) => {
                    let text = owed(index).unwrap_or(text);
                    canvas.push_given(&vocabulary.encode(text)?);
                    stretches.push(Stretch::Given(text.to_owned()));
                }
                Piece::Open { count, approximate } => {
                    let start = canvas.len();
                    canvas.push_open(*count, *approximate, mask);
                    let owes_blank = index.checked_sub(1).and_then(owed).is_some();
                    stretches.push(Stretch::Open { positions: start..start + count, owes_blank });
                }
                Piece::Picture { .. } => return Err(TemplateCanvasError::TextOnly { medium: "picture" }),
                Piece::Sound { .. } => return Err(TemplateCanvasError::TextOnly { medium: "sound" }),
            }
        }
        Ok(TemplateCanvas { canvas, stretches })
    }
}

impl TemplateCanvas {
    /// The canvas, all of whose open positions are noise.
    pub fn canvas(&self) -> &Canvas {
        &self.canvas
    }

    /// Whether the text at `position` begins with a blank even if its token does not; code that draws a canvas
    /// token by token puts one in front.
    pub fn owes_blank(&self, position: usize) -> bool {
        self.stretches.iter().any(
            |stretch| matches!(stretch, Stretch::Open { positions, owes_blank: true } if positions.start == position),
        )
    }

    /// The text of a canvas that began as this template canvas: every given character as it was given, and in each hole
    /// the text of its final tokens. Open and closed positions have no text.
    pub fn text(&self, vocabulary: &Vocabulary, canvas: &Canvas) -> String {
        self.parts(vocabulary, canvas).concat()
    }

    /// The text of each hole, in order, without the blank that was given in front of it.
    pub fn filled(&self, vocabulary: &Vocabulary, canvas: &Canvas) -> Vec<String> {
        let holes = self.stretches.iter().filter_map(|stretch| match stretch {
            Stretch::Open { positions, owes_blank } => Some((positions, owes_blank)),
            Stretch::Given(_) => None,
        });
        holes.map(|(positions, &owes)| hole(vocabulary, canvas, positions.clone(), owes)).collect()
    }

    fn parts(&self, vocabulary: &Vocabulary, canvas: &Canvas) -> Vec<String> {
        let part = |stretch: &Stretch| match stretch {
            Stretch::Given(text) => text.clone(),
            Stretch::Open { positions, owes_blank } => {
                let text = hole(vocabulary, canvas, positions.clone(), *owes_blank);
                if *owes_blank { format!(" {text}") } else { text }
            }
        };
        self.stretches.iter().map(part).collect()
    }
}

/// The text of the final tokens at these positions, without one blank in front where the given text has it already.
fn hole(vocabulary: &Vocabulary, canvas: &Canvas, positions: Range<usize>, owes_blank: bool) -> String {
    let tokens: Vec<TokenId> = positions
        .filter(|&position| canvas.is_committed(position))
        .filter_map(|at| canvas.tokens().get(at).copied())
        .collect();
    let text = vocabulary.decode(&tokens);
    match text.strip_prefix(' ') {
        Some(rest) if owes_blank => rest.to_owned(),
        _ => text,
    }
}
