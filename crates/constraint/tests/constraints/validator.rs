//! Whether a value is valid under a schema: a direct reading of JSON Schema, for the keywords that constraints keep.

use regex::Regex;
use serde_json::Value;

/// Why a value is not valid.
pub(crate) fn fault(root: &Value, schema: &Value, value: &Value) -> Option<String> {
    let map = match schema {
        Value::Bool(true) => return None,
        Value::Bool(false) => return Some("nothing is valid".to_owned()),
        other => other.as_object().expect("a schema"),
    };
    if map.get("nullable") == Some(&Value::Bool(true)) && value.is_null() {
        return None;
    }
    let number = |keyword: &str| map.get(keyword).and_then(Value::as_f64);
    let within = |least: &str, most: &str, count: usize| {
        number(least).is_none_or(|least| count as f64 >= least) && number(most).is_none_or(|most| count as f64 <= most)
    };
    let valid = |schema: &Value, value: &Value| fault(root, schema, value).is_none();
    let list = |keyword: &str| map.get(keyword).and_then(Value::as_array);
    let fail = |keyword: &str| Some(format!("{keyword} of {schema}: {value}"));
    if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
        return fault(root, root.pointer(&reference[1..]).expect("a place"), value);
    }
    if let Some(types) = map.get("type") {
        let names: Vec<&str> = types
            .as_array()
            .map_or_else(|| vec![types], |types| types.iter().collect())
            .into_iter()
            .filter_map(Value::as_str)
            .collect();
        let is = |name: &&str| match *name {
            "null" => value.is_null(),
            "boolean" => value.is_boolean(),
            "string" => value.is_string(),
            "number" => value.is_number(),
            "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
            "array" => value.is_array(),
            "object" => value.is_object(),
            other => panic!("type {other}"),
        };
        if !names.iter().any(is) {
            return fail("type");
        }
    }
    if map.get("const").is_some_and(|constant| constant != value) {
        return fail("const");
    }
    if list("enum").is_some_and(|values| !values.contains(value)) {
        return fail("enum");
    }
    if list("anyOf").is_some_and(|parts| !parts.iter().any(|part| valid(part, value))) {
        return fail("anyOf");
    }
    if list("oneOf").is_some_and(|parts| parts.iter().filter(|part| valid(part, value)).count() != 1) {
        return fail("oneOf");
    }
    if let Some(text) = value.as_str() {
        if !within("minLength", "maxLength", text.chars().count()) {
            return fail("length");
        }
        if let Some(pattern) = map.get("pattern").and_then(Value::as_str)
            && !Regex::new(pattern).expect("a pattern").is_match(text)
        {
            return fail("pattern");
        }
    }
    if let (Some(value), Some(map)) = (value.as_f64(), Some(map)) {
        let holds = |keyword: &str, holds: fn(f64, f64) -> bool| {
            map.get(keyword).and_then(Value::as_f64).is_none_or(|bound| holds(value, bound))
        };
        let is_within = holds("minimum", |value, bound| value >= bound)
            && holds("maximum", |value, bound| value <= bound)
            && holds("exclusiveMinimum", |value, bound| value > bound)
            && holds("exclusiveMaximum", |value, bound| value < bound)
            && holds("multipleOf", |value, divisor| value % divisor == 0.0);
        if !is_within {
            return fail("bounds");
        }
    }
    if let Some(values) = value.as_array() {
        if !within("minItems", "maxItems", values.len()) {
            return fail("items");
        }
        let first = list("prefixItems").map_or(&[][..], Vec::as_slice);
        for (index, value) in values.iter().enumerate() {
            let schema = first.get(index).or_else(|| map.get("items"));
            if let Some(fault) = schema.and_then(|schema| fault(root, schema, value)) {
                return Some(fault);
            }
        }
    }
    if let Some(entries) = value.as_object() {
        if !within("minProperties", "maxProperties", entries.len()) {
            return fail("properties");
        }
        let mut required = list("required").into_iter().flatten().filter_map(Value::as_str);
        if required.any(|key| !entries.contains_key(key)) {
            return fail("required");
        }
        for (key, value) in entries {
            if let Some(names) = map.get("propertyNames")
                && let Some(fault) = fault(root, names, &Value::String(key.clone()))
            {
                return Some(fault);
            }
            let own = map.get("properties").and_then(|properties| properties.get(key));
            if let Some(schema) = own.or_else(|| map.get("additionalProperties"))
                && let Some(fault) = fault(root, schema, value)
            {
                return Some(fault);
            }
        }
    }
    None
}
