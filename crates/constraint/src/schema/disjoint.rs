//! Whether two schemas allow no value in common, as `oneOf` needs: exactly one of its schemas is to match.
//!
//! It is enough to show it for values of all kinds, also those that are never written.

use super::keywords::{Kind, Schema};
use super::value::are_same;
use super::{Compilation, Fault, Place};
use serde_json::{Map, Value};

/// Schemas within schemas that are compared.
const DEPTH: usize = 8;

impl Compilation<'_> {
    /// Refuses alternatives that may both match a value.
    pub(super) fn check_disjoint(&self, place: &Place, parts: &[Value]) -> Result<(), Fault> {
        for (index, later) in parts.iter().enumerate() {
            if let Some(earlier) = parts[..index].iter().position(|earlier| !self.are_disjoint(earlier, later, DEPTH)) {
                return Err(place.refuse(format!(
                    "schemas {earlier} and {index} may both match a value, and only one may; write `anyOf`"
                )));
            }
        }
        Ok(())
    }

    fn are_disjoint(&self, a: &Value, b: &Value, depth: usize) -> bool {
        let (Some(depth), Some(a), Some(b)) = (depth.checked_sub(1), self.target(a), self.target(b)) else {
            return false;
        };
        let (Value::Object(a), Value::Object(b)) = (a, b) else {
            return *a == Value::Bool(false) || *b == Value::Bool(false);
        };
        if let (Some(a), Some(b)) = (values(a), values(b)) {
            return !a.iter().any(|a| b.iter().any(|b| are_same(a, b)));
        }
        match (kinds(a), kinds(b)) {
            (Some(a), Some(b)) if !a.iter().any(|a| b.iter().any(|b| overlap(*a, *b))) => return true,
            (Some(x), Some(y)) if x == [Kind::Object] && y == [Kind::Object] => {}
            _ => return false,
        }
        let needs = |map: &Map<String, Value>, key: &str| {
            let required = map.get("required").and_then(Value::as_array);
            required.is_some_and(|keys| keys.iter().any(|required| required == key))
        };
        let has = |map: &Map<String, Value>, key: &str| map.get("properties").is_some_and(|p| p.get(key).is_some());
        let is_closed = |map: &Map<String, Value>| map.get("additionalProperties") == Some(&Value::Bool(false));
        let keys = [a, b].into_iter().filter_map(|map| map.get("required").and_then(Value::as_array));
        keys.flatten().filter_map(Value::as_str).any(|key| {
            let refuses = |map| is_closed(map) && !has(map, key);
            let both = needs(a, key) && needs(b, key) && has(a, key) && has(b, key);
            refuses(a) && needs(b, key)
                || refuses(b) && needs(a, key)
                || both && self.are_disjoint(&a["properties"][key], &b["properties"][key], depth)
        })
    }

    /// What references lead to.
    fn target<'s>(&'s self, schema: &'s Value) -> Option<&'s Value> {
        let mut schema = schema;
        for _ in 0..DEPTH {
            match schema.get("$ref") {
                Some(reference) => schema = self.resolve(reference.as_str()?)?,
                None => return Some(schema),
            }
        }
        None
    }
}

/// The only values that a schema allows.
fn values(map: &Map<String, Value>) -> Option<Vec<&Value>> {
    match (map.get("const"), map.get("enum")) {
        _ if map.get("nullable").is_some() => None,
        (Some(value), _) => Some(vec![value]),
        (None, Some(Value::Array(values))) => Some(values.iter().collect()),
        _ => None,
    }
}

/// The kinds of value that a schema allows at most.
fn kinds(map: &Map<String, Value>) -> Option<Vec<Kind>> {
    if let Some(values) = values(map) {
        let kinds = [Kind::Null, Kind::Boolean, Kind::String, Kind::Number, Kind::Array, Kind::Object];
        return Some(kinds.into_iter().filter(|kind| values.iter().any(|value| kind.holds(value))).collect());
    }
    let is_nullable = map.get("nullable").is_some();
    let place = Place::root();
    let schema = Schema::new(&place, map).ok()?;
    (map.contains_key("type") && !is_nullable).then(|| schema.kinds().ok()).flatten()
}

fn overlap(a: Kind, b: Kind) -> bool {
    a == b || matches!((a, b), (Kind::Integer, Kind::Number) | (Kind::Number, Kind::Integer))
}
