//! Any body of a request is read, or refused as the client's fault with a reason.
#![no_main]

use aquatint_serve::{PARSERS, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (parser, bytes) = input;
    if let Err((status, message)) = parse(usize::from(parser) % PARSERS, bytes) {
        assert_eq!(status, 400);
        assert!(!message.is_empty());
    }
});
