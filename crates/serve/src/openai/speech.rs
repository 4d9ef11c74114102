//! `/v1/audio/speech`: a sound made of a text.

use super::fields::{allow, refuse};
use crate::app::App;
use crate::body::Body;
use crate::error::{ApiError, FillErrors};
use crate::making::{Made, Making, behind};
use crate::sampling::SamplingFields;
use crate::scheduler::Client;
use aquatint::vocabulary::{Media, MediaKind, Seconds};
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;

/// The seed that a sound was made with.
const SEED: HeaderName = HeaderName::from_static("x-seed");
/// What was requested and changes nothing; one header for each.
const WARNING: HeaderName = HeaderName::from_static("x-warning");

/// A sound to make.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SpeechRequest {
    /// A model of `/v1/models` with sounds; the first one of all where it is left out.
    model: Option<String>,
    /// What is said.
    input: String,
    /// Only `default`: a model has one voice, or draws one with the seed.
    voice: Option<String>,
    /// Only `wav`, also where it is left out.
    response_format: Option<String>,
    /// Only 1.
    speed: Option<f64>,
    /// How long the sound is, rounded up to whole codes; 32 codes where it is left out.
    #[schema(minimum = 0.001, maximum = 3600)]
    seconds: Option<f64>,
    /// Refused but for empty ones.
    instructions: Option<String>,
    /// Only `audio`.
    stream_format: Option<String>,
}

/// The whole body.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body; the fields are read apart")]
struct SpeechBody {
    #[serde(flatten)]
    request: SpeechRequest,
    #[serde(flatten)]
    sampling: SamplingFields,
}

/// Makes a sound of a text, as `TEXT [[sound]]` in a template does. The answer is the file; the headers `x-seed` and
/// `x-warning` say its seed, and what was requested and changes nothing.
#[utoipa::path(
    post,
    path = "/v1/audio/speech",
    request_body = SpeechBody,
    responses((status = OK, body = Vec<u8>, content_type = "audio/wav"), FillErrors)
)]
pub(super) async fn speak(
    State(app): State<App>,
    client: Client,
    body: Body<SpeechRequest>,
) -> Result<Response, ApiError> {
    let Body { own: request, sampling } = body;
    allow("voice", request.voice.as_deref(), &["default"])?;
    allow("response_format", request.response_format.as_deref(), &["wav"])?;
    allow("stream_format", request.stream_format.as_deref(), &["audio"])?;
    refuse("speed", request.speed.as_ref(), &[1.0], "a model speaks as fast as it learned to")?;
    refuse("instructions", request.instructions.as_ref(), &[String::new()], "leave it out")?;
    let loaded = app.models.get(request.model.as_deref()).await?;
    loaded.medium(MediaKind::Sound)?;
    let seconds = request.seconds.map(|given| Seconds::new(given).ok_or(given)).transpose();
    let seconds = seconds.map_err(|given| ApiError::field("seconds", given, "0.001 to 3600"))?;
    let template = behind(&request.input, Media::sound(seconds));
    let making = Making { loaded, client, sampling, template, count: 1 };
    let Made { files, seed, warnings, .. } = making.run(&app, "input").await?;
    let Some(file) = files.into_iter().next() else { return Err(ApiError::server("no sound was made")) };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(file.media_type));
    headers.insert(SEED, HeaderValue::from(seed));
    for warning in warnings.iter().filter_map(|warning| HeaderValue::from_bytes(warning.as_bytes()).ok()) {
        headers.append(WARNING, warning);
    }
    Ok((headers, file.bytes).into_response())
}
