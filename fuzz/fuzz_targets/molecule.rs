//! Any text is a molecule or is refused, where it is and alike in one piece and byte by byte.
#![no_main]

use aquatint_molecule::{Molecule, SmilesReader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut reader = SmilesReader::new();
    let is_taken = text.bytes().all(|byte| reader.push(byte).is_ok()) && reader.molecule().is_ok();
    match Molecule::parse(text) {
        Ok(molecule) => assert!(is_taken && molecule.atoms() > 0),
        Err(error) => assert!(!is_taken && error.at <= text.len() && !error.to_string().is_empty()),
    }
});
