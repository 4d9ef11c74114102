//! Log-probabilities: the natural logarithm of the probability that the model's plain prediction (temperature 1, before
//! penalties, top-k and top-p) gave a token in the forward pass in which it was committed. They are no likelihood of the
//! text: each is conditioned on what stood on the canvas at its step, before and behind it.

use crate::models::Loaded;
use crate::text::WrittenToken;
use aquatint::vocabulary::TokenId;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Of a probability below it JSON has no logarithm.
const LEAST: f64 = -9999.0;

/// The logarithm as it is sent.
pub(super) fn logarithm(probability: f64) -> f64 {
    probability.ln().max(LEAST)
}

/// The tokens of a completion.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct CompletionLogprobs {
    tokens: Vec<String>,
    token_logprobs: Vec<f64>,
    /// The likeliest tokens of each prediction.
    top_logprobs: Vec<BTreeMap<String, f64>>,
    /// Where each begins in the text, in characters.
    text_offset: Vec<usize>,
}

impl CompletionLogprobs {
    /// `echoed` characters stand before the tokens.
    pub(super) fn new(loaded: &Loaded, tokens: &[WrittenToken], echoed: usize) -> Self {
        let vocabulary = loaded.vocabulary();
        let texts: Vec<String> = tokens.iter().map(|written| vocabulary.token_text(written.token)).collect();
        let text_offset = tokens.iter().map(|written| echoed + written.start).collect();
        let token_logprobs = tokens.iter().map(|written| logarithm(written.probability)).collect();
        let top = |written: &WrittenToken| {
            let top = written.alternatives.iter();
            top.map(|(token, probability)| (vocabulary.token_text(*token), logarithm(*probability))).collect()
        };
        let top_logprobs = tokens.iter().map(top).collect();
        Self { tokens: texts, token_logprobs, top_logprobs, text_offset }
    }
}

/// The tokens of an answer.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct ChatLogprobs {
    content: Vec<TokenLogprob>,
}

/// One token of an answer.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct TokenLogprob {
    token: String,
    logprob: f64,
    /// Its bytes, which may be part of a character.
    #[schema(required)]
    bytes: Option<Vec<u8>>,
    /// The likeliest tokens of the same prediction.
    top_logprobs: Vec<TopLogprob>,
}

/// One of the likeliest tokens.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct TopLogprob {
    token: String,
    logprob: f64,
    #[schema(required)]
    bytes: Option<Vec<u8>>,
}

impl ChatLogprobs {
    pub(super) fn new(loaded: &Loaded, tokens: &[WrittenToken]) -> Self {
        let vocabulary = loaded.vocabulary();
        let top = |&(token, probability): &(TokenId, f64)| TopLogprob {
            token: vocabulary.token_text(token),
            logprob: logarithm(probability),
            bytes: vocabulary.token_bytes(token).map(<[u8]>::to_vec),
        };
        let one = |written: &WrittenToken| TokenLogprob {
            token: vocabulary.token_text(written.token),
            logprob: logarithm(written.probability),
            bytes: vocabulary.token_bytes(written.token).map(<[u8]>::to_vec),
            top_logprobs: written.alternatives.iter().map(top).collect(),
        };
        Self { content: tokens.iter().map(one).collect() }
    }
}
