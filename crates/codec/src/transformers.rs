//! The two transformers of a codec, as its configuration says them.

use crate::CodecError;
use aquatint_network::{AttentionSpec, AutoencoderSpec, FeedForwardSpec, LayerSpec, Levels, NormSpec, Places};

/// The most layers of a half, and the widest stream: more is no codec that anybody has.
pub(crate) const MOST_LAYERS: usize = 256;
pub(crate) const WIDEST: usize = 1 << 14;

/// What configurations of all kinds say of transformers.
pub(crate) struct Transformers<'a> {
    pub(crate) levels: &'a [u32],
    pub(crate) width: usize,
    pub(crate) encoder_layers: usize,
    pub(crate) decoder_layers: usize,
    pub(crate) heads: usize,
    pub(crate) feed_forward_width: usize,
}

impl Transformers<'_> {
    /// The autoencoder of them, which reads and gives back so many numbers at each place.
    pub(crate) fn spec(&self, places: Places, columns: usize) -> Result<AutoencoderSpec, CodecError> {
        for (key, given, most) in [
            ("codec.encoder_layers", self.encoder_layers, MOST_LAYERS),
            ("codec.decoder_layers", self.decoder_layers, MOST_LAYERS),
            ("codec.width", self.width, WIDEST),
            ("codec.feed_forward_width", self.feed_forward_width, 4 * WIDEST),
        ] {
            require(key, given, 1..=most)?;
        }
        let Some(layer) = layer(self.width, self.heads, self.feed_forward_width) else {
            let allowed = format!("a divisor of half of `codec.width`, which is {}", self.width);
            return refuse("codec.heads", self.heads, allowed);
        };
        let spec = AutoencoderSpec {
            places,
            inputs: columns,
            outputs: columns,
            width: self.width,
            norm: NormSpec::default(),
            levels: Levels::new(self.levels.to_vec())?,
            encoder: vec![layer; self.encoder_layers],
            decoder: vec![layer; self.decoder_layers],
        };
        spec.validate()?;
        Ok(spec)
    }
}

/// A layer of so many heads, which are as wide as the stream together; `None` where they cannot be.
pub(crate) fn layer(width: usize, heads: usize, feed_forward_width: usize) -> Option<LayerSpec> {
    let fits = heads > 0 && width.is_multiple_of(2 * heads);
    fits.then(|| {
        let qk_norm = Some(NormSpec::default());
        let attention = AttentionSpec { qk_norm, ..AttentionSpec::new(heads, heads, width / heads) };
        LayerSpec::new(attention, FeedForwardSpec::new(feed_forward_width))
    })
}

/// Refuses a setting.
pub(crate) fn refuse<T>(key: &'static str, given: usize, allowed: String) -> Result<T, CodecError> {
    Err(CodecError::Setting { key, given: given.to_string(), allowed })
}

/// Refuses a setting out of its range.
pub(crate) fn require(
    key: &'static str,
    given: usize,
    allowed: std::ops::RangeInclusive<usize>,
) -> Result<(), CodecError> {
    match allowed.contains(&given) {
        true => Ok(()),
        false => refuse(key, given, format!("{} to {}", allowed.start(), allowed.end())),
    }
}
