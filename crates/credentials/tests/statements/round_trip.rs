//! What is stated is read as it was stated.

use crate::support::{picture, picture_as, root, signer, sound, statement};
use aquatint_credentials::{
    CredentialsError, Ingredient, Origin, Relation, StatedIngredient, Statement, Validity, read, read_sidecar,
};
use image::ImageFormat;

#[test]
fn what_is_stated_of_a_picture_or_a_sound_is_read_in_it() {
    for (format, bytes) in [("image/png", picture()), ("audio/wav", sound())] {
        let signed = signer("es256").embed(&statement(), format, &bytes).unwrap();
        let read = read(format, &signed, None).unwrap().unwrap();
        assert_eq!(
            (read.validity, read.reasons.as_slice()),
            (Validity::Valid, &["signingCredential.untrusted".to_owned()][..]),
            "{format}"
        );
        assert_eq!(read.generation.as_ref(), Some(&statement().generation), "{format}");
        assert_eq!(read.title.as_deref(), Some("fox"));
        assert_eq!(read.generator, Some(format!("Aquatint {}", env!("CARGO_PKG_VERSION"))));
        let signed_by = read.signed_by.unwrap();
        assert_eq!(
            (signed_by.name.as_deref(), signed_by.organisation.as_deref(), signed_by.algorithm.as_deref()),
            (Some("Aquatint test signer"), Some("Aquatint tests"), Some("es256"))
        );
        let [action] = &read.actions[..] else { panic!("{:?}", read.actions) };
        assert_eq!((action.action.as_str(), action.time.as_deref()), ("c2pa.created", Some("2027-01-15T08:00:00Z")));
        assert!(action.source.as_deref().unwrap().ends_with("/digitalsourcetype/trainedAlgorithmicMedia"));
    }
}

#[test]
fn a_signed_picture_has_the_same_pixels() {
    let signed = signer("es256").embed(&statement(), "image/png", &picture()).unwrap();
    let pixels = |bytes: &[u8]| image::load_from_memory(bytes).unwrap().to_rgb8();
    assert_eq!(pixels(&signed), pixels(&picture()));
}

#[test]
fn pictures_of_other_formats_are_read() {
    for (format, encoding) in [("jpg", ImageFormat::Jpeg), ("webp", ImageFormat::WebP)] {
        let picture = picture_as(encoding);
        assert_eq!(read(format, &picture, None), Ok(None), "{format}");
        let signed = signer("es256").embed(&statement(), format, &picture).unwrap();
        let read = read(format, &signed, Some(&root())).unwrap().unwrap();
        assert_eq!((read.validity, read.reasons.as_slice()), (Validity::Trusted, &[][..]), "{format}");
        assert_eq!(read.generation, Some(statement().generation), "{format}");
    }
}

#[test]
fn a_text_has_its_credentials_beside_it() {
    for text in ["\n", "The fox sat.\n", "Füchse 🦊\n"] {
        let sidecar = signer("es256").sidecar(&statement(), text).unwrap();
        let of = |text: &str| read_sidecar(&sidecar, "txt", text.as_bytes(), None).unwrap();
        assert_eq!(
            (of(text).validity, of(text).generation),
            (Validity::Valid, Some(statement().generation)),
            "{text:?}"
        );
        let other = of(&format!("{text}."));
        assert_eq!(other.validity, Validity::Invalid, "{text:?}");
        assert!(other.reasons.contains(&"assertion.dataHash.mismatch".to_owned()), "{:?}", other.reasons);
        // What is left of it may be nothing.
        assert_eq!(of("").validity, Validity::Invalid, "{text:?}");
    }
    assert_eq!(signer("es256").sidecar(&statement(), ""), Err(CredentialsError::Empty));
}

#[test]
fn every_algorithm_is_read_and_trusted_by_its_root() {
    for algorithm in ["es256", "es384", "es512", "ed25519", "ps256"] {
        let signer = signer(algorithm);
        assert_eq!(signer.algorithm(), algorithm);
        let sidecar = signer.sidecar(&statement(), "A fox.").unwrap();
        let read = read_sidecar(&sidecar, "txt", b"A fox.", Some(&root())).unwrap();
        assert_eq!((read.validity, read.reasons.as_slice()), (Validity::Trusted, &[][..]), "{algorithm}");
    }
}

#[test]
fn a_file_without_credentials_has_none() {
    assert_eq!(read("png", &picture(), None), Ok(None));
    assert_eq!(read("wav", &sound(), None), Ok(None));
    for format in ["txt", "", "jsonl"] {
        assert_eq!(read(format, b"A fox.", None), Ok(None), "{format}");
    }
}

fn given(title: &str, bytes: Vec<u8>, relation: Relation) -> Ingredient {
    Ingredient { title: title.to_owned(), format: "png".to_owned(), bytes, relation }
}

#[test]
fn what_was_given_is_named_with_credentials_of_its_own() {
    let first = signer("ed25519").embed(&statement(), "image/png", &picture()).unwrap();
    let inputs = vec![given("signed.png", first, Relation::Input), given("plain.png", picture(), Relation::Input)];
    let statement = Statement { ingredients: inputs, ..statement() };
    let signed = signer("es256").embed(&statement, "image/png", &picture()).unwrap();
    let read = read("image/png", &signed, Some(&root())).unwrap().unwrap();
    assert_eq!((read.validity, read.reasons.as_slice()), (Validity::Trusted, &[][..]));
    let input = |title: &str| StatedIngredient { title: title.to_owned(), relation: "inputTo".to_owned() };
    assert_eq!(read.ingredients, [input("signed.png"), input("plain.png")]);
    // Each manifest has one signature.
    let signatures = signed.windows(14).filter(|bytes| bytes == b"c2pa.signature").count();
    let alone = signer("es256").embed(&self::statement(), "image/png", &picture()).unwrap();
    assert!(signatures > alone.windows(14).filter(|bytes| bytes == b"c2pa.signature").count());
}

#[test]
fn a_picture_painted_anew_in_part_was_opened_and_edited() {
    let ingredients =
        vec![given("red.png", picture(), Relation::Parent), given("blue.png", picture(), Relation::Input)];
    let statement = Statement { ingredients, origin: Origin::Both, ..statement() };
    let signed = signer("es256").embed(&statement, "image/png", &picture()).unwrap();
    let read = read("image/png", &signed, Some(&root())).unwrap().unwrap();
    assert_eq!((read.validity, read.reasons.as_slice()), (Validity::Trusted, &[][..]));
    let [opened, edited] = &read.actions[..] else { panic!("{:?}", read.actions) };
    assert_eq!((opened.action.as_str(), edited.action.as_str()), ("c2pa.opened", "c2pa.edited"));
    assert!(edited.source.as_deref().unwrap().ends_with("/compositeWithTrainedAlgorithmicMedia"));
    assert_eq!(read.ingredients[0], StatedIngredient { title: "red.png".to_owned(), relation: "parentOf".to_owned() });
}
