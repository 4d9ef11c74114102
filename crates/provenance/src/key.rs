//! Key files: JSON with secret bytes, a scheme and its settings.

use crate::secret::Secret;
use crate::{GreenList, Gumbel, OrderMark, Scheme};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// What the `kind` of a key file is.
const KIND: &str = "aquatint watermark key";
/// The version of the form in which keys are written.
const VERSION: u32 = 1;

/// A scheme with its settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SchemeKind {
    /// [`Gumbel`].
    Gumbel {
        /// Positions after which the numbers come again, from 1 to 65536. Texts should be no longer; detection tries as
        /// many offsets.
        period: u32,
    },
    /// [`GreenList`].
    Green {
        /// The share of pairs that are green, above 0 and below 1.
        share: f64,
        /// What a token gains that is green on one side, in nats, above 0 and at most 20.
        strength: f64,
    },
    /// [`OrderMark`].
    Order {
        /// The share of pairs that are green, above 0 and below 1.
        share: f64,
        /// Among how many times the positions that a policy chooses the mark chooses, from 2 to 64.
        width: usize,
    },
}

impl SchemeKind {
    /// The names of all schemes.
    pub const NAMES: [&'static str; 3] = [Gumbel::NAME, GreenList::NAME, OrderMark::NAME];

    /// The name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Gumbel { .. } => Gumbel::NAME,
            Self::Green { .. } => GreenList::NAME,
            Self::Order { .. } => OrderMark::NAME,
        }
    }

    /// Refuses settings outside their ranges.
    ///
    /// # Errors
    /// [`KeyError::Setting`].
    fn check(self) -> Result<Self, KeyError> {
        let refuse = |setting, given: String, allowed| Err(KeyError::Setting { setting, given, allowed });
        let is_share = |share: f64| share > 0.0 && share < 1.0;
        match self {
            Self::Gumbel { period } if !(1..=1 << 16).contains(&period) => {
                refuse("period", period.to_string(), "from 1 to 65536")
            }
            Self::Green { share, .. } | Self::Order { share, .. } if !is_share(share) => {
                refuse("share", share.to_string(), "above 0 and below 1")
            }
            Self::Green { strength, .. } if !(strength > 0.0 && strength <= 20.0) => {
                refuse("strength", strength.to_string(), "above 0, at most 20")
            }
            Self::Order { width, .. } if !(2..=64).contains(&width) => {
                refuse("width", width.to_string(), "from 2 to 64")
            }
            kind => Ok(kind),
        }
    }
}

/// The scheme of a name with its usual settings.
impl FromStr for SchemeKind {
    type Err = KeyError;

    fn from_str(name: &str) -> Result<Self, KeyError> {
        match name {
            Gumbel::NAME => Ok(Self::Gumbel { period: 1024 }),
            GreenList::NAME => Ok(Self::Green { share: 0.25, strength: 2.0 }),
            OrderMark::NAME => Ok(Self::Order { share: 0.5, width: 8 }),
            _ => Err(KeyError::Scheme { name: name.to_owned() }),
        }
    }
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It is not JSON, or has other fields than a key.
    #[error("this is no key of a watermark, or it is damaged")]
    Damaged(#[source] serde_json::Error),
    /// It is JSON of another kind.
    #[error("this is no key of a watermark: its `kind` is {found:?} and not {KIND:?}")]
    Kind {
        /// What it says.
        found: String,
    },
    /// It was written by a later program.
    #[error("the key has version {found}; this program reads version {VERSION}")]
    Version {
        /// What it says.
        found: u32,
    },
    /// There is no such scheme.
    #[error("unknown scheme {name:?} of a watermark; allowed: gumbel, green, order")]
    Scheme {
        /// What was named.
        name: String,
    },
    /// A setting is missing, is one of another scheme, or has a value that it cannot have.
    #[error("`{setting}` of the watermark key is {given}; allowed: {allowed}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// What was given.
        given: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// The secret is not 32 digits of base 16.
    #[error("`secret` of the watermark key is damaged; allowed: 32 digits of base 16")]
    Secret,
    /// The operating system gives no random bytes.
    #[error("the operating system gave no random bytes")]
    Random(#[source] getrandom::Error),
}

impl KeyError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Damaged(_) | Self::Kind { .. } | Self::Secret => {
                Some("`aquatint watermark-key FILE` makes a new one; texts that were marked need their own".to_owned())
            }
            _ => None,
        }
    }
}

