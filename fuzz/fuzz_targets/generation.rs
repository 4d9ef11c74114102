//! Any text is sampling advice or is refused, in the words of every family; what is accepted survives being written.
#![no_main]

use aquatint_checkpoint::GenerationDefaults;
use aquatint_network::families::FAMILIES;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    for family in FAMILIES {
        if let Err(error) = GenerationDefaults::parse("generation_config.json", text, family) {
            assert!(!error.to_string().is_empty());
        }
    }
});
