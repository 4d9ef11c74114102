//! Tokens back to text, run by run.
//!
//! What a token adds to a text depends on those before it. A mark for a blank stands for nothing at the beginning,
//! WordPiece puts blanks between words, byte fallback needs all bytes of a character. So a run is decoded by the
//! tokenizer's own decoder behind what stands before it, whose text is taken off again.
//!
//! A model can write bytes that are no UTF-8. They are **broken**: they are left out of the text and can be counted. At
//! the end of a run they may be a character that is not complete yet, so they wait in the same way.

use crate::{TokenId, Vocabulary, bytes};
use std::collections::HashMap;
use tokenizers::{DecoderWrapper, Tokenizer};

/// Tokens before a run that are decoded with it: more than any decoder looks back, and than a character has bytes.
const CONTEXT: usize = 16;

/// What stands before a run of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before<'a> {
    /// These tokens; none at the beginning of a text.
    Tokens(&'a [TokenId]),
    /// Text that is not known yet.
    Unknown,
}

/// What tokens stand for, as far as it is known of each alone.
#[derive(Debug, Clone)]
pub(crate) enum Pieces {
    /// Per id: its bytes, none for special tokens. The text is all of them in a row.
    Bytes(Vec<Vec<u8>>),
    /// The decoder's rules join them.
    Rules {
        /// Tokens that stand for one byte, where the decoder reads them so.
        fallback: HashMap<TokenId, u8>,
        /// A word, to decode others behind it.
        word: Vec<TokenId>,
        /// Whether bytes that are no UTF-8 become U+FFFD among the rules.
        replaces: bool,
    },
}

impl Pieces {
    /// Those of a tokenizer with so many ids.
    pub(crate) fn of(tokenizer: &Tokenizer, length: usize) -> Self {
        let decoders = match tokenizer.get_decoder() {
            Some(DecoderWrapper::Sequence(sequence)) => sequence.get_decoders(),
            Some(decoder) => std::slice::from_ref(decoder),
            None => &[],
        };
        let in_bytes = |decoder: &DecoderWrapper| matches!(decoder, DecoderWrapper::ByteLevel(_));
        let joins = |decoder: &DecoderWrapper| matches!(decoder, DecoderWrapper::Fuse(_));
        if decoders.iter().any(in_bytes) && decoders.iter().all(|decoder| in_bytes(decoder) || joins(decoder)) {
            let added = tokenizer.get_added_tokens_decoder();
            let bytes = |id: usize| match added.get(&(id as TokenId)) {
                // An added token is written as it is read; only the model's own are in the byte alphabet.
                Some(token) if token.special => Vec::new(),
                Some(token) => token.content.clone().into_bytes(),
                None => tokenizer
                    .id_to_token(id as TokenId)
                    .map_or_else(Vec::new, |token| bytes::bytes_of(&token).unwrap_or_else(|| token.into_bytes())),
            };
            return Self::Bytes((0..length).map(bytes).collect());
        }
        let fallback = match decoders.iter().any(|decoder| matches!(decoder, DecoderWrapper::ByteFallback(_))) {
            true => (0..=u8::MAX)
                .filter_map(|byte| Some((tokenizer.token_to_id(&format!("<0x{byte:02X}>"))?, byte)))
                .collect(),
            false => HashMap::new(),
        };
        let word = tokenizer.encode_fast("a", false).map_or_else(|_| Vec::new(), |word| word.get_ids().to_vec());
        Self::Rules { fallback, word, replaces: decoders.iter().any(in_bytes) }
    }
}

impl Vocabulary {
    /// The text of tokens from its beginning. Special tokens, ids that do not exist and broken bytes stand for no text.
    pub fn decode(&self, tokens: &[TokenId]) -> String {
        self.run(tokens).0
    }

    /// What tokens add to the text of those before them. A character belongs to the token that completes it.
    pub fn decode_after(&self, before: Before<'_>, tokens: &[TokenId]) -> String {
        let before = match before {
            Before::Tokens(tokens) => &tokens[tokens.len().saturating_sub(CONTEXT)..],
            Before::Unknown => self.word(),
        };
        let (lead, _) = self.run(before);
        let (whole, _) = self.run(&[before, tokens].concat());
        // A decoder that changes what stands before has no text of these tokens but the one that they have alone.
        whole.strip_prefix(&lead).map_or_else(|| self.decode(tokens), str::to_owned)
    }

