//! Objects: the properties of a schema in its order, or a map from any keys to values.

use super::keywords::Schema;
use super::string::any_key;
use super::value::key_text;
use super::{Compilation, Fault, Path, colon, separator};
use crate::expression::{Expression, Item};
use serde_json::{Map, Value};
use std::sync::Arc;

/// An object of some content.
fn braces(content: Expression) -> Expression {
    Expression::All(vec![Expression::text("{"), content, Expression::text("}")])
}

/// An object that maps keys to values, so many of them.
pub(super) fn map(key: Expression, value: Expression, least: usize, most: Option<usize>) -> Expression {
    braces(Expression::All(vec![key, colon(), value]).separated(separator(), least, most))
}

impl Compilation<'_> {
    pub(super) fn object(&self, schema: &Schema<'_>, path: &Path) -> Result<Expression, Fault> {
        let (least, most) = schema.counts("minProperties", "maxProperties")?;
        let none = Map::new();
        let place = schema.place.of("properties");
        let properties = match schema.get("properties") {
            None => &none,
            Some(Value::Object(properties)) => properties,
            Some(_) => return Err(place.refuse("it is an object of schemas")),
        };
        let required = required(schema)?;
        let others = schema.get("additionalProperties");
        let other = |path: &Path| match others {
            None => Ok(self.anything(self.levels)),
            Some(others) => self.schema(&schema.place.of("additionalProperties"), others, path),
        };
        if properties.is_empty() && required.is_empty() {
            let key = match schema.get("propertyNames") {
                None => any_key(),
                Some(names) => {
                    let place = schema.place.of("propertyNames");
                    let Value::Object(names) = names else { return Err(place.refuse("it is an object")) };
                    self.key(&Schema::new(&place, names)?, path)?
                }
            };
            if least > 1 {
                let reason = "more than 1 is not kept where keys are free, as one may be written twice";
                return Err(schema.place.of("minProperties").refuse(reason));
            }
            return match others {
                Some(Value::Bool(false)) => {
                    Ok(if least == 0 { braces(Expression::empty()) } else { Expression::never() })
                }
                _ => Ok(map(key, other(path)?, least, most)),
            };
        }
        if schema.get("propertyNames").is_some() {
            return Err(schema.place.of("propertyNames").refuse("it is kept without `properties` only"));
        }
        let mut items = Vec::new();
        for (key, value) in properties {
            let value = self.schema(&place.of(key), value, path)?;
            let of = Expression::All(vec![key_text(key), colon(), value]);
            items.push(Item { of, is_required: required.contains(&key.as_str()) });
        }
        for key in required.iter().filter(|key| !properties.contains_key(**key)) {
            let of = Expression::All(vec![key_text(key), colon(), other(path)?]);
            items.push(Item { of, is_required: true });
        }
        Ok(braces(Expression::List { items, separator: Arc::new(separator()), least, most }))
    }

    /// The keys that a schema of names allows.
    fn key(&self, names: &Schema<'_>, path: &Path) -> Result<Expression, Fault> {
        if let Some(Value::Array(_)) = names.get("enum") {
            return self.without_null(names, path);
        }
        names.check_keywords(&[super::Kind::String])?;
        match names.kinds()?.as_slice() {
            [] | [super::Kind::String] => self.string(names),
            _ => Err(names.place.refuse("keys are strings")),
        }
    }
}

/// The keys that have to be there, each once.
fn required<'a>(schema: &Schema<'a>) -> Result<Vec<&'a str>, Fault> {
    let refuse = || schema.place.of("required").refuse("it is a list of keys");
    let Some(value) = schema.get("required") else { return Ok(Vec::new()) };
    let mut keys: Vec<&str> = Vec::new();
    for key in value.as_array().ok_or_else(refuse)? {
        let key = key.as_str().ok_or_else(refuse)?;
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    Ok(keys)
}
