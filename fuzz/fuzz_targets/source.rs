//! Any file is read to its end or refused, as text, JSON lines and Parquet; what is read is bounded by what was counted.
#![no_main]

use aquatint_corpus::{Format, Source};
use libfuzzer_sys::fuzz_target;
use std::io::Write;

fuzz_target!(|input: (u8, &[u8])| {
    let (choice, bytes) = input;
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("room for it");
    let mut source = Source::new(file.path());
    source.format = Some([Format::Text, Format::Json, Format::Parquet][usize::from(choice % 3)]);
    source.max_bad_share = 1.0;
    if choice & 4 != 0 {
        source.field = "a.b".to_owned();
    }
    if choice & 8 != 0 {
        source.filter.insert("text".to_owned(), "x".to_owned());
    }
    if choice & 16 != 0 {
        source.separator = "\n\n".to_owned();
    }
    let Ok(mut passages) = source.passages() else { return };
    let mut documents = 0u64;
    let whole = passages
        .by_ref()
        .all(|passage| passage.inspect(|passage| documents += u64::from(passage.ends_document)).is_ok());
    let counts = passages.counts();
    assert!(counts.first_bad_rows.len() as u64 == counts.bad_rows.min(10));
    if whole && source.format != Some(Format::Text) {
        assert_eq!(counts.rows, documents + counts.bad_rows + counts.left_out);
    }
});
