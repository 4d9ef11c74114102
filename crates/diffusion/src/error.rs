//! The one shape of complaint about a setting, whichever part of the mathematics it belongs to.

/// A setting has a value that it cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{parameter}` is {given}; allowed: {allowed}")]
pub struct SettingError {
    /// The setting.
    pub parameter: &'static str,
    /// The value given.
    pub given: String,
    /// What is allowed.
    pub allowed: String,
    /// What to do about it, where there is something to say beyond `allowed`. The message leaves it out.
    pub hint: Option<String>,
}

impl SettingError {
    /// A complaint without a hint.
    pub(crate) fn new(parameter: &'static str, given: impl std::fmt::Display, allowed: impl Into<String>) -> Self {
        Self { parameter, given: given.to_string(), allowed: allowed.into(), hint: None }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        self.hint.clone()
    }

    /// The same complaint with a hint.
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A name as people type it, `cap:0.02`: the word and the number behind the colon, if there is one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named<'a> {
    parameter: &'static str,
    given: &'a str,
    allowed: &'a str,
    /// The word before the colon.
    pub(crate) word: &'a str,
    number: Option<&'a str>,
}

impl<'a> Named<'a> {
    pub(crate) fn parse(parameter: &'static str, given: &'a str, allowed: &'a str) -> Self {
        let (word, number) = match given.split_once(':') {
            Some((word, number)) => (word, Some(number)),
            None => (given, None),
        };
        Self { parameter, given, allowed, word, number }
    }

    /// The complaint that no such name exists.
    pub(crate) fn refuse(&self) -> SettingError {
        SettingError::new(self.parameter, format!("\"{}\"", self.given), self.allowed)
    }

    /// Insists that no number was given, since this name has none.
    pub(crate) fn plain<T>(&self, value: T) -> Result<T, SettingError> {
        match self.number {
            None => Ok(value),
            Some(_) => Err(self.refuse().with_hint(format!("`{}` takes no number", self.word))),
        }
    }

    /// The number behind the colon, or the default where there is none; it has to pass `fits`, which `range` words.
    pub(crate) fn number(
        &self,
        default: Option<f64>,
        range: &str,
        fits: impl Fn(f64) -> bool,
    ) -> Result<f64, SettingError> {
        let hint = || self.refuse().with_hint(format!("`{}` takes a number {range}", self.word));
        let number = match (self.number, default) {
            (Some(text), _) => text.parse().map_err(|_| hint())?,
            (None, Some(default)) => default,
            (None, None) => return Err(hint()),
        };
        if fits(number) { Ok(number) } else { Err(hint()) }
    }
}
