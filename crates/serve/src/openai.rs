//! OpenAI's protocol.

mod chat;
mod completions;
mod fields;
mod images;
mod listing;
mod logprobs;
mod response_format;
mod speech;
mod stream;
mod tools;

pub(crate) use chat::ChatRequest;
pub(crate) use completions::CompletionRequest;
pub(crate) use images::ImageRequest;
pub(crate) use speech::SpeechRequest;

use crate::app::App;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(completions::complete))
        .routes(routes!(chat::complete))
        .routes(routes!(images::generate))
        .routes(routes!(speech::speak))
        .routes(routes!(listing::list))
        .routes(routes!(listing::show))
        .routes(routes!(listing::embed))
}
