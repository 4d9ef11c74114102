//! JSON objects whose keys differ. Of a key that is there twice, one value would be ignored silently.

use crate::error::ApiError;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// What the message of a key that is there twice begins with; the key and a backtick follow.
const REPEATED: &str = "repeated key `";

/// A value in which no object has a key twice.
struct Unambiguous(Value);

struct ValueVisitor;

/// The fields of a JSON object.
///
/// # Errors
/// When the bytes are no JSON object, or a key is there twice in it or in an object within it.
pub(crate) fn object(bytes: &[u8]) -> Result<Map<String, Value>, ApiError> {
    let invalid = |error: &serde_json::Error| ApiError::invalid(format!("the body is no JSON: {error}"));
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let read = serde_path_to_error::deserialize(&mut json);
    let Unambiguous(value) = read.map_err(|error: serde_path_to_error::Error<serde_json::Error>| {
        let message = error.inner().to_string();
        let repeated = message.strip_prefix(REPEATED).and_then(|rest| rest.rsplit_once('`'));
        let Some((key, _)) = repeated else { return invalid(error.inner()) };
        let path = error.path().to_string();
        let place = if path == "." { key.to_owned() } else { format!("{path}.{key}") };
        ApiError::invalid(format!("`{place}` is there twice")).of(place).code("repeated_parameter")
    })?;
    json.end().map_err(|error| invalid(&error))?;
    match value {
        Value::Object(fields) => Ok(fields),
        _ => Err(ApiError::invalid("the body is no JSON object")),
    }
}

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Unambiguous;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Unambiguous, E> {
        Ok(Unambiguous(Value::Null))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Unambiguous, E> {
        Ok(Unambiguous(value.into()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Unambiguous, E> {
        Ok(Unambiguous(number.into()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Unambiguous, E> {
        Ok(Unambiguous(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Unambiguous, E> {
        Ok(Unambiguous(number.into()))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Unambiguous, E> {
        Ok(Unambiguous(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Unambiguous, A::Error> {
        let mut values = Vec::new();
        while let Some(Unambiguous(value)) = elements.next_element()? {
            values.push(value);
        }
        Ok(Unambiguous(values.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Unambiguous, A::Error> {
        let mut fields = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if fields.contains_key(&key) {
                return Err(A::Error::custom(format_args!("{REPEATED}{key}`")));
            }
            let Unambiguous(value) = entries.next_value()?;
            fields.insert(key, value);
        }
        Ok(Unambiguous(fields.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_there_twice_is_refused_by_its_place() {
        for (text, place) in [
            (r#"{"seed":1,"prompt":"x","seed":1}"#, "seed"),
            (r#"{"a`b":1,"a\u0060b":2}"#, "a`b"),
            (r#"{"options":{"seed":1,"top_k":3,"seed":null}}"#, "options.seed"),
            (r#"{"messages":[{"role":"a"},{"role":"a","role":"b"}],"a":1}"#, "messages[1].role"),
        ] {
            let error = object(text.as_bytes()).unwrap_err();
            assert_eq!(error.message(), format!("`{place}` is there twice"));
            assert_eq!(serde_json::json!(error.body())["error"]["param"], place);
        }
    }

    #[test]
    fn an_object_is_read_as_it_stands() {
        let text = r#"{"b":[1,-2,0.5,1e300,18446744073709551615,true,null,"\u00e4"],"a":{"b":{},"a":[]}} "#;
        assert_eq!(object(text.as_bytes()).unwrap(), serde_json::from_str::<Map<String, Value>>(text).unwrap());
        for (text, message) in [
            ("[1]", "the body is no JSON object"),
            (r#"{"a":1} {"#, "the body is no JSON: trailing characters at line 1 column 9"),
            (r#"{"a":}"#, "the body is no JSON: expected value at line 1 column 6"),
            ("", "the body is no JSON: EOF while parsing a value at line 1 column 0"),
        ] {
            assert_eq!(object(text.as_bytes()).unwrap_err().message(), message);
        }
    }
}
