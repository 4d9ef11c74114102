//! The endpoints of `/v1/canvas`.

use super::followed::{ABANDONED, Followed, RETENTION, Reader};
use super::layout::{Ready, prepare};
use super::request::CanvasRequest;
use super::run::{CanvasEvent, CanvasResult, CanvasRun, Following};
use crate::app::App;
use crate::body::Body;
use crate::error::{ApiError, ErrorBody, FillErrors};
use crate::identity::{identifier, now};
use crate::sampling::SamplingFields;
use crate::scheduler::{Cancelled, Client};
use crate::sse;
use aquatint::random_seed;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::future::try_join_all;
use futures_util::stream;
use serde::Serialize;
use std::pin::pin;
use std::sync::Arc;
use tokio::task::JoinSet;
use utoipa::ToSchema;

/// Results of one request at most.
const MOST_VARIATIONS: usize = 16;
/// Alternatives of a position at most.
const MOST_ALTERNATIVES: usize = 32;

/// The whole body.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body; the fields are read apart")]
struct CanvasBody {
    #[serde(flatten)]
    request: CanvasRequest,
    #[serde(flatten)]
    sampling: SamplingFields,
}

/// What is answered.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CanvasAnswer {
    id: String,
    /// `canvas`.
    object: &'static str,
    created: u64,
    model: String,
    results: Vec<CanvasResult>,
    /// What was requested and changes nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// The first event of a stream: what holds for all of it.
#[derive(Debug, Serialize, ToSchema)]
struct Opened {
    id: String,
    created: u64,
    model: String,
    results: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// Fills a canvas: from a template, or from positions that an earlier answer returned. With `stream`, server-sent events
/// `opened`, `started`, `block`, `step`, `finished` and `done`.
#[utoipa::path(
    post,
    path = "/v1/canvas",
    request_body = CanvasBody,
    responses(
        (status = OK, body = CanvasAnswer, description = "The canvases; with `stream`, their events"),
        FillErrors,
    )
)]
pub(super) async fn fill(
    State(app): State<App>,
    client: Client,
    body: Body<CanvasRequest>,
) -> Result<Response, ApiError> {
    let Body { own: request, sampling } = body;
    let count = match request.variations.unwrap_or(1) {
        count @ 1..=MOST_VARIATIONS => count,
        count => return Err(ApiError::field("variations", count, &format!("1 to {MOST_VARIATIONS}"))),
    };
    if let Some(count) = request.alternatives.filter(|count| *count > MOST_ALTERNATIVES) {
        return Err(ApiError::field("alternatives", count, &format!("at most {MOST_ALTERNATIVES}")));
    }
    let loaded = app.models.get(request.model.as_deref()).await?;
    let seed = sampling.seed().unwrap_or_else(random_seed);
    let stream = request.stream;
    if request.previews && !stream {
        return Err(ApiError::invalid("`previews` needs `stream`: true").of("previews"));
    }
    let following = Following { client, alternatives: request.alternatives.unwrap_or(0), previews: request.previews };
    let model = loaded.clone();
    let one = move |index| prepare(&model, &request, &sampling.with_seed(seed.wrapping_add(index)));
    let prepared = app.blocking.run(client, move || (0..count as u64).map(one).collect::<Result<Vec<Ready>, _>>());
    let prepared = prepared.await?;
    let ineffective = prepared.first().map(|ready| ready.prepared.ineffective.as_slice()).unwrap_or_default();
    let warnings: Vec<String> = ineffective.iter().map(ToString::to_string).collect();
    let mut runs = Vec::with_capacity(count);
    for (index, ready) in prepared.into_iter().enumerate() {
        runs.push(CanvasRun::start(&app, index, loaded.clone(), ready, following)?);
    }
    let (id, created, model) = (identifier("canvas-"), now(), loaded.name.clone());
    if stream {
        let followed = app.canvases.open(&id, client);
        followed.record("opened", &Opened { id: id.clone(), created, model, results: count, warnings });
        let recorded = followed.clone();
        tokio::spawn(async move {
            record(runs, recorded).await;
            tokio::time::sleep(RETENTION).await;
            app.canvases.forget(&id);
        });
        return Ok(respond(Reader::new(followed, 0)));
    }
    let results = try_join_all(runs.into_iter().map(CanvasRun::finish)).await?;
    Ok(Json(CanvasAnswer { id, object: "canvas", created, model, results, warnings }).into_response())
}

