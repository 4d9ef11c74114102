//! Any bytes are a sound or are refused, in one line, within bounded memory; what is a sound is written and read again.
#![no_main]

use aquatint_codec::Sound;
use aquatint_codec::sound::{MOST_SECONDS, RATES};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match Sound::decode("input", bytes) {
        Ok(sound) => {
            assert!(RATES.contains(&sound.rate()) && !sound.samples().is_empty());
            assert!(sound.seconds() <= f64::from(MOST_SECONDS));
            let again = Sound::decode("again", &sound.to_wav().expect("it is short")).expect("it was just written");
            assert_eq!((again.rate(), again.samples().len()), (sound.rate(), sound.samples().len()));
        }
        Err(error) => assert!(!error.to_string().is_empty() && !error.to_string().contains('\n')),
    }
});
