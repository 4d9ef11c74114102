//! Codecs: what lies beside text on a canvas, as codes and back.
//!
//! A [`Codec`] turns samples (a picture) into the codes of a span, a grid of ids below its vocabulary's size, and codes
//! into samples. Each kind is one file; all are autoencoders of crate `network`. The rest of this crate is what pictures
//! need: reading and fitting ([`picture`]), collections of them ([`collection`]), how well they come back ([`quality`]) and
//! what that costs in training ([`PictureCost`]). A [`SpanCodec`] is the codec of a model, between files and tokens.
#![forbid(unsafe_code)]

mod codec;
pub mod collection;
mod cost;
mod error;
mod folder;
mod patches;
pub mod picture;
mod pictures;
pub mod quality;
mod sheet;
mod span_codec;

pub use codec::{Codec, Rate};
pub use cost::PictureCost;
pub use error::CodecError;
pub use patches::Patches;
pub use picture::Picture;
pub use pictures::{PictureCodec, PictureConfig, PictureKind};
pub use sheet::sheet;
pub use span_codec::{FileCodec, SpanCodec, open_codec};
