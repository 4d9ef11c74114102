//! Any bytes have credentials, have none, or are refused, in one line; so are any bytes beside a text.
#![no_main]

use aquatint_credentials::{CredentialsError, read, read_sidecar};
use libfuzzer_sys::fuzz_target;

fn one_line<T>(read: Result<T, CredentialsError>) {
    if let Err(error) = read {
        assert!(!error.to_string().is_empty() && !error.to_string().contains('\n'));
    }
}

fuzz_target!(|bytes: &[u8]| {
    ["png", "jpg", "webp", "wav", "flac", "mp3"].iter().for_each(|format| one_line(read(format, bytes, None)));
    one_line(read_sidecar(bytes, "txt", b"A fox.", None));
});
