//! Any JSON is a schema that is compiled within the limits or refused at a place; any text a regular expression, too.
#![no_main]

use aquatint_constraint::{CompileError, Compiler, ConstraintSpec};
use aquatint_vocabulary::Vocabulary;
use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

fuzz_target!(|source: &str| {
    static COMPILER: OnceLock<Compiler> = OnceLock::new();
    let compiler = COMPILER.get_or_init(|| {
        let text = "{\"name\": \"a text\", \"age\": 12}".to_owned();
        let vocabulary = Vocabulary::train([text].into_iter(), 270).expect("a text to learn from");
        Compiler::new(&vocabulary).expect("a byte-level vocabulary")
    });
    let spec = match serde_json::from_str(source) {
        Ok(schema) => ConstraintSpec::JsonSchema(schema),
        Err(_) => ConstraintSpec::Regex(source.to_owned()),
    };
    if let Err(CompileError::Schema { place, .. }) = compiler.compile(&spec) {
        assert!(place.starts_with('#'));
    }
});
