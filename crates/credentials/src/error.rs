//! Why content credentials cannot be written or read.

/// Why content credentials cannot be written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// What is said to be a key is none.
    #[error("no private key in PKCS #8 PEM; allowed: of P-256, P-384, P-521, Ed25519 or RSA")]
    Key {
        /// What its PEM says that it is, such as `EC PRIVATE KEY`.
        kind: Option<String>,
    },
    /// What is said to be a certificate is none.
    #[error("no certificate in PEM")]
    NoCertificate,
    /// The key did not make the public key of the certificate.
    #[error("the private key is not that of the certificate")]
    Mismatch,
    /// The certificate is not valid now.
    #[error("the certificate has expired, or is not valid yet")]
    Expired,
    /// C2PA does not allow this certificate.
    #[error("the certificate is not one that C2PA allows: {reason}")]
    Certificate {
        /// What is wrong.
        reason: String,
    },
    /// What is said to be certificates that are trusted is none.
    #[error("no certificates in PEM that could be trusted")]
    Anchors,
    /// There is nothing to sign.
    #[error("an empty text cannot be signed; allowed: one byte or more")]
    Empty,
    /// The statement could not be written.
    #[error("content credentials could not be written: {reason}")]
    Unwritten {
        /// What is wrong.
        reason: String,
    },
    /// There are credentials that cannot be read.
    #[error("damaged content credentials: {reason}")]
    Damaged {
        /// What is wrong.
        reason: String,
    },
    /// The file is damaged, or not of the format that is said, so that nothing can be looked for in it.
    #[error("no whole file of its format: {reason}")]
    Container {
        /// What is wrong.
        reason: String,
    },
    /// The file only says where its credentials are.
    #[error("the content credentials lie elsewhere, and are not fetched: {address}")]
    Elsewhere {
        /// The address.
        address: String,
    },
}

impl CredentialsError {
    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Key { kind: Some(kind) } if kind.starts_with("ENCRYPTED") => {
                Some("the key is under a password: `openssl pkcs8 -in KEY -out OPEN` writes it without".to_owned())
            }
            Self::Key { kind: Some(kind) } if kind.ends_with(" PRIVATE KEY") => {
                Some("`openssl pkcs8 -topk8 -nocrypt -in KEY -out PKCS8` writes it in this form".to_owned())
            }
            Self::Certificate { .. } => Some(
                "it has to be signed by another one, be no authority itself, and be for digital signatures, with an \
                 extended key usage such as emailProtection"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

/// A message of another library in one line.
pub(crate) fn in_one_line(message: impl std::fmt::Display) -> String {
    message.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
