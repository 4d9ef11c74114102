//! Values of a `config.json` that are read with the way to them, so that what is wrong is named.

use crate::CheckpointError;
use serde_json::{Map, Value};

/// A value in a file, and the way there.
pub(crate) struct ConfigValue<'a> {
    pub(crate) file: &'a str,
    pub(crate) path: String,
    pub(crate) value: &'a Value,
}

impl<'a> ConfigValue<'a> {
    pub(crate) fn refuse(&self, allowed: impl Into<String>) -> CheckpointError {
        CheckpointError::Setting {
            file: self.file.to_owned(),
            key: self.path.clone(),
            given: self.value.to_string(),
            allowed: allowed.into(),
        }
    }

    /// The value of a key; what is absent is null.
    pub(crate) fn get(&self, key: &str) -> ConfigValue<'a> {
        let value = self.value.get(key).unwrap_or(&Value::Null);
        ConfigValue { file: self.file, path: format!("{}.{key}", self.path), value }
    }

    /// An object with no other keys than these.
    pub(crate) fn object(&self, keys: &[&str]) -> Result<&'a Map<String, Value>, CheckpointError> {
        let map = self.value.as_object().ok_or_else(|| self.refuse("an object"))?;
        match map.keys().find(|key| !keys.contains(&key.as_str())) {
            Some(key) => Err(self.get(key).refuse(format!("one of the keys {}", keys.join(", ")))),
            None => Ok(map),
        }
    }

    /// Insists on one of these strings.
    pub(crate) fn one_of(&self, names: &[&str]) -> Result<&'a str, CheckpointError> {
        let refuse = || self.refuse(names.join(", "));
        self.value.as_str().filter(|name| names.contains(name)).ok_or_else(refuse)
    }

    /// Insists on one of these values, with the reason.
    pub(crate) fn insist(&self, values: &[Value], reason: &str) -> Result<(), CheckpointError> {
        if values.contains(self.value) {
            return Ok(());
        }
        let names: Vec<String> = values.iter().map(ToString::to_string).collect();
        Err(self.refuse(format!("{} ({reason})", names.join(", "))))
    }

    pub(crate) fn strings(&self) -> Result<Vec<String>, CheckpointError> {
        let string = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(|| self.refuse("a list of names"));
        match self.value {
            Value::Null => Ok(Vec::new()),
            Value::Array(values) => values.iter().map(string).collect(),
            _ => Err(self.refuse("a list of names")),
        }
    }
}
