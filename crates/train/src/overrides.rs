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
    pub fn parse<S: AsRef<str>>(pairs: &[S]) -> Result<Self, RecipeError> {
        pairs.iter().map(|pair| pair.as_ref().parse()).collect::<Result<_, _>>().map(Self)
    }

    /// Whether nothing is overridden.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets each key in `table`, making the tables on its way. Whether the key exists is for the recipe to judge.
    pub(crate) fn apply(&self, table: &mut Table) -> Result<(), RecipeError> {
        for Override { path, value } in &self.0 {
            let refused = |reason: &'static str| RecipeError::Override { given: path.join("."), reason };
            let Some((last, parents)) = path.split_last() else { return Err(refused("a key is needed")) };
            let mut here = &mut *table;
            for name in parents {
                let inner = here.entry(name.clone()).or_insert_with(|| Value::Table(Table::new()));
                here = inner.as_table_mut().ok_or_else(|| refused("a part of the key before a dot is no table"))?;
            }
            here.insert(last.clone(), value.clone());
        }
        Ok(())
    }
}

impl FromStr for Override {
    type Err = RecipeError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let refused = |reason: &'static str| RecipeError::Override { given: given.to_owned(), reason };
        let (key, value) =
            given.split_once('=').ok_or_else(|| refused("expected key=value, for example run.steps=100"))?;
        let path: Vec<String> = key.trim().split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            return Err(refused("a part of the key is empty"));
        }
        let value = value.trim();
        let parsed = toml::from_str::<Table>(&format!("value = {value}")).ok().and_then(|mut t| {
            // More than one key would be a value with a line feed in it.
            if t.len() == 1 { t.remove("value") } else { None }
        });
        Ok(Self { path, value: parsed.unwrap_or_else(|| Value::String(value.to_owned())) })
    }
}