    /// The bytes that each token adds to the text of those before it, `T`; in a row they are the text, but for broken
    /// bytes of a byte-level tokenizer, which are among them.
    pub fn pieces(&self, before: Before<'_>, tokens: &[TokenId]) -> Vec<Vec<u8>> {
        if let Pieces::Bytes(table) = &self.pieces {
            return tokens.iter().map(|&id| table.get(id as usize).cloned().unwrap_or_default()).collect();
        }
        let mut read = match before {
            Before::Tokens(tokens) => tokens[tokens.len().saturating_sub(CONTEXT)..].to_vec(),
            Before::Unknown => self.word().to_vec(),
        };
        let piece = |&token: &TokenId| {
            let piece = self.decode_after(Before::Tokens(&read), &[token]);
            read.push(token);
            piece.into_bytes()
        };
        tokens.iter().map(piece).collect()
    }

    /// How many bytes of these tokens are broken, and left out of their text.
    pub fn broken_bytes(&self, tokens: &[TokenId]) -> usize {
        self.run(tokens).1
    }

    /// The bytes of a token where it alone has some: none for a special token. `None` for an id that does not exist and
    /// for every token of a tokenizer that is not byte-level.
    pub fn token_bytes(&self, id: TokenId) -> Option<&[u8]> {
        match &self.pieces {
            Pieces::Bytes(table) => table.get(id as usize).map(Vec::as_slice),
            Pieces::Rules { .. } => None,
        }
    }

    /// A token as people may see it: its text, or the name of a special token. An id that does not exist is `<|?7|>`,
    /// and a byte that is no text on its own `<0xE2>`.
    pub fn token_text(&self, id: TokenId) -> String {
        match (self.token_bytes(id), self.marked.id_to_token(id)) {
            (Some(bytes), Some(_)) if !self.is_special(id) => {
                let mut text = String::new();
                for chunk in bytes.utf8_chunks() {
                    text.push_str(chunk.valid());
                    chunk.invalid().iter().for_each(|byte| text.push_str(&format!("<0x{byte:02X}>")));
                }
                text
            }
            (_, Some(name)) => name,
            (_, None) => format!("<|?{id}|>"),
        }
    }

    fn word(&self) -> &[TokenId] {
        match &self.pieces {
            Pieces::Bytes(_) => &[],
            Pieces::Rules { word, .. } => word,
        }
    }

    /// The text of tokens, and how many of their bytes are broken.
    fn run(&self, tokens: &[TokenId]) -> (String, usize) {
        let (fallback, replaces) = match &self.pieces {
            Pieces::Bytes(table) => {
                let bytes = tokens.iter().filter_map(|&id| table.get(id as usize)).flatten().copied();
                return whole_characters(&bytes.collect::<Vec<u8>>());
            }
            Pieces::Rules { fallback, replaces, .. } => (fallback, *replaces),
        };
        let known = |id: &TokenId| !self.is_special(*id) && self.marked.id_to_token(*id).is_some();
        let tokens: Vec<TokenId> = tokens.iter().copied().filter(known).collect();
        let (tokens, broken) = whole_fallback(&tokens, fallback);
        if tokens.is_empty() {
            return (String::new(), broken);
        }
        // A decoder can fail only on rules that it does not know; then the pieces are shown.
        let names = || tokens.iter().map(|&id| self.token_text(id));
        let text = self.marked.decode(&tokens, true).unwrap_or_else(|_| names().collect());
        let replaced = if replaces { text.matches(char::REPLACEMENT_CHARACTER).count() } else { 0 };
        if replaced == 0 {
            return (text, broken);
        }
        (text.replace(char::REPLACEMENT_CHARACTER, ""), broken + replaced)
    }
}

/// The characters in some bytes, and how many bytes are none.
fn whole_characters(bytes: &[u8]) -> (String, usize) {
    let mut text = String::with_capacity(bytes.len());
    bytes.utf8_chunks().for_each(|chunk| text.push_str(chunk.valid()));
    let broken = bytes.len() - text.len();
    (text, broken)
}

/// The tokens without the bytes that make up no character, and how many those are. One bad byte in a run of them would
/// spoil the whole run for a decoder.
fn whole_fallback(tokens: &[TokenId], fallback: &HashMap<TokenId, u8>) -> (Vec<TokenId>, usize) {
    let is_byte = |token: &TokenId| fallback.contains_key(token);
    let mut whole = Vec::with_capacity(tokens.len());
    for run in tokens.chunk_by(|a, b| is_byte(a) == is_byte(b)) {
        let bytes: Vec<u8> = run.iter().filter_map(|token| fallback.get(token)).copied().collect();
        if bytes.is_empty() {
            whole.extend(run);
            continue;
        }
        let mut rest = run;
        for chunk in bytes.utf8_chunks() {
            let (valid, after) = rest.split_at(chunk.valid().len());
            whole.extend(valid);
            rest = &after[chunk.invalid().len()..];
        }
    }
    let broken = tokens.len() - whole.len();
    (whole, broken)
}
