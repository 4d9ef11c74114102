//! What a model reads and makes beside text.

use aquatint::codec::Picture;
use aquatint::vocabulary::MediaKind;
use aquatint::{Error, MediaError, Model};
use serde::Serialize;
use utoipa::ToSchema;

/// What a model reads and makes beside text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Medium {
    /// `picture` or `sound`, as templates name it.
    #[serde(serialize_with = "name")]
    #[schema(value_type = String)]
    pub(crate) kind: MediaKind,
    /// Columns of pixels of a picture that is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<usize>,
    /// Rows of pixels of a picture that is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<usize>,
}

fn name<S: serde::Serializer>(kind: &MediaKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.name())
}

impl Medium {
    /// What a model has of a kind.
    ///
    /// # Errors
    /// When its codec fails.
    pub(super) fn of(model: &Model, kind: MediaKind) -> Result<Self, Error> {
        let codecs = &model.checkpoint().codecs;
        let codec = codecs.iter().find(|codec| codec.name == kind.name());
        let (MediaKind::Picture, Some(codes)) = (kind, codec.and_then(|codec| codec.domain.axes.positions())) else {
            return Ok(Self { kind, width: None, height: None });
        };
        // All pictures of a codec have one size, that of nothing too.
        let file = model.media_file(kind, &vec![None; codes], None)?;
        let picture = Picture::decode("the picture of nothing", &file.bytes).map_err(MediaError::from)?;
        Ok(Self { kind, width: Some(picture.width()), height: Some(picture.height()) })
    }

    /// The size of its pictures, as `64x64`.
    pub(crate) fn size(&self) -> Option<String> {
        Some(format!("{}x{}", self.width?, self.height?))
    }
}
