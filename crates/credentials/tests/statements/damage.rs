//! Damage is found, and said in one line.

use crate::support::{picture, signer, sound, statement};
use aquatint_credentials::{Credentials, CredentialsError, Validity, read, read_sidecar};
use proptest::prelude::*;
use std::sync::OnceLock;

#[test]
fn a_changed_pixel_or_sample_is_found() {
    for (format, bytes) in [("image/png", picture()), ("audio/wav", sound())] {
        let mut signed = signer("es256").embed(&statement(), format, &bytes).unwrap();
        // Of the last quarter of the content, which in a PNG and a WAV is pixels and samples, wherever credentials stand.
        let part = &bytes[bytes.len() * 3 / 4 - 8..bytes.len() * 3 / 4];
        let at = signed.windows(part.len()).position(|window| window == part).unwrap();
        signed[at] ^= 1;
        let read = read(format, &signed, None).unwrap().unwrap();
        assert_eq!(read.validity, Validity::Invalid, "{format}");
        assert!(read.reasons.contains(&"assertion.dataHash.mismatch".to_owned()), "{format}: {:?}", read.reasons);
    }
}

#[test]
fn a_changed_statement_is_found() {
    let mut sidecar = signer("es256").sidecar(&statement(), "A fox.").unwrap();
    let at = sidecar.windows(5).position(|window| window == b"tales").unwrap();
    sidecar[at] = b'T';
    let read = read_sidecar(&sidecar, "txt", b"A fox.", None).unwrap();
    assert_eq!(read.validity, Validity::Invalid);
    assert!(read.reasons.contains(&"assertion.hashedURI.mismatch".to_owned()), "{:?}", read.reasons);
}

#[test]
fn a_sidecar_cut_short_is_damaged() {
    let sidecar = signer("es256").sidecar(&statement(), "A fox.").unwrap();
    for length in [0, 1, 8, 60, sidecar.len() / 2] {
        let error = read_sidecar(&sidecar[..length], "txt", b"A fox.", None).unwrap_err();
        assert!(matches!(error, CredentialsError::Damaged { .. }), "{length}: {error}");
    }
}

#[test]
fn what_is_no_file_of_its_format_is_said_to_be_none() {
    for (format, bytes) in [("png", &b""[..]), ("png", b"A fox."), ("wav", b"")] {
        let found = read(format, bytes, None);
        assert!(matches!(found, Err(CredentialsError::Container { .. })), "{format} {bytes:?}: {found:?}");
    }
}

/// The address is a stranger's, and may hold whatever steers a terminal.
#[test]
fn credentials_that_lie_elsewhere_are_not_fetched_and_their_address_is_one_line() {
    let xmp = "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\"><rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\
               <rdf:Description rdf:about=\"\" xmlns:dcterms=\"http://purl.org/dc/terms/\" \
               dcterms:provenance=\"http://127.0.0.1:9/a\nb\"/></rdf:RDF></x:xmpmeta>";
    let error = read("png", &with_xmp(&picture(), xmp), None).unwrap_err();
    assert_eq!(error, CredentialsError::Elsewhere { address: "http://127.0.0.1:9/a b".to_owned() });
}

/// A PNG with XMP behind its header.
fn with_xmp(png: &[u8], xmp: &str) -> Vec<u8> {
    let content = [b"iTXtXML:com.adobe.xmp\0\0\0\0\0", xmp.as_bytes()].concat();
    let mut crc = crc32fast::Hasher::new();
    crc.update(&content);
    // The signature has 8 bytes and the header chunk 25.
    let (start, rest) = png.split_at(33);
    [start, &(content.len() as u32 - 4).to_be_bytes(), &content, &crc.finalize().to_be_bytes(), rest].concat()
}

/// Credentials in a picture, in a sound and beside a text, made once.
fn samples() -> &'static [(&'static str, Vec<u8>); 3] {
    static SAMPLES: OnceLock<[(&str, Vec<u8>); 3]> = OnceLock::new();
    SAMPLES.get_or_init(|| {
        let signer = signer("es256");
        [
            ("png", signer.embed(&statement(), "image/png", &picture()).unwrap()),
            ("wav", signer.embed(&statement(), "audio/wav", &sound()).unwrap()),
            ("txt", signer.sidecar(&statement(), "A fox.").unwrap()),
        ]
    })
}

fn read_any(format: &str, bytes: &[u8]) -> Result<Option<Credentials>, CredentialsError> {
    match format {
        "txt" => read_sidecar(bytes, "txt", b"A fox.", None).map(Some),
        _ => read(format, bytes, None),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_change_is_found_or_refused_in_one_line(
        sample in 0_usize..3,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let (format, whole) = &samples()[sample];
        let mut bytes = whole.clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        match read_any(format, &bytes) {
            // What fills a manifest up to its reserved size says nothing and may be anything.
            Ok(Some(read)) if read.validity != Validity::Invalid => {
                prop_assert_eq!(read, read_any(format, whole).unwrap().unwrap());
            }
            Ok(_) => {}
            Err(error) => prop_assert!(!error.to_string().contains('\n') && !error.to_string().is_empty()),
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), format in "(png|jpg|webp|wav|flac|mp3|c2pa|svg|pdf|)") {
        let _ = read(&format, &bytes, None);
        prop_assert!(read_sidecar(&bytes, "txt", b"A fox.", None).is_err());
    }
}
