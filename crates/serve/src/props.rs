//! `/props`: what a page or a tool needs to know before its first request.

use crate::app::App;
use crate::error::ApiError;
use crate::models::{Loaded, Medium};
use aquatint::SamplingOptions;
use aquatint::network::NetworkKind;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(props))
}

/// The server.
#[derive(Debug, Serialize, ToSchema)]
struct Props {
    version: &'static str,
    /// Whether requests need an API key.
    auth: bool,
    /// Where it computes, in words.
    device: String,
    /// Positions of a canvas at most.
    canvas_limit: usize,
    models: Vec<ModelProps>,
}

/// A model that is served.
#[derive(Debug, Serialize, ToSchema)]
struct ModelProps {
    name: String,
    /// Whether it is in memory; only then are its figures known.
    loaded: bool,
    #[serde(flatten)]
    figures: Option<Figures>,
}

/// What is known of a model that is loaded.
#[derive(Debug, Serialize, ToSchema)]
struct Figures {
    parameters: u64,
    context_length: usize,
    vocabulary_size: usize,
    /// What noise is to it, and how a step back is taken; `left-to-right` for a causal model.
    process: String,
    /// Whether it fills holes before given text.
    infills: bool,
    /// Whether it has a template of conversations.
    chat: bool,
    /// What it reads and makes beside text.
    media: Vec<Medium>,
    defaults: Defaults,
    policies: Vec<Policy>,
}

/// How the model is sampled where a request says nothing.
#[derive(Debug, Serialize, ToSchema)]
struct Defaults {
    max_tokens: usize,
    steps: usize,
    block_length: Option<usize>,
    policy: String,
    remasking: String,
    temperature: f64,
    top_k: Option<usize>,
    top_p: Option<f64>,
    repetition_penalty: f64,
    guidance_scale: f64,
    cache: Option<String>,
}

/// A commit policy.
#[derive(Debug, Serialize, ToSchema)]
struct Policy {
    name: &'static str,
    /// What it does, in a line.
    summary: &'static str,
}

/// The policies by their names, with the numbers that are usual.
const POLICIES: [Policy; 13] = [
    Policy { name: "confidence", summary: "commits the most probable tokens, a planned number at each step" },
    Policy { name: "margin", summary: "commits where the likeliest token is furthest ahead of the second" },
    Policy { name: "entropy", summary: "commits where the prediction has the least entropy" },
    Policy {
        name: "entropy-bound:0.3",
        summary: "commits as many as together stay within a bound of entropy, in nats",
    },
    Policy {
        name: "entropy-bound-by-confidence:0.3",
        summary: "commits as many of the most probable tokens as together stay within a bound of entropy, in nats",
    },
    Policy { name: "threshold:0.9", summary: "commits every token at least so probable, and at least one" },
    Policy { name: "dynamic:0.9", summary: "commits every token so probable, and no fewer than are planned" },
    Policy { name: "factor:1", summary: "commits as many as are sure enough to be right together" },
    Policy { name: "sequential", summary: "commits a planned number from left to right" },
    Policy { name: "random", summary: "commits a planned number at random" },
    Policy { name: "ancestral", summary: "commits each position with the probability that the process gives it" },
    Policy { name: "first-hitting", summary: "commits one at a time, at the moment at which the process would" },
    Policy { name: "last", summary: "leaves everything open up to the last step" },
];

/// The policy of a model that has a learnt order.
const LEARNT: Policy =
    Policy { name: "learnt", summary: "commits by an order that was learned from rewards, at least one" };

fn figures(loaded: &Loaded) -> Result<Figures, ApiError> {
    let spec = &loaded.checkpoint().spec;
    let sampling = SamplingOptions::default().resolve(loaded.model.generation())?;
    let (settings, shaping) = (sampling.settings(), sampling.settings().shaping());
    let process = spec.process().map_err(aquatint::generate::GenerateError::from)?;
    Ok(Figures {
        parameters: loaded.parameters,
        context_length: spec.context_length,
        vocabulary_size: spec.vocabulary_size,
        process: process.map_or_else(|| "left-to-right".to_owned(), |process| process.name()),
        infills: spec.kind() != NetworkKind::Causal,
        chat: loaded.chat.is_some(),
        media: loaded.media.clone(),
        defaults: Defaults {
            max_tokens: sampling.max_tokens(),
            steps: settings.steps(),
            block_length: settings.block_length(),
            policy: settings.policy_name(),
            remasking: settings.remasking().to_string(),
            temperature: shaping.temperature,
            top_k: shaping.top_k,
            top_p: shaping.top_p,
            repetition_penalty: shaping.repetition_penalty,
            guidance_scale: settings.guidance_scale(),
            cache: settings.cache().map(|cache| cache.to_string()),
        },
        policies: match spec.kind() {
            NetworkKind::Causal => Vec::new(),
            _ => POLICIES.into_iter().chain(loaded.model.generation().order.is_some().then_some(LEARNT)).collect(),
        },
    })
}

/// The models, their figures and defaults.
#[utoipa::path(get, path = "/props", responses((status = OK, body = Props)))]
async fn props(State(app): State<App>) -> Result<Json<Props>, ApiError> {
    let mut models = Vec::new();
    for name in app.models.names() {
        let loaded = app.models.peek(name)?;
        let figures = loaded.as_deref().map(figures).transpose()?;
        models.push(ModelProps { name: name.to_owned(), loaded: figures.is_some(), figures });
    }
    Ok(Json(Props {
        version: env!("CARGO_PKG_VERSION"),
        auth: !app.settings.api_keys.is_empty(),
        device: app.models.device(),
        canvas_limit: app.settings.canvas_limit,
        models,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aquatint::diffusion::policy::by_name;

    #[test]
    fn every_policy_is_there_and_every_one_is_listed() {
        assert!(POLICIES.iter().all(|policy| by_name(policy.name).is_ok()));
        // The refusal of a name lists all that there are.
        let refusal = by_name("none").unwrap_err().to_string();
        let words = POLICIES.iter().map(|policy| policy.name.split(':').next().unwrap_or_default());
        assert_eq!(refusal.split(',').count(), words.filter(|word| refusal.contains(*word)).count());
    }
}
