//! JSON schemas: what is written is valid, what cannot be kept is refused by name.

use crate::validator::fault;
use crate::{compiler, refused, text};
use aquatint_constraint::{CompileError, ConstraintSpec};
use aquatint_generate::ConstraintError;
use proptest::prelude::*;
use serde_json::{Value, json};

fn spec(schema: &Value) -> ConstraintSpec {
    ConstraintSpec::JsonSchema(schema.clone())
}

/// Draws texts of a schema and checks them; the texts.
fn texts(schema: &Value, length: usize, count: u64) -> Vec<String> {
    let constraint = compiler().compile(&spec(schema)).unwrap_or_else(|error| panic!("{schema}: {error}"));
    let valid = |seed| {
        let text = text(constraint.plain.as_ref(), length, seed).unwrap_or_else(|error| panic!("{schema}: {error}"));
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{schema}: {text}: {error}"));
        let fault = fault(schema, schema, &value);
        assert_eq!(fault, None, "{schema}: {text}");
        text
    };
    (0..count).map(valid).collect()
}

#[test]
fn what_is_written_is_valid() {
    let schemas = [
        json!(true),
        json!({}),
        json!({"type": "object"}),
        json!({"type": ["string", "null"], "maxLength": 4}),
        json!({"type": "string", "minLength": 2, "maxLength": 3}),
        json!({"type": "string", "pattern": "^[a-z]{2}\\d$"}),
        json!({"type": "string", "pattern": "b.[\\w\"\\\\]", "maxLength": 8}),
        json!({"type": "string", "pattern": "x$|^y", "minLength": 2}),
        json!({"enum": ["red", "green", {"a": [1, 2.5, "\"\n"]}, null, 7]}),
        json!({"type": "integer", "enum": [1, "no", 3]}),
        json!({"const": {"b": 1, "a": [true]}}),
        json!({"type": "boolean", "nullable": true}),
        json!({"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 4}),
        json!({"type": "array", "items": {"type": "boolean"}, "minItems": 1}),
        json!({"type": "array", "maxItems": 0}),
        json!({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "boolean"}], "minItems": 1}),
        json!({"type": "array", "prefixItems": [{"const": 1}], "items": {"const": 2}, "minItems": 2, "maxItems": 3}),
        json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "boolean"}, "c": {"const": 1}},
               "required": ["b"]}),
        json!({"type": "object", "properties": {"a": true, "b": {"const": 2}, "c": {"const": 3}}, "maxProperties": 2,
               "minProperties": 1}),
        json!({"type": "object", "properties": {"a": {"const": 1}}, "required": ["z"],
               "additionalProperties": {"type": "boolean"}}),
        json!({"additionalProperties": {"type": "integer"}, "maxProperties": 2, "minProperties": 1}),
        json!({"type": "object", "propertyNames": {"pattern": "^k[0-9]$"}, "additionalProperties": {"const": 0}}),
        json!({"type": "object", "additionalProperties": false}),
        json!({"anyOf": [{"type": "integer"}, {"type": "object", "properties": {"a": {"type": "null"}}}]}),
        json!({"oneOf": [{"type": "string", "maxLength": 2}, {"type": "integer"}]}),
        json!({"oneOf": [
            {"type": "object", "properties": {"kind": {"const": "a"}, "x": {"type": "integer"}}, "required": ["kind"]},
            {"type": "object", "properties": {"kind": {"const": "b"}, "y": {"type": "boolean"}}, "required": ["kind"]}]}),
        json!({"allOf": [{"$ref": "#/$defs/name"}], "$defs": {"name": {"type": "string", "maxLength": 3}}}),
        json!({"$ref": "#/$defs/tree", "$defs": {"tree": {"type": "object", "properties":
            {"value": {"type": "integer"}, "left": {"$ref": "#/$defs/tree"}, "right": {"$ref": "#/$defs/tree"}},
            "required": ["value"], "additionalProperties": false}}}),
        json!({"type": "array", "items": {"$ref": "#"}}),
        json!({"minimum": 3, "exclusiveMaximum": 4}),
    ];
    for schema in &schemas {
        texts(schema, 48, 6);
    }
}

