//! Any file is an archive of pictures or is refused, in one line, within bounded memory.
//!
//! What begins as zstd does is read as a compressed archive.
#![no_main]

use aquatint_codec::collection::Collection;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let is_compressed = bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
    let path = folder.path().join(if is_compressed { "all.tar.zst" } else { "all.tar" });
    std::fs::write(&path, bytes).expect("room for it");
    match (Collection { path, folders: Vec::new() }).read(4, &mut |_| true) {
        Ok(pictures) => {
            assert!(pictures.is_sorted_by(|one, other| one.name < other.name));
            assert!(pictures.iter().all(|named| (named.picture.width(), named.picture.height()) == (4, 4)));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
