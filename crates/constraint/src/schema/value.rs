//! JSON values as they are written.

use super::{colon, separator};
use crate::expression::Expression;
use serde_json::Value;

/// The ways to write a value: those of the constraint, with its blanks.
pub(super) fn written(value: &Value) -> Expression {
    let list = |open: &str, parts: Vec<Expression>, close: &str| {
        let mut all = vec![Expression::text(open)];
        for (index, part) in parts.into_iter().enumerate() {
            if index > 0 {
                all.push(separator());
            }
            all.push(part);
        }
        all.push(Expression::text(close));
        Expression::All(all)
    };
    match value {
        Value::Array(values) => list("[", values.iter().map(written).collect(), "]"),
        Value::Object(map) => {
            let entry = |(key, value): (&String, &Value)| Expression::All(vec![key_text(key), colon(), written(value)]);
            list("{", map.iter().map(entry).collect(), "}")
        }
        other => Expression::text(&other.to_string()),
    }
}

/// A text as a JSON string.
pub(super) fn key_text(key: &str) -> Expression {
    Expression::text(&Value::String(key.to_owned()).to_string())
}

/// Whether two values are the same to a schema, to which 1 and 1.0 are.
pub(super) fn are_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| are_same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            let same = |(key, a): (&String, &Value)| b.get(key).is_some_and(|b| are_same(a, b));
            a.len() == b.len() && a.iter().all(same)
        }
        _ => a == b,
    }
}
