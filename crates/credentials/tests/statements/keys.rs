//! Keys and certificates that cannot sign are refused with the reason, and so are files that hold no credentials.

use crate::support::{file, picture, signer, sound, statement};
use aquatint_credentials::{CredentialsError, Ingredient, Relation, Signer, StatedIngredient, Statement, read_sidecar};

fn refused(certificate: &[u8], key: &[u8]) -> CredentialsError {
    Signer::new(certificate, key).unwrap_err()
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    for key in ["other", "es384", "ed25519", "ps256"] {
        assert_eq!(refused(&file("es256.pem"), &file(&format!("{key}.key"))), CredentialsError::Mismatch, "{key}");
    }
}

#[test]
fn certificates_that_c2pa_does_not_allow_are_refused_with_the_reason() {
    let key = file("es256.key");
    assert_eq!(refused(&file("expired.pem"), &key), CredentialsError::Expired);
    for name in ["server", "self-signed"] {
        let error = refused(&file(&format!("{name}.pem")), &key);
        assert!(matches!(error, CredentialsError::Certificate { .. }), "{name}: {error}");
        assert!(error.hint().unwrap().contains("emailProtection"), "{name}");
    }
}

#[test]
fn what_is_no_certificate_or_no_key_is_refused_with_what_helps() {
    for damaged in [&b""[..], b"\xff\xfe", b"-----BEGIN", &file("es256.key")] {
        assert_eq!(refused(damaged, &file("es256.key")), CredentialsError::NoCertificate);
    }
    let of = |key: &[u8]| refused(&file("es256.pem"), key);
    for damaged in [&b""[..], b"\xff\xfe", &file("es256.key")[..100]] {
        assert_eq!(of(damaged), CredentialsError::Key { kind: None });
    }
    assert!(of(&file("encrypted.key")).hint().unwrap().contains("under a password"));
    assert!(of(&file("sec1.key")).hint().unwrap().contains("openssl pkcs8 -topk8 -nocrypt"));
    assert_eq!(of(&file("es256.pem")).hint(), None);
    let whole = file("es256.pem");
    let torn = [&whole[..whole.len() / 2], b"\n-----END CERTIFICATE-----\n"].concat();
    let error = refused(&torn, &file("es256.key"));
    assert!(!error.to_string().contains('\n'), "{error}");
}

#[test]
fn anchors_that_are_no_certificates_are_refused() {
    let sidecar = signer("es256").sidecar(&statement(), "A fox.").unwrap();
    for anchors in ["", "root", &String::from_utf8(file("es256.key")).unwrap()] {
        assert_eq!(read_sidecar(&sidecar, "txt", b"A fox.", Some(anchors)), Err(CredentialsError::Anchors));
    }
}

#[test]
fn what_cannot_hold_credentials_is_refused() {
    let signer = signer("es256");
    for (format, bytes) in [("text/plain", b"A fox.".to_vec()), ("image/png", sound()), ("audio/wav", picture())] {
        let error = signer.embed(&statement(), format, &bytes).unwrap_err();
        assert!(matches!(error, CredentialsError::Unwritten { .. }), "{format}: {error}");
    }
}

#[test]
fn a_given_file_with_damaged_credentials_is_named_all_the_same() {
    let mut bytes = signer("es256").embed(&statement(), "image/png", &picture()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    let given = Ingredient { title: "fox.png".to_owned(), format: "png".to_owned(), bytes, relation: Relation::Input };
    let statement = Statement { ingredients: vec![given], ..statement() };
    let sidecar = signer("es256").sidecar(&statement, "A fox.").unwrap();
    let read = read_sidecar(&sidecar, "txt", b"A fox.", None).unwrap();
    assert_eq!(read.ingredients, [StatedIngredient { title: "fox.png".to_owned(), relation: "inputTo".to_owned() }]);
}
