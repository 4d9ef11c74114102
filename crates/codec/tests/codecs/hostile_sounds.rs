//! Sounds that strangers may have made: each is read whole or refused in one line, soon.

use aquatint_codec::{CodecError, Sound};
use proptest::prelude::*;
use std::path::Path;

fn seed(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/sound").join(name)).unwrap()
}

fn read(name: &str) -> Sound {
    Sound::decode(name, &seed(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn refused(name: &str) -> String {
    let message = Sound::decode(name, &seed(name)).unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

#[test]
fn wav_and_flac_of_all_depths_give_the_same_tone() {
    let tone = read("tone.wav");
    assert_eq!((tone.rate(), tone.samples().len()), (8000, 80));
    let expected = |n: usize| 0.5 * (std::f64::consts::TAU * 440.0 * n as f64 / 8000.0).sin();
    for (name, most) in
        [("tone.wav", 1e-4), ("eight.wav", 1e-2), ("deep.wav", 1e-4), ("float.wav", 1e-6), ("tone.flac", 1e-4)]
    {
        let sound = read(name);
        assert_eq!((sound.rate(), sound.samples().len()), (8000, 80), "{name}");
        for (n, sample) in sound.samples().iter().enumerate() {
            assert!((f64::from(*sample) - expected(n)).abs() < most, "{name}: {sample} at {n}");
        }
    }
    // Channels are averaged: the second one is silent.
    for (half, whole) in read("stereo.wav").samples().iter().zip(tone.samples()) {
        assert!((2.0 * half - whole).abs() < 1e-4);
    }
    assert_eq!(Sound::decode("again", &tone.to_wav().unwrap()).unwrap(), tone);
}

#[test]
fn what_is_no_sound_is_refused_in_one_line() {
    for name in ["empty", "mp3", "tagged_mp3", "ogg"] {
        assert_eq!(refused(name), format!("`{name}` is not a sound of a known format; allowed: WAV, FLAC"));
    }
    for name in
        ["riff", "overflow.wav", "avi", "head.wav", "head.flac", "empty.flac", "no_channels.wav", "many_channels.wav"]
    {
        assert!(refused(name).starts_with(&format!("`{name}` is a damaged sound: ")), "{}", refused(name));
    }
    for name in ["none.wav", "cut.flac", "crc.flac"] {
        assert_eq!(refused(name), format!("`{name}` has no samples"));
    }
    for (name, rate) in [("fast.wav", "4000000000"), ("slow.wav", "7")] {
        assert_eq!(refused(name), format!("`{name}` has {rate} samples a second; allowed: 1000 to 384000"));
    }
    assert_eq!(refused("nan.wav"), "`nan.wav` has a sample that is not finite, 0.000 s after its beginning");
    assert_eq!(refused("infinite.wav"), "`infinite.wav` has a sample that is not finite, 0.001 s after its beginning");
    assert!(matches!(Sound::open(Path::new("nowhere.wav")), Err(CodecError::Io { action: "read", .. })));
    let hint = Sound::decode("mp3", &seed("mp3")).unwrap_err().hint();
    assert_eq!(hint.as_deref(), Some("convert it to WAV"));
}

#[test]
fn a_file_has_the_samples_that_are_there_whatever_it_says_of_its_length() {
    for name in ["long_claim.wav", "streamed.wav"] {
        assert_eq!(read(name).samples().len(), 80, "{name}");
    }
    assert_eq!(read("many_samples.flac").samples().len(), 80);
    // A kilobyte that stands for a quarter of an hour.
    assert_eq!(
        refused("long.flac"),
        "`long.flac` is longer than 600 s, or has more than 67108864 samples of all channels"
    );
}

#[test]
fn what_is_overdriven_is_cut_off_when_it_is_written() {
    let loud = Sound::new(8000, vec![2.0, -3.0, 0.5]).unwrap();
    let back = Sound::decode("loud", &loud.to_wav().unwrap()).unwrap();
    let expected = [32767.0 / 32768.0, -1.0, 0.5];
    assert!(back.samples().iter().zip(expected).all(|(back, wanted)| (back - wanted).abs() < 1e-6), "{back:?}");
}

proptest! {
    #[test]
    fn any_change_of_a_sound_is_read_or_refused(place in 0..300_usize, value: u8, cut in 0..400_usize) {
        for name in ["tone.wav", "float.wav", "tone.flac", "tagged.flac"] {
            let mut bytes = seed(name);
            let at = place % bytes.len();
            bytes[at] = value;
            bytes.truncate(bytes.len().min(cut.max(1)));
            if let Err(error) = Sound::decode(name, &bytes) {
                prop_assert!(!error.to_string().contains('\n'));
            }
        }
    }
}
