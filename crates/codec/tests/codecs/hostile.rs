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