/// A secret key with the scheme that it is for.
#[derive(Debug, Clone, PartialEq)]
pub struct WatermarkKey {
    secret: Secret,
    kind: SchemeKind,
}

/// A key as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    kind: String,
    version: u32,
    scheme: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    period: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strength: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<usize>,
    secret: String,
}

impl WatermarkKey {
    /// A key with random bytes of the operating system.
    ///
    /// # Errors
    /// When a setting is outside its range, or there are no random bytes.
    pub fn random(kind: SchemeKind) -> Result<Self, KeyError> {
        let mut secret = [0; 16];
        getrandom::fill(&mut secret).map_err(KeyError::Random)?;
        Self::of_bytes(kind, secret)
    }

    /// A key with these bytes.
    ///
    /// # Errors
    /// When a setting is outside its range.
    pub fn of_bytes(kind: SchemeKind, secret: [u8; 16]) -> Result<Self, KeyError> {
        Ok(Self { secret: Secret(secret), kind: kind.check()? })
    }

    /// Its scheme and settings.
    pub fn kind(&self) -> SchemeKind {
        self.kind
    }

    /// What marks texts and finds the mark again.
    pub fn scheme(&self) -> Arc<dyn Scheme> {
        match self.kind {
            SchemeKind::Gumbel { period } => Arc::new(Gumbel::new(self.secret, period)),
            SchemeKind::Green { share, strength } => Arc::new(GreenList::new(self.secret, share, strength)),
            SchemeKind::Order { share, width } => Arc::new(OrderMark::new(self.secret, share, width)),
        }
    }

    /// The key as the text of a file: whoever has it can find the mark, and copy it.
    pub fn to_json(&self) -> String {
        let mut written = Written {
            kind: KIND.to_owned(),
            version: VERSION,
            scheme: self.kind.name().to_owned(),
            period: None,
            share: None,
            strength: None,
            width: None,
            secret: self.secret.0.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        match self.kind {
            SchemeKind::Gumbel { period } => written.period = Some(period),
            SchemeKind::Green { share, strength } => {
                (written.share, written.strength) = (Some(share), Some(strength));
            }
            SchemeKind::Order { share, width } => (written.share, written.width) = (Some(share), Some(width)),
        }
        // A struct of strings and numbers is always JSON.
        serde_json::to_string_pretty(&written).unwrap_or_default() + "\n"
    }

    /// Reads what [`WatermarkKey::to_json`] wrote.
    ///
    /// # Errors
    /// When it is no key, or is damaged.
    pub fn from_json(text: &str) -> Result<Self, KeyError> {
        // What is JSON of another kind is said to be that, and not which of its fields is strange.
        let value: serde_json::Value = serde_json::from_str(text).map_err(KeyError::Damaged)?;
        if let Some(found) = value.get("kind").and_then(serde_json::Value::as_str).filter(|kind| *kind != KIND) {
            return Err(KeyError::Kind { found: found.to_owned() });
        }
        let version =
            value.get("version").and_then(serde_json::Value::as_u64).filter(|found| *found != u64::from(VERSION));
        if let Some(found) = version {
            return Err(KeyError::Version { found: u32::try_from(found).unwrap_or(u32::MAX) });
        }
        let Written { scheme, period, share, strength, width, secret, .. } =
            serde_json::from_value(value).map_err(KeyError::Damaged)?;
        let missing = |setting, allowed| KeyError::Setting { setting, given: "missing".to_owned(), allowed };
        let of_share = || share.ok_or_else(|| missing("share", "above 0 and below 1"));
        let (kind, others) = match scheme.parse()? {
            SchemeKind::Gumbel { .. } => (
                SchemeKind::Gumbel { period: period.ok_or_else(|| missing("period", "from 1 to 65536"))? },
                [("share", share.is_some()), ("strength", strength.is_some()), ("width", width.is_some())],
            ),
            SchemeKind::Green { .. } => (
                SchemeKind::Green {
                    share: of_share()?,
                    strength: strength.ok_or_else(|| missing("strength", "above 0, at most 20"))?,
                },
                [("period", period.is_some()), ("width", width.is_some()), ("", false)],
            ),
            SchemeKind::Order { .. } => (
                SchemeKind::Order { share: of_share()?, width: width.ok_or_else(|| missing("width", "from 2 to 64"))? },
                [("period", period.is_some()), ("strength", strength.is_some()), ("", false)],
            ),
        };
        if let Some((setting, _)) = others.into_iter().find(|(_, is_there)| *is_there) {
            let allowed = "only in keys of the schemes that have it";
            return Err(KeyError::Setting { setting, given: "there".to_owned(), allowed });
        }
        Self::of_bytes(kind, bytes(&secret).ok_or(KeyError::Secret)?)
    }
}

/// 16 bytes of 32 digits of base 16.
fn bytes(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text.chars().map(|digit| Some(digit.to_digit(16)? as u8)).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
    if digits.len() == 32 { bytes.try_into().ok() } else { None }
}

impl fmt::Display for SchemeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gumbel { period } => write!(f, "gumbel, period {period}"),
            Self::Green { share, strength } => write!(f, "green, share {share}, strength {strength}"),
            Self::Order { share, width } => write!(f, "order, share {share}, width {width}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> [SchemeKind; 3] {
        SchemeKind::NAMES.map(|name| name.parse().unwrap())
    }

