//! `--set key=value`: any key of a recipe, named with dots, set from the command line.

use crate::RecipeError;
use std::str::FromStr;
use toml::{Table, Value};

/// Overrides in the order given; a later one wins.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides(Vec<Override>);

#[derive(Debug, Clone, PartialEq)]
struct Override {
    path: Vec<String>,
    value: Value,
}

impl Overrides {
    /// Reads `key=value` pairs. A value that is not TOML (a bare word) is a string.
    ///
    /// # Errors
    /// When a pair has no `=`, or its key an empty part.
    pub fn parse<S: AsRef<str>>(pairs: &[S]) -> Result<Self, RecipeError> {
        pairs.iter().map(|pair| pair.as_ref().parse()).collect::<Result<_, _>>().map(Self)
    }

    /// Each override as it is shown, and as a table that holds nothing else. Whether the key exists is for the recipe to
    /// judge.
    pub(crate) fn each(&self) -> impl Iterator<Item = (String, Table)> {
        self.0.iter().map(|Override { path, value }| {
            let nest = |inner: Value, name: &String| Value::Table([(name.clone(), inner)].into_iter().collect());
            let table = match path.iter().rev().fold(value.clone(), nest) {
                Value::Table(table) => table,
                // A path has at least one name.
                _ => Table::new(),
            };
            (format!("{}={value}", path.join(".")), table)
        })
    }

    /// The key of each override, name by name.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &[String]> {
        self.0.iter().map(|one| one.path.as_slice())
    }
}

impl FromStr for Override {
    type Err = RecipeError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let refused = |reason, hint| RecipeError::Override { given: given.to_owned(), reason, hint };
        let (key, value) =
            given.split_once('=').ok_or_else(|| refused("expected key=value", Some("for example run.steps=100")))?;
        let path: Vec<String> = key.trim().split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            return Err(refused("a part of the key is empty", None));
        }
        let value = value.trim();
        let parsed = toml::from_str::<Table>(&format!("value = {value}")).ok().and_then(|mut t| {
            // More than one key would be a value with a line feed in it.
            if t.len() == 1 { t.remove("value") } else { None }
        });
        Ok(Self { path, value: parsed.unwrap_or_else(|| Value::String(value.to_owned())) })
    }
}
