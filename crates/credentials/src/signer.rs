//! Who signs: a certificate and its key.

use crate::error::{CredentialsError, in_one_line};
use crate::report::{Validity, context, read_sidecar};
use crate::statement::{Origin, Statement, label_of};
use c2pa::{BoxedSigner, Builder, SigningAlg, create_signer};
use serde_json::json;
use std::io::Cursor;
use std::time::SystemTime;

/// By what keys can sign, each with one curve or kind of key. RSA is taken with SHA-256.
const ALGORITHMS: [SigningAlg; 5] =
    [SigningAlg::Es256, SigningAlg::Es384, SigningAlg::Es512, SigningAlg::Ed25519, SigningAlg::Ps256];

/// C2PA's codes for what a certificate or a key may be refused for.
const EXPIRED: &str = "signingCredential.expired";
const MISMATCH: &str = "claimSignature.mismatch";

/// A certificate and its key, which have shown that they belong together and that C2PA allows them.
pub struct Signer {
    signer: BoxedSigner,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("algorithm", &self.algorithm()).finish_non_exhaustive()
    }
}

impl Signer {
    /// A signer by the PEM of its certificates, its own first and then those that signed each other, and the PEM of its
    /// private key in PKCS #8. The algorithm follows from the key: ES256, ES384 or ES512 by its curve, Ed25519, or PS256.
    ///
    /// # Errors
    /// When one of them cannot be read, they do not belong together, or C2PA does not allow the certificate now.
    pub fn new(certificates: &[u8], key: &[u8]) -> Result<Self, CredentialsError> {
        if !kinds(certificates).any(|kind| kind == "CERTIFICATE") {
            return Err(CredentialsError::NoCertificate);
        }
        let of = |algorithm: &SigningAlg| create_signer::from_keys(certificates, key, *algorithm, None).ok();
        let Some(signer) = ALGORITHMS.iter().find_map(of) else {
            let kind = kinds(key).next().filter(|kind| *kind != "PRIVATE KEY");
            return Err(CredentialsError::Key { kind: kind.map(str::to_owned) });
        };
        let signer = Self { signer };
        signer.prove()?;
        Ok(signer)
    }

    /// The algorithm by which it signs, as in `es256`.
    pub fn algorithm(&self) -> String {
        self.signer.alg().to_string()
    }

    /// A picture or a sound with what is stated of it in it. `format` is its media type, or what its name ends with.
    ///
    /// # Errors
    /// When no credentials can stand in such a file, or an ingredient cannot be read.
    pub fn embed(&self, statement: &Statement, format: &str, bytes: &[u8]) -> Result<Vec<u8>, CredentialsError> {
        let (_, signed) = self.sign(statement, format, bytes, false)?;
        Ok(signed)
    }

    /// What is stated of a text, as a file that stands beside it.
    ///
    /// # Errors
    /// When the text is empty, or an ingredient cannot be read.
    pub fn sidecar(&self, statement: &Statement, text: &str) -> Result<Vec<u8>, CredentialsError> {
        if text.is_empty() {
            return Err(CredentialsError::Empty);
        }
        let (manifest, _) = self.sign(statement, "text/plain", text.as_bytes(), true)?;
        Ok(manifest)
    }

    /// The manifest, and the file, with the manifest in it unless it stands beside it.
    fn sign(
        &self,
        statement: &Statement,
        format: &str,
        bytes: &[u8],
        beside: bool,
    ) -> Result<(Vec<u8>, Vec<u8>), CredentialsError> {
        self.try_sign(statement, format, bytes, beside).map_err(|error| match error {
            c2pa::Error::CertificateProfileError(error) => refused(&error),
            error => CredentialsError::Unwritten { reason: in_one_line(error) },
        })
    }

    fn try_sign(
        &self,
        statement: &Statement,
        format: &str,
        bytes: &[u8],
        beside: bool,
    ) -> c2pa::Result<(Vec<u8>, Vec<u8>)> {
        let mut builder = Builder::from_context(context(None)?).with_definition(statement.definition())?;
        builder.set_no_embed(beside);
        for (number, given) in statement.ingredients.iter().enumerate() {
            let about =
                json!({ "title": given.title, "relationship": given.relation.name(), "label": label_of(number) });
            builder.add_ingredient_from_stream(about.to_string(), &given.format, &mut Cursor::new(&given.bytes))?;
        }
        let mut signed = Cursor::new(Vec::new());
        let manifest = builder.sign(&*self.signer, format, &mut Cursor::new(bytes), &mut signed)?;
        Ok((manifest, signed.into_inner()))
    }

    /// Signs something, and reads it as anybody will.
    fn prove(&self) -> Result<(), CredentialsError> {
        let statement = Statement {
            title: "proof".to_owned(),
            time: SystemTime::now(),
            origin: Origin::Model,
            generation: json!({}),
            ingredients: Vec::new(),
        };
        let text = "proof";
        let read = read_sidecar(&self.sidecar(&statement, text)?, "text/plain", text.as_bytes(), None)?;
        match read.validity {
            Validity::Invalid if read.reasons.iter().any(|code| code == MISMATCH) => Err(CredentialsError::Mismatch),
            Validity::Invalid if read.reasons.iter().any(|code| code == EXPIRED) => Err(CredentialsError::Expired),
            Validity::Invalid => Err(CredentialsError::Certificate { reason: read.reasons.join(", ") }),
            Validity::Valid | Validity::Trusted => Ok(()),
        }
    }
}

/// Why C2PA does not allow a certificate.
fn refused(error: &c2pa::crypto::cose::CertificateProfileError) -> CredentialsError {
    match error {
        c2pa::crypto::cose::CertificateProfileError::CertificateNotValidAtTime => CredentialsError::Expired,
        error => CredentialsError::Certificate { reason: in_one_line(error) },
    }
}

/// What the parts of a PEM file are.
fn kinds(pem: &[u8]) -> impl Iterator<Item = &str> {
    let lines = pem.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    lines.filter_map(|line| line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----"))
}