    #[test]
    fn a_key_is_read_as_it_was_written() {
        for kind in all() {
            let key = WatermarkKey::random(kind).unwrap();
            assert_eq!(WatermarkKey::from_json(&key.to_json()).unwrap(), key);
            assert_ne!(WatermarkKey::random(kind).unwrap(), key);
            assert!(!format!("{key:?}").contains(&format!("{:?}", key.secret.0)));
        }
    }

    #[test]
    fn damaged_keys_are_refused_with_what_is_wrong() {
        let good = WatermarkKey::of_bytes(all()[0], [0xab; 16]).unwrap().to_json();
        let refused = |text: &str| WatermarkKey::from_json(text).unwrap_err().to_string();
        assert_eq!(refused(""), "this is no key of a watermark, or it is damaged");
        assert_eq!(refused(&good[..40]), "this is no key of a watermark, or it is damaged");
        assert_eq!(refused("[1, 2]"), "this is no key of a watermark, or it is damaged");
        assert!(refused("{\"kind\": \"other\"}").contains("its `kind` is \"other\""));
        assert!(refused(&good.replace("\"version\": 1", "\"version\": 9")).contains("version 9"));
        assert!(refused(&good.replace("gumbel", "gumbol")).contains("unknown scheme \"gumbol\""));
        assert!(refused(&good.replace("gumbel", "green")).contains("`share` of the watermark key is missing"));
        assert!(refused(&good.replace("1024", "0")).contains("`period` of the watermark key is 0; allowed: from 1"));
        let more = good.replace("\"period\": 1024", "\"period\": 1024, \"width\": 3");
        assert!(refused(&more).contains("`width` of the watermark key is there"));
        assert!(refused(&good.replace("abab", "ab")).contains("`secret` of the watermark key is damaged"));
        assert!(refused(&good.replace("abab", "xbab")).contains("`secret` of the watermark key is damaged"));
    }

    #[test]
    fn settings_have_ranges() {
        let refused = |kind| WatermarkKey::of_bytes(kind, [0; 16]).is_err();
        assert!(refused(SchemeKind::Gumbel { period: 1 << 17 }));
        assert!(refused(SchemeKind::Green { share: 1.0, strength: 1.0 }));
        assert!(refused(SchemeKind::Green { share: 0.5, strength: f64::NAN }));
        assert!(refused(SchemeKind::Order { share: 0.5, width: 1 }));
        assert!(all().into_iter().all(|kind| !refused(kind)));
    }
}
