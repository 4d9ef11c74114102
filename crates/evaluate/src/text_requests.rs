//! Requests whose open positions are to hold text.

use aquatint_diffusion::{Canvas, TokenId};
use aquatint_generate::{Request, Settings};
use aquatint_vocabulary::{Role, Vocabulary};

/// Makes the requests that fill canvases with text of a vocabulary: its end token closes approximate spans, and tokens
/// that are no text are never written.
#[derive(Debug, Clone)]
pub struct TextRequests {
    end: Option<TokenId>,
    forbidden: Vec<TokenId>,
}

impl TextRequests {
    /// For a network with so many rows of logits.
    pub fn new(vocabulary: &Vocabulary, vocabulary_size: usize) -> Self {
        Self { end: vocabulary.role(Role::End), forbidden: vocabulary.non_text_tokens(vocabulary_size) }
    }

    /// The request that fills a canvas.
    pub fn request(&self, canvas: Canvas, settings: Settings) -> Request {
        Request::new(canvas, settings).with_end(self.end).with_forbidden(self.forbidden.clone())
    }
}