#[test]
fn texts_vary_as_far_as_the_schema_lets_them() {
    let schema = json!({"type": "object", "required": ["b"],
        "properties": {"a": {"type": "boolean"}, "b": {"type": "string", "minLength": 3}}});
    let texts = texts(&schema, 40, 40);
    let has = |part: &str| texts.iter().filter(|text| text.contains(part)).count();
    // A prediction that is noise makes each token unlikely, and so what may be left out.
    assert!((1..40).contains(&has(": ")) && has("\"a\"") < 40 && has("\"b\"") == 40, "{texts:?}");
    let different: std::collections::BTreeSet<&String> = texts.iter().collect();
    assert!(different.len() > 30, "{texts:?}");
}

#[test]
fn numbers_stay_within_their_bounds() {
    for (number, schema) in [
        json!({"type": "integer", "minimum": -12, "maximum": 105}),
        json!({"type": "integer", "exclusiveMinimum": 99, "exclusiveMaximum": 101}),
        json!({"type": "integer", "minimum": 0.5, "maximum": 2.5}),
        json!({"type": "integer", "maximum": -7}),
        json!({"type": "integer", "minimum": 1_000_000}),
        json!({"type": "integer", "multipleOf": 7, "minimum": -30, "maximum": 5000}),
        json!({"type": "number", "minimum": 0, "maximum": 1}),
        json!({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.001}),
        json!({"type": "number", "minimum": -1.25, "maximum": -1.2}),
        json!({"type": "number", "exclusiveMinimum": -3.5, "exclusiveMaximum": 0}),
        json!({"type": "number", "minimum": 99.995}),
        json!({"type": "number", "exclusiveMinimum": 1e14, "maximum": 100_000_000_000_001_i64}),
        json!({"type": "number", "minimum": 1e-7, "maximum": 1e30}),
        json!({"type": ["integer", "string"], "minimum": 5, "maximum": 5, "maxLength": 1}),
    ]
    .iter()
    .enumerate()
    {
        let found = texts(schema, 24, 40);
        assert!(found.iter().any(|text| *text != found[0]) || [1, 13].contains(&number), "{schema}: {found:?}");
    }
}

