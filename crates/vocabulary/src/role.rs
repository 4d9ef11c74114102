//! Special tokens by role, recognised by the names that are usual in published models.

use crate::MediaKind;
use std::fmt;

/// What a special token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Role {
    /// Marks a position that is still noise.
    Mask,
    /// Ends a document or an answer.
    End,
    /// Fills a canvas behind its last document.
    Pad,
    /// Begins a document.
    Begin,
    /// Announces a picture's codes.
    Picture,
    /// Stands behind them.
    PictureEnd,
    /// Announces a sound's codes.
    Sound,
    /// Stands behind them.
    SoundEnd,
    /// Stands for characters that the vocabulary cannot write.
    Unknown,
}

impl Role {
    /// Every role, in the order of their ids in a vocabulary trained here (as far as those have them).
    pub const ALL: [Self; 9] = [
        Self::Mask,
        Self::End,
        Self::Pad,
        Self::Begin,
        Self::Picture,
        Self::PictureEnd,
        Self::Sound,
        Self::SoundEnd,
        Self::Unknown,
    ];
    /// The roles that a vocabulary trained here has.
    pub(crate) const TRAINED: [Self; 4] = [Self::Mask, Self::End, Self::Pad, Self::Begin];

    /// The names by which a token of this role is recognised, the best first; the first one is Aquatint's own.
    pub(crate) fn names(self) -> &'static [&'static str] {
        match self {
            Self::Mask => &["<|mask|>", "<|mdm_mask|>", "<|MASK|>", "<mask>", "[MASK]", "<|mask_token|>"],
            Self::End => {
                &["<|end|>", "<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "<eos>", "</s>", "[SEP]"]
            }
            Self::Pad => &["<|pad|>", "<pad>", "[PAD]", "<|padding|>", "<|finetune_right_pad_id|>"],
            Self::Begin => &["<|begin|>", "<|startoftext|>", "<|begin_of_text|>", "<bos>", "<s>", "[CLS]"],
            Self::Picture => &["<|picture|>", "<|image|>", "<|image_start|>", "<image>"],
            Self::PictureEnd => &["<|/picture|>", "<|image_end|>"],
            Self::SoundEnd => &["<|/sound|>", "<|audio_end|>"],
            Self::Sound => &["<|sound|>", "<|audio|>", "<|audio_start|>", "<audio>"],
            Self::Unknown => &["<unk>", "[UNK]"],
        }
    }

    /// Aquatint's own name for a token of this role, for example `<|mask|>`.
    pub fn token(self) -> &'static str {
        self.names()[0]
    }

    /// Name of this role in a Hugging Face `tokenizer_config.json` (`mask_token`, `eos_token`, …), where it has one.
    pub(crate) fn config_key(self) -> Option<&'static str> {
        match self {
            Self::Mask => Some("mask_token"),
            Self::End => Some("eos_token"),
            Self::Pad => Some("pad_token"),
            Self::Begin => Some("bos_token"),
            Self::Picture | Self::PictureEnd | Self::Sound | Self::SoundEnd | Self::Unknown => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Mask => "mask",
            Self::End => "end",
            Self::Pad => "pad",
            Self::Begin => "begin",
            Self::Picture => MediaKind::Picture.name(),
            Self::PictureEnd => "end of a picture",
            Self::Sound => MediaKind::Sound.name(),
            Self::SoundEnd => "end of a sound",
            Self::Unknown => "unknown",
        })
    }
}
