//! Codecs: what lies beside text on a canvas, as codes and back.
//!
//! A [`Codec`] turns samples (a picture, a sound) into the codes of a span, ids below its vocabulary's size on a grid or a
//! line, and codes into samples. All are [`LearnedCodec`]s: an autoencoder of crate `network` between what a [`Medium`]
//! makes of samples. Each kind of samples is one medium ([`Pictures`], [`Sounds`]); the rest of this crate is what they
//! need: reading, fitting and writing ([`picture`], [`sound`]), collections of them ([`collection`]), how well they come
//! back ([`quality`]) and what that costs in training ([`PictureCost`], [`SoundCost`]). A [`SpanCodec`] is the codec of a
//! model, between files and tokens. A [`Matcher`] says whether a picture shows what a text says.
#![forbid(unsafe_code)]

mod codec;
pub mod collection;
mod cost;
mod error;
mod file;
mod folder;
mod learned;
mod matcher;
mod medium;
mod patches;
pub mod picture;
mod pictures;
pub mod quality;
mod sheet;
pub mod sound;
mod sounds;
mod span_codec;
mod transformers;

pub use codec::{Codec, Extent, Rate};
pub use cost::{PictureCost, SoundCost};
pub use error::CodecError;
pub use file::read_file;
pub use folder::{CodecKind, kind_of};
pub use learned::LearnedCodec;
pub use matcher::{MatchedPair, Matcher, MatcherConfig};
pub use medium::{CostOf, FileNames, Medium, MediumConfig, Returned};
pub use patches::Patches;
pub use picture::Picture;
pub use pictures::{PictureCodec, PictureConfig, PictureKind, Pictures};
pub use sheet::sheet;
pub use sound::Sound;
pub use sounds::{MOST_CODES, SoundCodec, SoundConfig, SoundKind, Sounds};
pub use span_codec::{FileCodec, SpanCodec, open_codec};
