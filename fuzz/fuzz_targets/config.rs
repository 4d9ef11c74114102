//! Any JSON is the description of a network that can be, or is refused. What is accepted can be written and read again.
#![no_main]

use aquatint_checkpoint::Quantisation;
use aquatint_network::families;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let Ok(config) = serde_json::from_slice::<serde_json::Value>(text) else { return };
    // Whether it describes quantised matrices does not depend on the network.
    if let Err(error) = Quantisation::from_config("config.json", &config) {
        assert!(!error.to_string().is_empty());
    }
    let _ = families::unknown_keys(&config);
    match families::from_config(&config) {
        Ok(spec) => assert!(spec.parameter_count() > 0),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
