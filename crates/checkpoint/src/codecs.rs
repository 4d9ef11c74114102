//! The codecs of a model: `codecs` in its `config.json`, and a folder for each within the model's.
//!
//! ```json
//! "codecs": [{ "name": "picture", "first_code": 8196, "codes": 1000, "grid": [8, 8], "open": 8192, "close": 8193 }]
//! ```
//!
//! The codes of a picture are the tokens from `first_code` on. They lie in `grid`, which is its rows and columns, or in a
//! line where there is none, between the tokens `open` and `close`. The folder `picture/` holds the codec itself: its
//! `config.json` and its `model.safetensors`. What they say is an affair of crate `codec`.

use crate::config_value::ConfigValue;
use crate::{CheckpointError, CodecFiles};
use aquatint_diffusion::{Axes, Domain, TokenId};
use aquatint_files::write_atomically;
use serde_json::{Map, Value, json};
use std::path::Path;

/// The key of `config.json`.
pub(crate) const KEY: &str = "codecs";
const KEYS: [&str; 6] = ["name", "first_code", "codes", "grid", "open", "close"];

/// A codec as a model has it: which tokens are its codes, and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelCodec {
    /// What it makes codes of, as templates name it: `picture`. Its folder within the model's is called so.
    pub name: String,
    /// The tokens of its codes, and how they lie.
    pub domain: Domain,
    /// Stands before the codes of a span.
    pub open: TokenId,
    /// Stands behind them.
    pub close: TokenId,
    /// The codec itself.
    pub files: CodecFiles,
}

impl ModelCodec {
    /// The codecs that a `config.json` names; `files_of` says where the one of a name lies, if there can be one.
    pub(crate) fn all_of(
        file: &str,
        config: &Value,
        files_of: &dyn Fn(&str) -> Option<CodecFiles>,
    ) -> Result<Vec<Self>, CheckpointError> {
        let list = match config.get(KEY) {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(value) => ConfigValue { file, path: KEY.to_owned(), value },
        };
        let elements = list.value.as_array().ok_or_else(|| list.refuse("a list"))?;
        let mut codecs: Vec<Self> = Vec::with_capacity(elements.len());
        for (index, value) in elements.iter().enumerate() {
            let element = ConfigValue { file, path: format!("{KEY}.{index}"), value };
            let codec = element.codec(files_of)?;
            if codecs.iter().any(|other| other.name == codec.name) {
                return Err(element.get("name").refuse("another name than the codecs before"));
            }
            if let Some(other) = codecs.iter().find(|other| codec.shares_tokens(other)) {
                return Err(element.refuse(format!("other tokens than those of `{}`", other.name)));
            }
            codecs.push(codec);
        }
        Ok(codecs)
    }

    /// The value of `codecs`.
    pub(crate) fn to_config(codecs: &[Self]) -> Value {
        let codec = |codec: &Self| {
            let ids = &codec.domain.ids;
            let mut value = Map::new();
            value.insert("name".to_owned(), json!(codec.name));
            value.insert("first_code".to_owned(), json!(ids.start));
            value.insert("codes".to_owned(), json!(ids.end - ids.start));
            if let Axes::Grid { rows, columns } = codec.domain.axes {
                value.insert("grid".to_owned(), json!([rows, columns]));
            }
            value.insert("open".to_owned(), json!(codec.open));
            value.insert("close".to_owned(), json!(codec.close));
            Value::Object(value)
        };
        codecs.iter().map(codec).collect()
    }

    /// Writes the codec's folder within a model's, or leaves one that is the same.
    pub(crate) fn write_folder(&self, model: &Path) -> Result<(), CheckpointError> {
        let folder = model.join(&self.name);
        for file in CodecFiles::NAMES {
            let (path, bytes) = (folder.join(file), self.files.read(file)?);
            match std::fs::read(&path) {
                Ok(there) if there == *bytes => {}
                Ok(_) => return Err(CheckpointError::Occupied { folder: folder.clone(), file }),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    write_atomically(&path, |out| out.write_all(&bytes))
                        .map_err(|source| CheckpointError::io("write", &path, source))?;
                }
                Err(error) => return Err(CheckpointError::io("read", &path, error)),
            }
        }
        Ok(())
    }

    /// One more than the greatest of its tokens.
    pub(crate) fn end(&self) -> TokenId {
        self.domain.ids.end.max(self.open + 1).max(self.close + 1)
    }

    fn shares_tokens(&self, other: &Self) -> bool {
        let (own, others) = (&self.domain.ids, &other.domain.ids);
        let mark = |token: &TokenId| *token == other.open || *token == other.close || others.contains(token);
        own.start < others.end && others.start < own.end
            || mark(&self.open)
            || mark(&self.close)
            || own.contains(&other.open)
            || own.contains(&other.close)
    }
}

