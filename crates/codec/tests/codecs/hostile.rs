//! Pictures that strangers may have made: each is read whole or refused in one line, soon.

use aquatint_codec::{CodecError, Picture};
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
