//! Pictures that strangers may have made: each is read whole or refused in one line, soon.

use aquatint_codec::{CodecError, Picture};
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder};
use proptest::prelude::*;
use std::path::Path;

fn seed(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/picture").join(name)).unwrap()
}

fn refused(name: &str) -> String {
    let error = Picture::decode(name, &seed(name)).unwrap_err();
    let message = error.to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

#[test]
fn what_is_no_picture_is_refused_in_one_line() {
    for name in ["gif", "empty"] {
        assert_eq!(refused(name), format!("`{name}` is not a picture of a known format; allowed: PNG, JPEG, WebP"));
    }
    for name in ["cut.png", "none.png", "crc.png", "jpeg"] {
        assert!(refused(name).starts_with(&format!("`{name}` is a damaged picture: ")), "{}", refused(name));
    }
    assert_eq!(
        refused("huge.png"),
        "`huge.png` has 60000×60000 pixels; allowed: 40000000 in all, and a side of 1 to 32768"
    );
    assert_eq!(
        refused("wide.png"),
        "`wide.png` has 40000×1 pixels; allowed: 40000000 in all, and a side of 1 to 32768"
    );
    assert!(matches!(Picture::open(Path::new("nowhere.png")), Err(CodecError::Io { action: "read", .. })));
}

#[test]
fn png_is_read_with_and_without_transparency() {
    let picture = Picture::decode("rgba", &seed("rgba.png")).unwrap();
    assert_eq!((picture.width(), picture.height()), (3, 2));
    assert_eq!(picture.pixels()[0][1..], [5, 200, 255]);
    let grey = Picture::decode("grey", &seed("grey.png")).unwrap();
    assert_eq!(grey.pixels(), [[16, 16, 16, 255], [32, 32, 32, 255], [48, 48, 48, 255], [64, 64, 64, 255]]);
    assert_eq!(Picture::decode("again", &grey.to_png().unwrap()).unwrap(), grey);
}

/// Red on the left and blue on the right, 16 by 8 pixels.
fn two_halves() -> Vec<u8> {
    (0..128).flat_map(|place| if place % 16 < 8 { [250, 0, 0] } else { [0, 0, 250] }).collect()
}

/// EXIF data that says how a camera was held, and nothing else.
fn held(orientation: u8) -> Vec<u8> {
    [&b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"[..], &[orientation], &[0; 7]].concat()
}

fn write(mut encoder: impl ImageEncoder, orientation: u8) {
    encoder.set_exif_metadata(held(orientation)).unwrap();
    encoder.write_image(&two_halves(), 16, 8, ExtendedColorType::Rgb8).unwrap();
}

#[test]
fn all_formats_are_read_as_their_camera_was_held() {
    let (red, blue) = ([true, false], [false, true]);
    // As it is, upside down, and with its left side on top.
    for (orientation, sides, [first, last], colours) in [
        (1, (16, 8), [(2, 4), (13, 4)], [red, blue]),
        (3, (16, 8), [(2, 4), (13, 4)], [blue, red]),
        (6, (8, 16), [(4, 2), (4, 13)], [red, blue]),
    ] {
        let (mut png, mut jpeg, mut webp) = (Vec::new(), Vec::new(), Vec::new());
        write(PngEncoder::new(&mut png), orientation);
        write(JpegEncoder::new_with_quality(&mut jpeg, 95), orientation);
        write(WebPEncoder::new_lossless(&mut webp), orientation);
        for (name, bytes) in [("png", png), ("jpeg", jpeg), ("webp", webp)] {
            let picture = Picture::decode(name, &bytes).unwrap();
            assert_eq!((picture.width(), picture.height()), sides, "{name} {orientation}");
            let colour = |(x, y): (usize, usize)| {
                let [red, _, blue, alpha] = picture.pixels()[y * picture.width() + x];
                assert_eq!(alpha, 255);
                [red > 200 && blue < 60, blue > 200 && red < 60]
            };
            assert_eq!([colour(first), colour(last)], colours, "{name} {orientation}");
        }
    }
}

proptest! {
    #[test]
    fn any_change_of_a_picture_is_read_or_refused(place in 0..200_usize, value: u8, cut in 0..200_usize) {
        for name in ["rgba.png", "webp", "jpeg"] {
            let mut bytes = seed(name);
            let at = place % bytes.len();
            bytes[at] = value;
            bytes.truncate(bytes.len().min(cut.max(1)));
            if let Err(error) = Picture::decode(name, &bytes) {
                prop_assert!(!error.to_string().contains('\n'));
            }
        }
    }
}

#[test]
fn a_picture_is_fitted_while_it_is_read_as_it_is_fitted_behind_it() {
    let pixel = |index: usize| [(index % 253) as u8, (index / 7 % 256) as u8, 90, (255 - index % 3 * 100) as u8];
    let colours: Vec<u8> = (0..37 * 18).flat_map(pixel).collect();
    for orientation in 1..=8 {
        let mut png = Vec::new();
        let mut encoder = PngEncoder::new(&mut png);
        encoder.set_exif_metadata(held(orientation)).unwrap();
        encoder.write_image(&colours, 37, 18, ExtendedColorType::Rgba8).unwrap();
        let whole = Picture::decode("it", &png).unwrap();
        assert_eq!((whole.width(), whole.height()), if orientation < 5 { (37, 18) } else { (18, 37) });
        for size in [8, 18, 37, 64] {
            let (one, other) = (Picture::decode_fitted("it", &png, size).unwrap(), whole.fitted(size));
            let off = one.pixels().as_flattened().iter().zip(other.pixels().as_flattened());
            assert!(off.clone().all(|(a, b)| a.abs_diff(*b) <= 1), "{orientation} {size}");
            if orientation == 1 {
                assert_eq!(one, other);
            }
        }
    }
    // 16 bits and grey become what they become whole.
    for (name, colour, bytes) in [("grey", ExtendedColorType::L16, 2), ("deep", ExtendedColorType::Rgb16, 6)] {
        let mut png = Vec::new();
        let samples: Vec<u8> = (0..20 * 9 * bytes).map(|index| (index * 31 % 256) as u8).collect();
        PngEncoder::new(&mut png).write_image(&samples, 20, 9, colour).unwrap();
        assert_eq!(Picture::decode_fitted(name, &png, 8).unwrap(), Picture::decode(name, &png).unwrap().fitted(8));
    }
}

#[test]
fn a_picture_of_many_bytes_is_refused_before_they_are_read() {
    // A header that says so, and nothing behind it.
    let mut header = Vec::new();
    PngEncoder::new(&mut header).write_image(&[0; 8], 1, 1, ExtendedColorType::Rgba16).unwrap();
    header[16..24].copy_from_slice(&[0, 0, 0x13, 0x88, 0, 0, 0x11, 0x94]);
    let checksum = crc(&header[12..29]);
    header[29..33].copy_from_slice(&checksum.to_be_bytes());
    let error = Picture::decode("deep.png", &header).unwrap_err();
    assert_eq!(error.to_string(), "`deep.png` has 5000×4500 pixels of 8 bytes; allowed: 160000000 bytes in all");
    assert_eq!(error.sample_name(), Some("deep.png"));
}

/// The checksum of a chunk of a PNG file (ISO 3309).
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}
