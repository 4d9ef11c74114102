//! What a request says of its canvas.

use crate::error::ApiError;
use crate::given_media::{GivenMedia, MOST};
use crate::wire::{Span, State};
use aquatint::MediaFiles;
use aquatint::vocabulary::TokenId;
use serde::Deserialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A canvas to fill.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CanvasRequest {
    /// A model of `/v1/models`; the first one where it is left out.
    pub(super) model: Option<String>,
    /// Text with holes: `[[3]]` is three tokens, `[[~8]]` at most eight, `[[picture]]` a picture that is made,
    /// `[[picture:NAME]]` one of `files`, `[[picture:NAME,mask=2x2+4x4]]` one of which a part is made anew, `[[sound,seconds=1.5]]`
    /// a sound. Text without a hole is continued. Exactly one of `template` and `canvas` is given.
    pub(super) template: Option<String>,
    /// The pictures and sounds that the template names: URLs that hold them, as `data:image/png;base64,…`.
    files: Option<BTreeMap<String, String>>,
    /// A canvas as an earlier answer returned it, edited.
    pub(super) canvas: Option<CanvasInput>,
    /// Written positions that are opened again.
    pub(super) renoise: Option<Renoise>,
    /// Tokens of a continuation at most.
    #[schema(minimum = 1)]
    pub(super) max_tokens: Option<usize>,
    /// Results, with the seeds from `seed` on.
    #[schema(minimum = 1, maximum = 16)]
    pub(super) variations: Option<usize>,
    /// The likeliest tokens of each position that is written: how many.
    #[schema(maximum = 32)]
    pub(super) alternatives: Option<usize>,
    /// Server-sent events, one for each step.
    #[serde(default)]
    pub(super) stream: bool,
    /// Whether the events have the pictures as they settle; needs `stream`.
    #[serde(default)]
    pub(super) previews: bool,
}

impl CanvasRequest {
    /// The files that came with the request.
    ///
    /// # Errors
    /// When one is none, or there are too many.
    pub(crate) fn files(&self) -> Result<MediaFiles, ApiError> {
        let files = self.files.iter().flatten();
        let count = files.clone().count();
        if count > MOST {
            return Err(ApiError::field("files", format!("{count} files"), &format!("at most {MOST}")));
        }
        let read = |(name, url): (&String, &String)| {
            let given = GivenMedia::of_url(&format!("files.{name}"), url)?;
            Ok((name.clone(), given.bytes))
        };
        files.map(read).collect()
    }
}

/// A canvas.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CanvasInput {
    pub(super) positions: Vec<PositionInput>,
    /// The holes as they were; where they are left out, each run of open positions is one of exact length.
    pub(super) spans: Option<Vec<Span>>,
}

/// A position. What an answer says of it beside these fields is accepted and not used.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub(crate) struct PositionInput {
    pub(super) state: State,
    /// Needed where the state is `given` or `written`.
    pub(super) token: Option<TokenId>,
}

/// Which positions are opened again.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Renoise {
    /// Those of them that are `given` stay.
    #[schema(min_items = 1)]
    pub(super) positions: Vec<usize>,
    /// The share of them that is opened, at least one; the seed decides which.
    #[schema(exclusive_minimum = 0.0, maximum = 1.0)]
    pub(super) strength: f64,
}