#[test]
fn formats_are_written_so_that_every_reader_takes_them() {
    let of = |format: &str| texts(&json!({"type": "string", "format": format}), 64, 12);
    let is = |text: &str, pattern: &str| regex::Regex::new(&format!("^\"{pattern}\"$")).unwrap().is_match(text);
    for text in of("date") {
        let parts: Vec<u32> = text.trim_matches('"').split('-').map(|part| part.parse().unwrap()).collect();
        let days = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][parts[1] as usize - 1];
        assert!(parts[0] >= 1900 && (1..=days).contains(&parts[2]), "{text}");
    }
    assert!(of("uuid").iter().all(|text| is(text, "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")));
    assert!(of("date-time").iter().all(|text| is(text, r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)")));
    let byte = |part: &str| part.parse::<u8>().is_ok();
    assert!(of("ipv4").iter().all(|text| text.trim_matches('"').split('.').filter(|part| byte(part)).count() == 4));
    assert!(of("email").iter().all(|text| is(text, r"[a-z0-9._]+@[a-z0-9.-]+\.[a-z]+")));
    assert!(of("ipv6").iter().all(|text| text.trim_matches('"').parse::<std::net::Ipv6Addr>().is_ok()));
    for format in ["time", "duration", "hostname", "uri", "byte", "regex"] {
        assert_eq!(of(format).len(), 12);
    }
}

#[test]
fn what_a_constraint_cannot_hold_is_refused_by_name_and_place() {
    let of = |schema: Value| {
        let message = refused(&spec(&schema));
        let (message, hint) = message.split_once(" | ").unwrap();
        assert_eq!(hint, "docs/CONSTRAINTS.md lists the keywords");
        message.strip_prefix("the JSON schema cannot be kept at ").unwrap().to_owned()
    };
    let properties = |schema: Value| json!({"type": "object", "properties": {"a/b": schema}});
    assert_eq!(of(properties(json!({"not": {}}))), "`#/properties/a~1b`: the keyword `not` is not supported");
    assert_eq!(of(json!({"type": "integer", "minLength": 1})), "`#`: `minLength` says nothing about the type integer");
    assert_eq!(of(json!({"type": "array", "uniqueItems": true})), "`#`: the keyword `uniqueItems` is not supported");
    assert_eq!(of(json!({"type": "text"})), "`#/type`: \"text\" is not the name of a type");
    assert_eq!(of(json!({"anyOf": [{}], "type": "string"})), "`#`: `type` beside `anyOf` cannot be kept");
    assert_eq!(
        of(json!({"oneOf": [{"type": "integer"}, {"type": "number"}]})),
        "`#/oneOf`: schemas 0 and 1 may both match a value, and only one may; write `anyOf`"
    );
    assert_eq!(
        of(json!({"allOf": [{}, {}]})),
        "`#/allOf`: more than one schema at once cannot be kept; write them as one"
    );
    assert_eq!(
        of(json!({"$ref": "https://example.org/a"})),
        "`#/$ref`: https://example.org/a is not a place in the schema; only `#` and `#/…` are followed"
    );
    assert_eq!(
        of(json!({"type": "string", "pattern": "a(?=b)"})),
        "`#/pattern`: `a(?=b)`: look-around, including look-ahead and look-behind, is not supported"
    );
    assert_eq!(of(json!({"pattern": "(^a|b)c"})), "`#/pattern`: `(^a|b)c`: it has an anchor in the middle");
    assert_eq!(
        of(json!({"format": "iri"})),
        "`#/format`: \"iri\" is not supported; formats are date, time, date-time, duration, uuid, ipv4, ipv6, email, \
         hostname, uri, byte, regex"
    );
    assert_eq!(
        of(json!({"type": "number", "multipleOf": 0.1})),
        "`#/multipleOf`: it is kept for the type integer only"
    );
    assert_eq!(of(json!({"maxItems": -1})), "`#/maxItems`: -1 is not a number from 0 to 999999999");
    assert_eq!(of(json!([])), "`#`: a schema is an object, true or false");
    assert!(matches!(compiler().compile(&spec(&json!(false))), Err(CompileError::Empty { .. })));
    let never = json!({"type": "object", "properties": {}, "required": ["a"], "additionalProperties": false});
    assert!(matches!(compiler().compile(&spec(&never)), Err(CompileError::Empty { .. })));
    let endless = json!({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]});
    assert!(matches!(compiler().compile(&spec(&endless)), Err(CompileError::Empty { .. })));
}

#[test]
fn any_json_object_is_one() {
    let constraint = compiler().compile(&ConstraintSpec::JsonObject).unwrap();
    for seed in 0..12 {
        let text = text(constraint.plain.as_ref(), 40, seed).unwrap();
        assert!(serde_json::from_str::<Value>(&text).unwrap().is_object(), "{text}");
    }
}

