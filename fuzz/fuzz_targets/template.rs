//! Any text is a template, which reads back as it is shown, or is refused at a place that exists in it.
#![no_main]

use aquatint_vocabulary::{Piece, Template};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|source: &str| {
    match Template::parse(source) {
        Ok(template) => {
            assert_eq!(Template::parse(&template.to_string()).as_ref(), Ok(&template));
            assert!(!template.pieces().windows(2).any(|pair| matches!(pair, [Piece::Text(_), Piece::Text(_)])));
        }
        Err(error) => {
            assert!(error.column <= source.chars().count());
            assert_eq!(error.to_string().lines().count(), 3);
        }
    }
});
