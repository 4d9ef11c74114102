//! Any file is a whole shard or is refused; a whole one can be read to its last token.
#![no_main]

use aquatint_corpus::Shard;
use libfuzzer_sys::fuzz_target;
use std::io::Write;

fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("room for it");
    let Ok(shard) = Shard::open(file.path()) else { return };
    for index in 0..shard.documents() {
        let span = shard.document(index).expect("documents below the count exist");
        let length = (span.tokens.end - span.tokens.start) as usize;
        let (mut tokens, mut text_bytes) = (vec![0; length], vec![0; length]);
        // A token outside the vocabulary is refused here and nowhere earlier.
        let _ = shard.copy(span.tokens.start, &mut tokens, &mut text_bytes);
    }
});
