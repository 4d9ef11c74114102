//! What a model predicts at positions of a canvas, were they open.

use super::layout::canvas;
use super::request::CanvasInput;
use crate::app::App;
use crate::body::Plain;
use crate::error::{ApiError, FillErrors};
use crate::filling::check_length;
use crate::scheduler::Client;
use crate::sheet::alternatives;
use crate::wire::Alternative;
use axum::Json;
use axum::extract::State;
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
    /// They are opened together; all others stay as they are.
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

/// What the model predicts at some positions of a canvas, were they open: they are read as noise in one forward pass, and
/// all others as they stand.
#[utoipa::path(
    post,
    path = "/v1/canvas/alternatives",
    request_body = AlternativesRequest,
    responses(
        (status = OK, body = Predictions),
        FillErrors,
    )
)]
pub(super) async fn predict(
    State(app): State<App>,
    client: Client,
    Plain(request): Plain<AlternativesRequest>,
) -> Result<Json<Predictions>, ApiError> {
    let AlternativesRequest { model, canvas: input, positions, count } = request;
    let (most, usual) = COUNTS;
    let count = match count.unwrap_or(usual) {
        count if (1..=most).contains(&count) => count,
        count => return Err(ApiError::field("count", count, &format!("1 to {most}"))),
    };
    if positions.is_empty() || positions.len() > MOST_POSITIONS {
        let allowed = format!("1 to {MOST_POSITIONS}");
        return Err(ApiError::field("positions", format!("{} positions", positions.len()), &allowed));
    }
    let loaded = app.models.get(model.as_deref()).await?;
    let canvas = canvas(&input, &loaded)?;
    check_length(&app.settings, &canvas).map_err(|error| error.of_length("canvas"))?;
    let (model, requested) = (loaded.clone(), positions.clone());
    let predicted = app.scheduler.ask(client, move || model.model.alternatives(&canvas, &requested, count)).await?;
    let predicted = predicted.map_err(|error| ApiError::from(error).of_length("canvas"))?;
    // They come in the order of the canvas.
    let of = |position: usize| {
        let found = predicted.iter().find(|predicted| predicted.position == position)?;
        let alternatives = alternatives(loaded.vocabulary(), &found.alternatives);
        Some(Prediction { position, alternatives, entropy: found.entropy })
    };
    Ok(Json(Predictions { positions: positions.into_iter().filter_map(of).collect() }))
}
