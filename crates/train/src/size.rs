//! The one dial. Width, depth, heads, learning rate and batch move together, so that `size = "4m"` is all that most
//! recipes say about the network.
//!
//! A block has 4 d² numbers in its attention and 3 · d · 8/3 d = 8 d² in its feed-forward part, so the name of a size is
//! about 12 · layers · width², word vectors not counted. Learning rates fall with the width as published for AdamW at
//! these sizes; with Muon's updates scaled to AdamW's size (2502.16982 equation 4) the same rate serves both.

use serde::{Deserialize, Serialize};

/// Columns of one head at every size.
pub(crate) const HEAD_SIZE: usize = 64;

/// Learning rate and batch of a run that goes on from a model without a dial: those of LLaDA's supervised tuning
/// (2502.09992, section 2.3), with a batch that fits one machine.
pub(crate) const TUNING: (f64, usize) = (2.5e-5, 32);

/// About how many numbers the blocks have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Size {
    /// 5 blocks of width 128: minutes on a laptop.
    #[serde(rename = "1m")]
    OneMillion,
    /// 5 blocks of width 256: hours on a laptop.
    #[default]
    #[serde(rename = "4m")]
    FourMillion,
    /// 9 blocks of width 384.
    #[serde(rename = "16m")]
    SixteenMillion,
    /// 12 blocks of width 640.
    #[serde(rename = "60m")]
    SixtyMillion,
    /// 16 blocks of width 896.
    #[serde(rename = "150m")]
    HundredFiftyMillion,
}

/// What a size stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Dial {
    pub(crate) width: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) learning_rate: f64,
    pub(crate) batch: usize,
    pub(crate) tied_head: bool,
}

impl Size {
    /// What the size stands for.
    pub(crate) fn dial(self) -> Dial {
        let (width, layers, learning_rate, batch, tied_head) = match self {
            Self::OneMillion => (128, 5, 4e-3, 32, true),
            Self::FourMillion => (256, 5, 3e-3, 32, true),
            Self::SixteenMillion => (384, 9, 2e-3, 64, true),
            Self::SixtyMillion => (640, 12, 1e-3, 128, false),
            Self::HundredFiftyMillion => (896, 16, 6e-4, 256, false),
        };
        Dial { width, layers, heads: width / HEAD_SIZE, learning_rate, batch, tied_head }
    }
}

/// 8/3 of the width, rounded up to a multiple of 32 so that rows of the products stay whole vectors.
pub(crate) fn feed_forward_width(width: usize) -> usize {
    width.saturating_mul(8).div_ceil(3).next_multiple_of(32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_size_within_a_fifth() {
        for (size, millions) in [
            (Size::OneMillion, 1.0),
            (Size::FourMillion, 4.0),
            (Size::SixteenMillion, 16.0),
            (Size::SixtyMillion, 60.0),
            (Size::HundredFiftyMillion, 150.0),
        ] {
            let dial = size.dial();
            let block = 4 * dial.width * dial.width + 3 * dial.width * feed_forward_width(dial.width);
            let ratio = (dial.layers * block) as f64 / (millions * 1e6);
            assert!((0.8..1.2).contains(&ratio), "{size:?} has {ratio} of what it says");
            assert_eq!(dial.heads * HEAD_SIZE, dial.width);
        }
    }
}
