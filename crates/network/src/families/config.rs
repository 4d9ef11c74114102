//! Reading the keys of a `config.json`.

use super::{Object, TokenRoles, hugging_face};
use crate::NetworkError;
use aquatint_diffusion::SettingError;
use serde_json::Value;
use std::str::FromStr;

/// The keys of a `config.json`, each asked for by what it holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Config<'a>(pub(super) &'a Object);

impl Config<'_> {
    /// The ids of tokens with a role, under the usual keys. Of several ends the first counts here.
    pub(super) fn token_roles(&self) -> TokenRoles {
        let id = |key: &str| {
            let value = self.0.get(key)?;
            let first = value.as_array().map_or(Some(value), |ids| ids.first())?;
            first.as_u64().and_then(|id| u32::try_from(id).ok())
        };
        let [mask, end, pad, begin] = ["mask_token_id", "eos_token_id", "pad_token_id", "bos_token_id"].map(id);
        TokenRoles { mask, end, pad, begin }
    }

    /// Refuses keys that are in neither list and that Hugging Face tools do not add, and the lack of one of the first. A
    /// key that is null says nothing.
    pub(super) fn check_keys(&self, required: &[&'static str], optional: &[&'static str]) -> Result<(), NetworkError> {
        let known = || required.iter().chain(optional).copied();
        let neutral = hugging_face::neutral_config();
        let added =
            |key: &str| hugging_face::CONFIG_KEYS.contains(&key) || neutral.iter().any(|(neutral, _)| *neutral == key);
        let is_known = |key: &str| added(key) || known().any(|name| name == key);
        if let Some((key, _)) = self.0.iter().find(|(key, value)| !value.is_null() && !is_known(key)) {
            return Err(NetworkError::UnknownKey { key: key.clone(), similar: similar(key, known()) });
        }
        neutral.iter().try_for_each(|(key, value)| self.insist(key, value))?;
        match required.iter().find(|key| !self.0.contains_key(**key)) {
            Some(key) => Err(NetworkError::MissingKey { key, keys: required.join(", ") }),
            None => Ok(()),
        }
    }

    /// The same for a family of others: refuses the lack of a required key, and by its name what changes a network, is not
    /// among the keys that the family knows, and is not supported. Other keys are warned of, see [`super::unknown_keys`].
    pub(super) fn check_features(&self, required: &[&'static str], known: &[&'static str]) -> Result<(), NetworkError> {
        if let Some(key) = required.iter().find(|key| !self.0.contains_key(**key)) {
            return Err(NetworkError::MissingKey { key, keys: required.join(", ") });
        }
        let foreign = |key: &str| !required.contains(&key) && !known.contains(&key);
        let neutral = hugging_face::neutral_config();
        neutral.iter().filter(|(key, _)| foreign(key)).try_for_each(|(key, value)| self.insist(key, value))?;
        for (key, value, needed) in hugging_face::features() {
            let given = self.value(key);
            if foreign(key) && !given.is_null() && !is_same(given, &value) {
                return Err(NetworkError::Unsupported { key, given: given.to_string(), needed });
            }
        }
        Ok(())
    }

    /// Refuses every value of a key but one; a key that is absent or null has it.
    pub(super) fn insist(&self, key: &'static str, allowed: &Value) -> Result<(), NetworkError> {
        match self.0.get(key).filter(|given| !given.is_null() && !is_same(given, allowed)) {
            Some(given) => Err(wrong(key, given, &allowed.to_string())),
            None => Ok(()),
        }
    }

    pub(super) fn size(&self, key: &'static str) -> Result<usize, NetworkError> {
        let size = self.value(key).as_u64().and_then(|size| usize::try_from(size).ok());
        size.filter(|size| *size > 0).ok_or_else(|| wrong(key, self.value(key), "a whole number, 1 or more"))
    }

    pub(super) fn token(&self, key: &'static str) -> Result<u32, NetworkError> {
        let id = self.value(key).as_u64().and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| wrong(key, self.value(key), "a token's id, or null"))
    }

    pub(super) fn number(&self, key: &'static str) -> Result<f64, NetworkError> {
        self.value(key).as_f64().ok_or_else(|| wrong(key, self.value(key), "a number"))
    }

    /// A setting by its name.
    pub(super) fn setting<T: FromStr<Err = SettingError>>(&self, key: &'static str) -> Result<T, NetworkError> {
        Ok(self.value(key).as_str().ok_or_else(|| wrong(key, self.value(key), "a name"))?.parse()?)
    }

    pub(super) fn flag(&self, key: &'static str) -> Result<bool, NetworkError> {
        self.value(key).as_bool().ok_or_else(|| wrong(key, self.value(key), "true or false"))
    }

    /// A key that may be absent or null.
    pub(super) fn optional<T>(
        &self,
        key: &'static str,
        read: impl Fn(&Self, &'static str) -> Result<T, NetworkError>,
    ) -> Result<Option<T>, NetworkError> {
        if self.value(key).is_null() { Ok(None) } else { read(self, key).map(Some) }
    }

    /// The value of a key; null where there is none.
    pub(super) fn value(&self, key: &str) -> &Value {
        self.0.get(key).unwrap_or(&Value::Null)
    }
}

pub(super) fn wrong(parameter: &'static str, given: &Value, allowed: &str) -> NetworkError {
    NetworkError::Spec { parameter, given: given.to_string(), allowed: allowed.to_owned() }
}

/// Whether two values are equal; 1 and 1.0 are.
pub(super) fn is_same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

/// The known key that shares the most with an unknown one, if it shares most of it.
fn similar(key: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let words = |name: &str| name.split('_').map(str::to_owned).collect::<Vec<_>>();
    let requested = words(key);
    let shared = |name: &str| words(name).iter().filter(|word| requested.contains(word)).count();
    known.max_by_key(|name| shared(name)).filter(|name| 2 * shared(name) >= requested.len() && shared(name) > 0)
}
