//! Any bytes are a picture or are refused, in one line, within bounded memory; what is a picture is fitted and written.
#![no_main]

use aquatint_codec::Picture;
use aquatint_codec::picture::{LONGEST_SIDE, MOST_PIXELS};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match Picture::decode("input", bytes) {
        Ok(picture) => {
            assert!((picture.width() * picture.height()) as u64 <= MOST_PIXELS);
            assert!(picture.width().max(picture.height()) <= LONGEST_SIDE as usize);
            let fitted = picture.fitted(16);
            let again = Picture::decode("again", &fitted.to_png().expect("it has pixels")).expect("it was just written");
            assert_eq!(again, fitted);
        }
        Err(error) => assert!(!error.to_string().is_empty() && !error.to_string().contains('\n')),
    }
});
