//! When an end token closes its span.

use aquatint_diffusion::SettingError;
use std::fmt;
use std::str::FromStr;

/// When an end token closes its span: it has to be committed with nothing open before it, and then at the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StopAt {
    /// At once: what is open behind it is not filled.
    #[default]
    Step,
    /// With its block, which is filled to its end first (SDAR, LLaDA2.0, Fast-dLLM v2). What stands behind the end token
    /// falls away then.
    Block,
}

impl fmt::Display for StopAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Step => "step",
            Self::Block => "block",
        })
    }
}

impl FromStr for StopAt {
    type Err = SettingError;

    fn from_str(name: &str) -> Result<Self, SettingError> {
        match name {
            "step" => Ok(Self::Step),
            "block" => Ok(Self::Block),
            _ => Err(SettingError {
                parameter: "stop_at",
                given: format!("\"{name}\""),
                allowed: "step, block".to_owned(),
                hint: None,
            }),
        }
    }
}
