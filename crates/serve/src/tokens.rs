//! `/tokenize` and `/detokenize`: a text as the tokens that the model reads, and back, in the forms of vLLM and of
//! llama.cpp.

use crate::app::App;
use crate::body::Plain;
use crate::error::{ApiError, ErrorBody};
use crate::scheduler::Client;
use crate::text::take_characters;
use aquatint::vocabulary::{Before, TokenId, Vocabulary};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(tokenize)).routes(routes!(detokenize))
}

/// A text.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenizeRequest {
    /// A model of `/v1/models`; the first one where it is left out.
    model: Option<String>,
    /// The text.
    prompt: Option<String>,
    /// The text by the name that llama.cpp has for it.
    content: Option<String>,
    /// Whether names of special tokens in the text mean those tokens, as in a conversation's template.
    #[serde(default)]
    parse_special: bool,
    /// Whether a begin token stands in front where the model's texts have one, as prompts are read; where nothing is said,
    /// with `prompt` but not with `content`, as each program has it.
    #[serde(alias = "add_special")]
    add_special_tokens: Option<bool>,
    /// Whether the text of each token is returned.
    #[serde(default, alias = "with_pieces")]
    return_token_strs: bool,
}

/// Its tokens.
#[derive(Debug, Serialize, ToSchema)]
struct Tokenized {
    count: usize,
    /// Tokens that the model reads at most.
    max_model_len: usize,
    tokens: Vec<TokenId>,
    /// The text of each; a character belongs to the token that completes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_strs: Option<Vec<String>>,
}

/// Tokens.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DetokenizeRequest {
    /// A model of `/v1/models`; the first one where it is left out.
    model: Option<String>,
    tokens: Vec<TokenId>,
}

/// Their text.
#[derive(Debug, Serialize, ToSchema)]
struct Detokenized {
    prompt: String,
    /// The same by the name that llama.cpp has for it.
    content: String,
}

/// The tokens of a text.
#[utoipa::path(
    post,
    path = "/tokenize",
    request_body = TokenizeRequest,
    responses((status = OK, body = Tokenized), (status = NOT_FOUND, body = ErrorBody))
)]
async fn tokenize(
    State(app): State<App>,
    client: Client,
    Plain(request): Plain<TokenizeRequest>,
) -> Result<Json<Tokenized>, ApiError> {
    let TokenizeRequest { model, prompt, content, parse_special, add_special_tokens, return_token_strs } = request;
    let (text, adds_special) = match (prompt, content) {
        (Some(text), None) => (text, add_special_tokens.unwrap_or(true)),
        (None, Some(text)) => (text, add_special_tokens.unwrap_or(false)),
        _ => return Err(ApiError::invalid("exactly one of `prompt` and `content` is needed").of("prompt")),
    };
    let loaded = app.models.get(model.as_deref()).await?;
    let tokenized = move || {
        let vocabulary = loaded.vocabulary();
        let tokens = if parse_special { vocabulary.encode_marked(&text) } else { vocabulary.encode(&text) };
        let mut tokens = tokens.map_err(aquatint::Error::from)?;
        let begin = vocabulary.text_begin().filter(|begin| adds_special && tokens.first() != Some(begin));
        tokens.splice(0..0, begin);
        let token_strs = return_token_strs.then(|| texts(vocabulary, &tokens));
        Ok(Tokenized { count: tokens.len(), max_model_len: loaded.context_length(), tokens, token_strs })
    };
    app.blocking.run(client, tokenized).await.map(Json)
}

/// The text of tokens. Special tokens stand for no text.
#[utoipa::path(
    post,
    path = "/detokenize",
    request_body = DetokenizeRequest,
    responses((status = OK, body = Detokenized), (status = NOT_FOUND, body = ErrorBody))
)]
async fn detokenize(
    State(app): State<App>,
    client: Client,
    Plain(request): Plain<DetokenizeRequest>,
) -> Result<Json<Detokenized>, ApiError> {
    let loaded = app.models.get(request.model.as_deref()).await?;
    let detokenized = move || {
        let vocabulary = loaded.vocabulary();
        check_tokens(&request.tokens, vocabulary, |index| format!("tokens[{index}]"))?;
        let prompt = vocabulary.decode(&request.tokens);
        Ok(Detokenized { content: prompt.clone(), prompt })
    };
    app.blocking.run(client, detokenized).await.map(Json)
}

/// Whether tokens of a request are the model's. `place` names the one at an index.
///
/// # Errors
/// When one is not.
pub(crate) fn check_tokens(
    tokens: &[TokenId],
    vocabulary: &Vocabulary,
    place: impl Fn(usize) -> String,
) -> Result<(), ApiError> {
    match tokens.iter().position(|&token| token as usize >= vocabulary.len()) {
        Some(index) => {
            let allowed = format!("0 to {}, the model's vocabulary", vocabulary.len().saturating_sub(1));
            Err(ApiError::field(&place(index), tokens[index], &allowed))
        }
        None => Ok(()),
    }
}

/// What each token adds to the text. Bytes that are no characters are in none.
fn texts(vocabulary: &Vocabulary, tokens: &[TokenId]) -> Vec<String> {
    let mut pending = Vec::new();
    let text = |piece: Vec<u8>| {
        pending.extend(piece);
        take_characters(&mut pending)
    };
    vocabulary.pieces(Before::Tokens(&[]), tokens).into_iter().map(text).collect()
}
