//! Tiny models with a codec, of pictures or of sounds.

use aquatint::codec::{Picture, Sound};
use aquatint::vocabulary::MediaKind;
use aquatint_testing_codecs::save_model;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::path::Path;
use std::sync::OnceLock;

/// A model of text and pictures.
pub(crate) fn joint() -> String {
    static FOLDER: OnceLock<String> = OnceLock::new();
    FOLDER.get_or_init(|| save("serving-joint", MediaKind::Picture)).clone()
}

/// One of text and sounds.
pub(crate) fn speaking() -> String {
    static FOLDER: OnceLock<String> = OnceLock::new();
    FOLDER.get_or_init(|| save("serving-speaking", MediaKind::Sound)).clone()
}

fn save(name: &str, kind: MediaKind) -> String {
    let room = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&room);
    save_model(&room, &[kind]).to_str().unwrap().to_owned()
}

/// A picture of one colour in a file, as a URL that holds it.
pub(crate) fn picture_url(colour: [u8; 4]) -> String {
    let file = Picture::new(8, 8, vec![colour; 64]).unwrap().to_png().unwrap();
    format!("data:image/png;base64,{}", BASE64_STANDARD.encode(file))
}

/// A tone of 0.1 s as a WAV file.
pub(crate) fn tone() -> Vec<u8> {
    let samples = (0..800).map(|index| 0.5 * (index as f32 * 0.3).sin()).collect();
    Sound::new(8000, samples).unwrap().to_wav().unwrap()
}
