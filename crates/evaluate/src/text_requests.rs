//! Requests whose open positions are to hold text.

use aquatint_diffusion::{Canvas, TokenId};
use aquatint_generate::{Part, Request, Settings};
use aquatint_vocabulary::Vocabulary;

/// Makes the requests that fill canvases with text of a vocabulary: its end tokens close approximate spans, and tokens
/// that are no text are never written.
#[derive(Debug, Clone)]
pub struct TextRequests {
    ends: Vec<TokenId>,
    forbidden: Vec<TokenId>,
    begin: Option<TokenId>,
}

impl TextRequests {
    /// For a network with so many rows of logits.
    pub fn new(vocabulary: &Vocabulary, vocabulary_size: usize) -> Self {
        let forbidden = vocabulary.non_text_tokens(vocabulary_size);
        Self { ends: vocabulary.ends(), forbidden, begin: vocabulary.text_begin() }
    }

    /// The request that fills a canvas.
    pub fn request(&self, canvas: Canvas, settings: Settings) -> Request {
        self.request_of_parts(canvas, vec![Part::new(settings)])
    }

    /// The same where parts of the canvas are filled by settings of their own.
    pub fn request_of_parts(&self, canvas: Canvas, parts: Vec<Part>) -> Request {
        let request = Request::of_parts(canvas, parts).with_ends(self.ends.clone());
        request.with_forbidden(self.forbidden.clone()).with_begin(self.begin)
    }
}
