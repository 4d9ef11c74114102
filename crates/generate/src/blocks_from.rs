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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for from in BlocksFrom::ALL {
            assert_eq!(from.to_string().parse(), Ok(from));
        }
        let error = "prompt".parse::<BlocksFrom>().unwrap_err();
        assert_eq!(error.to_string(), "`blocks_from` is \"prompt\"; allowed: text, hole");
    }
}
