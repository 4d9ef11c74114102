//! The codec of pictures: a square of pixels through patches, a small transformer and finite scalar quantisation.

use crate::folder;
use crate::{Codec, CodecError, Patches, Picture, Rate};
use aquatint_checkpoint::Storage;
use aquatint_compute::Device;
use aquatint_network::{AttentionSpec, Autoencoder, AutoencoderSpec, FeedForwardSpec, LayerSpec, Levels, NormSpec};
use serde::{Deserialize, Serialize};
use std::path::Path;

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
/// The most layers of a half, and the widest stream: more is no codec that anybody has.
const MOST_LAYERS: usize = 256;
const WIDEST: usize = 1 << 14;

impl PictureConfig {
    /// How pictures are cut.
    ///
    /// # Errors
    /// When the sizes do not fit each other.
    pub fn patches(&self) -> Result<Patches, CodecError> {
        let refuse =
            |key, given: usize, allowed: String| Err(CodecError::Setting { key, given: given.to_string(), allowed });
        if !(1..=LONGEST).contains(&self.size) {
            return refuse("codec.size", self.size, format!("1 to {LONGEST} pixels"));
        }
        if self.patch == 0 || !self.size.is_multiple_of(self.patch) {
            return refuse("codec.patch", self.patch, format!("a divisor of `codec.size`, which is {}", self.size));
        }
        match Patches::new(self.size, self.patch, self.overlap.min(self.patch)) {
            Some(patches) => Ok(patches),
            None => refuse("codec.overlap", self.overlap, "at most half of `codec.patch`".to_owned()),
        }
    }

    /// The autoencoder of it.
    ///
    /// # Errors
    /// When a setting cannot be what it is.
    pub fn spec(&self) -> Result<AutoencoderSpec, CodecError> {
        let patches = self.patches()?;
        let refuse = |key, given: usize, allowed| Err(CodecError::Setting { key, given: given.to_string(), allowed });
        for (key, given, most) in [
            ("codec.encoder_layers", self.encoder_layers, MOST_LAYERS),
            ("codec.decoder_layers", self.decoder_layers, MOST_LAYERS),
            ("codec.width", self.width, WIDEST),
            ("codec.feed_forward_width", self.feed_forward_width, 4 * WIDEST),
        ] {
            if !(1..=most).contains(&given) {
                return refuse(key, given, format!("1 to {most}"));
            }
        }
        if self.heads == 0 || !self.width.is_multiple_of(2 * self.heads) {
            let allowed = format!("a divisor of half of `codec.width`, which is {}", self.width);
            return refuse("codec.heads", self.heads, allowed);
        }
        let attention = AttentionSpec {
            qk_norm: Some(NormSpec::default()),
            ..AttentionSpec::new(self.heads, self.heads, self.width / self.heads)
        };
        let layer = LayerSpec::new(attention, FeedForwardSpec::new(self.feed_forward_width));
        let spec = AutoencoderSpec {
            grid: [patches.grid(); 2],
            inputs: patches.columns(),
            outputs: patches.columns(),
            width: self.width,
            norm: NormSpec::default(),
            levels: Levels::new(self.levels.clone())?,
            encoder: vec![layer; self.encoder_layers],
            decoder: vec![layer; self.decoder_layers],
        };
        spec.validate()?;
        Ok(spec)
    }
}

/// A codec of pictures on a device.
#[derive(Debug)]
pub struct PictureCodec<D: Device> {
    config: PictureConfig,
    patches: Patches,
    autoencoder: Autoencoder<D>,
}

impl<D: Device> PictureCodec<D> {
    /// A codec that has learned nothing.
    ///
    /// # Errors
    /// When a setting cannot be what it is, or the device lacks the memory.
    pub fn new(device: D, config: PictureConfig, seed: u64) -> Result<Self, CodecError> {
        let patches = config.patches()?;
        let autoencoder = Autoencoder::new(device, config.spec()?, seed)?;
        Ok(Self { config, patches, autoencoder })
    }

