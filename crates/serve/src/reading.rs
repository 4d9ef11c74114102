//! The parsers of requests without a server, for what tries to break them: the fuzz target `request` and the test below.

use crate::body::{Body, Plain};
use crate::canvas::{AlternativesRequest, CanvasRequest, next_event};
use crate::error::ApiError;
use crate::ollama::{GenerateRequest, OllamaChatRequest, Options, ShowRequest};
use crate::openai::{ChatRequest, CompletionRequest, ImageRequest, SpeechRequest};
use crate::tokens::{DetokenizeRequest, TokenizeRequest};
use axum::http::{HeaderMap, HeaderValue};

/// What reads a body, or a part of a request.
type Reader = fn(&[u8]) -> Result<(), ApiError>;

/// All of them, by the paths or the headers and fields that they read.
const READERS: [(&str, Reader); 12] = [
    ("/v1/completions", |bytes| Body::<CompletionRequest>::parse(bytes).map(drop)),
    ("/v1/chat/completions", |bytes| Body::<ChatRequest>::parse(bytes)?.own.conversation().map(drop)),
    ("/v1/images/generations", |bytes| Body::<ImageRequest>::parse(bytes).map(drop)),
    ("/v1/audio/speech", |bytes| Body::<SpeechRequest>::parse(bytes).map(drop)),
    ("/v1/canvas", |bytes| Body::<CanvasRequest>::parse(bytes)?.own.files().map(drop)),
    ("/v1/canvas/alternatives", |bytes| Plain::<AlternativesRequest>::parse(bytes).map(drop)),
    ("/tokenize", |bytes| Plain::<TokenizeRequest>::parse(bytes).map(drop)),
    ("/detokenize", |bytes| Plain::<DetokenizeRequest>::parse(bytes).map(drop)),
    ("/api/generate", |bytes| {
        let Plain(request) = Plain::<GenerateRequest>::parse(bytes)?;
        request.check()?;
        Options::parse(request.options.unwrap_or_default()).map(drop)
    }),
    ("/api/chat", |bytes| {
        let Plain(request) = Plain::<OllamaChatRequest>::parse(bytes)?;
        request.conversation()?;
        Options::parse(request.options.unwrap_or_default()).map(drop)
    }),
    ("/api/show", |bytes| Plain::<ShowRequest>::parse(bytes).map(drop)),
    ("Last-Event-ID", |bytes| {
        let value = HeaderValue::from_bytes(bytes).map_err(|error| ApiError::invalid(error.to_string()))?;
        next_event(&HeaderMap::from_iter([(axum::http::HeaderName::from_static("last-event-id"), value)])).map(drop)
    }),
];

/// How many parsers there are.
#[doc(hidden)]
pub const PARSERS: usize = READERS.len();

/// Reads bytes with one of the parsers.
///
/// # Errors
/// When they are refused: the status and the message of the answer.
#[doc(hidden)]
pub fn parse(parser: usize, bytes: &[u8]) -> Result<(), (u16, String)> {
    let (_, read) = READERS[parser % READERS.len()];
    read(bytes).map_err(|error| (error.status().as_u16(), error.message().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request that each reads.
    const REQUESTS: [&str; PARSERS] = [
        r#"{"prompt":"a","suffix":"b","max_tokens":3,"stop":["x"],"n":2,"stream":true,"logprobs":2,"top_p":0.5}"#,
        r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"input_audio","input_audio":{"data":"eA==","format":"wav"}}]}],"seed":7,"temperature":0.5}"#,
        r#"{"prompt":"a","n":2,"size":"auto","response_format":"b64_json","media_steps":3}"#,
        r#"{"input":"a","voice":"default","speed":1.0,"response_format":"wav"}"#,
        r#"{"canvas":{"positions":[{"token":1,"state":"given"},{"state":"open"}]},"seed":1,"files":{"a":"data:audio/wav;base64,eA=="}}"#,
        r#"{"canvas":{"positions":[{"token":1,"state":"given"}]},"positions":[0],"count":3}"#,
        r#"{"prompt":"\u00e4","add_special_tokens":false,"return_token_strs":true}"#,
        r#"{"model":"a","tokens":[1,2,3]}"#,
        r#"{"prompt":"a","options":{"num_predict":3,"stop":"x","top_k":0,"repeat_last_n":-1},"stream":false}"#,
        r#"{"messages":[{"role":"user","content":"a"}],"options":{"seed":-1,"mirostat":0}}"#,
        r#"{"model":"a","verbose":true}"#,
        "12",
    ];

    #[test]
    fn any_change_of_a_request_is_read_or_refused_as_the_clients_fault() {
        let mut refused = 0;
        for (parser, request) in REQUESTS.iter().enumerate() {
            assert_eq!(parse(parser, request.as_bytes()), Ok(()), "{}", READERS[parser].0);
            for place in 0..request.len() {
                let (before, after) = request.as_bytes().split_at(place);
                for change in [&b""[..], b"\0", b"\xFF", b"\"", b"{", b"-", b"9e999", b"null"] {
                    let changed = [before, change, &after[1..]].concat();
                    for other in [parser, (parser + 1) % PARSERS] {
                        if let Err((status, message)) = parse(other, &changed) {
                            assert_eq!(status, 400, "{message}");
                            assert!(!message.is_empty());
                            refused += 1;
                        }
                    }
                }
            }
        }
        assert!(refused > 1000, "{refused}");
    }
}
