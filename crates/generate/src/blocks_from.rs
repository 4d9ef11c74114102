//! From where the blocks of a network of blocks are counted.

use aquatint_diffusion::SettingError;
use std::fmt;
use std::str::FromStr;

/// From where the blocks of a network of blocks are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum BlocksFrom {
    /// From the beginning of the text (BD3-LM, 2503.09573; SDAR, 2510.06303).
    #[default]
    Text,
    /// From the first open position on, and before it backwards, so that the first block of the text may be shorter (dllm's
    /// `BD3LMSampler`, which pads prompts on the left).
    Hole,
}

impl BlocksFrom {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Text, Self::Hole];
}

impl fmt::Display for BlocksFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Hole => "hole",
        })
    }
}

impl FromStr for BlocksFrom {
    type Err = SettingError;

    fn from_str(name: &str) -> Result<Self, SettingError> {
        Self::ALL.into_iter().find(|from| from.to_string() == name).ok_or_else(|| SettingError {
            parameter: "blocks_from",
            given: format!("\"{name}\""),
            allowed: "text, hole".to_owned(),
            hint: None,
        })
    }
}

/// Blocks of so many positions each, one behind the other; the first of a text may be shorter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CountedBlocks {
    /// 1 or more.
    length: usize,
    lead: usize,
}

impl CountedBlocks {
    /// Blocks of `length` positions, 1 at least, of which the first has `lead` fewer.
    pub(crate) fn new(length: usize, lead: usize) -> Self {
        Self { length: length.max(1), lead }
    }

    /// The number of the block that has a position.
    pub(crate) fn of(self, position: usize) -> usize {
        (position + self.lead) / self.length
    }

    /// The first position of a block.
    pub(crate) fn start(self, block: usize) -> usize {
        (block * self.length).saturating_sub(self.lead)
    }

    /// Whether a block of the full length begins with a position.
    pub(crate) fn begin_with(self, position: usize) -> bool {
        (position + self.lead).is_multiple_of(self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_block_may_be_shorter() {
        let blocks = CountedBlocks::new(4, 3);
        let of: Vec<usize> = (0..7).map(|position| blocks.of(position)).collect();
        assert_eq!(of, [0, 1, 1, 1, 1, 2, 2]);
        assert_eq!([0, 1, 2].map(|block| blocks.start(block)), [0, 1, 5]);
        assert_eq!([0, 1, 4, 5].map(|position| blocks.begin_with(position)), [false, true, false, true]);
        assert_eq!(CountedBlocks::new(0, 0).of(2), 2);
    }

    #[test]
    fn names_are_read_back() {
        for from in BlocksFrom::ALL {
            assert_eq!(from.to_string().parse(), Ok(from));
        }
        let error = "prompt".parse::<BlocksFrom>().unwrap_err();
        assert_eq!(error.to_string(), "`blocks_from` is \"prompt\"; allowed: text, hole");
    }
}
