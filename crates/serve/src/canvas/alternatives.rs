//! What a model predicts at a position of a canvas, were it open: one forward pass of a canvas in which it is.

use super::layout::lay_out;
use super::request::{CanvasInput, PositionInput};
use crate::app::App;
use crate::body::Plain;
use crate::error::{ApiError, ErrorBody};
use crate::filling::Filling;
use crate::identity::{Peer, client};
use crate::scheduler::Update;
use crate::sheet::alternatives as sent;
use crate::wire::{Alternative, State as PositionState};
use aquatint::SamplingOptions;
use aquatint::generate::Cache;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Positions of one request at most.
const MOST_POSITIONS: usize = 64;
/// Alternatives of a position at most, and where nothing is said.
const COUNTS: (usize, usize) = (64, 8);

/// Positions of a canvas whose alternatives are wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlternativesRequest {
    /// A model of `/v1/models`; the first one where it is left out.
    model: Option<String>,
    canvas: CanvasInput,
    /// Each is opened alone; all others stay as they are.
    #[schema(min_items = 1, max_items = 64)]
    positions: Vec<usize>,
    /// How many of the likeliest tokens.
    #[schema(minimum = 1, maximum = 64)]
    count: Option<usize>,
}

/// What the model predicts.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Predictions {
    positions: Vec<Prediction>,
}

/// What the model predicts at one position.
#[derive(Debug, Serialize, ToSchema)]
struct Prediction {
    position: usize,
    /// The likeliest tokens, at temperature 1.
    alternatives: Vec<Alternative>,
    /// Of the prediction, in nats.
    entropy: f64,
}

/// What the model predicts at some positions of a canvas, each of them opened alone.
#[utoipa::path(
    post,
    path = "/v1/canvas/alternatives",
    request_body = AlternativesRequest,
    responses(
        (status = OK, body = Predictions),
        (status = BAD_REQUEST, body = ErrorBody),
        (status = NOT_FOUND, body = ErrorBody),
        (status = TOO_MANY_REQUESTS, body = ErrorBody),
    )
)]
pub(super) async fn predict(
    State(app): State<App>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    Plain(request): Plain<AlternativesRequest>,
) -> Result<Json<Predictions>, ApiError> {
    let client = client(&app, &headers, peer.map(|Extension(peer)| peer))?;
    let AlternativesRequest { model, canvas, positions, count } = request;
    let (most, usual) = COUNTS;
    let count = match count.unwrap_or(usual) {
        count if (1..=most).contains(&count) => count,
        count => return Err(ApiError::field("count", count, &format!("1 to {most}"))),
    };
    if positions.is_empty() || positions.len() > MOST_POSITIONS {
        return Err(ApiError::field(
            "positions",
            format!("{} positions", positions.len()),
            &format!("1 to {MOST_POSITIONS}"),
        ));
    }
    let loaded = app.models.get(model.as_deref()).await?;
    // One step over one open position is one forward pass, and nothing that is drawn is used.
    let once = SamplingOptions {
        steps: Some(1),
        block_length: loaded.checkpoint().spec.attention.block_length(),
        policy: (!loaded.is_causal()).then(|| "confidence".to_owned()),
        remasking: Some("none".to_owned()),
        cache: Some(Cache::None),
        seed: Some(0),
        ..SamplingOptions::default()
    };
    let mut fillings = Vec::new();
    for position in positions {
        let opened = open(&canvas, position, loaded.is_causal())?;
        let layout = lay_out(&opened, None, 0, &loaded)?;
        let prepared = loaded.model.prepare_canvas(layout.template_canvas, &once)?;
        fillings.push((position, Filling::start(&app, &loaded, &prepared, client, count)?));
    }
    let mut predictions = Vec::new();
    for (position, mut filling) in fillings {
        let mut found = None;
        while let Some(update) = filling.next().await {
            match update {
                Update::Step(step) => {
                    let changed = step.changes.iter().position(|change| change.position == position);
                    let likeliest = changed.and_then(|at| step.alternatives.get(at)).map_or(&[][..], Vec::as_slice);
                    let alternatives = sent(loaded.vocabulary(), likeliest);
                    found = Some(Prediction { position, alternatives, entropy: step.entropy });
                }
                Update::Ended(ended) => {
                    ended.outcome?;
                    break;
                }
                Update::Started { .. } | Update::Block { .. } | Update::BlockCommitted => {}
            }
        }
        predictions.push(found.ok_or_else(ApiError::stopping)?);
    }
    Ok(Json(Predictions { positions: predictions }))
}

/// The canvas with one position open and no other: those that are open are left out of what is read. A causal model reads
/// what stands before the position only.
fn open(canvas: &CanvasInput, position: usize, causal: bool) -> Result<CanvasInput, ApiError> {
    let length = canvas.positions.len();
    if position >= length || canvas.positions[position].state == PositionState::Closed {
        let allowed = format!("below {length}, the length of the canvas, and not closed");
        return Err(ApiError::field("positions", position, &allowed));
    }
    let of = |(index, input): (usize, &PositionInput)| {
        let state = match input.state {
            _ if index == position => PositionState::Open,
            PositionState::Open => PositionState::Closed,
            state => state,
        };
        PositionInput { state, token: input.token }
    };
    let length = if causal { position + 1 } else { length };
    let positions = canvas.positions[..length].iter().enumerate().map(of).collect();
    Ok(CanvasInput { positions, spans: None })
}
