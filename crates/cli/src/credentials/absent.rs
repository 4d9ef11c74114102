//! What stands for content credentials in a program that was built without them: it says so.

use crate::arguments::{DetectArguments, SigningArguments};
use crate::failure::Failure;
use crate::printer::Printer;
use crate::session::Session;
use crate::wire;
use aquatint::{MediaFile, Template};
use std::path::Path;

/// Nobody.
pub(crate) enum Signer {}

/// Nobody.
pub(crate) enum Signing {}

/// What a file is that would be signed.
#[derive(Debug, Clone, Copy)]
#[expect(dead_code, reason = "nobody reads it")]
pub(crate) enum Signed<'a> {
    Text(&'a str),
    Media(usize, &'a MediaFile),
}

pub(crate) fn signer(arguments: &SigningArguments) -> Result<Option<Signer>, Failure> {
    if arguments.sign_cert.is_some() { Err(absent()) } else { Ok(None) }
}

impl Signing {
    pub(crate) fn new(
        signer: Signer,
        _: &SigningArguments,
        _: &Session,
        _: (&str, &Template),
        _: Option<&str>,
    ) -> Result<Self, Failure> {
        match signer {}
    }

    pub(crate) fn sign(&self, _: &Path, _: Signed<'_>, _: &wire::Outcome) -> Result<Vec<u8>, Failure> {
        match *self {}
    }
}

pub(crate) fn detect(_: &DetectArguments, _: &Printer) -> Result<(), Failure> {
    Err(absent())
}

fn absent() -> Failure {
    Failure::new("this program was built without content credentials")
        .hint("`cargo build --release --features credentials` builds it with them")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_without_content_credentials_says_so() {
        let arguments = SigningArguments { sign_cert: Some("a.pem".into()), ..SigningArguments::default() };
        let refused = signer(&arguments).err().map(|failure| failure.to_string());
        assert_eq!(
            refused.as_deref(),
            Some(
                "error: this program was built without content credentials\n\nhint: `cargo build --release --features \
                 credentials` builds it with them"
            )
        );
        assert!(signer(&SigningArguments::default()).is_ok_and(|signer| signer.is_none()));
    }
}