/// Follows some canvases to their ends and keeps their events.
async fn record(runs: Vec<CanvasRun>, followed: Arc<Followed>) {
    let mut tasks = JoinSet::new();
    for run in runs {
        tasks.spawn(record_one(run, followed.clone()));
    }
    while let Some(joined) = tasks.join_next().await {
        let error = match joined {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => error,
            Err(error) => ApiError::server(error.to_string()),
        };
        // The others are cancelled with the tasks, and add no event behind the last one.
        tasks.shutdown().await;
        followed.record("error", &error.body());
        return followed.finish();
    }
    followed.record("done", &serde_json::json!({}));
    followed.finish();
}

async fn record_one(mut run: CanvasRun, followed: Arc<Followed>) -> Result<(), ApiError> {
    let mut cancelled = followed.cancelled();
    let mut check = tokio::time::interval(ABANDONED / 6);
    let mut ending = false;
    let cancel = run.canceller();
    loop {
        // It is polled until it is done: dropped halfway, it would lose what it had received.
        let mut next = pin!(run.next());
        let event = loop {
            tokio::select! {
                event = &mut next => break event?,
                _ = cancelled.wait_for(|cancelled| *cancelled), if !ending => {
                    ending = true;
                    cancel.cancel(Cancelled::Unwanted);
                }
                _ = check.tick(), if !ending => {
                    if followed.is_abandoned() {
                        ending = true;
                        cancel.cancel(Cancelled::Unwanted);
                    }
                }
            }
        };
        match event {
            CanvasEvent::Started(started) => followed.record("started", &started),
            CanvasEvent::Block(block) => followed.record("block", &block),
            CanvasEvent::Step(step) => followed.record("step", &step),
            CanvasEvent::Finished(result) => {
                followed.record("finished", &result);
                return Ok(());
            }
        }
    }
}

fn respond(reader: Reader) -> Response {
    sse::response(stream::unfold(reader, async |mut reader| {
        let event = reader.next().await?;
        Some((event, reader))
    }))
}

/// Follows a streamed canvas again, from the event behind `Last-Event-ID` on.
#[utoipa::path(
    get,
    path = "/v1/canvas/{id}",
    params(
        ("id" = String, Path, description = "The `id` of the `opened` event"),
        ("last-event-id" = Option<u64>, Header, description = "The `id` of the last event that was read"),
    ),
    responses(
        (status = OK, body = String, content_type = "text/event-stream"),
        (status = BAD_REQUEST, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody),
    )
)]
pub(super) async fn resume(
    State(app): State<App>,
    client: Client,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let next = next_event(&headers)?;
    Ok(respond(Reader::new(app.canvases.find(&id, client)?, next)))
}

/// The number of the event behind the last one that was read.
pub(crate) fn next_event(headers: &HeaderMap) -> Result<usize, ApiError> {
    let Some(value) = headers.get("last-event-id") else { return Ok(0) };
    let last = value.to_str().ok().and_then(|text| text.trim().parse::<usize>().ok());
    let last = last.ok_or_else(|| ApiError::field("Last-Event-ID", "no number", "the `id` of an event"))?;
    Ok(last.saturating_add(1))
}

/// Cancels a streamed canvas; its `finished` event still comes.
#[utoipa::path(
    delete,
    path = "/v1/canvas/{id}",
    params(("id" = String, Path, description = "The `id` of the `opened` event")),
    responses((status = NO_CONTENT), (status = NOT_FOUND, body = ErrorBody))
)]
pub(super) async fn cancel(
    State(app): State<App>,
    client: Client,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    app.canvases.find(&id, client)?.cancel();
    Ok(StatusCode::NO_CONTENT)
}
