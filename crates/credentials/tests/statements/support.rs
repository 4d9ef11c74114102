//! Signers of the tests, and small files for them to sign.

use aquatint_credentials::{Origin, Signer, Statement};
use image::ImageFormat;
use serde_json::json;
use std::io::Cursor;
use std::time::{Duration, SystemTime};

/// A file of `tests/certificates`.
pub(crate) fn file(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/certificates/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The root that signed the certificates.
pub(crate) fn root() -> String {
    String::from_utf8(file("root.pem")).unwrap()
}

/// The signer of an algorithm.
pub(crate) fn signer(name: &str) -> Signer {
    Signer::new(&file(&format!("{name}.pem")), &file(&format!("{name}.key"))).unwrap()
}

pub(crate) fn statement() -> Statement {
    Statement {
        title: "fox".to_owned(),
        time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        origin: Origin::Model,
        generation: json!({ "model": { "name": "tales" }, "seed": u64::MAX, "settings": { "temperature": 0.7 } }),
        ingredients: Vec::new(),
    }
}

/// A picture of 8 by 8 pixels as a PNG.
pub(crate) fn picture() -> Vec<u8> {
    picture_as(ImageFormat::Png)
}

/// The same picture in another format.
pub(crate) fn picture_as(format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    let pixels = image::RgbImage::from_fn(8, 8, |x, y| image::Rgb([x as u8 * 30, y as u8 * 30, 90]));
    pixels.write_to(&mut file, format).unwrap();
    file.into_inner()
}

/// A sound of 200 samples as a WAV.
pub(crate) fn sound() -> Vec<u8> {
    let spec =
        hound::WavSpec { channels: 1, sample_rate: 8000, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut wav = Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut wav, spec).unwrap();
    (0..200).for_each(|n| writer.write_sample(n * 100_i16).unwrap());
    writer.finalize().unwrap();
    wav.into_inner()
}