    /// The codec of a folder.
    ///
    /// # Errors
    /// When it holds none, its files do not fit each other, or the device lacks the memory.
    pub fn open(folder: &Path, device: D) -> Result<Self, CodecError> {
        let (config, weights) = folder::open::<PictureConfig>(folder)?;
        let (patches, spec) = (config.patches()?, config.spec()?);
        let (tensors, mut failed) = (spec.tensors(), None);
        let autoencoder = Autoencoder::from_weights(device, spec, &mut folder::values(&weights, &tensors, &mut failed));
        match (autoencoder, failed) {
            (_, Some(error)) => Err(error.into()),
            (autoencoder, None) => Ok(Self { config, patches, autoencoder: autoencoder? }),
        }
    }

    /// Writes the codec's folder, or replaces the weights in one that holds the same codec.
    ///
    /// # Errors
    /// When the folder holds something else, or cannot be written.
    pub fn save(&self, folder: &Path, storage: Storage) -> Result<(), CodecError> {
        folder::save(folder, &self.config, self.autoencoder.weights(), storage)
    }

    /// What it is.
    pub fn config(&self) -> &PictureConfig {
        &self.config
    }

    /// How it cuts pictures.
    pub fn patches(&self) -> &Patches {
        &self.patches
    }

    /// The network in it.
    pub fn autoencoder(&self) -> &Autoencoder<D> {
        &self.autoencoder
    }

    /// The same, to be trained.
    pub fn autoencoder_mut(&mut self) -> &mut Autoencoder<D> {
        &mut self.autoencoder
    }

    /// The codes of several pictures, in one pass.
    ///
    /// # Errors
    /// As [`Codec::encode`].
    pub fn encode_all(&self, pictures: &[&Picture]) -> Result<Vec<Vec<u32>>, CodecError> {
        if pictures.is_empty() {
            return Ok(Vec::new());
        }
        let mut rows = Vec::with_capacity(pictures.len() * self.patches.len());
        for picture in pictures {
            self.require_size(picture)?;
            rows.extend(self.patches.cut(&picture.premultiplied()));
        }
        let codes = self.autoencoder.encode(&rows)?;
        Ok(codes.chunks_exact(self.autoencoder.spec().places()).map(<[u32]>::to_vec).collect())
    }

    /// The pictures that codes stand for, in one pass.
    ///
    /// # Errors
    /// As [`Codec::decode`].
    pub fn decode_all(&self, codes: &[Vec<u32>]) -> Result<Vec<Picture>, CodecError> {
        if codes.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.autoencoder.decode(&codes.concat())?;
        let size = self.config.size;
        let picture = |rows: &[f32]| {
            let pixels = self.patches.merge(rows);
            let pixels: Vec<[f32; 4]> = pixels.iter().map(|pixel| pixel.map(|value| value as f32)).collect();
            Picture::from_premultiplied(size, size, &pixels)
        };
        Ok(rows.chunks_exact(self.patches.len()).filter_map(picture).collect())
    }

    fn require_size(&self, picture: &Picture) -> Result<(), CodecError> {
        let (width, height, size) = (picture.width(), picture.height(), self.config.size);
        if (width, height) == (size, size) { Ok(()) } else { Err(CodecError::Size { width, height, size }) }
    }
}

impl<D: Device> Codec for PictureCodec<D> {
    type Samples = Picture;

    fn kind(&self) -> &'static str {
        "pictures"
    }

    fn grid(&self) -> [usize; 2] {
        self.autoencoder.spec().grid
    }

    fn rate(&self) -> Rate {
        Rate::PerPicture(self.autoencoder.spec().places())
    }

    fn vocabulary_size(&self) -> usize {
        self.autoencoder.spec().levels.codes()
    }

    /// A picture of any size is fitted first ([`Picture::fitted`]).
    fn encode(&self, picture: &Picture) -> Result<Vec<u32>, CodecError> {
        Ok(self.encode_all(&[&picture.fitted(self.config.size)])?.concat())
    }

    fn decode(&self, codes: &[u32]) -> Result<Picture, CodecError> {
        let places = self.autoencoder.spec().places();
        let mut pictures = match codes.len() == places {
            true => self.decode_all(&[codes.to_vec()])?,
            false => Vec::new(),
        };
        pictures.pop().ok_or_else(|| CodecError::Setting {
            key: "codes",
            given: format!("a list of {}", codes.len()),
            allowed: format!("{places} codes of one picture"),
        })
    }
}
