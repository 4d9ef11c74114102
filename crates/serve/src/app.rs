//! What all handlers share, and which path leads to which of them.

use crate::blocking::BlockingPool;
use crate::canvas::{self, FollowedCanvases};
use crate::description::Description;
use crate::error::ApiError;
use crate::metrics::Metrics;
use crate::models::Models;
use crate::scheduler::Scheduler;
use crate::{Events, ServeSettings, description, gate, health, ollama, openai, page, props, report, tokens};
use axum::extract::DefaultBodyLimit;
use axum::{Extension, Router, middleware};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

/// What all handlers share.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

/// The parts of an [`App`].
pub(crate) struct Shared {
    pub(crate) settings: ServeSettings,
    pub(crate) models: Models,
    pub(crate) scheduler: Scheduler,
    pub(crate) blocking: BlockingPool,
    pub(crate) canvases: FollowedCanvases,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) events: Events,
    /// Whether the first model is loaded.
    pub(crate) ready: AtomicBool,
    /// Whether no more work is taken.
    pub(crate) stopping: AtomicBool,
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    pub(crate) fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }
}

/// The description of the whole interface.
#[derive(OpenApi)]
#[openapi(info(
    title = "Aquatint",
    description = "Language diffusion models: completions, conversations, and canvases that can be watched and edited"
))]
struct Api;

/// Every path and its handler. The description of them all is at `/openapi.json`.
pub(crate) fn router(app: App) -> Router {
    let limit = app.settings.body_limit;
    let (router, api) = OpenApiRouter::with_openapi(Api::openapi())
        .merge(openai::routes())
        .merge(ollama::routes())
        .merge(canvas::routes())
        .merge(tokens::routes())
        .merge(props::routes())
        .merge(health::routes())
        .merge(description::routes())
        .split_for_parts();
    let page = if app.settings.page { page::routes() } else { Router::new() };
    router
        .merge(page)
        .fallback(|| async { ApiError::not_found("there is nothing at this path; /openapi.json lists what there is") })
        .method_not_allowed_fallback(|| async { ApiError::wrong_method() })
        .layer(Extension(Description::new(&api, !app.settings.api_keys.is_empty())))
        .layer(DefaultBodyLimit::max(limit))
        .layer(middleware::from_fn_with_state(app.clone(), gate::guard))
        .layer(middleware::from_fn_with_state(app.clone(), report::report))
        .with_state(app)
}
