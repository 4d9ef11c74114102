//! Any text is a chat template or is refused; rendering one ends, within a bounded time and memory.
#![no_main]

use aquatint_vocabulary::{ChatTemplate, Message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|source: &str| {
    let Ok(template) = ChatTemplate::new(source, "<s>", "</s>") else { return };
    let conversation =
        [Message::new("system", "Be kind."), Message::new("user", "Hi"), Message::new("assistant", "Yes")];
    if let Err(error) = template.render(&conversation, true) {
        assert!(!error.to_string().is_empty());
    }
});
