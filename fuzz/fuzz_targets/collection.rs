//! Any file is an archive of pictures or is refused, in one line, within bounded memory.
//!
//! What begins as zstd does is read as a compressed archive.
#![no_main]

use aquatint_codec::collection::Collection;
use aquatint_codec::{Medium, Pictures};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

/// What a codec of pictures of 4×4 pixels reads.
static PICTURES: LazyLock<Pictures> = LazyLock::new(|| {
    let config = serde_json::from_str(r#"{"kind":"pictures","size":4,"patch":4,"overlap":1}"#);
    Pictures::new(&config.expect("a configuration")).expect("its sizes fit each other")
});

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let is_compressed = bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
    let path = folder.path().join(if is_compressed { "all.tar.zst" } else { "all.tar" });
    std::fs::write(&path, bytes).expect("room for it");
    let collection = Collection { path, folders: Vec::new(), files: Pictures::FILES };
    match collection.read(&*PICTURES, &mut |_| true) {
        Ok(pictures) => {
            assert!(pictures.is_sorted_by(|one, other| one.name < other.name));
            assert!(pictures.iter().all(|named| (named.samples.width(), named.samples.height()) == (4, 4)));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