impl ConfigValue<'_> {
    fn codec(&self, files_of: &dyn Fn(&str) -> Option<CodecFiles>) -> Result<ModelCodec, CheckpointError> {
        self.object(&KEYS)?;
        let name = self.get("name");
        let is_simple = |name: &&str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase());
        let called = name.value.as_str().filter(is_simple).ok_or_else(|| name.refuse("a word of letters a to z"))?;
        let files = files_of(called).ok_or_else(|| name.refuse("the name of a codec that is here"))?;
        let first = self.get("first_code").token()?;
        let count = self.get("codes");
        let end =
            count.value.as_u64().filter(|count| *count > 0).and_then(|count| first.checked_add(count.try_into().ok()?));
        let ids = first..end.ok_or_else(|| count.refuse("1 or more, with ids below 2³²"))?;
        let (grid, open, close) = (self.get("grid"), self.get("open"), self.get("close"));
        let (opens, closes) = (open.token()?, close.token()?);
        for (mark, token) in [(&open, opens), (&close, closes)] {
            if ids.contains(&token) {
                return Err(mark.refuse("a token that is no code"));
            }
        }
        if opens == closes {
            return Err(close.refuse("another token than `open`"));
        }
        let axes = match grid.value {
            Value::Null => Axes::Line,
            _ => grid.grid()?,
        };
        let domain = Domain { ids, axes };
        Ok(ModelCodec { name: called.to_owned(), domain, open: opens, close: closes, files })
    }

    fn token(&self) -> Result<TokenId, CheckpointError> {
        // One more has to be an id, too: ranges end there.
        let token = self.value.as_u64().and_then(|id| TokenId::try_from(id).ok()).filter(|id| *id < TokenId::MAX);
        token.ok_or_else(|| self.refuse("the id of a token"))
    }

    fn grid(&self) -> Result<Axes, CheckpointError> {
        let side = |value: &Value| value.as_u64().filter(|side| (1..=MOST_OF_A_SIDE).contains(side));
        match self.value.as_array().map(Vec::as_slice) {
            Some([rows, columns]) => match (side(rows), side(columns)) {
                (Some(rows), Some(columns)) => Ok(Axes::Grid { rows: rows as usize, columns: columns as usize }),
                _ => Err(self.refuse(format!("numbers from 1 to {MOST_OF_A_SIDE}"))),
            },
            _ => Err(self.refuse("[rows, columns]")),
        }
    }
}

/// The most rows, and columns, of a span.
const MOST_OF_A_SIDE: u64 = 1 << 12;

#[cfg(test)]
mod tests {
    use super::*;

    fn codecs(value: Value) -> Result<Vec<ModelCodec>, String> {
        let files = |name: &str| (name != "lost").then(|| Path::new(name).into());
        ModelCodec::all_of("config.json", &json!({ "codecs": value }), &files).map_err(|error| error.to_string())
    }

    fn picture() -> Value {
        json!({ "name": "picture", "first_code": 20, "codes": 10, "grid": [4, 2], "open": 16, "close": 17 })
    }

    fn sound() -> Value {
        json!({ "name": "sound", "first_code": 30, "codes": 5, "open": 18, "close": 19 })
    }

    #[test]
    fn what_is_written_is_read_again() {
        let all = codecs(json!([picture(), sound()])).unwrap();
        assert_eq!(all[0].domain, Domain::grid(20..30, 4, 2));
        assert_eq!((all[1].domain.clone(), all[1].open, all[1].close), (Domain::line(30..35), 18, 19));
        assert_eq!(ModelCodec::to_config(&all), json!([picture(), sound()]));
        assert_eq!(all.iter().map(ModelCodec::end).collect::<Vec<_>>(), [30, 35]);
        assert_eq!(codecs(Value::Null), Ok(Vec::new()));
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_key() {
        let with = |key: &str, value: Value| {
            let mut codec = picture();
            codec[key] = value;
            codecs(json!([codec])).unwrap_err()
        };
        for (key, value, allowed) in [
            ("name", json!("../up"), "`codecs.0.name` is \"../up\"; allowed: a word of letters a to z"),
            ("name", json!("lost"), "`codecs.0.name` is \"lost\"; allowed: the name of a codec that is here"),
            ("first_code", json!(-1), "`codecs.0.first_code` is -1; allowed: the id of a token"),
            ("codes", json!(0), "`codecs.0.codes` is 0; allowed: 1 or more"),
            ("codes", json!(u32::MAX), "`codecs.0.codes` is 4294967295; allowed: 1 or more"),
            ("grid", json!([0, 2]), "`codecs.0.grid` is [0,2]; allowed: numbers from 1 to 4096"),
            ("grid", json!(8), "`codecs.0.grid` is 8; allowed: [rows, columns]"),
            ("open", json!(25), "`codecs.0.open` is 25; allowed: a token that is no code"),
            ("close", json!(16), "`codecs.0.close` is 16; allowed: another token than `open`"),
            ("levels", json!([8]), "`codecs.0.levels` is [8]; allowed: one of the keys name, "),
        ] {
            let refused = with(key, value);
            assert!(refused.starts_with(allowed), "{refused}");
        }
        let mut other = sound();
        other["open"] = json!(17);
        assert!(
            codecs(json!([picture(), other])).unwrap_err().contains("allowed: other tokens than those of `picture`")
        );
        let mut other = sound();
        other["first_code"] = json!(29);
        assert!(
            codecs(json!([picture(), other])).unwrap_err().contains("allowed: other tokens than those of `picture`")
        );
        assert!(codecs(json!([picture(), picture()])).unwrap_err().contains("another name than the codecs before"));
        assert!(codecs(json!({})).unwrap_err().starts_with("`codecs` is {}; allowed: a list"));
    }
}
