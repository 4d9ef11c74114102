//! `/v1/images/generations`: pictures made of a text.

use super::fields::{allow, refuse, results};
use crate::app::App;
use crate::body::Body;
use crate::error::{ApiError, FillErrors};
use crate::identity::now;
use crate::making::{Made, Making, behind};
use crate::sampling::SamplingFields;
use crate::scheduler::Client;
use crate::text::Usage;
use aquatint::vocabulary::{Media, MediaKind};
use axum::Json;
use axum::extract::State;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Pictures to make.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImageRequest {
    /// A model of `/v1/models` with pictures; the first one of all where it is left out.
    model: Option<String>,
    /// The text that the picture belongs to. Empty text gives any picture.
    prompt: String,
    /// Pictures, with the seeds from `seed` on.
    #[schema(minimum = 1, maximum = 16)]
    n: Option<usize>,
    /// `auto`, or the size of the model's pictures, as `64x64`.
    size: Option<String>,
    /// Only `b64_json`.
    response_format: Option<String>,
    /// Only `png`.
    output_format: Option<String>,
    /// Only 100: PNG loses nothing.
    output_compression: Option<u32>,
    /// Only `auto`.
    quality: Option<String>,
    /// Only `auto`.
    background: Option<String>,
    /// Only `auto` and `low`: no text is refused for what it says.
    moderation: Option<String>,
    /// Refused.
    style: Option<String>,
    /// Refused but for 0.
    partial_images: Option<u32>,
    /// Refused but for `false`; `/v1/canvas` streams pictures.
    #[schema(ignore)]
    stream: Option<bool>,
    /// Accepted, and not used.
    #[serde(rename = "user")]
    _user: Option<String>,
}

/// The whole body.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body; the fields are read apart")]
struct ImageBody {
    #[serde(flatten)]
    request: ImageRequest,
    #[serde(flatten)]
    sampling: SamplingFields,
}

/// What is answered.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Images {
    created: u64,
    data: Vec<Image>,
    /// `png`.
    output_format: &'static str,
    /// The size of the pictures in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<String>,
    model: String,
    /// The seed of the first picture; the others count on from it.
    seed: u64,
    usage: Usage,
    /// What was requested and changes nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// A picture.
#[derive(Debug, Serialize, ToSchema)]
struct Image {
    /// The file in base64.
    b64_json: String,
}

/// Makes pictures of a text. They stand behind it on the canvas, as `[[picture]]` in a template does.
#[utoipa::path(
    post,
    path = "/v1/images/generations",
    request_body = ImageBody,
    responses((status = OK, body = Images), FillErrors)
)]
pub(super) async fn generate(
    State(app): State<App>,
    client: Client,
    body: Body<ImageRequest>,
) -> Result<Json<Images>, ApiError> {
    let Body { own: request, sampling } = body;
    let count = results(request.n)?;
    allow("response_format", request.response_format.as_deref(), &["b64_json"])?;
    allow("output_format", request.output_format.as_deref(), &["png"])?;
    allow("quality", request.quality.as_deref(), &["auto"])?;
    allow("background", request.background.as_deref(), &["auto"])?;
    allow("moderation", request.moderation.as_deref(), &["auto", "low"])?;
    refuse("output_compression", request.output_compression.as_ref(), &[100], "PNG loses nothing")?;
    refuse("style", request.style.as_ref(), &[], "say it in `prompt`")?;
    refuse("partial_images", request.partial_images.as_ref(), &[0], "`/v1/canvas` streams pictures")?;
    refuse("stream", request.stream.as_ref(), &[false], "`/v1/canvas` streams pictures")?;
    let loaded = app.models.get(request.model.as_deref()).await?;
    let size = loaded.medium(MediaKind::Picture)?.size();
    if let Some(given) = &request.size {
        let sizes: Vec<&str> = std::iter::once("auto").chain(size.as_deref()).collect();
        allow("size", Some(given), &sizes)?;
    }
    let template = behind(&request.prompt, Media::open(MediaKind::Picture));
    let model = loaded.name.clone();
    let Made { files, usage, seed, warnings } =
        Making { loaded, client, sampling, template, count }.run(&app, "prompt").await?;
    let data = files.iter().map(|file| Image { b64_json: BASE64_STANDARD.encode(&file.bytes) }).collect();
    Ok(Json(Images { created: now(), data, output_format: "png", size, model, seed, usage, warnings }))
}
