//! A text in tokens that know which bytes of it they stand for.
//!
//! The bytes are those of the source text. A byte-level token has them in itself; what any other tokenizer makes of a
//! text (a mark for a blank, a lower-case letter, `<unk>`) does not tell, so the tokenizer's offsets do: a token stands
//! for everything from the end of the one before it to its own end.

use crate::TokenId;

/// A text in tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EncodedText {
    /// The tokens, `T`.
    pub tokens: Vec<TokenId>,
    /// UTF-8 bytes of the text that each token stands for, `T`. They add up to those of the text, unless it has no
    /// token at all.
    pub text_bytes: Vec<u32>,
    /// What the vocabulary cannot write of it.
    pub unknown: UnknownText,
}

/// Characters that a vocabulary cannot write: they become the unknown token, or nothing at all. White space does not
/// count, since many tokenizers drop it on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnknownText {
    /// How many.
    pub characters: u64,
    /// Their UTF-8 bytes.
    pub bytes: u64,
}

impl UnknownText {
    /// Whether everything can be written.
    pub fn is_empty(&self) -> bool {
        self.characters == 0
    }

    /// All characters of `text`.
    fn count(&mut self, text: &str) {
        for character in text.chars().filter(|character| !character.is_whitespace()) {
            self.characters += 1;
            self.bytes += character.len_utf8() as u64;
        }
    }
}

impl std::ops::AddAssign for UnknownText {
    fn add_assign(&mut self, other: Self) {
        self.characters += other.characters;
        self.bytes += other.bytes;
    }
}

impl EncodedText {
    /// Gives each token its bytes of `text`, from where the tokenizer says that it starts and ends.
    pub(crate) fn from_offsets(
        text: &str,
        tokens: &[TokenId],
        offsets: &[(usize, usize)],
        unknown: Option<TokenId>,
    ) -> Self {
        let mut encoded = Self { tokens: tokens.to_vec(), ..Self::default() };
        // Parts of a character have the offsets of the whole of it, so a token may end where the one before it did.
        let mut done = 0;
        for (&token, &(start, end)) in tokens.iter().zip(offsets) {
            let (start, end) = (start.max(done), end.max(done));
            encoded.unknown.count(text.get(done..start).unwrap_or_default());
            if Some(token) == unknown {
                encoded.unknown.count(text.get(start..end).unwrap_or_default());
            }
            encoded.text_bytes.push((end - done) as u32);
            done = end;
        }
        encoded.unknown.count(text.get(done..).unwrap_or_default());
        if let Some(last) = encoded.text_bytes.last_mut() {
            *last += text.len().saturating_sub(done) as u32;
        }
        encoded
    }
}
