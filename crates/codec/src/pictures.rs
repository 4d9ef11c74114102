//! The codec of pictures: a square of pixels through patches, a small transformer and finite scalar quantisation.

use crate::medium::{FileNames, Medium, MediumConfig, Returned};
use crate::quality::PictureQuality;
use crate::transformers::{Transformers, refuse, require};
use crate::{CodecError, Extent, LearnedCodec, Patches, Picture, PictureCost, Rate};
use aquatint_compute::Element;
use aquatint_network::{AutoencoderSpec, Places};
use aquatint_vocabulary::MediaKind;
use serde::{Deserialize, Serialize};

/// What a codec of pictures is, as its `config.json` and its recipe say it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PictureConfig {
    /// What is encoded.
    pub kind: PictureKind,
    /// Pixels of a side of the pictures.
    #[serde(default = "defaults::size")]
    pub size: usize,
    /// Pixels of a side of what one code stands for; divides `size`.
    #[serde(default = "defaults::patch")]
    pub patch: usize,
    /// Pixels by which patches reach over their neighbours; at most half of `patch`.
    #[serde(default = "defaults::overlap")]
    pub overlap: usize,
    /// Levels of each column of a code; their product is the number of codes.
    #[serde(default = "defaults::levels")]
    pub levels: Vec<u32>,
    /// Columns of the residual stream of both transformers.
    #[serde(default = "defaults::width")]
    pub width: usize,
    /// Layers before the codes.
    #[serde(default = "defaults::encoder_layers")]
    pub encoder_layers: usize,
    /// Layers behind the codes.
    #[serde(default = "defaults::decoder_layers")]
    pub decoder_layers: usize,
    /// Attention heads of a layer, as wide as the stream together.
    #[serde(default = "defaults::heads")]
    pub heads: usize,
    /// Columns of the feed-forward part of a layer.
    #[serde(default = "defaults::feed_forward_width")]
    pub feed_forward_width: usize,
}

/// The name of the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PictureKind {
    /// Square pictures with transparency.
    Pictures,
}

mod defaults {
    pub(super) fn size() -> usize {
        64
    }
    pub(super) fn patch() -> usize {
        8
    }
    pub(super) fn overlap() -> usize {
        2
    }
    pub(super) fn levels() -> Vec<u32> {
        vec![8, 5, 5, 5]
    }
    pub(super) fn width() -> usize {
        128
    }
    pub(super) fn encoder_layers() -> usize {
        2
    }
    pub(super) fn decoder_layers() -> usize {
        3
    }
    pub(super) fn heads() -> usize {
        4
    }
    pub(super) fn feed_forward_width() -> usize {
        256
    }
}

/// The longest side of a codec's pictures.
const LONGEST: usize = 1024;

impl PictureConfig {
    /// How pictures are cut.
    ///
    /// # Errors
    /// When the sizes do not fit each other.
    pub fn patches(&self) -> Result<Patches, CodecError> {
        require("codec.size", self.size, 1..=LONGEST)?;
        if self.patch == 0 || !self.size.is_multiple_of(self.patch) {
            return refuse("codec.patch", self.patch, format!("a divisor of `codec.size`, which is {}", self.size));
        }
        match Patches::new(self.size, self.patch, self.overlap.min(self.patch)) {
            Some(patches) => Ok(patches),
            None => refuse("codec.overlap", self.overlap, "at most half of `codec.patch`".to_owned()),
        }
    }
}

impl MediumConfig for PictureConfig {
    type Medium = Pictures;
    type Cost = PictureCost;
}

/// Pictures as samples: square, premultiplied, in patches.
#[derive(Debug)]
pub struct Pictures {
    size: usize,
    patches: Patches,
    spec: AutoencoderSpec,
}

/// A codec of pictures.
pub type PictureCodec<D> = LearnedCodec<D, Pictures>;

impl Medium for Pictures {
    type Config = PictureConfig;
    type Samples = Picture;
    type Quality = PictureQuality;

    const KIND: &'static str = "pictures";
    const DOMAIN: &'static str = MediaKind::Picture.name();
    const MEDIA_TYPE: &'static str = "image/png";
    const FILES: FileNames =
        FileNames { extensions: &["png", "jpg", "jpeg", "webp"], table: "pictures.tsv", concept: "concept" };

    fn new(config: &PictureConfig) -> Result<Self, CodecError> {
        let patches = config.patches()?;
        let PictureConfig { size, width, encoder_layers, decoder_layers, heads, feed_forward_width, .. } = *config;
        let transformers =
            Transformers { levels: &config.levels, width, encoder_layers, decoder_layers, heads, feed_forward_width };
        let spec = transformers.spec(Places::Grid([patches.grid(); 2]), patches.columns())?;
        Ok(Self { size, patches, spec })
    }

    fn spec(&self) -> &AutoencoderSpec {
        &self.spec
    }

    fn extent(&self) -> Extent {
        Extent::Grid([self.patches.grid(); 2])
    }

    fn rate(&self) -> Rate {
        Rate::PerPicture(self.patches.grid() * self.patches.grid())
    }

    fn read(&self, name: &str, bytes: &[u8]) -> Result<Picture, CodecError> {
        Picture::decode_fitted(name, bytes, self.size)
    }

    fn write(picture: &Picture) -> Result<Vec<u8>, CodecError> {
        picture.to_png()
    }

    fn fitted(&self, picture: &Picture) -> Result<Picture, CodecError> {
        Ok(picture.fitted(self.size))
    }

    fn places(&self, _: &Picture) -> usize {
        self.patches.grid() * self.patches.grid()
    }

    fn rows(&self, picture: &Picture) -> Result<Vec<f32>, CodecError> {
        let (width, height, size) = (picture.width(), picture.height(), self.size);
        match (width, height) == (size, size) {
            true => Ok(self.patches.cut(&picture.premultiplied())),
            false => Err(CodecError::Size { width, height, size }),
        }
    }

    fn samples(&self, rows: &[f32]) -> Picture {
        let pixels = self.patches.merge(rows);
        let pixels: Vec<[f32; 4]> = pixels.iter().map(|pixel| pixel.map(|value| value as f32)).collect();
        let picture = Picture::from_premultiplied(self.size, self.size, &pixels);
        picture.expect("patches are merged to a square of this size")
    }

    fn cost<E: Element>(&self, cost: &PictureCost, returned: Returned<'_, E, Picture>, gradient: &mut [E]) -> f64 {
        let Returned { rows, wanted, weight } = returned;
        let pixels = self.patches.merge(rows);
        let mut slope = vec![[0.0; 4]; pixels.len()];
        let cost = cost.of(&pixels, &wanted.premultiplied(), weight, &mut slope);
        self.patches.merge_backward(&slope, gradient);
        cost
    }

    fn cost_weights(cost: &PictureCost) -> Vec<(&'static str, f64)> {
        let PictureCost { colour, alpha, edges } = *cost;
        vec![("cost.colour", colour), ("cost.alpha", alpha), ("cost.edges", edges)]
    }

    fn picture(&self, picture: &Picture) -> Picture {
        picture.clone()
    }
}
