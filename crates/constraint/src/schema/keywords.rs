//! The keywords of a schema: which of them say something, for which kinds of value, and which only describe.

use super::{Fault, Place};
use serde_json::{Map, Value};

/// A kind of JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Boolean,
    String,
    Integer,
    Number,
    Array,
    Object,
}

/// Keywords that say nothing about what is valid.
const DESCRIPTIONS: [&str; 14] = [
    "title",
    "description",
    "default",
    "examples",
    "example",
    "deprecated",
    "readOnly",
    "writeOnly",
    "$schema",
    "$comment",
    "$defs",
    "definitions",
    "nullable",
    "$id",
];

impl Kind {
    const ALL: [Self; 7] =
        [Self::Null, Self::Boolean, Self::String, Self::Integer, Self::Number, Self::Array, Self::Object];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Array => "array",
            Self::Object => "object",
        }
    }

    /// Keywords about values of the kind.
    fn keywords(self) -> &'static [&'static str] {
        match self {
            Self::Null | Self::Boolean => &[],
            Self::String => &["minLength", "maxLength", "pattern", "format"],
            Self::Integer | Self::Number => {
                &["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]
            }
            Self::Array => &["items", "prefixItems", "minItems", "maxItems"],
            Self::Object => {
                &["properties", "required", "additionalProperties", "minProperties", "maxProperties", "propertyNames"]
            }
        }
    }

    /// Whether a value is of the kind.
    pub(super) fn holds(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Null, Value::Null)
            | (Self::Boolean, Value::Bool(_))
            | (Self::String, Value::String(_))
            | (Self::Number, Value::Number(_))
            | (Self::Array, Value::Array(_))
            | (Self::Object, Value::Object(_)) => true,
            (Self::Integer, Value::Number(number)) => number.as_f64().is_some_and(|number| number.fract() == 0.0),
            _ => false,
        }
    }
}

/// A schema that is an object, with its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schema<'a> {
    pub(super) place: &'a Place,
    map: &'a Map<String, Value>,
}

impl<'a> Schema<'a> {
    pub(super) fn new(place: &'a Place, map: &'a Map<String, Value>) -> Result<Self, Fault> {
        Ok(Self { place, map })
    }

    pub(super) fn get(&self, keyword: &str) -> Option<&'a Value> {
        self.map.get(keyword)
    }

    /// The value of a keyword that says everything, but for what `beside` may stand beside it.
    pub(super) fn alone(&self, keyword: &str, beside: &[&str]) -> Result<Option<&'a Value>, Fault> {
        let Some(value) = self.map.get(keyword) else { return Ok(None) };
        let allowed = |other: &str| other == keyword || beside.contains(&other) || DESCRIPTIONS.contains(&other);
        match self.map.keys().find(|other| !allowed(other)) {
            Some(other) => Err(self.place.refuse(format!("`{other}` beside `{keyword}` cannot be kept"))),
            None => Ok(Some(value)),
        }
    }

    /// The kinds of value that it is about: those of `type`, and where it has none those of its keywords, as values of
    /// other kinds are never written. None where it has no such keyword.
    pub(super) fn kinds(&self) -> Result<Vec<Kind>, Fault> {
        let Some(types) = self.map.get("type") else {
            let about = |kind: &Kind| kind.keywords().iter().any(|keyword| self.map.contains_key(*keyword));
            // Keywords of numbers are about integers, too.
            return Ok(Kind::ALL.into_iter().filter(|kind| *kind != Kind::Integer).filter(about).collect());
        };
        let place = self.place.of("type");
        let names: Vec<&Value> = match types {
            Value::Array(names) if !names.is_empty() => names.iter().collect(),
            name => vec![name],
        };
        let kind = |name: &Value| {
            let found = Kind::ALL.into_iter().find(|kind| name.as_str() == Some(kind.name()));
            found.ok_or_else(|| place.refuse(format!("{name} is not the name of a type")))
        };
        names.into_iter().map(kind).collect()
    }

    /// Whether a value is of one of the types.
    pub(super) fn has_type_of(&self, value: &Value) -> Result<bool, Fault> {
        let kinds = if self.map.contains_key("type") { self.kinds()? } else { Vec::new() };
        Ok(kinds.is_empty() || kinds.iter().any(|kind| kind.holds(value)))
    }

    /// Refuses what is not kept of values of these kinds.
    pub(super) fn check_keywords(&self, kinds: &[Kind]) -> Result<(), Fault> {
        for (keyword, value) in self.map {
            let keyword = keyword.as_str();
            let about = |kind: &Kind| kind.keywords().contains(&keyword);
            let is_known = keyword == "type" || DESCRIPTIONS.contains(&keyword) || kinds.iter().any(about);
            let says_nothing = matches!((keyword, value), ("uniqueItems", Value::Bool(false)));
            if is_known || says_nothing {
                continue;
            }
            let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
            return Err(self.place.refuse(match Kind::ALL.iter().any(about) {
                true => format!("`{keyword}` says nothing about the type {}", names.join(" or ")),
                false => format!("the keyword `{keyword}` is not supported"),
            }));
        }
        Ok(())
    }

    /// A count, such as `minLength`.
    pub(super) fn count(&self, keyword: &str) -> Result<Option<usize>, Fault> {
        let Some(value) = self.map.get(keyword) else { return Ok(None) };
        let whole = value.as_f64().filter(|number| number.fract() == 0.0 && (0.0..1e9).contains(number));
        match whole {
            Some(number) => Ok(Some(number as usize)),
            None => Err(self.place.of(keyword).refuse(format!("{value} is not a number from 0 to 999999999"))),
        }
    }

    /// A least and a most count.
    pub(super) fn counts(&self, least: &str, most: &str) -> Result<(usize, Option<usize>), Fault> {
        Ok((self.count(least)?.unwrap_or(0), self.count(most)?))
    }
}