/// A schema of some levels.
fn schema(levels: u32) -> impl Strategy<Value = Value> {
    let small = 0..4_usize;
    let number = -50..200_i32;
    let leaf = prop_oneof![
        Just(json!({"type": "null"})),
        Just(json!({"type": "boolean"})),
        (small.clone(), small.clone())
            .prop_map(|(least, more)| { json!({"type": "string", "minLength": least, "maxLength": least + more}) }),
        (number.clone(), 0..90_i32)
            .prop_map(|(least, more)| { json!({"type": "integer", "minimum": least, "maximum": least + more}) }),
        (number, 1..90_i32).prop_map(|(least, more)| {
            let least = f64::from(least) / 8.0;
            json!({"type": "number", "exclusiveMinimum": least, "maximum": least + f64::from(more) / 16.0})
        }),
        prop::sample::select(vec!["^a*b", "[0-9]+", "x|y"])
            .prop_map(|pattern| json!({"type": "string", "pattern": pattern, "maxLength": 9})),
        prop::collection::vec(prop::sample::select(vec![json!("a"), json!(1), json!(null), json!({"k": []})]), 1..3)
            .prop_map(|values| json!({"enum": values})),
    ];
    leaf.prop_recursive(levels, 12, 3, |inner| {
        let key = prop::sample::select(vec!["a", "b", "the cat", "\"", "é"]);
        prop_oneof![
            (prop::collection::btree_map(key, (inner.clone(), any::<bool>()), 0..4)).prop_map(|entries| {
                let properties: serde_json::Map<String, Value> =
                    entries.iter().map(|(key, (schema, _))| ((*key).to_owned(), schema.clone())).collect();
                let required: Vec<&str> = entries.iter().filter(|(_, (_, is))| *is).map(|(key, _)| *key).collect();
                json!({"type": "object", "properties": properties, "required": required})
            }),
            (inner.clone(), 0..3_usize, 0..3_usize)
                .prop_map(|(items, least, more)| json!({"type": "array", "items": items, "minItems": least, "maxItems": least + more})),
            prop::collection::vec(inner.clone(), 1..3).prop_map(|parts| json!({"anyOf": parts})),
            inner.prop_map(|value| json!({"type": "object", "additionalProperties": value, "maxProperties": 2})),
        ]
    })
}

/// Any JSON, with keywords of schemas among its keys.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3..40_i64).prop_map(Value::from),
        prop::sample::select(vec!["string", "object", "integer", "array", "#", "#/a", "a*", "date", "("])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let keyword = prop::sample::select(vec![
            "type",
            "properties",
            "items",
            "required",
            "enum",
            "const",
            "anyOf",
            "oneOf",
            "allOf",
            "$ref",
            "minLength",
            "maxLength",
            "pattern",
            "format",
            "minimum",
            "maximum",
            "multipleOf",
            "minItems",
            "maxItems",
            "prefixItems",
            "additionalProperties",
            "propertyNames",
            "nullable",
            "title",
            "a",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(keyword, inner, 0..4).prop_map(|entries| {
                Value::from(
                    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<serde_json::Map<_, _>>(),
                )
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_a_schema_is_compiled_within_the_limits_or_refused(schema in anything()) {
        match compiler().compile(&spec(&schema)) {
            Ok(constraint) => {
                // A list of types may hold the same one twice, so only what is read as a schema is checked.
                let text = text(constraint.plain.as_ref(), 40, 1);
                prop_assert!(text.is_err() || serde_json::from_str::<Value>(&text.unwrap()).is_ok());
            }
            Err(CompileError::Schema { place, .. }) => prop_assert!(place.starts_with('#')),
            Err(CompileError::Empty { .. } | CompileError::TooLarge { .. }) => {}
            Err(error) => prop_assert!(false, "{}", error),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_schema_and_the_hole_what_is_written_is_valid(
        schema in schema(3),
        length in 1..60_usize,
        seed in any::<u64>(),
    ) {
        let constraint = compiler().compile(&spec(&schema)).unwrap();
        let text = match text(constraint.plain.as_ref(), length, seed) {
            Err(ConstraintError::NoRoom { open, shortest }) => {
                prop_assert!(open < shortest);
                text(constraint.plain.as_ref(), shortest, seed)
            }
            other => other,
        };
        let text = text.unwrap();
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{schema}: {text}: {error}"));
        prop_assert_eq!(fault(&schema, &schema, &value), None, "{}: {}", schema, text);
    }
}
