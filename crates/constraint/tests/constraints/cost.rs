//! Sources that would take too much time or memory are refused, and what was compiled once is there again.

use crate::{compiler, vocabulary};
use aquatint_constraint::{CompileError, Compiler, ConstraintSpec, Limit};
use serde_json::{Value, json};
use std::sync::Arc;

fn limit(schema: Value) -> Option<Limit> {
    match compiler().compile(&ConstraintSpec::JsonSchema(schema)) {
        Err(CompileError::TooLarge { limit, .. }) => Some(limit),
        Err(error) => panic!("{error}"),
        Ok(_) => None,
    }
}

#[test]
fn hostile_schemas_meet_a_limit() {
    let doubled = |levels: usize| {
        let mut definitions = serde_json::Map::new();
        for level in 0..levels {
            let next = format!("#/$defs/{}", level + 1);
            let pair = json!({"type": "array", "prefixItems": [{"$ref": next}, {"$ref": next}]});
            definitions.insert(level.to_string(), pair);
        }
        definitions.insert(levels.to_string(), json!({"type": "null"}));
        json!({"$ref": "#/$defs/0", "$defs": definitions})
    };
    assert_eq!(limit(doubled(4)), None);
    assert_eq!(limit(doubled(40)), Some(Limit::Parts));
    assert_eq!(limit(json!({"type": "string", "maxLength": 1_000_000})), Some(Limit::Parts));
    assert_eq!(limit(json!({"type": "string", "pattern": "(a|b)*a(a|b){18}"})), Some(Limit::States));
    let strings: serde_json::Map<String, Value> = (0..1000)
        .map(|number| (number.to_string(), json!({"type": "string", "pattern": "a.*b", "maxLength": 120})))
        .collect();
    // Each of them is small, and all together are not.
    assert!(limit(json!({"properties": strings})).is_some());
    let nested = (0..120).fold(json!({"type": "null"}), |inner, _| json!({"type": "array", "items": inner}));
    assert_eq!(limit(nested), Some(Limit::Depth));
}

#[test]
fn what_was_compiled_is_there_again() {
    let compiler = Compiler::new(vocabulary()).unwrap();
    let compile = |source: &str| compiler.compile(&ConstraintSpec::Regex(source.to_owned())).unwrap().plain;
    let first = compile("a+");
    assert!(Arc::ptr_eq(&first, &compile("a+")) && !Arc::ptr_eq(&first, &compile("b+")));
}
