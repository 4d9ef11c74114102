//! Why samples or a codec could not be used.

use aquatint_checkpoint::CheckpointError;
use aquatint_compute::DeviceError;
use aquatint_network::NetworkError;
use aquatint_vocabulary::VocabularyError;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// Why samples or a codec could not be used.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// A file or folder could not be read or written.
    #[error("could not {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// What should be a picture is none of a known format.
    #[error("`{name}` is not a picture of a known format; allowed: PNG, JPEG, WebP")]
    Format {
        /// The picture.
        name: String,
    },
    /// A picture is damaged.
    #[error("`{name}` is a damaged picture: {reason}")]
    Damaged {
        /// The picture.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A picture has too many pixels.
    #[error("`{name}` has {width}×{height} pixels; allowed: {most} in all, and a side of 1 to {longest}")]
    TooLarge {
        /// The picture.
        name: String,
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
        /// The most pixels allowed.
        most: u64,
        /// The longest side allowed.
        longest: u32,
    },
    /// A picture has too many bytes in each of its pixels.
    #[error("`{name}` has {width}×{height} pixels of {each} bytes; allowed: {most} bytes in all")]
    TooDeep {
        /// The picture.
        name: String,
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
        /// The bytes of a pixel.
        each: u8,
        /// The most bytes allowed.
        most: u64,
    },
    /// A setting of a codec cannot be what it is.
    #[error("`{key}` is {given}; allowed: {allowed}")]
    Setting {
        /// The setting.
        key: &'static str,
        /// Its value.
        given: String,
        /// What is allowed.
        allowed: String,
    },
    /// A sound is damaged.
    #[error("`{name}` is a damaged sound: {reason}")]
    DamagedSound {
        /// The sound.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What should be a sound is none of a known format.
    #[error("`{name}` is not a sound of a known format; allowed: WAV, FLAC")]
    SoundFormat {
        /// The sound.
        name: String,
    },
    /// A sound has no samples.
    #[error("`{name}` has no samples")]
    Silent {
        /// The sound.
        name: String,
    },
    /// A sample of a sound is no number.
    #[error("`{name}` has a sample that is not finite, {seconds:.3} s after its beginning")]
    NotFinite {
        /// The sound.
        name: String,
        /// Where.
        seconds: f64,
    },
    /// A sound has a rate that nothing plays.
    #[error("`{name}` has {rate} samples a second; allowed: {} to {}", allowed.start(), allowed.end())]
    Rate {
        /// The sound.
        name: String,
        /// Its rate.
        rate: u32,
        /// The rates allowed.
        allowed: RangeInclusive<u32>,
    },
    /// A sound is too long to be read.
    #[error("`{name}` is longer than {seconds} s, or has more than {samples} samples of all channels")]
    LongSound {
        /// The sound.
        name: String,
        /// The longest allowed.
        seconds: u32,
        /// The most samples allowed.
        samples: usize,
    },
    /// A sound is too long for a codec.
    #[error("a sound of {seconds:.1} s was given; this codec has at most {most} codes for one")]
    TooLong {
        /// How long it is.
        seconds: f64,
        /// The most codes.
        most: usize,
    },
    /// A sound cannot be brought to another rate.
    #[error("a sound of {from} samples a second cannot become one of {to}: {reason}")]
    Resampling {
        /// Its rate.
        from: u32,
        /// The other rate.
        to: u32,
        /// Why.
        reason: String,
    },
    /// A sound has another rate than the codec's.
    #[error("a sound of {given} samples a second was given; this codec has {rate}")]
    SampleRate {
        /// The sound's rate.
        given: u32,
        /// The codec's.
        rate: u32,
    },
    /// A folder holds no codec, or one of another kind.
    #[error("`{}` holds no codec{}: {reason}", folder.display(), of(*kind))]
    NoCodec {
        /// The folder.
        folder: PathBuf,
        /// What the codec is to encode, if that is said.
        kind: Option<&'static str>,
        /// What is wrong.
        reason: String,
    },
    /// A folder holds no matcher.
    #[error("`{}` holds no matcher: {reason}", folder.display())]
    NoMatcher {
        /// The folder.
        folder: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A model's folder holds another codec than its `config.json` says.
    #[error("`{}` holds the codec {found}, where the model has {expected}", folder.display())]
    OtherCodec {
        /// The folder.
        folder: PathBuf,
        /// What it holds.
        found: String,
        /// What `config.json` says.
        expected: String,
    },
    /// A folder holds another model.
    #[error("`{}` holds another model; its config.json differs", folder.display())]
    Occupied {
        /// The folder.
        folder: PathBuf,
    },
    /// A collection has nothing that is wanted.
    #[error("`{}` has no {kind}{}", path.display(), within(folders))]
    NoSamples {
        /// What is wanted.
        kind: &'static str,
        /// The collection.
        path: PathBuf,
        /// The folders in it that are wanted; none for all.
        folders: Vec<String>,
    },
    /// An entry of an archive is too large.
    #[error("`{name}` in `{}` has more than {most} bytes", archive.display())]
    LargeEntry {
        /// The entry.
        name: String,
        /// The archive.
        archive: PathBuf,
        /// The most bytes allowed.
        most: u64,
    },
    /// A file is too large.
    #[error("`{}` has more than {most} bytes", path.display())]
    LargeFile {
        /// The file.
        path: PathBuf,
        /// The most bytes allowed.
        most: u64,
    },
    /// A picture has another size than the codec's.
    #[error("a picture of {width}×{height} pixels was given; this codec has {size}×{size}")]
    Size {
        /// Its width.
        width: usize,
        /// Its height.
        height: usize,
        /// The side of the codec's pictures.
        size: usize,
    },
    /// It was asked to stop.
    #[error("stopped")]
    Stopped,
    /// The files of a codec could not be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The device failed. It is a source, so that it is found behind every error that this one becomes.
    #[error("{0}")]
    Device(#[from] DeviceError),
    /// The network refused, or the device failed.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The tokenizer of a matcher refused.
    #[error(transparent)]
    Vocabulary(#[from] VocabularyError),
}

fn of(kind: Option<&str>) -> String {
    kind.map_or_else(String::new, |kind| format!(" of {kind}"))
}

fn within(folders: &[String]) -> String {
    match folders {
        [] => String::new(),
        folders => format!(" in its folders {}", folders.join(", ")),
    }
}

impl CodecError {
    /// That a file or folder could not be read or written.
    pub fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { action, path: path.to_path_buf(), source }
    }

    /// The picture or sound that could not be used, as it was called when it was given.
    pub fn sample_name(&self) -> Option<&str> {
        match self {
            Self::Format { name }
            | Self::Damaged { name, .. }
            | Self::TooLarge { name, .. }
            | Self::TooDeep { name, .. }
            | Self::DamagedSound { name, .. }
            | Self::SoundFormat { name }
            | Self::Silent { name }
            | Self::NotFinite { name, .. }
            | Self::Rate { name, .. }
            | Self::LongSound { name, .. } => Some(name),
            _ => None,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Format { .. } => Some("convert it to PNG".to_owned()),
            Self::Damaged { .. } => Some("open it with a picture viewer and save it again".to_owned()),
            Self::TooLarge { .. } | Self::TooDeep { .. } => Some("scale it down first".to_owned()),
            Self::SoundFormat { .. } => Some("convert it to WAV".to_owned()),
            Self::DamagedSound { .. } | Self::NotFinite { .. } => {
                Some("open it with a sound editor and save it again".to_owned())
            }
            Self::LongSound { .. } | Self::TooLong { .. } => Some("cut it into shorter ones first".to_owned()),
            Self::NoCodec { .. } => {
                Some("it takes model.safetensors and a config.json of the `model_type` aquatint-codec".to_owned())
            }
            Self::NoMatcher { .. } => Some("recipes/canvas/judge.toml trains one".to_owned()),
            Self::Occupied { .. } => Some("choose another folder".to_owned()),
            Self::Checkpoint(error) => error.hint(),
            Self::Network(error) => error.hint(),
            Self::Vocabulary(error) => error.hint(),
            _ => None,
        }
    }
}
